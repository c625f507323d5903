"""How right a segmentation is: of pixels, of tubes, of objects and their ids, and how steady.

`Scores` is fed frame by frame, and gives everything; each metric has a module, which says what it is.
"""

from eomt_ros.evaluation.metrics.intervals import FrameScore, IntervalScores
from eomt_ros.evaluation.metrics.objects import STANDARD_LIMITS, ObjectLimits
from eomt_ros.evaluation.metrics.scores import Figures, Scores

__all__ = ["STANDARD_LIMITS", "Figures", "FrameScore", "IntervalScores", "ObjectLimits", "Scores"]
