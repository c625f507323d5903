"""Device, precision and memory of a network."""

from __future__ import annotations

import gc
import logging
import threading

import torch

from eomt_ros.engine.errors import OutOfMemoryError, first_line

log = logging.getLogger(__name__)

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str) -> torch.device:
    """The torch device for "auto" (CUDA where there is one, else the CPU, with a warning), "cpu", "cuda" or "cuda:N".

    Raises `ValueError` for a CUDA device that this machine or this torch does not have.
    """
    if device == "cpu":
        return torch.device("cpu")
    wanted = torch.device("cuda" if device == "auto" else device)
    reason = _unusable(wanted)
    if reason is None:
        return torch.device("cuda", torch.cuda.current_device()) if wanted.index is None else wanted
    if device == "auto":
        log.warning("device 'auto': running on the CPU, because %s", reason)
        return torch.device("cpu")
    raise ValueError(f"device is {device!r}, but {reason}; use 'cpu', or 'auto'")


def _unusable(device: torch.device) -> str | None:
    """The reason why torch cannot compute on a CUDA device; None where it can."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except RuntimeError as error:  # no driver, one that is too old for this torch, no device
        return f"torch {torch.__version__} finds no usable GPU or driver: {first_line(error)}"
    count = torch.cuda.device_count()
    if device.index is not None and device.index >= count:
        return f"torch finds {count} CUDA device(s), counted from cuda:0"
    try:
        square = torch.ones(8, 8, device=device)
        (square @ square).sum().item()
    except RuntimeError as error:  # a device that is too old for this torch, broken, full, or somebody else's alone
        name = torch.cuda.get_device_name(device)
        return f"torch {torch.__version__} cannot compute on {name}: {first_line(error)}"
    return None


def expect_memory(device: torch.device, weights: int) -> None:
    """Raises `OutOfMemoryError` where a CUDA device has no memory left for so many bytes of weights."""
    free, total = torch.cuda.mem_get_info(device)
    if weights > free:
        raise OutOfMemoryError(
            f"{device} has {free >> 20} of {total >> 20} MiB left, and the model's weights take {weights >> 20} MiB: "
            "free it of other programs (nvidia-smi lists them), or use a smaller model"
        )


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """The dtype for a precision: "float32" (the reference), "bfloat16", "float16", or "auto".

    "auto" is float16 on CUDA, which is as fast as bfloat16 there and ten times closer to float32: over the demo bag
    99.994 % of the pixels have the same class and id, beside 99.930 %. On a CPU "auto" is bfloat16 where the CPU
    computes in it, else float32. Warns where the device only emulates the dtype, which takes many times as long.
    """
    if precision == "auto":
        if device.type == "cpu":
            return torch.bfloat16 if cpu_computes_in("bfloat16") else torch.float32
        return torch.float16
    if device.type == "cuda" and precision == "bfloat16" and not _gpu_computes_in_bfloat16():
        log.warning("precision %r: this GPU does not compute in it, which makes it slow; use 'float16'", precision)
    if device.type == "cpu" and not cpu_computes_in(precision):
        log.warning("precision %r: this CPU does not compute in it, which makes it far slower than float32", precision)
    return PRECISIONS[precision]


def dtype_after_overflow(device: torch.device) -> torch.dtype:
    """The type for a network whose numbers overflow float16: one with the range of float32."""
    return torch.bfloat16 if device.type == "cuda" and _gpu_computes_in_bfloat16() else torch.float32


def _gpu_computes_in_bfloat16() -> bool:
    return torch.cuda.is_bf16_supported(including_emulation=False)


def cpu_computes_in(precision: str) -> bool:
    """True if this CPU computes in one of `PRECISIONS` itself; one with AVX2 emulates bfloat16 sixty times slower."""
    # Older torch tells nothing, which counts as missing: it costs a warning.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    names = {"bfloat16": "bf16", "float16": "fp16"}
    return precision == "float32" or any(name.endswith(names[precision]) and has for name, has in capabilities.items())


CAPTURING = threading.Lock()
"""Held during a capture: one at a time in a process, and no cleaning of torch's memory meanwhile."""


def free_devices() -> None:
    """Gives memory that torch holds and nobody uses back to the devices; skipped during a capture."""
    gc.collect()  # compiled functions hold on to each other
    if torch.cuda.is_initialized() and CAPTURING.acquire(blocking=False):  # type: ignore[no-untyped-call]
        try:
            torch.cuda.empty_cache()
        finally:
            CAPTURING.release()


_KEPT_FOREVER: list[object] = []


def keep_forever(failed: object) -> None:
    """Never frees what lies on a device that has failed: its memory may be in use still, and freeing it fails."""
    _KEPT_FOREVER.append(failed)


def is_out_of_memory(error: RuntimeError) -> bool:
    """True if a device, or the host for it, has no memory left; torch says it in several ways."""
    message = str(error)
    return (
        isinstance(error, torch.cuda.OutOfMemoryError)
        or "DefaultCPUAllocator" in message
        or (_is_of_device(message) and ("out of memory" in message or "ALLOC_FAILED" in message))
    )


def is_device_failure(error: RuntimeError) -> bool:
    """True if a device, or its driver, has failed, after which the process cannot use it."""
    message = str(error)
    # After a refused call the device goes on.
    refused = any(word in message for word in ("NOT_SUPPORTED", "invalid argument", "invalid configuration", "captur"))
    return _is_of_device(message) and not refused and not is_out_of_memory(error)


def _is_of_device(message: str) -> bool:
    return message.startswith(("CUDA error", "CUDA driver error", "cuDNN error", "CUDNN_STATUS"))
