"""Runs a network in OpenVINO, on the CPU."""

from __future__ import annotations

import importlib.util
import sys
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eomt_ros.engine.backends.export import INPUT_NAMES, OUTPUT_NAMES, Step, position_names
from eomt_ros.engine.backends.export_cache import exported
from eomt_ros.engine.backends.exported_backend import ExportedBackend
from eomt_ros.engine.device import cpu_computes_in
from eomt_ros.engine.errors import BackendError, first_line
from eomt_ros.engine.model.checkpoint import Checkpoint
from eomt_ros.engine.networks import StepResult
from eomt_ros.engine.preprocess.geometry import Size
from eomt_ros.extras import install

CAPABILITIES = {"bfloat16": "BF16", "float16": "FP16", "float32": "FP32"}
TYPES = {"bfloat16": "bf16", "float16": "f16", "float32": "f32"}


def openvino_is_installed() -> bool:
    """True if the package is there; it may still fail to load."""
    return importlib.util.find_spec("openvino") is not None


class OpenVinoBackend(ExportedBackend):
    """Runs an export of the network on the CPU, frame by frame."""

    name = "openvino"
    runs_on = "cpu"

    def __init__(self, checkpoint: Checkpoint, precision: str, size: Size, folder: Path | None = None) -> None:
        """Loads the export, and checks that OpenVINO answers as torch does.

        precision: "auto" is bfloat16 where the CPU computes in it, else float32. size: of `open_backend`. folder: the
        network's float32 export; None to find it, or to make it.

        Raises `BackendError` where any of it fails, `ValueError` for a precision that the CPU does not compute in.
        """
        self._openvino = _load()
        self._core = self._openvino.Core()
        self.precision = _choose_precision(self._core, precision)
        # Not memory-mapped: a file that changes later must not change a running robot.
        self._core.set_property({"ENABLE_MMAP": False})
        who = f"OpenVINO {self._openvino.__version__}"
        self._start(checkpoint, folder or exported(checkpoint, torch.float32), who, size)

    def _step_of(self, model: bytes | Path, size: Size, positions: tuple[Tensor, ...]) -> Step:
        read = self._core.read_model(BytesIO(model) if isinstance(model, bytes) else model)
        del model
        names = position_names(len(positions))
        fixed = {name: list(each.shape) for name, each in zip(names, positions, strict=True)}
        read.reshape({INPUT_NAMES[0]: [1, 3, *size], **fixed})
        hints = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": TYPES[self.precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),  # which processes side by side share out
        }
        compiled = self._core.compile_model(read, "CPU", hints)
        request = compiled.create_infer_request()
        shapes = [tuple(compiled.output(name).shape) for name in OUTPUT_NAMES]
        lock = threading.Lock()
        tensor = self._openvino.Tensor

        def run(pixels: Tensor, queries: Tensor) -> StepResult:
            # Into tensors of ours, else OpenVINO's next run would overwrite this one's results.
            outputs = StepResult(*map(torch.empty, shapes))
            tensors = (pixels.contiguous(), queries.contiguous(), *positions, *outputs)
            with lock:
                for name, each in zip((*INPUT_NAMES, *names, *OUTPUT_NAMES), tensors, strict=True):
                    request.set_tensor(name, tensor(each.numpy(), shared_memory=True))
                request.infer()
            return outputs

        return run


def _load() -> Any:
    # Importing OpenVINO reports that to its makers. A robot tells nobody: without this package it does not.
    silenced = "openvino_telemetry" not in sys.modules
    if silenced:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except Exception as error:  # a library that does not load, or that a NumPy breaks: not ImportError alone
        raise BackendError(f"OpenVINO cannot be loaded ({first_line(error)}): {install('openvino')}") from error
    finally:
        if silenced:
            sys.modules.pop("openvino_telemetry", None)
    return openvino


def _choose_precision(core: Any, precision: str) -> str:
    """Raises `ValueError` where this CPU does not compute in `precision`: OpenVINO would take another, unsaid."""
    offered = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    wanted = precision
    if precision == "auto":
        wanted = "bfloat16" if CAPABILITIES["bfloat16"] in offered and cpu_computes_in("bfloat16") else "float32"
    if CAPABILITIES[wanted] not in offered:
        names = [name for name, capability in CAPABILITIES.items() if capability in offered]
        raise ValueError(
            f"precision is {precision!r}, but on this CPU OpenVINO computes in {' and '.join(names)}; "
            "use one of them, or 'auto'"
        )
    return wanted
