"""Where and how precisely a network runs."""

from __future__ import annotations

import logging

import torch

log = logging.getLogger(__name__)

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str) -> torch.device:
    """The torch device for "auto" (CUDA where there is one, else the CPU, with a warning), "cpu", "cuda" or "cuda:N".

    Raises `ValueError` for another word, and for a CUDA device that this machine or this torch does not have.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        log.warning("device 'auto': no CUDA device, running on the CPU")
        return torch.device("cpu")
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()) or (kind == "cpu" and index):
        raise ValueError(f"device is {device!r}, expected 'auto', 'cpu', 'cuda' or 'cuda:N'")
    if kind == "cuda":
        if not torch.cuda.is_available():
            reason = "was built without CUDA" if torch.version.cuda is None else "finds no usable GPU or driver"
            raise ValueError(f"device is {device!r}, but torch {torch.__version__} {reason}; use 'cpu', or 'auto'")
        if index and int(index) >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise ValueError(f"device is {device!r}, but torch finds {count} CUDA device(s), counted from cuda:0")
    return torch.device(device)


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """The type of weights and activations: "float32" (the reference), "bfloat16", "float16", or "auto".

    "auto" is float32 on the CPU; on CUDA it is bfloat16 where the GPU computes in it, else float16.
    Raises `ValueError` for another word.
    """
    if precision == "auto":
        if device.type == "cpu":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, expected 'auto' or one of {', '.join(map(repr, PRECISIONS))}")
    return PRECISIONS[precision]
