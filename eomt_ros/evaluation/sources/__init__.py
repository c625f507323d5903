"""Recordings as frames with their ground truth."""

from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.sources.opening import open_sequences
from eomt_ros.evaluation.sources.sequence import FrameSequence, SourceFrame
from eomt_ros.evaluation.sources.truth import TruthSource

__all__ = ["FrameSequence", "SourceError", "SourceFrame", "TruthSource", "open_sequences"]
