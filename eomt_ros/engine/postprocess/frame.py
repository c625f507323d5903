"""Turns mask and class logits of one frame into its label map at the image's own size.

Classes, segments, masks and scores are those of Hugging Face's `VideomtVideoProcessor`, `EomtImageProcessor` and
`Mask2FormerImageProcessor` (transformers, models/videomt/video_processing_videomt.py,
models/eomt/image_processing_eomt.py and models/mask2former/image_processing_mask2former.py) on the same logits in
float32. Its cost is lower: Hugging Face resizes the masks of all queries to the image before it looks at the scores.
Here the scores come first, and the masks that are left are resized only in the tiles where they can matter.

A pixel may differ where two queries tie but for the last bit of a float: none of 111 million did, on random logits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from eomt_ros.engine.errors import NotFiniteError
from eomt_ros.engine.postprocess.instance import instance
from eomt_ros.engine.postprocess.label_map import LabelMap, ResultClasses, Winners
from eomt_ros.engine.postprocess.mask2former import mask2former_instance, mask2former_panoptic
from eomt_ros.engine.postprocess.panoptic import panoptic
from eomt_ros.engine.postprocess.resizer import Resizer
from eomt_ros.engine.postprocess.select import Thresholds
from eomt_ros.engine.postprocess.semantic import semantic
from eomt_ros.engine.postprocess.tiled import Tiled
from eomt_ros.engine.preprocess.geometry import Placement


class Rules(NamedTuple):
    """The rules of a family's tasks; the semantic task is the same for all."""

    panoptic: Callable[..., Winners]
    instance: Callable[..., Winners]


QUERY_RULES = Rules(panoptic, instance)
"""Rules of VidEoMT and EoMT."""
MASK2FORMER_RULES = Rules(mask2former_panoptic, mask2former_instance)


@torch.inference_mode()
def postprocess(
    mask_logits: Tensor,
    class_logits: Tensor,
    placement: Placement,
    *,
    task: str,
    classes: ResultClasses,
    score_threshold: float,
    mask_threshold: float,
    overlap_threshold: float,
    fuse_stuff: bool,
    rules: Rules = QUERY_RULES,
    seen: np.ndarray | None = None,
    with_masks: bool = False,
    with_confidence: bool = True,
    **of_instances: Any,
) -> LabelMap:
    """Segments one frame.

    mask_logits: (windows or 1, queries, h, w). class_logits: (windows or 1, queries, classes + 1), the last one "no
    object". Finite, see `check_finite`, and of any float type; the arithmetic is float32. placement: of the image.
    task: "semantic", "instance" or "panoptic", several windows for the first only. The thresholds lie in 0..1; the
    instance task has no overlap threshold, the semantic task none at all. seen: as in `LabelMap.of`. of_instances:
    `top_k` and `score_masks` of `postprocess.instance`.
    """
    thresholds = Thresholds(score_threshold, mask_threshold, overlap_threshold)
    # Of a mask that others cover in part, the pixels that are seen cannot be counted in the image of winners.
    whole = task == "instance" and (with_masks or seen is not None)
    resizer = Tiled(with_confidence=with_confidence, with_masks=whole)
    winners = winners_of(resizer, mask_logits, class_logits, placement, thresholds, task, rules, **of_instances)
    return LabelMap.of(winners, classes, task=task, fuse_stuff=fuse_stuff, seen=seen, with_masks=with_masks)


def winners_of(
    resizer: Resizer,
    mask_logits: Tensor,
    class_logits: Tensor,
    placement: Placement,
    thresholds: Thresholds,
    task: str,
    rules: Rules,
    **of_instances: Any,
) -> Winners:
    """The winner of each pixel, found by `resizer`; the rest as in `postprocess`."""
    probabilities = class_logits.float().softmax(-1)
    if task == "semantic":
        return semantic(resizer, mask_logits, probabilities, placement)
    if task == "instance":
        return rules.instance(resizer, mask_logits[0], probabilities[0], placement, thresholds, **of_instances)
    return rules.panoptic(resizer, mask_logits[0], probabilities[0], placement, thresholds)


def check_finite(name: str, logits: Tensor) -> None:
    """Raises `NotFiniteError` for NaN or infinity."""
    # A sum costs a tenth of a look at every value, and is finite where they are, unless it overflows.
    if logits.sum(dtype=torch.float32).isfinite() or logits.isfinite().all():
        return
    bad = int((~logits.isfinite()).sum())
    raise NotFiniteError(
        f"the {name} logits hold NaN or infinity in {bad} of {logits.numel()} places; the weights are damaged or the "
        "precision is too low for them: try precision float32"
    )
