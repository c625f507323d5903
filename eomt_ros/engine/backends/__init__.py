"""Opens the backend that runs a network: torch, or OpenVINO or ONNX Runtime on an export."""

from __future__ import annotations

import logging

import torch

from eomt_ros.engine.backends.backend import Backend
from eomt_ros.engine.backends.export_cache import exports_beside, find
from eomt_ros.engine.backends.onnxruntime_backend import OnnxRuntimeBackend
from eomt_ros.engine.backends.openvino_backend import OpenVinoBackend, openvino_is_installed
from eomt_ros.engine.backends.torch_backend import TorchBackend
from eomt_ros.engine.device import choose_device, choose_precision, dtype_after_overflow
from eomt_ros.engine.errors import BackendError, OutOfMemoryError
from eomt_ros.engine.model.checkpoint import Checkpoint
from eomt_ros.engine.networks import Network
from eomt_ros.engine.preprocess.geometry import Size

__all__ = ["Backend", "open_after_overflow", "open_backend", "open_on_cpu"]

log = logging.getLogger(__name__)


def open_backend(checkpoint: Checkpoint, backend: str, device: str, precision: str, size: Size) -> Backend:
    """Makes a checkpoint's network ready to run; afterwards the checkpoint's own is not to be used, or has no weights.

    backend, device, precision: of `ModelOptions`. size: of most images in the network, which exports are made ready for
    at once; for others they are when the first comes.

    Raises `ValueError` where the options do not go together on this machine, `BackendError` where a backend that was
    asked for by name is missing or fails, `OutOfMemoryError` where a device that was asked for by name has no memory
    left for the weights.
    """
    opened = _open(checkpoint, backend, device, precision, size)
    if opened.name != "torch":  # whose weights they are; the others have made their own of them
        checkpoint.network.to(device=torch.device("meta"), dtype=torch.float32)
    log.info("%s runs on %s: %s, %s", checkpoint.name, opened.runs_on, opened.name, opened.precision)
    return opened


def _open(checkpoint: Checkpoint, backend: str, device: str, precision: str, size: Size) -> Backend:
    if backend == "onnxruntime":
        return OnnxRuntimeBackend(checkpoint, device, precision, size)
    if backend == "openvino":
        if device.startswith("cuda"):
            raise ValueError(f"device is {device!r}, but backend 'openvino' runs on the CPU; use 'cpu', or 'auto'")
        return OpenVinoBackend(checkpoint, precision, size)
    chosen = choose_device(device)
    # float32 asks for the reference, to the last bit.
    if backend == "auto" and chosen.type == "cpu" and precision != "float32" and openvino_is_installed():
        faster = _openvino_or_none(checkpoint, precision, size)
        if faster is not None:
            return faster
    try:
        return TorchBackend(checkpoint.network, chosen, choose_precision(precision, chosen))
    except OutOfMemoryError as error:
        if device != "auto":
            raise
        log.warning("device 'auto': running on the CPU, because %s", error)
    # Read again, since some of its weights may be on the device, and rounded.
    return open_on_cpu(checkpoint.family.load(checkpoint.settings, checkpoint.folder), precision)


def open_on_cpu(network: Network, precision: str) -> TorchBackend:
    """Makes a network ready for the CPU, because another device has no room for it, or failed."""
    cpu = torch.device("cpu")
    # Half precision was meant for the other device, and is slow on many CPUs.
    return TorchBackend(network, cpu, choose_precision("float32" if precision == "float32" else "auto", cpu))


def open_after_overflow(network: Network, device: torch.device) -> TorchBackend:
    """Makes a network ready whose numbers overflow float16."""
    return TorchBackend(network, device, dtype_after_overflow(device))


def _openvino_or_none(checkpoint: Checkpoint, precision: str, size: Size) -> Backend | None:
    # "auto" never exports: that takes up to a minute, and does not pay on every CPU.
    folder = find(checkpoint, torch.float32)
    if folder is None:
        beside = exports_beside(checkpoint)
        if beside.is_dir():
            log.warning(
                "backend 'auto': not OpenVINO but torch, because no export in %s is of this model and version; make it "
                "anew: eomt-ros export MODEL",
                beside,
            )
        else:
            log.info("backend 'auto': torch; for OpenVINO the model has to be exported once: eomt-ros export MODEL")
        return None
    try:
        return OpenVinoBackend(checkpoint, precision, size, folder)
    except (BackendError, ValueError) as error:
        log.warning("backend 'auto': not OpenVINO but torch, because %s", error)
        return None
