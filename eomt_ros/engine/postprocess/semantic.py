"""The semantic task of all families: a pixel goes to the class of the highest sum, over the queries, of class
probability times mask probability.
"""

from __future__ import annotations

from torch import Tensor

from eomt_ros.engine.postprocess.label_map import Winners
from eomt_ros.engine.postprocess.resizer import Resizer
from eomt_ros.engine.preprocess.geometry import Placement


def semantic(resizer: Resizer, masks: Tensor, probabilities: Tensor, placement: Placement) -> Winners:
    """masks: (windows or 1, queries, h, w), logits. probabilities: (windows or 1, queries, classes + 1) float32."""
    return resizer.sum_up(masks.float(), probabilities[..., :-1], placement)
