"""Resizes a table of maps of a fixed length to the whole image, so that a CUDA graph can hold it: for a GPU.

Nothing here waits for the host, and no shape depends on the image's content. The resize is torch's own, as Hugging
Face's on the same device. On a CPU it takes four to ten times as long as `tiled`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from eomt_ros.engine.postprocess.label_map import Extent, Winners, table_of
from eomt_ros.engine.postprocess.overlap import share
from eomt_ros.engine.postprocess.resizer import Decide
from eomt_ros.engine.postprocess.select import Candidates, Thresholds, in_table, summed_classes
from eomt_ros.engine.preprocess.geometry import Placement, Size

CHUNK = 1 << 23
"""Values that are resized at a time: 32 MiB, which stay in the cache of a large GPU."""


class FixedShape:
    """Implements `Resizer`, but keeps no whole masks. places: length of the table."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._candidates: Tensor | None = None

    def candidates(self, device: torch.device) -> Tensor:
        """Number of candidates, (), also where the table had no room for them all; 0 in the semantic task."""
        return torch.zeros((), device=device) if self._candidates is None else self._candidates

    def gather(self, found: Candidates) -> Candidates:
        """As many as there are places, present or not."""
        self._candidates = found.present.sum()
        return in_table(found, self._places)

    def win(self, logits: Tensor, size: Size, found: Candidates, thresholds: Thresholds) -> Winners:
        """See `Resizer`."""
        highest: _Highest | None = None
        pixels = []
        for start, values in _resized(logits, size):
            probability = values.sigmoid_()
            mask = probability >= thresholds.mask
            pixels.append(mask.sum((1, 2)))
            weights = found.scores[start : start + len(values), None, None]
            highest = _highest(highest, start, probability.mul_(weights), mask)
        assert highest is not None
        winner, values, shown = highest

        won, extents = [], []
        for names in _names(len(logits), winner):
            wins = winner == names
            won.append(wins.sum((1, 2)))
            extents.append(_extent(wins.logical_and_(shown)))
        extent = _together(extents)
        passes = share(torch.cat(won).float(), torch.cat(pixels).float()) > thresholds.overlap
        passes &= found.present & (extent.areas() > 0)
        return _winners(winner * shown, values, found._replace(present=passes), extent)

    def cover(self, logits: Tensor, size: Size, found: Candidates, threshold: Tensor, decide: Decide) -> Winners:
        """See `Resizer`."""
        totals, inside, extents = [], [], []
        for _, values in _resized(logits, size):
            mask = values > threshold
            totals.append(values.sigmoid_().mul_(mask).sum((1, 2)))
            extents.append(_extent(mask))
            inside.append(mask)
        extent = _together(extents)
        scores, passes = decide(torch.cat(totals), extent.areas().float())

        winner = inside[0].new_zeros(size, dtype=torch.int16)
        for names, mask in zip(_names(len(logits), winner), inside, strict=True):
            shown = names * passes[names[:, 0, 0].long() - 1, None, None]
            winner = torch.maximum(winner, (mask * shown).amax(0))
        confidence = torch.zeros(size, device=winner.device)
        for (start, values), names in zip(_resized(logits, size), _names(len(logits), winner), strict=True):
            weights = found.scores[start : start + len(values), None, None]
            confidence += values.sigmoid_().mul_(weights).mul_(winner == names).sum(0)
        return _winners(winner, confidence, found._replace(scores=scores, present=passes), extent)

    def sum_up(self, masks: Tensor, probabilities: Tensor, placement: Placement) -> Winners:
        """See `Resizer`."""
        highest: _Highest | None = None
        sums = _sums(masks, probabilities, placement)
        for start, values in _resized(sums, placement.image):
            highest = _highest(highest, start, values)
        assert highest is not None
        winner, confidence = highest[0], highest[1].clamp(max=1)
        totals, extents = [], []
        for names in _names(len(sums), winner):
            wins = winner == names
            totals.append((wins * confidence).sum((1, 2)))
            extents.append(_extent(wins))
        extent = _together(extents)
        return _winners(winner, confidence, summed_classes(torch.cat(totals), extent.areas()), extent)


_Highest = tuple[Tensor, Tensor, Tensor]
"""Of the maps so far, (H, W) each: 1 + the first highest map, int16; its value; True where that map is shown."""


def _highest(before: _Highest | None, start: int, values: Tensor, mask: Tensor | None = None) -> _Highest:
    """Takes in more maps, from number `start` on, (n, H, W). mask: where a map that wins is shown; None: everywhere."""
    value, first = values.max(0)
    shown = torch.ones_like(value, dtype=torch.bool) if mask is None else mask.gather(0, first[None])[0]
    found = first.to(torch.int16) + (start + 1), value, shown
    if before is None:
        return found
    better = value > before[1]
    winner, value, shown = (torch.where(better, new, old) for new, old in zip(found, before, strict=True))
    return winner, value, shown


def _sums(masks: Tensor, probabilities: Tensor, placement: Placement) -> Tensor:
    """The sum of each class, over the queries, of class probability times mask probability, (classes, h, w)."""
    if placement.between is None:
        return torch.matmul(probabilities.mT, masks.sigmoid().flatten(2))[0].view(-1, *masks.shape[2:])
    sums = []
    for mask, each in zip(masks, probabilities, strict=True):
        resized = placement.masks(mask).sigmoid()
        sums.append(torch.matmul(each.T, resized.flatten(1)).view(-1, *resized.shape[1:]))
    return placement.stitched(sums) if placement.windows else sums[0]


def _resized(maps: Tensor, size: Size) -> Iterator[tuple[int, Tensor]]:
    """The maps, (n, h, w), at the image's size, a few at a time with the number of the first; to be overwritten."""
    for start, stop in _spans(len(maps), size):
        yield start, F.interpolate(maps[None, start:stop], size, mode="bilinear")[0]


def _names(maps: int, image: Tensor) -> Iterator[Tensor]:
    """1 + the number of each map, (n, 1, 1) int16, as many at a time as are resized."""
    for start, stop in _spans(maps, image.shape):
        yield torch.arange(start + 1, stop + 1, dtype=torch.int16, device=image.device)[:, None, None]


def _spans(maps: int, size: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    step = max(1, CHUNK // (size[0] * size[1]))
    return ((start, min(start + step, maps)) for start in range(0, maps, step))


def _extent(masks: Tensor) -> Extent:
    """masks: (n, H, W) bool."""
    return Extent(masks.sum(2), masks.any(1))


def _together(extents: list[Extent]) -> Extent:
    return Extent(*map(torch.cat, zip(*extents, strict=True)))


def _winners(winner: Tensor, probability: Tensor, found: Candidates, extent: Extent) -> Winners:
    winner = winner.to(torch.uint8) if len(found.scores) <= 254 else winner
    return Winners(winner, (probability * 255 + 0.5).to(torch.uint8), table_of(found, extent))
