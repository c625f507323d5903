"""The panoptic task of VidEoMT and EoMT: a pixel goes to the query of the highest score times probability."""

from __future__ import annotations

from torch import Tensor

from eomt_ros.engine.postprocess.label_map import Winners
from eomt_ros.engine.postprocess.resizer import Resizer
from eomt_ros.engine.postprocess.select import Thresholds, likely_queries
from eomt_ros.engine.preprocess.geometry import Placement


def panoptic(
    resizer: Resizer, masks: Tensor, probabilities: Tensor, placement: Placement, thresholds: Thresholds
) -> Winners:
    """masks: (queries, h, w), logits. probabilities: (queries, classes + 1) float32, the last one "no object"."""
    found = resizer.gather(likely_queries(probabilities, thresholds.score))
    logits = placement.masks(masks[found.queries].float())
    return resizer.win(logits, placement.image, found, thresholds)
