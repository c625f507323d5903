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

    "auto" is bfloat16 where the CPU or GPU has instructions for it; else float32 on a CPU, float16 on a GPU.
    It goes by the hardware and not by a trial, so that the same machine gives the same result every time.
    Raises `ValueError` for another word.
    """
    expect_precision(precision)
    if precision != "auto":
        return PRECISIONS[precision]
    if device.type == "cpu":
        return torch.bfloat16 if _cpu_has_bfloat16() else torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _cpu_has_bfloat16() -> bool:
    # Older torch cannot tell; without the instructions bfloat16 is emulated, and slower than float32.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
