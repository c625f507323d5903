"""Where and how precisely a network runs."""

from __future__ import annotations

import logging
import re

import torch

log = logging.getLogger(__name__)

DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?", re.ASCII)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def expect_device(device: str) -> None:
    """Raises `ValueError` for what is not "auto", "cpu", "cuda" or "cuda:N"."""
    if DEVICE.fullmatch(device) is None:
        raise ValueError(f"device is {device!r}, expected 'auto', 'cpu', 'cuda' or 'cuda:N'")


def choose_device(device: str) -> torch.device:
    """The torch device for "auto" (CUDA where there is one, else the CPU, with a warning), "cpu", "cuda" or "cuda:N".

    Raises `ValueError` for another word, and for a CUDA device that this machine or this torch does not have.
    """
    expect_device(device)
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        log.warning("device 'auto': no CUDA device, running on the CPU")
        return torch.device("cpu")
    kind, _, index = device.partition(":")
    if kind == "cuda":
        if not torch.cuda.is_available():
            reason = "was built without CUDA" if torch.version.cuda is None else "finds no usable GPU or driver"
            raise ValueError(f"device is {device!r}, but torch {torch.__version__} {reason}; use 'cpu', or 'auto'")
        if index and int(index) >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise ValueError(f"device is {device!r}, but torch finds {count} CUDA device(s), counted from cuda:0")
    return torch.device(device)


def expect_precision(precision: str) -> None:
    """Raises `ValueError` for what is neither "auto" nor one of `PRECISIONS`."""
    if precision != "auto" and precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, expected 'auto' or one of {', '.join(map(repr, PRECISIONS))}")


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """What torch computes in: "float32" (the reference), "bfloat16", "float16", or "auto".

    "auto" is bfloat16 where the device computes in it, else float32 on a CPU and float16 on CUDA. On a CPU that only
    emulates the type, which takes many times as long as float32, it is done with a warning.
    Raises `ValueError` for another word.
    """
    expect_precision(precision)
    if precision == "auto":
        if device.type == "cpu":
            return torch.bfloat16 if cpu_computes_in("bfloat16") else torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu" and not cpu_computes_in(precision):
        log.warning("precision %r: this CPU does not compute in it, which makes it far slower than float32", precision)
    return PRECISIONS[precision]


def cpu_computes_in(precision: str) -> bool:
    """Whether this CPU computes in one of `PRECISIONS` itself; an AVX2 one emulates bfloat16 sixty times slower."""
    # What older torch cannot tell is taken to be missing: it costs a warning.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    names = {"bfloat16": "bf16", "float16": "fp16"}
    return precision == "float32" or any(name.endswith(names[precision]) and has for name, has in capabilities.items())


def is_device_failure(error: RuntimeError) -> bool:
    """Whether this says that a device, or its driver, has failed, after which the process cannot use it."""
    return str(error).startswith(("CUDA error", "CUDA driver error", "cuDNN error", "CUDNN_STATUS"))
