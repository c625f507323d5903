"""Runs a network in ONNX Runtime: on TensorRT or CUDA where it has them, as on a Jetson, else on the CPU."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eomt_ros.engine.backends.export import INPUT_NAMES, OUTPUT_NAMES, Step, position_names
from eomt_ros.engine.backends.export_cache import exported
from eomt_ros.engine.backends.exported_backend import ExportedBackend
from eomt_ros.engine.device import PRECISIONS
from eomt_ros.engine.errors import BackendError, first_line
from eomt_ros.engine.model.checkpoint import Checkpoint
from eomt_ros.engine.networks import StepResult
from eomt_ros.engine.preprocess.geometry import Size
from eomt_ros.extras import install

log = logging.getLogger(__name__)

GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")
CPU_PROVIDER = "CPUExecutionProvider"
QUIET = 3
"""Errors only: its warnings are about its own optimisation."""


class OnnxRuntimeBackend(ExportedBackend):
    """Runs an export of the network, frame by frame, on the best provider that is there.

    Results go through the host's memory, which a Jetson shares with its GPU.
    """

    name = "onnxruntime"

    def __init__(self, checkpoint: Checkpoint, device: str, precision: str, size: Size) -> None:
        """Loads the export, which is made where there is none, and checks that ONNX Runtime answers as torch does.

        device: "auto", "cpu", "cuda" or "cuda:N". precision: "auto" is float16 on a GPU, float32 on the CPU.
        size: of `open_backend`.

        Raises `BackendError` where any of it fails, `ValueError` for a precision that the provider does not compute in.
        """
        self._onnxruntime = _load()
        available = self._onnxruntime.get_available_providers()
        gpus = [name for name in GPU_PROVIDERS if name in available and device != "cpu"]
        if device.startswith("cuda") and not gpus:
            raise BackendError(
                f"device is {device!r}, but this ONNX Runtime offers {', '.join(available)} only; "
                "install onnxruntime-gpu, or use device 'cpu'"
            )
        if gpus:
            self._start_on(gpus, checkpoint, device, precision, size)
            if self._provider in gpus:
                return
            if device != "auto":
                raise BackendError(f"device is {device!r}, but ONNX Runtime cannot start {' or '.join(gpus)} here")
            log.warning("ONNX Runtime cannot start %s here, running on the CPU", " or ".join(gpus))
        self._start_on([], checkpoint, device, precision, size)

    def _start_on(self, gpus: Sequence[str], checkpoint: Checkpoint, device: str, precision: str, size: Size) -> None:
        self.precision = _choose_precision(precision, on_gpu=bool(gpus))
        folder = exported(checkpoint, PRECISIONS[self.precision])
        index = int(device.partition(":")[2] or 0)
        self._providers = [(name, _provider_options(name, index, self.precision, folder)) for name in gpus]
        self._start(checkpoint, folder, f"ONNX Runtime {self._onnxruntime.__version__}", size)
        self.runs_on = f"cuda:{index}" if self._provider in gpus else "cpu"

    def _step_of(self, model: bytes | Path, size: Size, positions: tuple[Tensor, ...]) -> Step:
        options = self._onnxruntime.SessionOptions()
        options.log_severity_level = QUIET
        options.intra_op_num_threads = torch.get_num_threads()  # which processes side by side share out
        # Spinning threads take cores from others: beside other load a frame takes half as long without.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        for name, length in zip(("height", "width", "patches"), (*size, len(positions[0])), strict=True):
            options.add_free_dimension_override_by_name(name, length)
        session = self._onnxruntime.InferenceSession(model, options, providers=[*self._providers, CPU_PROVIDER])
        self._provider = session.get_providers()[0]
        fixed = dict(zip(position_names(len(positions)), (each.numpy() for each in positions), strict=True))

        def run(pixels: Tensor, queries: Tensor) -> StepResult:
            inputs = dict(zip(INPUT_NAMES, (pixels.numpy(), queries.numpy()), strict=True))
            return StepResult(*map(torch.from_numpy, session.run(OUTPUT_NAMES, {**inputs, **fixed})))

        return run


def _load() -> Any:
    # From 1.32 on it reports to its makers from the import on, unless told not to. A robot tells nobody.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except Exception as error:  # a library that does not load, or that a NumPy breaks: not ImportError alone
        raise BackendError(
            f"ONNX Runtime cannot be loaded ({first_line(error)}): {install('onnxruntime')} (on a GPU: onnxruntime-gpu)"
        ) from error
    return onnxruntime


def _choose_precision(precision: str, *, on_gpu: bool) -> str:
    if precision == "auto":
        return "float16" if on_gpu else "float32"
    offered = ("float32", "float16") if on_gpu else ("float32",)
    if precision not in offered:
        where = "a GPU" if on_gpu else "the CPU"
        raise ValueError(
            f"precision is {precision!r}, but on {where} ONNX Runtime runs {' and '.join(offered)}; use that, or 'auto'"
        )
    return precision


def _provider_options(provider: str, index: int, precision: str, folder: Path) -> dict[str, str]:
    if provider == "CUDAExecutionProvider":
        return {"device_id": str(index), "use_tf32": "0"}
    # TensorRT takes minutes to build an engine; it names them by network, version and GPU itself.
    return {
        "device_id": str(index),
        "trt_fp16_enable": str(precision == "float16"),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder / "tensorrt"),
    }
