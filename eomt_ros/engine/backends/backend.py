"""The interface of all backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from eomt_ros.engine.networks import StepResult


class Backend(Protocol):
    """Runs one step of a network per frame. It keeps nothing of a stream, and any thread may call it."""

    name: str
    """As in the parameter `backend`."""
    runs_on: str
    """The device that computes: "cpu" or "cuda:N"."""
    device: torch.device
    """Where pixels have to be and results are."""
    dtype: torch.dtype
    """Of the pixels."""
    precision: str
    """The type of most of the arithmetic: "float32", "bfloat16" or "float16"."""
    first_queries: Tensor
    """(1, queries, hidden), the queries of a stream's first frame."""

    def __call__(self, pixels: Tensor, queries: Tensor) -> StepResult:
        """Runs one frame of each stream in the batch.

        pixels: (batch, 3, height, width), normalised. queries: (batch, queries, hidden), `first_queries` or the
        stream's last `next_queries`.
        """
        ...


def one_by_one(run: Callable[[Tensor, Tensor], StepResult], pixels: Tensor, queries: Tensor) -> StepResult:
    """Runs a step that takes one frame on each frame of a batch."""
    if len(pixels) == 1:
        return run(pixels, queries)
    frames = [run(pixels[index : index + 1], queries[index : index + 1]) for index in range(len(pixels))]
    return StepResult(*map(torch.cat, zip(*frames, strict=True)))
