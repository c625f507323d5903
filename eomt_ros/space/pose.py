"""Poses: where one frame is in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from eomt_ros.errors import UserError

_FAR_FROM_UNIT = 0.1  # of a quaternion's length; messages round theirs


class PoseError(UserError):
    """A pose that is none; the text has its numbers."""


@dataclass(frozen=True, eq=False)
class Pose:
    """Where a frame is in another one.

    `rotation (3, 3) float64`, its columns the frame's axes in the other; `translation (3,) float64` its origin there.
    In metres.
    """

    rotation: npt.NDArray[np.float64]
    translation: npt.NDArray[np.float64]

    @classmethod
    def of(cls, position: Sequence[float], quaternion_xyzw: Sequence[float]) -> Pose:
        """The pose of a geometry_msgs Pose or Transform. Raises `PoseError` for numbers that are none."""
        translation = np.array(position, np.float64)
        quaternion = np.array(quaternion_xyzw, np.float64)
        length = float(np.linalg.norm(quaternion))
        # Written so that NaN fails.
        if not np.isfinite(translation).all() or not abs(length - 1.0) <= _FAR_FROM_UNIT:
            raise PoseError(
                f"a pose has position {translation.tolist()} and quaternion {quaternion.tolist()} (x y z w), expected"
                " finite numbers and a quaternion of length 1; the node that publishes it has to correct it"
            )
        x, y, z, w = quaternion / length
        cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        return cls(np.eye(3) + 2 * w * cross + 2 * cross @ cross, translation)

    @classmethod
    def from_rpy(cls, position: Sequence[float], roll: float, pitch: float, yaw: float) -> Pose:
        """The pose of a URDF's origin: turned about the fixed axes x, y and z, in this order (radians)."""
        turns = [cv2.Rodrigues(np.eye(3)[axis] * angle)[0] for axis, angle in enumerate((roll, pitch, yaw))]
        return cls(np.asarray(turns[2] @ turns[1] @ turns[0], np.float64), np.array(position, np.float64))

    @classmethod
    def between(cls, before: Pose, after: Pose, share: float) -> Pose:
        """The pose at `share` of the way (0 before, 1 after), on a straight line and about one axis."""
        turn = np.asarray(cv2.Rodrigues(before.rotation.T @ after.rotation)[0], np.float64)
        rotation = before.rotation @ np.asarray(cv2.Rodrigues(turn * share)[0], np.float64)
        return cls(rotation, before.translation + share * (after.translation - before.translation))

    def apply(self, points: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Points (..., 3) of this frame in the other."""
        return points @ self.rotation.T + self.translation

    def inverse(self) -> Pose:
        """The pose of the other frame in this one."""
        return Pose(self.rotation.T, -self.rotation.T @ self.translation)

    def __matmul__(self, other: Pose) -> Pose:
        """The pose in the outer frame of what has the pose `other` in this one."""
        return Pose(self.rotation @ other.rotation, self.apply(other.translation))


OPTICAL_IN_BODY = Pose(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.zeros(3))
"""An optical frame (x right, y down, z ahead) in its body's (x ahead, y left, z up), REP 103."""
