"""Reads tensors from the files that torch writes, without running code or using more memory than the file."""

from __future__ import annotations

import math
import mmap
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eomt_ros.engine.errors import CheckpointError, first_line, listed
from eomt_ros.regular_file import expect_regular, open_regular

WRAPPERS = ("state_dict", "model")
"""Names under which trainers keep the weights, beside their own state."""


def read_tensors(source: Path) -> Mapping[str, Any]:
    """The content of a `.pth` or `.bin` file by name: numbers and text, and tensors that were saved whole.

    Raises `CheckpointError` where it holds anything else, or cannot be read.
    """
    try:
        size = expect_regular(source)
    except OSError as error:
        raise CheckpointError(
            f"{source} is no file that can be read ({error.strerror}), expected the weights as their authors publish "
            "them (.pth or .bin)"
        ) from error
    try:
        zipped = zipfile.is_zipfile(source)
        if zipped:
            with zipfile.ZipFile(source) as parts:
                if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
                    raise CheckpointError(f"{source} is compressed, which torch does not do; get it again")
        # The one object that torch admits which takes any amount of memory without taking room in the file.
        with open_regular(source) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            if whole.find(b"bytearray") >= 0:
                raise CheckpointError(f"{source} holds a bytearray beside tensors, expected weights alone")
        # Mapped, so that a trainer's state beside the weights is not read; torch's older format cannot be.
        content = torch.load(source, map_location="cpu", weights_only=True, mmap=zipped)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        if "Unsupported global" not in str(error):
            raise CheckpointError(f"{source} is no file of torch's ({first_line(error)}); get it again") from error
        name = repr(str(source))
        raise CheckpointError(
            f"{source} holds Python objects beside tensors, and reading them can run any code, so it is not read. "
            "Ask its author for the weights alone, or leave only them, on a machine where you trust it: "
            f"python3 -c \"import torch; torch.save(torch.load({name}, weights_only=False)['model'], 'OUT')\" "
            "(EoMT's are under 'state_dict')"
        ) from error
    except Exception as error:  # a broken pickle raises whatever its operations stumble over
        raise CheckpointError(
            f"{source} is truncated or no file of torch's ({first_line(error)}); get it again"
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise CheckpointError(f"{source} holds a {type(content).__name__}, expected tensors by name")
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    odd = [name for name, value in tensors.items() if not _is_plain(value)]
    if odd:
        raise CheckpointError(
            f"{source}: {listed(odd)} is sparse, quantized, complex or of no numbers, expected weights"
        )
    # Views can be of any size, of one number or in any number; a few weights share theirs for a reason, so twice.
    total = sum(math.prod(value.shape) * value.element_size() for value in tensors.values())
    if total > 2 * size:
        raise CheckpointError(f"{source} has {size} bytes, and its tensors would have {total}: it was not saved whole")
    return content


def _is_plain(value: Tensor) -> bool:
    """True for a tensor that is plain numbers in memory."""
    plain = type(value) in (Tensor, torch.nn.Parameter) and value.layout == torch.strided and value.device.type == "cpu"
    return plain and not value.is_quantized and not value.is_complex() and not value.is_nested
