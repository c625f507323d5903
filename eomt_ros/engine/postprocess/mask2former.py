"""The panoptic and the instance task of Mask2Former, by rules of its own.

Classes, segments, masks and scores are those of Hugging Face's `Mask2FormerImageProcessor` (transformers,
models/mask2former/image_processing_mask2former.py) on the same logits in float32, in its order of steps: masks pass
through 384 x 384, where instances are decided, and from there probabilities, not logits, are resized.

One difference: after fusing a region of stuff, Hugging Face goes on counting ids from that region's, so that later
segments get ids that others have. Here every segment has its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from eomt_ros.engine.postprocess.label_map import Extent, Winners, table_of, to_host
from eomt_ros.engine.postprocess.overlap import share
from eomt_ros.engine.postprocess.select import Candidates, Thresholds, likely_queries
from eomt_ros.engine.postprocess.tiled import Tiled
from eomt_ros.engine.postprocess.tiled_resize import Piece, Tiles
from eomt_ros.engine.postprocess.winner import SLACK, WinnerMap, contending, extent_of, first_highest
from eomt_ros.engine.preprocess.geometry import Placement


def mask2former_panoptic(
    resizer: Tiled, masks: Tensor, probabilities: Tensor, placement: Placement, thresholds: Thresholds
) -> Winners:
    """A pixel goes to the query of the highest score times probability, however low, if the query is kept.

    It is kept where it wins more than the overlap threshold of the pixels in which that product reaches the mask
    threshold. Arguments as in `postprocess.panoptic`.
    """
    found = resizer.gather(likely_queries(probabilities, thresholds.score))
    count = len(found.scores)
    board = WinnerMap(count, placement.image, masks.device, with_confidence=resizer.with_confidence)
    mask_pixels = torch.zeros(count, device=masks.device)
    if count:
        weights = found.scores[:, None, None]
        tiles = Tiles(placement.masks(masks[found.queries].float()).sigmoid_(), placement.image)

        def compare(piece: Piece, values: Tensor) -> tuple[Tensor, Extent]:
            weighted = values.mul_(weights.index_select(0, piece.maps))
            pixels = torch.ge(weighted, thresholds.mask).sum((1, 2))
            highest, first, _ = first_highest(weighted)
            extent = extent_of(first)
            board.set(piece, first.mul_(board.names(piece.maps)).amax(0), highest)
            return pixels, extent

        def matters(highest: Tensor, lowest: Tensor) -> Tensor:
            highest, lowest = highest.mul_(weights), lowest.mul_(weights)
            return contending(highest, lowest) | (highest >= thresholds.mask * (1 - SLACK))

        for piece, (pixels, extent) in tiles.resize(tiles.where(matters), compare):
            mask_pixels.index_add_(0, piece.maps, pixels.float())
            board.measure(piece, extent)
    extent = board.extent()
    passes = (mask_pixels > 0) & (share(extent.areas(), mask_pixels) > thresholds.overlap) & (extent.areas() > 0)
    return board.winners(found._replace(present=passes))


def mask2former_instance(
    resizer: Tiled, masks: Tensor, probabilities: Tensor, placement: Placement, thresholds: Thresholds
) -> Winners:
    """The likeliest pairs of query and class, as many as there are queries: one query can be several instances.

    Masks and scores are decided at 384 x 384; from there masks are brought to the image by nearest neighbour. A pixel
    goes to the last instance whose mask has it. Arguments as in `postprocess.instance`.
    """
    found = _likeliest(probabilities[:, :-1], thresholds)
    logits = placement.masks(masks[found.queries].float())
    inside = logits > torch.tensor(thresholds.mask).logit().item()
    shown = inside.float()
    probability = logits.sigmoid_()
    means = (probability.flatten(1) * shown.flatten(1)).sum(1) / (shown.flatten(1).sum(1) + 1e-6)
    scores = found.scores * means
    rows, columns = (_nearest(*axis, shown.device) for axis in zip(shown.shape[1:], placement.image, strict=True))
    # How many of the image's rows and columns show each of the 384.
    times_down = rows.bincount(minlength=shown.shape[1]).float()
    times_across = columns.bincount(minlength=shown.shape[2]).float()
    down, across = (shown * times_across).sum(2), (shown * times_down[:, None]).sum(1)
    passes = ((down * times_down).sum(1) > 0) & (scores.double() >= thresholds.score)

    found = Candidates(*(part[passes] for part in found._replace(scores=scores)))
    shown, probability = shown[passes], probability[passes] * found.scores[:, None, None]
    count = len(shown)
    winner, confidence = shown.new_zeros(shown.shape[1:]), None
    if count:
        winner = (shown * torch.arange(1.0, count + 1, device=shown.device)[:, None, None]).amax(0)
    if resizer.with_confidence:
        levels = torch.cat([winner.new_zeros(1, *winner.shape), probability]).gather(0, winner.long()[None])[0]
        confidence = levels[rows][:, columns].mul_(255).add_(0.5).to(torch.uint8)
    return Winners(
        winner[rows][:, columns].to(torch.uint8 if count <= 254 else torch.int16),
        confidence,
        table_of(found, Extent(down[passes][:, rows], across[passes][:, columns])),
        to_host(inside[passes][:, rows][:, :, columns]) if resizer.with_masks else None,
    )


def _likeliest(probabilities: Tensor, thresholds: Thresholds) -> Candidates:
    queries, classes = probabilities.shape
    # Not sorted, as in the reference: the order decides who covers whom.
    scores, pairs = probabilities.flatten().topk(queries, sorted=False)
    likely = scores >= thresholds.score  # a mean mask probability lowers a score, never raises it
    pairs = pairs[likely]
    return Candidates(torch.div(pairs, classes, rounding_mode="floor"), pairs % classes, scores[likely], likely[likely])


def _nearest(samples: int, pixels: int, device: torch.device) -> Tensor:
    """The sample that each pixel of an axis shows, (pixels,) int64, by torch's own rule."""
    numbers = torch.arange(samples, dtype=torch.float32, device=device).view(1, 1, -1, 1)
    return F.interpolate(numbers, (pixels, 1), mode="nearest").flatten().long()
