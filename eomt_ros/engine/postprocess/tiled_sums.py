"""The sums of the semantic task, for the classes and in the tiles that matter.

Where masks pass through a size between the network's and the image's (EoMT, Mask2Former, VidEoMT with its aspect kept),
the sums are made at that size, and for all classes they cost more than the network. Yet few classes can be the highest
anywhere. So at first only classes that some query gives `LIKELY` are summed up and resized. The others have a common
bound, from the highest mask logits of every block of samples: where the winner stays above it, none of them can win.
The tiles in which it does not are done again with all classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from eomt_ros.engine.postprocess.label_map import Extent, Winners
from eomt_ros.engine.postprocess.select import summed_classes
from eomt_ros.engine.postprocess.tiled_resize import Piece, Tiles, taps_of
from eomt_ros.engine.postprocess.winner import SLACK, WinnerMap, contending, extent_of, first_highest
from eomt_ros.engine.preprocess.geometry import Placement

LIKELY = 0.05
"""Minimum class probability of some query for a class to be summed up at first. It changes time, not results."""
BLOCK_SIDE = 4
"""Samples along a side of a block, which has one bound."""


def sum_up(masks: Tensor, probabilities: Tensor, placement: Placement, *, with_confidence: bool) -> Winners:
    """See `Resizer`."""
    classes = probabilities.shape[2]
    everything = torch.arange(classes, device=probabilities.device)
    board = WinnerMap(classes, placement.image, probabilities.device, with_confidence=with_confidence)
    totals = torch.zeros(classes, dtype=torch.float64, device=probabilities.device)

    def compete(chosen: Tensor, only: Tensor | None = None) -> Tensor:
        """Fills the tiles with these classes; returns the tiles in which another could win, which stay open."""
        tiles = Tiles(_sums(masks, probabilities[:, :, chosen], placement), placement.image)

        def compare(piece: Piece, values: Tensor) -> tuple[Tensor, Extent, Tensor]:
            highest, first, _ = first_highest(values)
            lowest = highest.amin()
            confidence = highest.clamp_(max=1)
            total, extent = (first * confidence).sum((1, 2)), extent_of(first)
            board.set(piece, first.mul_(board.names(chosen[piece.maps])).amax(0), confidence)
            return total, extent, lowest

        wanted = tiles.where(contending)
        done = tiles.resize(wanted if only is None else wanted & only, compare)
        lowest = torch.full(wanted.shape[1:], torch.inf, device=totals.device)
        for piece, (_, _, low) in done:
            lowest[piece.tile] = torch.minimum(lowest[piece.tile], low)
        open_tiles = torch.zeros_like(lowest, dtype=torch.bool)
        if len(chosen) < classes:
            open_tiles = lowest <= _bounds(masks, probabilities, chosen, placement, tiles) * (1 + SLACK)
        still_open = open_tiles.cpu().numpy()
        for piece, (total, extent, _) in done:
            if not still_open[piece.tile]:
                named = piece._replace(maps=chosen[piece.maps])
                totals.index_add_(0, named.maps, total.double())
                board.measure(named, extent)
        return open_tiles

    likely = everything
    if placement.between is not None:
        chosen = (probabilities.amax((0, 1)) >= LIKELY).nonzero()[:, 0]
        likely = chosen if 0 < len(chosen) <= classes // 2 else everything
    open_tiles = compete(likely)
    if open_tiles.any():
        compete(everything, open_tiles)
    return board.winners(summed_classes(totals, board.extent().areas()))


def _sums(masks: Tensor, probabilities: Tensor, placement: Placement) -> Tensor:
    """The sums before they are resized to the image, (classes, h, w).

    masks: (windows or 1, queries, h, w). probabilities: (windows or 1, queries, classes).
    """
    if placement.between is None:
        return torch.matmul(probabilities.mT, masks.sigmoid().flatten(2))[0].view(-1, *masks.shape[2:])
    shown = placement.shown
    sums = [_resized_sums(*each, placement.between, shown) for each in zip(masks, probabilities, strict=True)]
    return placement.stitched(sums) if placement.windows else sums[0]


def _resized_sums(masks: Tensor, probabilities: Tensor, size: tuple[int, int], shown: tuple[int, int]) -> Tensor:
    """The sums of masks at a size that they are resized to, in its part `shown` at the top left, (classes, *shown)."""
    # Rows between the same two samples are made together, in a core's cache.
    wide = F.interpolate(masks.transpose(0, 1), size[1], mode="linear")[:, :, : shown[1]]
    rows = taps_of(masks.shape[1], size[0], masks.device)
    lows, highs = rows.low.tolist()[: shown[0]], rows.high.tolist()
    sums = masks.new_empty(shown[0], probabilities.shape[1], shown[1])
    for _, group in groupby(range(shown[0]), lows.__getitem__):
        first, *others = group
        band = slice(first, first + 1 + len(others))
        values = wide[highs[first]] * rows.high_weight[band][:, None]
        values = values.addcmul_(wide[lows[first]], rows.low_weight[band][:, None]).sigmoid_()
        torch.matmul(probabilities.T, values, out=sums[band])
    return sums.transpose(0, 1)


def _bounds(masks: Tensor, probabilities: Tensor, chosen: Tensor, placement: Placement, tiles: Tiles) -> Tensor:
    """The bound of all classes but the chosen ones in each tile, (tile rows, tile columns)."""
    others = torch.ones(probabilities.shape[2], dtype=torch.bool, device=masks.device)
    others[chosen] = False
    # With one more sample on each side, because a resized pixel lies between two.
    height, width = masks.shape[2:]
    filled = F.pad(masks, (1, 1 + -width % BLOCK_SIDE, 1, 1 + -height % BLOCK_SIDE), value=-torch.inf)
    highest = F.max_pool2d(filled, BLOCK_SIDE + 2, BLOCK_SIDE).sigmoid()
    blocks = torch.einsum("wqc,wqyx->wcyx", probabilities[:, :, others], highest).amax(1)
    bounds = torch.empty(len(tiles.rows), len(tiles.columns), device=masks.device)
    for row, rows in enumerate(tiles.rows):
        for column, columns in enumerate(tiles.columns):
            parts = _blocks(placement, rows.samples, columns.samples, (height, width))
            bounds[row, column] = torch.stack([blocks[part].amax() for part in parts]).amax()
    return bounds


def _blocks(
    placement: Placement, rows: slice, columns: slice, samples: tuple[int, int]
) -> Sequence[tuple[int, slice, slice]]:
    """The blocks that a part of the sums depends on, with the number of the window."""
    assert placement.between is not None
    windows = [(part.rows, part.columns) for part in placement.windows] or [(slice(0, None), slice(0, None))]
    parts = []
    for number, starts in enumerate(windows):
        spans = []
        for part, start, count, size in zip(
            (rows, columns), (starts[0].start, starts[1].start), samples, placement.between, strict=True
        ):
            first, last = max(part.start - start, 0), min(part.stop - start, size) - 1
            scale = count / size
            # The samples before the first and after the last pixel, as torch places pixels.
            low, high = (
                int(max((first + 0.5) * scale - 0.5, 0)) // BLOCK_SIDE,
                int((last + 0.5) * scale + 0.5) // BLOCK_SIDE,
            )
            spans.append(slice(low, min(high, -(-count // BLOCK_SIDE) - 1) + 1) if first <= last else None)
        if spans[0] is not None and spans[1] is not None:
            parts.append((number, spans[0], spans[1]))
    return parts
