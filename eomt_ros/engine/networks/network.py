"""The interface of all networks: one step per frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn


class StepResult(NamedTuple):
    """The network's answer to one frame, and what the next frame starts from."""

    mask_logits: Tensor
    """(batch, queries, h, w)."""
    class_logits: Tensor
    """(batch, queries, classes + 1), the last one for "no object"."""
    next_queries: Tensor
    """(batch, queries, hidden), the queries that the next frame of each stream starts from, as they are."""


class Network(Protocol):
    """Runs one frame of each stream in a batch. It keeps nothing of a stream."""

    def __call__(self, pixels: Tensor, queries: Tensor) -> StepResult:
        """pixels: (batch, 3, height, width), normalised. queries: (batch, queries, hidden), from `first_queries` or of
        the result of the stream's last frame.
        """
        ...

    def first_queries(self, batch: int = 1) -> Tensor:
        """The queries of a stream's first frame, (batch, queries, hidden)."""
        ...

    def constants(self) -> list[Tensor]:
        """Tensors that the step reads beside the weights, made for the sizes of images seen lately."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """The layers, at any depth."""
        ...

    def parameters(self) -> Iterator[Tensor]:
        """The weights."""
        ...

    def to(self, *, device: torch.device, dtype: torch.dtype) -> Network:
        """Moves and rounds the weights."""
        ...
