"""The instance task of VidEoMT and EoMT: each query of a high score is a mask, and a pixel goes to the last one."""

from __future__ import annotations

import torch
from torch import Tensor

from eomt_ros.engine.postprocess.label_map import Winners
from eomt_ros.engine.postprocess.resizer import Resizer
from eomt_ros.engine.postprocess.select import Thresholds, likely_pairs
from eomt_ros.engine.preprocess.geometry import Placement


def instance(
    resizer: Resizer,
    masks: Tensor,
    probabilities: Tensor,
    placement: Placement,
    thresholds: Thresholds,
    *,
    top_k: int = 0,
    score_masks: bool = True,
) -> Winners:
    """masks: (queries, h, w), logits. probabilities: (queries, classes + 1) float32, the last one "no object".

    top_k: the pairs of query and class that can be segments, the likeliest; 0: each query with its likeliest class.
    score_masks: True for scores of class probability times mean mask probability; False for the former alone.
    """
    found = resizer.gather(likely_pairs(probabilities[:, :-1], thresholds.score, top_k))

    def decide(totals: Tensor, areas: Tensor) -> tuple[Tensor, Tensor]:
        scores = found.scores * (totals / (areas + 1e-6)) if score_masks else found.scores
        return scores, found.present & (areas > 0) & (scores.double() >= thresholds.score)

    logits = placement.masks(masks[found.queries].float())
    threshold = torch.as_tensor(thresholds.mask, dtype=torch.float32).logit()
    return resizer.cover(logits, placement.image, found, threshold, decide)
