"""What runs the network: torch, or an export of it in OpenVINO or ONNX Runtime, chosen by one word."""

from __future__ import annotations

import logging

from eomt_ros.engine.accelerate import choose_device, choose_precision, expect_device, expect_precision
from eomt_ros.engine.backends import openvino_backend
from eomt_ros.engine.backends.backend import Backend, StepResult
from eomt_ros.engine.backends.onnxruntime_backend import OnnxRuntimeBackend
from eomt_ros.engine.backends.openvino_backend import OpenVinoBackend
from eomt_ros.engine.backends.torch_backend import TorchBackend
from eomt_ros.engine.checkpoint import Checkpoint
from eomt_ros.engine.errors import BackendError

__all__ = ["BACKENDS", "Backend", "StepResult", "open_backend"]

log = logging.getLogger(__name__)

BACKENDS = ("auto", "torch", "openvino", "onnxruntime")


def open_backend(checkpoint: Checkpoint, backend: str, device: str, precision: str) -> Backend:
    """Makes a network ready to run; it is taken over, so the checkpoint's own is not to be used afterwards.

    The words are those of `Segmenter.load`. Raises `ValueError` for one that is none or that does not go with the
    others on this machine, `BackendError` where a backend that was asked for by name is missing or fails.
    """
    expect_precision(precision)
    if backend == "onnxruntime":
        expect_device(device)
        return OnnxRuntimeBackend(checkpoint, device, precision)
    if backend == "openvino":
        expect_device(device)
        if device.startswith("cuda"):
            raise ValueError(f"device is {device!r}, but backend 'openvino' runs on the CPU; use 'cpu', or 'auto'")
        return OpenVinoBackend(checkpoint, precision)
    chosen = choose_device(device)
    # float32 asks for the reference, and float16 has no fast path on a CPU.
    if backend == "auto" and chosen.type == "cpu" and precision in ("auto", "bfloat16"):
        faster = _openvino_or_none(checkpoint, precision)
        if faster is not None:
            return faster
    return TorchBackend(checkpoint.network, chosen, choose_precision(precision, chosen))


def _openvino_or_none(checkpoint: Checkpoint, precision: str) -> Backend | None:
    if not openvino_backend.is_installed():
        log.info("backend 'auto': no OpenVINO, which is faster on a CPU; %s", openvino_backend.INSTALL)
        return None
    try:
        return OpenVinoBackend(checkpoint, precision)
    except (BackendError, ValueError) as error:
        log.warning("backend 'auto': %s; running on torch", error)
        return None
