"""Two cameras that share their ids and see the same thing at once: one id where places say so, over real topics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from nav_msgs.msg import Odometry

from eomt_ros.msg import InstanceArray
from test.node.conftest import StartRobot
from test.node.depth_camera import SECOND, DepthCamera, raw
from test.node.rig import PARAMETERS
from test.node.robot import HEIGHT, WIDTH, Camera, Inbox, Robot, picture, stamped

pytestmark = pytest.mark.slow

SHARED = {"cameras": ["front", "left"], "shared_ids": True}
PLACES = {"depth": "raw", "target_frame": "odom", "motion": "odometry"}
SCENE = 2
DEPTH = np.full((HEIGHT, WIDTH), 2.0, np.float32)
ATTEMPTS = 20
"""Topics have no order among each other: depth may come too late, and the node does not wait for it."""


class Seeing:
    """A depth camera with its results; all are in one place, and look the same way."""

    def __init__(self, robot: Robot, name: str, odometry: Camera) -> None:
        self._camera = DepthCamera(robot, name, listens=False)
        self._odometry = odometry
        self._instances: Inbox = robot.listen(InstanceArray, f"~/{name}/instances")
        self._camera.connect(raw(DEPTH), self._instances)

    def things(self) -> set[int]:
        """The ids of the things in the next image."""
        stamp = self._camera.robot.next_stamp()
        for beside in (-0.01, 0.01):
            message = Odometry(child_frame_id="base_link")
            message.header.frame_id = "odom"
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(round((stamp + beside) * SECOND), SECOND)
            message.pose.pose.orientation.w = 1.0
            self._odometry.publish(message)
        self._camera.send_depth(raw(DEPTH), stamp)
        image = self._camera.images.publish(stamped(picture(SCENE), stamp, frame_id=self._camera.frame_id))
        return {each.id for each in self._instances.wait_for_stamp(image).instances if each.is_thing}


@pytest.fixture(scope="module")
def robot(start_robot: StartRobot, checkpoint: Path) -> Iterator[Robot]:
    with start_robot({"model": str(checkpoint), "precision": "float32", **PARAMETERS, **SHARED, **PLACES}) as robot:
        yield robot


def test_a_thing_that_both_see_in_one_place_has_one_id(robot: Robot) -> None:
    odometry = robot.camera(Odometry, "odom").connect()
    front, left = (Seeing(robot, name, odometry) for name in ("front", "left"))
    for _ in range(ATTEMPTS):
        assert robot.reset().success
        ids = front.things(), left.things()
        assert ids[0]
        if ids[0] == ids[1]:
            break
    assert ids[0] == ids[1]
