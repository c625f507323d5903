"""Bilinear resize of many maps to the image's size, only where it matters.

A resized pixel lies in a cell, the square between four samples of a map, and its value in the range of those four. So a
caller knows before any resize which maps can matter in which cell. The image is cut into tiles, and a map is resized
only in the tiles where the caller wants it, piece by piece, each small enough for a core's cache.

The arithmetic is that of `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`: along the rows, then
between two rows, with torch's own weights. The last bit may differ, as it does between torch's own kernels, among which
torch chooses by the size and the number of threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Result = TypeVar("Result")

CPU_TILE = (128, 256)
"""Largest height and width of a tile. On CUDA the image is one tile: a kernel launch costs more than many pixels."""

CPU_PIECE = 1 << 18
"""Values: of fewer, the calls of torch cost more than the arithmetic; arrays of many more leave a core's cache."""

BAND = 1 << 20
"""Values of the maps whose bounds are found at once on a CPU."""

CUDA_PIECE = 1 << 24
"""Values: limits the memory."""


class Piece(NamedTuple):
    """Some maps over a part of the image."""

    maps: Tensor
    """(n,) int64: the numbers of the maps, ascending."""
    tile: tuple[int, int]
    """Its row and column among the tiles."""
    rows: slice
    columns: slice


class Span(NamedTuple):
    """A tile along one axis."""

    pixels: slice
    cells: slice
    """Cells of its pixels. A cell has the number of the sample that it begins at."""
    samples: slice
    """Samples that its pixels are interpolated from."""


class Taps(NamedTuple):
    """The two samples that each pixel of an axis lies between, (pixels,) int64, and their weights, (pixels, 1)."""

    low: Tensor
    high: Tensor
    low_weight: Tensor
    high_weight: Tensor


class Tiles:
    """Maps (n, h, w) float32, and the tiles of the image of `size` (height, width) that they are resized to."""

    def __init__(self, maps: Tensor, size: tuple[int, int]) -> None:
        longest = CPU_TILE if maps.device.type == "cpu" else size
        self.maps = maps
        self.size = size
        self.rows = _spans(maps.shape[1], size[0], longest[0], maps.device)
        self.columns = _spans(maps.shape[2], size[1], longest[1], maps.device)

    def bounds(self, samples: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """The highest and the lowest of each cell's four samples, in these rows of the maps, (n, rows, w) each."""
        maps = self.maps[:, samples]
        highest, lowest = (_with_next(pick, _with_next(pick, maps, 1), 2) for pick in (torch.maximum, torch.minimum))
        return highest, lowest

    def pixels(self) -> Tensor:
        """Number of pixels in each cell, (h, w) float32."""
        _, height, width = self.maps.shape
        rows = taps_of(height, self.size[0], self.maps.device).low.bincount(minlength=height)
        columns = taps_of(width, self.size[1], self.maps.device).low.bincount(minlength=width)
        return torch.outer(rows, columns).float()

    def where(self, rule: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """True for the tiles in which a map has a cell that a rule picks, (n, tile rows, tile columns) bool.

        rule: gets the bounds of a band of cells, (n, rows, w) each, to overwrite; gives (n, rows, w) bool.
        """
        count, _, width = self.maps.shape
        # In larger bands, what is allocated anew takes longer than what is computed.
        step = max(1, BAND // (count * width)) if self.maps.device.type == "cpu" else self.size[0]
        picked = []
        for row in self.rows:
            bands = [
                # With the row below, which the cells of the last one need.
                rule(*self.bounds(slice(start, min(start + step + 1, row.samples.stop)))).view(torch.uint8).amax(1)
                for start in range(row.samples.start, max(row.samples.stop - 1, row.samples.start + 1), step)
            ]
            cells = bands[0] if len(bands) == 1 else torch.stack(bands).amax(0)
            picked.append(torch.stack([cells[:, column.cells].amax(1) for column in self.columns], 1))
        return torch.stack(picked, 1).bool()

    def resize(self, wanted: Tensor, work: Callable[[Piece, Tensor], Result]) -> list[tuple[Piece, Result]]:
        """Resizes each map in the tiles where it is wanted; returns the pieces with the results of `work`.

        wanted: (n, tile rows, tile columns) bool. work: gets a piece and its values, (n, rows, columns) float32, to
        overwrite.
        """
        count, height, _ = self.maps.shape
        device = self.maps.device
        used = torch.zeros((count, height), dtype=torch.bool, device=device)
        for index, row in enumerate(self.rows):
            used[:, row.samples] |= wanted[:, index].any(1, keepdim=True)
        if not used.any():
            return []
        wide = F.interpolate(self.maps[used][None], self.size[1], mode="linear")[0]
        place = used.view(-1).cumsum(0).view(count, height) - 1
        taps = taps_of(height, self.size[0], device)
        places = torch.stack([place[:, taps.low], place[:, taps.high]], 1)

        def values(piece: Piece) -> Tensor:
            ends = wide[:, piece.columns].index_select(0, places[:, :, piece.rows].index_select(0, piece.maps).view(-1))
            low, high = ends.view(piece.maps.numel(), 2, -1, ends.shape[1]).unbind(1)
            # In this order a fused multiply-add rounds as it does in most of torch's own kernels.
            return high.mul(taps.high_weight[piece.rows]).addcmul_(low, taps.low_weight[piece.rows])

        with _one_core():
            return [(piece, work(piece, values(piece))) for piece in self._pieces(wanted)]

    def _pieces(self, wanted: Tensor) -> Iterator[Piece]:
        most = CPU_PIECE if wanted.device.type == "cpu" else CUDA_PIECE
        by_tile = wanted.permute(1, 2, 0).cpu().numpy()
        for row, column in np.argwhere(by_tile.any(2)).tolist():
            maps = torch.from_numpy(by_tile[row, column].nonzero()[0]).to(wanted.device)
            rows, columns = self.rows[row].pixels, self.columns[column].pixels
            step = max(1, most // (maps.numel() * (columns.stop - columns.start)))
            for start in range(rows.start, rows.stop, step):
                yield Piece(maps, (row, column), slice(start, min(start + step, rows.stop)), columns)


_OPENMP = getattr(ctypes.CDLL(torch._C.__file__), "omp_set_num_threads", None)
"""Sets the calling thread's share of cores in the OpenMP that torch runs on; None where torch runs on another."""


@contextmanager
def _one_core() -> Iterator[None]:
    """Keeps the calling thread's operations on one core; those of other threads use as many as before.

    An operation on several cores ends when the last of them does. Where other processes use the cores too, that is
    milliseconds later, for operations of microseconds.
    """
    threads = torch.get_num_threads()
    _share_among(1)
    try:
        yield
    finally:
        _share_among(threads)


def _share_among(threads: int) -> None:
    # Not by torch.set_num_threads, which decides also for every thread that first uses torch meanwhile.
    if _OPENMP is not None:
        _OPENMP(threads)


def _with_next(pick: Callable[..., Tensor], maps: Tensor, axis: int) -> Tensor:
    """What `pick` gives for each sample and the next one along an axis; the last one as it is."""
    pairs = maps.shape[axis] - 1
    found = torch.empty_like(maps)
    pick(maps.narrow(axis, 0, pairs), maps.narrow(axis, 1, pairs), out=found.narrow(axis, 0, pairs))
    found.narrow(axis, pairs, 1).copy_(maps.narrow(axis, pairs, 1))
    return found


@lru_cache(maxsize=32)
def taps_of(samples: int, pixels: int, device: torch.device) -> Taps:
    """The weights by which torch resizes an axis of `samples` to `pixels`."""
    # Resizing an identity shows torch's own weights.
    weights = F.interpolate(torch.eye(samples, device=device)[None, None], (pixels, samples), mode="bilinear")[0, 0]
    low = weights.ne(0).int().argmax(1)
    high = (low + 1).clamp(max=samples - 1)
    high_weight = weights.gather(1, high[:, None]).where((high > low)[:, None], 0.0)
    return Taps(low, high, weights.gather(1, low[:, None]), high_weight)


@lru_cache(maxsize=32)
def _spans(samples: int, pixels: int, longest: int, device: torch.device) -> list[Span]:
    """Cuts an axis into tiles of about equal length."""
    taps = taps_of(samples, pixels, device)
    low, high = taps.low.tolist(), taps.high.tolist()
    count = -(-pixels // longest)
    return [
        Span(slice(start, stop), slice(low[start], low[stop - 1] + 1), slice(low[start], high[stop - 1] + 1))
        for start, stop in pairwise(pixels * index // count for index in range(count + 1))
    ]
