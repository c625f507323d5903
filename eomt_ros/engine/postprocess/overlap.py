"""Hugging Face's overlap test: does a query win enough of its mask to be a segment?

A query wins a pixel where its score times its probability is the highest. The pixels that it wins, divided by those of
its mask, must exceed the overlap threshold. It also wins pixels where no probability reaches the mask threshold and
nothing is shown. They are many, so they are counted only as far as the answer depends on them, first by whole cells.
"""

from __future__ import annotations

from torch import Tensor

from eomt_ros.engine.postprocess.select import Threshold
from eomt_ros.engine.postprocess.tiled_resize import Piece, Tiles
from eomt_ros.engine.postprocess.winner import contending, first_highest


def passing(
    tiles: Tiles, scores: Tensor, threshold: Threshold, *, mask: Tensor, shown: Tensor, won: Tensor, compared: Tensor
) -> Tensor:
    """True for the queries that are segments, (n,) bool.

    tiles: of the queries' mask logits. scores: (n, 1, 1). mask: number of pixels whose probability reaches the mask
    threshold, (n,). shown: those of the mask that the query wins, (n,). won: all that it wins from the queries it was
    compared with, (n, tile rows, tile columns). compared: True where a query was compared in a tile, the same shape.
    Counts are float32, and complete in the tiles where a query is shown.
    """
    passes = share(shown, mask) > threshold
    doubtful = (shown > 0) & ~passes
    if not doubtful.any():
        return passes

    def contending_queries(highest: Tensor, lowest: Tensor) -> Tensor:
        return contending(highest.sigmoid_().mul_(scores), lowest.sigmoid_().mul_(scores))

    contends = contending_queries(*tiles.bounds())
    pixels = tiles.pixels()
    most = (contends * pixels).sum((1, 2))
    least = (contends * (pixels * (contends.sum(0) == 1))).sum((1, 2))
    passes |= doubtful & (share(least, mask) > threshold)
    doubtful &= ~passes & (share(most, mask) > threshold)
    if not doubtful.any():
        return passes

    def count_won(piece: Piece, values: Tensor) -> Tensor:
        _, _, pixels = first_highest(values.sigmoid_().mul_(scores.index_select(0, piece.maps)))
        return pixels

    wanted = tiles.where(contending_queries)
    known = (compared | ~wanted).all(0)
    pixels_won = (won * known).sum((1, 2))
    for piece, pixels in tiles.resize(wanted & wanted[doubtful].any(0) & ~known, count_won):
        pixels_won.index_add_(0, piece.maps, pixels)
    return passes | (doubtful & (share(pixels_won, mask) > threshold))


def share(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, divided in float32 and compared in float64, as in Hugging Face; 0 of nothing."""
    return (part / whole.clamp(min=1)).double()
