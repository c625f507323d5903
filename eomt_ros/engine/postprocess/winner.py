"""Which of several maps is the highest in a pixel."""

from __future__ import annotations

import torch
from torch import Tensor

SLACK = 1e-3
"""Relative, of a bound that leaves maps out: far more than float rounding, far too little to cost time."""


def contending(highest: Tensor, lowest: Tensor) -> Tensor:
    """Which maps can be the highest somewhere in a cell, (n, rows, columns) bool, from the bounds of all of them.

    The values are not negative.
    """
    return highest >= lowest.amax(0) * (1 - SLACK)


def first_highest(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The highest map in each pixel, as `argmax` finds it: of equal ones the first.

    values: (n, rows, columns) float32; overwritten. Returns the highest values, (rows, columns), a mask of 0 and 1 that
    says whose they are, (n, rows, columns) float32, and how many pixels each map has, (n,) float32.
    """
    if values.shape[0] == 1:
        return values[0], torch.ones_like(values), values.new_full((1,), values.numel())
    highest = values.amax(0)
    first = values.eq_(highest)
    pixels = first.sum((1, 2))
    if pixels.sum() > highest.numel():
        rank = torch.arange(values.shape[0], 0, -1, dtype=values.dtype, device=values.device)[:, None, None]
        first.mul_(rank)
        first.eq_(first.amax(0))
        pixels = first.sum((1, 2))
    return highest, first, pixels
