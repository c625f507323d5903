"""What the engine asks of whatever runs the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from eomt_ros.engine.networks import StepResult


class Backend(Protocol):
    """Runs one frame step of a network. It keeps nothing of a stream, and any thread may call it."""

    name: str
    """As in the parameter `backend`."""
    runs_on: str
    """The device that computes: "cpu" or "cuda:N"."""
    device: torch.device
    """Where pixels are expected and results lie."""
    dtype: torch.dtype
    """Of the pixels."""
    precision: str
    """What most of the arithmetic is done in: "float32", "bfloat16" or "float16"."""
    first_queries: Tensor
    """(1, queries, hidden), what a stream's first frame starts from."""

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
