"""Where frames and their ground truth come from."""

from eomt_ros.evaluation.sources.opening import Source, open_sequences, open_source
from eomt_ros.evaluation.sources.sequence import Sequence, SourceError, SourceFrame
from eomt_ros.evaluation.sources.truth import TruthSource

__all__ = ["Sequence", "Source", "SourceError", "SourceFrame", "TruthSource", "open_sequences", "open_source"]
