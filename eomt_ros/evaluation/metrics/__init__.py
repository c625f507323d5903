"""How right a segmentation is: of pixels, of tubes, of objects and their ids, and how steady.

`Scores` is fed frame by frame, and gives everything; each metric has a module, which says what it is.
"""

from eomt_ros.evaluation.metrics.intervals import PartialScores
from eomt_ros.evaluation.metrics.objects import STANDARD_LIMITS, ObjectLimits
from eomt_ros.evaluation.metrics.scores import Scores

__all__ = ["STANDARD_LIMITS", "ObjectLimits", "PartialScores", "Scores"]
