"""The highest of several maps in each pixel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from eomt_ros.engine.postprocess.label_map import Extent, Winners, label_type, table_of, to_host
from eomt_ros.engine.postprocess.select import Candidates
from eomt_ros.engine.postprocess.tiled_resize import Piece

SLACK = 1e-3
"""Relative margin of a bound that leaves maps out: far above float rounding, far too small to cost time."""


def contending(highest: Tensor, lowest: Tensor) -> Tensor:
    """True for maps that can be the highest somewhere in a cell, (n, rows, columns) bool, from the cells' bounds.

    The values are not negative.
    """
    return highest >= lowest.amax(0) * (1 - SLACK)


def first_highest(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Finds the highest map in each pixel, as `argmax` does: of equal ones the first.

    values: (n, rows, columns) float32; overwritten. Returns the highest values, (rows, columns); 1 where a map is the
    highest, else 0, (n, rows, columns) float32; and the number of those pixels of each map, (n,) float32.
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


def extent_of(masks: Tensor) -> Extent:
    """masks: (n, rows, columns) float32, 0 or 1."""
    return Extent(masks.sum(2), masks.sum(1))


class WinnerMap:
    """The winner of every pixel of an image of `size`, filled in piece by piece."""

    def __init__(self, maps: int, size: tuple[int, int], device: torch.device, *, with_confidence: bool) -> None:
        self._winner = np.zeros(size, label_type(maps))
        self._confidence = np.zeros(size, np.uint8) if with_confidence else None
        self._names = torch.arange(1.0, maps + 1, device=device)[:, None, None]
        self._rows = torch.zeros((maps, size[0]), device=device)
        self._columns = torch.zeros((maps, size[1]), device=device)

    def names(self, maps: Tensor) -> Tensor:
        """1 + the number of each map, (n, 1, 1) float32."""
        return self._names.index_select(0, maps)

    def set(self, piece: Piece, winner: Tensor, probability: Tensor | None) -> None:
        """Gives the pixels of a piece to maps.

        winner: the highest of the `names` whose maps have the pixel, else 0, (rows, columns) float32. probability: of
        the pixel's map, (rows, columns) float32; overwritten; without meaning where no map has the pixel; None where
        confidence is not asked for.
        """
        # A quarter of the bytes to copy; on the CPU numpy converts faster than torch.
        self._winner[piece.rows, piece.columns] = to_host(winner.to(torch.int32) if winner.is_cuda else winner)
        if self._confidence is not None and probability is not None:
            levels = probability.mul_(255).add_(0.5)
            levels = levels.to(torch.uint8) if levels.is_cuda else levels
            self._confidence[piece.rows, piece.columns] = to_host(levels)

    def measure(self, piece: Piece, extent: Extent) -> None:
        """Adds pixels to the extent of the piece's maps."""
        self._rows[:, piece.rows].index_add_(0, piece.maps, extent.rows)
        self._columns[:, piece.columns].index_add_(0, piece.maps, extent.columns)

    def extent(self) -> Extent:
        """The extent of the maps, as measured so far."""
        return Extent(self._rows, self._columns)

    def winners(self, found: Candidates, whole: np.ndarray | None = None) -> Winners:
        """The result, on the host. found: the maps with their final scores; those present are regions."""
        confidence = None if self._confidence is None else torch.from_numpy(self._confidence)
        return Winners(torch.from_numpy(self._winner), confidence, table_of(found, self.extent()), whole)
