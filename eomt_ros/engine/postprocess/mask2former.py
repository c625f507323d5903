"""Mask and class logits of one frame to a segmentation at the image's own size, for Mask2Former.

Classes, segments, masks and scores are those of Hugging Face's `Mask2FormerImageProcessor` (transformers,
models/mask2former/image_processing_mask2former.py) on the same logits in float32, with its own order of steps: masks
pass through 384 x 384, where instances are decided, and from where probabilities, not logits, are resized.

One thing is not taken over. After fusing a region of stuff, Hugging Face goes on counting ids from that region's, so
that later segments get ids that others have. Here every segment has its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from eomt_ros.engine.postprocess.label_map import Canvas, Extent, Segment, Segmentation, to_host
from eomt_ros.engine.postprocess.semantic import semantic
from eomt_ros.engine.postprocess.tiled_resize import Piece, Tiles
from eomt_ros.engine.postprocess.videomt import check_finite, fuse, fused_classes
from eomt_ros.engine.postprocess.winner import SLACK, contending, first_highest
from eomt_ros.engine.preprocess.geometry import Placement

__all__ = ["postprocess"]


@torch.inference_mode()
def postprocess(
    mask_logits: Tensor,
    class_logits: Tensor,
    placement: Placement,
    *,
    task: str,
    is_thing: Sequence[bool],
    score_threshold: float,
    mask_threshold: float,
    overlap_threshold: float,
    fuse_stuff: bool,
    with_masks: bool = False,
    with_confidence: bool = True,
) -> Segmentation:
    """Segments one frame: as `eomt_ros.engine.postprocess.videomt.postprocess`, of one window."""
    check_finite("mask", mask_logits)
    check_finite("class", class_logits)
    probabilities = class_logits.float().softmax(-1)
    if task == "semantic":
        return semantic(mask_logits, probabilities[..., :-1], placement, with_masks, with_confidence)
    masks, probabilities = mask_logits[0].float(), probabilities[0]
    if task == "instance":
        return _instance(
            masks, probabilities[:, :-1], placement, score_threshold, mask_threshold, with_masks, with_confidence
        )
    fused = fused_classes(is_thing, fuse_stuff)
    return _panoptic(
        masks,
        probabilities,
        placement,
        score_threshold,
        mask_threshold,
        overlap_threshold,
        fused,
        with_masks,
        with_confidence,
    )


def _panoptic(
    mask_logits: Tensor,
    probabilities: Tensor,
    placement: Placement,
    score_threshold: float,
    mask_threshold: float,
    overlap_threshold: float,
    fused: set[int],
    with_masks: bool,
    with_confidence: bool,
) -> Segmentation:
    """A pixel goes to the query of the highest score times probability, however low, if the query is kept.

    It is kept where it wins more than `overlap_threshold` of the pixels in which that product reaches `mask_threshold`.
    """
    classes = probabilities.shape[1] - 1
    scores, class_ids = probabilities.max(-1)
    kept = ((class_ids != classes) & (scores > score_threshold)).nonzero()[:, 0]
    canvas = Canvas(len(kept), placement.image, kept.device, with_confidence=with_confidence)
    if not len(kept):
        return canvas.segmentation([], classes, with_masks=with_masks)
    weights = scores[kept][:, None, None]
    tiles = Tiles(placement.masks(mask_logits[kept]).sigmoid_(), placement.image)

    def compare(piece: Piece, values: Tensor) -> tuple[Tensor, Extent]:
        weighted = values.mul_(weights.index_select(0, piece.maps))
        mask_pixels = torch.ge(weighted, mask_threshold).sum((1, 2))
        highest, first, _ = first_highest(weighted)
        extent = Extent.of(first)
        canvas.paint(piece, first, highest)
        return mask_pixels, extent

    def matters(highest: Tensor, lowest: Tensor) -> Tensor:
        highest, lowest = highest.mul_(weights), lowest.mul_(weights)
        return contending(highest, lowest) | (highest >= mask_threshold * (1 - SLACK))

    masks = torch.zeros(len(kept), device=kept.device)
    for piece, (mask_pixels, extent) in tiles.resize(tiles.where(matters), compare):
        masks.index_add_(0, piece.maps, mask_pixels.float())
        canvas.measure(piece, extent)
    # Divided in float32, compared in float64, as by Hugging Face.
    passes = (masks > 0) & ((canvas.areas() / masks.clamp(min=1)).double() > overlap_threshold) & (canvas.areas() > 0)

    candidates = list(zip(kept.tolist(), class_ids[kept].tolist(), scores[kept].tolist(), strict=True))
    segments = fuse(candidates, passes.nonzero()[:, 0].tolist(), fused)
    return canvas.segmentation(segments, classes, with_masks=with_masks)


def _instance(
    mask_logits: Tensor,
    probabilities: Tensor,
    placement: Placement,
    score_threshold: float,
    mask_threshold: float,
    with_masks: bool,
    with_confidence: bool,
) -> Segmentation:
    """As many pairs of query and class as there are queries, the likeliest: one query can be several instances.

    Masks and scores are decided at 384 x 384; from there masks are brought to the image by nearest neighbour. A pixel
    goes to the last instance whose mask has it.
    """
    queries, classes = probabilities.shape
    # Not sorted, as in the reference: which order that is decides who covers whom.
    scores, pairs = probabilities.flatten().topk(queries, sorted=False)
    chosen = torch.div(pairs, classes, rounding_mode="floor")
    likely = (scores >= score_threshold).nonzero()[:, 0]  # a mean mask probability lowers a score, never raises it
    scores, chosen, class_ids = scores[likely], chosen[likely], (pairs % classes)[likely]
    logits = placement.masks(mask_logits[chosen])
    masks = logits > torch.tensor(mask_threshold).logit().item()
    shown = masks.float()
    probability = logits.sigmoid_()
    means = (probability.flatten(1) * shown.flatten(1)).sum(1) / (shown.flatten(1).sum(1) + 1e-6)
    scores = scores * means
    rows, columns = (_nearest(*axis, masks.device) for axis in zip(masks.shape[1:], placement.image, strict=True))
    # How often each of the 384 rows and columns is shown.
    times_down = rows.bincount(minlength=masks.shape[1]).float()
    times_across = columns.bincount(minlength=masks.shape[2]).float()
    down, across = (shown * times_across).sum(2), (shown * times_down[:, None]).sum(1)
    found = (((down * times_down).sum(1) > 0) & (scores.double() >= score_threshold)).nonzero()[:, 0]

    canvas = Canvas(len(found), placement.image, masks.device, with_confidence=with_confidence)
    if not len(found):
        return canvas.segmentation([], classes, with_masks=with_masks)
    owner = (shown[found] * torch.arange(1.0, len(found) + 1, device=shown.device)[:, None, None]).amax(0)
    own = (owner.long() - 1).clamp(min=0)[None]
    confidence = (probability[found] * scores[found][:, None, None]).gather(0, own)[0]
    canvas.fill(
        owner[rows][:, columns], confidence[rows][:, columns], Extent(down[found][:, rows], across[found][:, columns])
    )
    segments = [
        Segment(query, class_id, score, [index])
        for index, (query, class_id, score) in enumerate(
            zip(chosen[found].tolist(), class_ids[found].tolist(), scores[found].tolist(), strict=True)
        )
    ]
    whole = to_host(masks[found][:, rows][:, :, columns]) if with_masks else None
    return canvas.segmentation(segments, classes, with_masks=with_masks, whole=whole)


def _nearest(samples: int, pixels: int, device: torch.device) -> Tensor:
    """Which sample each pixel of an axis shows, (pixels,) int64, by torch's own rule."""
    numbers = torch.arange(samples, dtype=torch.float32, device=device).view(1, 1, -1, 1)
    return F.interpolate(numbers, (pixels, 1), mode="nearest").flatten().long()
