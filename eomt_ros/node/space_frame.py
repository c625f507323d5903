"""A segmented image together with its depth: what a camera's topics in metres are made of."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eomt_ros.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from std_msgs.msg import Header

    from eomt_ros.engine import FrameResult
    from eomt_ros.space.pinhole import Pinhole
    from eomt_ros.space.pose import Pose


@dataclass(frozen=True, eq=False)
class SpaceFrame:
    """An image, what was found in it, and where that is."""

    pixels: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""
    result: FrameResult
    header: Header
    """The image's; its frame is the camera's optical frame."""
    depth: npt.NDArray[np.float32]
    """(H, W) metres along the optical axis, NaN where unknown."""
    pinhole: Pinhole
    """Of the image's size."""
    pose: Pose | None
    """The optical frame in `frame_id` at the image's stamp; None: the identity, or not known, see `located`."""
    frame_id: str
    """The parameter target_frame; the optical frame where that is empty."""
    fixed: bool
    """True where the pose in target_frame is known: only then do velocities mean anything."""
    located: bool = True
    """False: target_frame is set and the pose in it is not known, so there are no objects, only points."""
    jumps: int = 0
    """How often the pose has jumped so far: with another number than before, tracks are of another place."""


class Lack(enum.Enum):
    """Why a frame that somebody wanted in metres gave nothing in metres, or not all of it."""

    OVERTAKEN = "overtaken"  # a newer one had its depth before the thread was free
    NO_DEPTH = "no_depth"
    DEPTH_TOO_FAR = "depth_too_far"  # in time, from the image
    BAD_DEPTH = "bad_depth"
    OTHER_FRAME = "other_frame"
    NO_CAMERA_INFO = "no_camera_info"
    BAD_CAMERA_INFO = "bad_camera_info"
    INTERNAL_ERROR = "internal_error"
    DEPTH_UNKNOWN = "depth_unknown"  # everywhere: published, without a point
    NO_POSE = "no_pose"  # in target_frame: published without objects
    POSE_JUMPED = "pose_jumped"  # published, with objects that begin anew


class LackError(UserError):
    """A frame gives nothing in metres, or not all of it; the text says why, and what to do."""

    def __init__(self, lack: Lack, explanation: str) -> None:
        super().__init__(explanation)
        self.lack = lack
