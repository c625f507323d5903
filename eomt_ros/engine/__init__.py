"""VidEoMT on the images of a stream: torch only, no ROS."""

from eomt_ros.engine.errors import (
    BackendError,
    CheckpointError,
    EngineError,
    LabelsError,
    NotFiniteError,
    OutOfMemoryError,
)
from eomt_ros.engine.labels import Labels
from eomt_ros.engine.postprocess import decode_mask
from eomt_ros.engine.segmenter import FrameResult, Logits, Segment, Segmenter, Stream, Timings

__all__ = [
    "BackendError",
    "CheckpointError",
    "EngineError",
    "FrameResult",
    "Labels",
    "LabelsError",
    "Logits",
    "NotFiniteError",
    "OutOfMemoryError",
    "Segment",
    "Segmenter",
    "Stream",
    "Timings",
    "decode_mask",
]
