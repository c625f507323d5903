"""Masks as run lengths over their box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""


def encode_mask(mask: np.ndarray) -> tuple[int, ...]:
    """The run lengths of a (height, width) bool mask, row by row; the first run is outside."""
    pixels = mask.ravel()
    edges = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    runs = np.diff(edges, prepend=0, append=pixels.size).tolist()
    return (0, *runs) if pixels[0] else tuple(runs)


def decode_mask(mask: Sequence[int], box: Box) -> np.ndarray:
    """The (height, width) bool mask inside a box, from its run lengths.

    Raises `ValueError` where the runs do not fill the box.
    """
    _, _, width, height = box
    if sum(mask) != width * height:
        raise ValueError(
            f"mask has runs of {sum(mask)} pixels in all, expected {width} x {height}, the size of its box"
        )
    return np.repeat(np.arange(len(mask)) % 2 == 1, mask).reshape(height, width)
