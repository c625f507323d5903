"""What a node published in metres, as a bird's-eye view of each frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from eomt_ros.evaluation.bag import Bag, Stamped
from eomt_ros.evaluation.sources.sequence import SourceFrame
from eomt_ros.node.point_clouds import OBSTACLE_POINT
from eomt_ros.replay.birds_eye import BirdsEye, Color, Picture
from eomt_ros.replay.recorder import MetreTopics
from eomt_ros.space.pinhole import Pinhole
from eomt_ros.space.pose import OPTICAL_IN_BODY, Pose

_STILL = Pose(np.eye(3), np.zeros(3))


class SpaceView:
    """Draws the things of one camera from a bag with what the node published of them.

    camera: its name, empty for the only one. side: pixels of the square pictures. colors: RGB by class id. fixed: the
    objects are in the frame of the recording's odometry, not in the camera's.
    """

    def __init__(self, recorded: Bag, camera: str, side: int, colors: Sequence[Color], *, fixed: bool) -> None:
        topics = MetreTopics.of_camera(camera)
        self._objects, self._obstacles = (_Followed(recorded, topic) for topic in topics)
        self._side = side
        self._colors = colors
        self._fixed = fixed
        self._birds_eye: BirdsEye | None = None

    def picture(self, frame: SourceFrame) -> Picture:
        """The picture, (side, side, 3) uint8 RGB, black where nothing is known of the frame; frames come in order."""
        if frame.space is None:
            return np.zeros((self._side, self._side, 3), np.uint8)
        if self._birds_eye is None:
            view = _field_of_view(frame.space.pinhole)
            self._birds_eye = BirdsEye(self._side, self._colors, view, fixed=self._fixed)
        objects, obstacles = self._objects.at(frame.stamp), self._obstacles.at(frame.stamp)
        points = np.frombuffer(b"" if obstacles is None else obstacles.data, OBSTACLE_POINT)
        camera = frame.space.pose if self._fixed else _STILL
        body = camera @ OPTICAL_IN_BODY.inverse()
        return self._birds_eye.draw(
            frame.stamp * 1e-9,
            _upright(body) if self._fixed else body,
            () if objects is None else objects.objects,
            camera.apply(np.stack([points["x"], points["y"], points["z"]], axis=1)),
            points["class_id"],
        )


class _Followed:
    """The messages of a topic, by their stamps, read along."""

    def __init__(self, bag: Bag, topic: str) -> None:
        self._messages: Iterator[Stamped[Any]] = bag.messages(topic) if bag.count(topic) else iter(())
        self._head = next(self._messages, None)

    def at(self, stamp: int) -> Any:
        """The message of that stamp, None where there is none; stamps ascend."""
        while self._head is not None and self._head.stamp < stamp:
            self._head = next(self._messages, None)
        return self._head.content if self._head is not None and self._head.stamp == stamp else None


def _field_of_view(pinhole: Pinhole) -> float:
    rays = pinhole.rays()
    left, right = np.nanmin(rays[..., 0]), np.nanmax(rays[..., 0])
    return float(np.arctan(right) - np.arctan(left))


def _upright(body: Pose) -> Pose:
    """The pose with its heading only."""
    return Pose.from_rpy(
        body.translation.tolist(), 0.0, 0.0, float(np.arctan2(body.rotation[1, 0], body.rotation[0, 0]))
    )
