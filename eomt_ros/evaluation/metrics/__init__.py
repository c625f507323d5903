"""Metrics of segmentations: of pixels, of tubes, of objects and their ids, and of steadiness.

`Scores` takes frame after frame and computes all of them; the module of a metric defines it.
"""

from eomt_ros.evaluation.metrics.objects import STANDARD_LIMITS, ObjectLimits
from eomt_ros.evaluation.metrics.scores import PartialScores, Scores

__all__ = ["STANDARD_LIMITS", "ObjectLimits", "PartialScores", "Scores"]
