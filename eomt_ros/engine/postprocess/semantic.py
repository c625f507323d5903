"""The semantic task of all families: a pixel goes to the class of the highest sum, over the queries, of class
probability times mask probability.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eomt_ros.engine.postprocess.label_map import Winners, table_of
from eomt_ros.engine.postprocess.select import Candidates
from eomt_ros.engine.postprocess.way import Way
from eomt_ros.engine.preprocess.geometry import Placement


def semantic(way: Way, masks: Tensor, probabilities: Tensor, placement: Placement) -> Winners:
    """masks: (windows or 1, queries, h, w), logits. probabilities: (windows or 1, queries, classes + 1) float32."""
    summed = way.sum_up(masks.float(), probabilities[..., :-1], placement)
    areas = summed.extent.areas()
    classes = torch.arange(len(areas), device=areas.device)
    found = Candidates(torch.full_like(classes, -1), classes, summed.totals / areas.clamp(min=1), areas > 0)
    return Winners(summed.winner, summed.confidence, table_of(found, found.scores, found.present, summed.extent))
