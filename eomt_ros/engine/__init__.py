"""VidEoMT on the images of a stream: torch only, no ROS."""

from eomt_ros.continuity import LateFrameError
from eomt_ros.engine.device import free_devices
from eomt_ros.engine.errors import (
    BackendError,
    CheckpointError,
    DeviceLostError,
    EngineError,
    IgnoreMaskError,
    LabelsError,
    NotFiniteError,
    OutOfMemoryError,
)
from eomt_ros.engine.model.labels import Labels
from eomt_ros.engine.postprocess.rle import decode_mask
from eomt_ros.engine.results import FrameResult, Logits, Segment, Timings
from eomt_ros.engine.segmenter import Segmenter
from eomt_ros.engine.stream import Stream
from eomt_ros.engine.tracking.shared_ids import SharedIds
from eomt_ros.model_options import ModelOptions

__all__ = [
    "BackendError",
    "CheckpointError",
    "DeviceLostError",
    "EngineError",
    "FrameResult",
    "IgnoreMaskError",
    "Labels",
    "LabelsError",
    "LateFrameError",
    "Logits",
    "ModelOptions",
    "NotFiniteError",
    "OutOfMemoryError",
    "Segment",
    "Segmenter",
    "SharedIds",
    "Stream",
    "Timings",
    "decode_mask",
    "free_devices",
]
