"""Mask and class logits of one frame to a segmentation at the image's own size, for VidEoMT and EoMT.

Classes, segments, masks and scores are those of Hugging Face's `VideomtVideoProcessor` and `EomtImageProcessor`
(transformers, models/videomt/video_processing_videomt.py, models/eomt/image_processing_eomt.py) on the same logits in
float32. Its cost is not: Hugging Face resizes the masks of all queries to the image before it looks at the scores. Here
the scores come first, and what they leave is resized only in the tiles of the image where it can matter.

A pixel may differ where two queries tie but for the last bit of a float: none of 111 million did, on random logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from eomt_ros.engine.errors import NotFiniteError
from eomt_ros.engine.postprocess.label_map import Canvas, Extent, Segment, Segmentation, to_host
from eomt_ros.engine.postprocess.overlap import Tally, passing
from eomt_ros.engine.postprocess.rle import decode_mask
from eomt_ros.engine.postprocess.semantic import semantic
from eomt_ros.engine.postprocess.tiled_resize import Piece, Tiles
from eomt_ros.engine.postprocess.winner import SLACK, first_highest
from eomt_ros.engine.preprocess.geometry import Placement

__all__ = ["Segmentation", "check_finite", "decode_mask", "fuse", "fused_classes", "postprocess"]


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
    top_k: int = 0,
    score_masks: bool = True,
    with_masks: bool = False,
    with_confidence: bool = True,
) -> Segmentation:
    """Segments one frame.

    mask_logits: (windows or 1, queries, h, w). class_logits: (windows or 1, queries, classes + 1), the last one "no
    object". Of any float type; the arithmetic is float32. placement: of the image. task: "semantic", "instance" or
    "panoptic", several windows for the first only. is_thing: one entry per class. The thresholds lie in 0..1; the
    instance task has no overlap threshold, the semantic task none at all. top_k: in the instance task, the pairs of
    query and class that can be segments, the likeliest; 0: each query with its likeliest class. score_masks: whether an
    instance's score is class probability times mean mask probability, or the former alone. Raises `NotFiniteError` for
    NaN or infinity in the logits.
    """
    check_finite("mask", mask_logits)
    check_finite("class", class_logits)
    probabilities = class_logits.float().softmax(-1)
    if task == "semantic":
        return semantic(mask_logits, probabilities[..., :-1], placement, with_masks, with_confidence)
    masks, probabilities = mask_logits[0], probabilities[0]
    if task == "instance":
        return _instance(
            masks,
            probabilities[:, :-1],
            placement,
            score_threshold,
            mask_threshold,
            top_k,
            score_masks,
            with_masks,
            with_confidence,
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
    """A pixel goes to the query of the highest score times probability, if that probability is high enough."""
    classes = probabilities.shape[1] - 1
    scores, class_ids = probabilities.max(-1)
    kept = ((class_ids != classes) & (scores > score_threshold)).nonzero()[:, 0]
    canvas = Canvas(len(kept), placement.image, kept.device, with_confidence=with_confidence)
    if not len(kept):
        return canvas.segmentation([], classes, with_masks=with_masks)
    weights = scores[kept][:, None, None]
    tiles = Tiles(placement.masks(mask_logits[kept].float()), placement.image)

    def compare(piece: Piece, values: Tensor) -> tuple[Tensor, Tensor, Extent]:
        probability = values.sigmoid_()
        mask = torch.ge(probability, mask_threshold, out=torch.empty_like(probability))
        mask_pixels = mask.sum((1, 2))
        highest, first, won = first_highest(probability.mul_(weights.index_select(0, piece.maps)))
        shown = first.mul_(mask)
        extent = Extent.of(shown)
        canvas.paint(piece, shown, highest)
        return mask_pixels, won, extent

    # Where a query stays below this, it is not shown, nor does it hide one that is.
    least = mask_threshold * weights.amin() * (1 - SLACK)
    wanted = tiles.where(lambda highest, _: highest.sigmoid_().mul_(weights) >= least)
    masks = torch.zeros(len(kept), device=kept.device)
    won = torch.zeros(wanted.shape, device=kept.device)
    for piece, (mask_pixels, won_pixels, extent) in tiles.resize(wanted, compare):
        masks.index_add_(0, piece.maps, mask_pixels)
        won[:, piece.tile[0], piece.tile[1]].index_add_(0, piece.maps, won_pixels)
        canvas.measure(piece, extent)
    passes = passing(tiles, weights, Tally(masks, canvas.areas(), won, wanted), overlap_threshold)

    candidates = list(zip(kept.tolist(), class_ids[kept].tolist(), scores[kept].tolist(), strict=True))
    segments = fuse(candidates, passes.nonzero()[:, 0].tolist(), fused)
    return canvas.segmentation(segments, classes, with_masks=with_masks)


def fused_classes(is_thing: Sequence[bool], fuse_stuff: bool) -> set[int]:
    """The classes of which all regions are one segment. is_thing: one entry per class."""
    return {index for index, thing in enumerate(is_thing) if fuse_stuff and not thing}


def fuse(candidates: Sequence[tuple[int, int, float]], passing: Sequence[int], fused: set[int]) -> list[Segment]:
    """Segments of the maps that pass; those of one class in `fused` are one, by the name and score of the first.

    candidates: query, class and score of each map.
    """
    segments: list[Segment] = []
    stuff: dict[int, Segment] = {}
    for index in passing:
        query, class_id, score = candidates[index]
        if class_id in stuff:
            stuff[class_id].maps.append(index)
            continue
        segments.append(Segment(query, class_id, score, [index]))
        if class_id in fused:
            stuff[class_id] = segments[-1]
    return segments


def _instance(
    mask_logits: Tensor,
    probabilities: Tensor,
    placement: Placement,
    score_threshold: float,
    mask_threshold: float,
    top_k: int,
    score_masks: bool,
    with_masks: bool,
    with_confidence: bool,
) -> Segmentation:
    """A pixel goes to the last query whose mask has it."""
    classes = probabilities.shape[1]
    if top_k:
        scores, pairs = probabilities.flatten().topk(min(top_k, probabilities.numel()))
        scores, pairs = scores.flip(0), pairs.flip(0)  # the likeliest last, so that it is not covered
        queries, class_ids = torch.div(pairs, classes, rounding_mode="floor"), pairs % classes
    else:
        scores, class_ids = probabilities.max(-1)
        queries = torch.arange(len(scores), device=scores.device)
    # A mean mask probability lowers a score and never raises it.
    likely = scores >= score_threshold
    scores, class_ids, kept = scores[likely], class_ids[likely], queries[likely]
    canvas = Canvas(len(kept), placement.image, kept.device, with_confidence=with_confidence)
    if not len(kept):
        return canvas.segmentation([], classes, with_masks=with_masks)
    weights = scores[:, None, None]
    tiles = Tiles(placement.masks(mask_logits[kept].float()), placement.image)
    threshold = torch.tensor(mask_threshold).logit().item()
    whole = np.zeros((len(kept), *placement.image), np.bool_) if with_masks else None

    def show(piece: Piece, values: Tensor) -> tuple[Tensor, Extent]:
        mask = torch.gt(values, threshold, out=torch.empty_like(values))
        if whole is not None:
            whole[to_host(piece.maps), piece.rows, piece.columns] = to_host(mask)
        extent = Extent.of(mask)
        probability = values.sigmoid_().mul_(mask)
        total = probability.sum((1, 2))
        order = torch.arange(1.0, mask.shape[0] + 1, device=mask.device)[:, None, None] * mask
        last = order.eq_(order.amax(0)).mul_(mask)
        confidence = None
        if with_confidence:
            confidence = probability.mul_(last).mul_(weights.index_select(0, piece.maps)).amax(0)
        canvas.paint(piece, last, confidence)
        return total, extent

    totals = torch.zeros(len(kept), dtype=torch.float64, device=kept.device)
    wanted = tiles.where(lambda highest, _: highest > threshold - SLACK)
    for piece, (total, extent) in tiles.resize(wanted, show):
        totals.index_add_(0, piece.maps, total.double())
        canvas.measure(piece, extent)
    areas = canvas.areas()
    if score_masks:
        scores = scores * (totals.float() / (areas + 1e-6))
    found = (areas > 0) & (scores.double() >= score_threshold)

    lost = (areas > 0) & ~found
    if lost.any():  # what they covered comes to light
        tiles.resize(wanted & wanted[lost].any(0) & ~lost[:, None, None], show)

    candidates = zip(kept.tolist(), class_ids.tolist(), scores.tolist(), found.tolist(), strict=True)
    segments = [
        Segment(query, class_id, score, [index])
        for index, (query, class_id, score, is_found) in enumerate(candidates)
        if is_found
    ]
    return canvas.segmentation(segments, classes, with_masks=with_masks, whole=whole)


def check_finite(name: str, logits: Tensor) -> None:
    """Raises `NotFiniteError` for NaN or infinity."""
    # The sum costs a tenth of a look at every value, and is finite where they are, but for overflow.
    if logits.sum(dtype=torch.float32).isfinite() or logits.isfinite().all():
        return
    bad = int((~logits.isfinite()).sum())
    raise NotFiniteError(
        f"the {name} logits hold NaN or infinity in {bad} of {logits.numel()} places; the weights are damaged or the "
        "precision is too low for them: try precision float32"
    )
