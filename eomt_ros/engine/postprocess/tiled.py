"""Resizes only where it can matter, and asks the host where that is at every step: for a CPU.

On a GPU it serves frames with more candidates than a table of fixed length has places, and masks that overlap.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from eomt_ros.engine.postprocess.label_map import Extent, Winners, to_host
from eomt_ros.engine.postprocess.overlap import passing
from eomt_ros.engine.postprocess.resizer import Decide
from eomt_ros.engine.postprocess.select import Candidates, Thresholds, compacted
from eomt_ros.engine.postprocess.tiled_resize import Piece, Tiles
from eomt_ros.engine.postprocess.tiled_sums import sum_up
from eomt_ros.engine.postprocess.winner import SLACK, WinnerMap, extent_of, first_highest
from eomt_ros.engine.preprocess.geometry import Placement, Size


class Tiled:
    """Implements `Resizer`. with_masks: True to keep masks whole where they cover each other."""

    def __init__(self, *, with_confidence: bool, with_masks: bool) -> None:
        self.with_confidence = with_confidence
        self.with_masks = with_masks

    def gather(self, found: Candidates) -> Candidates:
        """The candidates that are present."""
        return compacted(found)

    def win(self, logits: Tensor, size: Size, found: Candidates, thresholds: Thresholds) -> Winners:
        """See `Resizer`."""
        count, device = len(logits), logits.device
        board = WinnerMap(count, size, device, with_confidence=self.with_confidence)
        if not count:
            return board.winners(found)
        weights = found.scores[:, None, None]
        tiles = Tiles(logits, size)

        def compare(piece: Piece, values: Tensor) -> tuple[Tensor, Tensor, Extent]:
            probability = values.sigmoid_()
            mask = torch.ge(probability, thresholds.mask, out=torch.empty_like(probability))
            mask_pixels = mask.sum((1, 2))
            highest, first, won = first_highest(probability.mul_(weights.index_select(0, piece.maps)))
            shown = first.mul_(mask)
            extent = extent_of(shown)
            board.set(piece, shown.mul_(board.names(piece.maps)).amax(0), highest)
            return mask_pixels, won, extent

        # Below this, a query is neither shown nor hides one that is.
        least = thresholds.mask * weights.amin() * (1 - SLACK)
        wanted = tiles.where(lambda highest, _: highest.sigmoid_().mul_(weights) >= least)
        masks = torch.zeros(count, device=device)
        won = torch.zeros(wanted.shape, device=device)
        for piece, (mask_pixels, won_pixels, extent) in tiles.resize(wanted, compare):
            masks.index_add_(0, piece.maps, mask_pixels)
            won[:, piece.tile[0], piece.tile[1]].index_add_(0, piece.maps, won_pixels)
            board.measure(piece, extent)
        passes = passing(
            tiles, weights, thresholds.overlap, mask=masks, shown=board.extent().areas(), won=won, compared=wanted
        )
        return board.winners(found._replace(present=passes))

    def cover(self, logits: Tensor, size: Size, found: Candidates, threshold: Tensor, decide: Decide) -> Winners:
        """See `Resizer`."""
        count, device = len(logits), logits.device
        board = WinnerMap(count, size, device, with_confidence=self.with_confidence)
        if not count:
            return board.winners(found)
        weights = found.scores[:, None, None]
        tiles = Tiles(logits, size)
        least = threshold.item()
        whole = np.zeros((count, *size), np.bool_) if self.with_masks else None

        def show(piece: Piece, values: Tensor) -> tuple[Tensor, Extent]:
            mask = torch.gt(values, least, out=torch.empty_like(values))
            if whole is not None:
                whole[to_host(piece.maps), piece.rows, piece.columns] = to_host(mask)
            extent = extent_of(mask)
            probability = values.sigmoid_().mul_(mask)
            total = probability.sum((1, 2))
            named = mask.mul_(board.names(piece.maps))
            last = named.amax(0)
            confidence = None
            if self.with_confidence:
                own = named.eq_(last)  # of every map where none has the pixel, but there its probability is 0
                confidence = probability.mul_(own).mul_(weights.index_select(0, piece.maps)).amax(0)
            board.set(piece, last, confidence)
            return total, extent

        totals = torch.zeros(count, dtype=torch.float64, device=device)
        wanted = tiles.where(lambda highest, _: highest > least - SLACK)
        for piece, (total, extent) in tiles.resize(wanted, show):
            totals.index_add_(0, piece.maps, total.double())
            board.measure(piece, extent)
        extent = board.extent()
        scores, passes = decide(totals.float(), extent.areas())
        lost = (extent.areas() > 0) & ~passes
        if lost.any():  # to show what they covered
            tiles.resize(wanted & wanted[lost].any(0) & ~lost[:, None, None], show)
        return board.winners(found._replace(scores=scores, present=passes), whole)

    def sum_up(self, masks: Tensor, probabilities: Tensor, placement: Placement) -> Winners:
        """See `Resizer`."""
        return sum_up(masks, probabilities, placement, with_confidence=self.with_confidence)
