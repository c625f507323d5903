"""The places by which things get their ids: of the depth and the odometry that are there, without waiting for any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nav_msgs.msg import Odometry

from test.node.conftest import StartRobot
from test.node.depth_camera import SECOND, DepthCamera, raw, some_depth
from test.node.robot import Camera, Diagnostics, Robot

pytestmark = pytest.mark.slow

EVERY_FRAME = {"policy": "every_frame", "reliability": "reliable", "qos_depth": 100}
PLACES = {"depth": "raw", "target_frame": "odom", "motion": "odometry"}


@pytest.fixture(scope="module")
def robot(start_robot: StartRobot, checkpoint: Path) -> Iterator[Robot]:
    """Beside a node with one depth camera, and odometry."""
    with start_robot({"model": str(checkpoint), **PLACES, **EVERY_FRAME}) as robot:
        yield robot


@pytest.fixture(scope="module")
def odometry(robot: Robot) -> Camera:
    return robot.camera(Odometry, "odom").connect()


@pytest.fixture(scope="module")
def camera(robot: Robot) -> DepthCamera:
    """Nobody wants anything of it in metres."""
    camera = DepthCamera(robot, listens=False)
    camera.connect(raw(some_depth()))
    return camera


def move(odometry: Camera, stamp: float) -> None:
    message = Odometry(child_frame_id="base_link")
    message.header.frame_id = "odom"
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(round(stamp * SECOND), SECOND)
    message.pose.pose.orientation.w = 1.0
    odometry.publish(message)


def count(values: dict[str, str], name: str) -> int:
    return int(values.get(name, "0"))


def counts(diagnostics: Diagnostics) -> tuple[int, int]:
    """Frames whose places are wanted, and those of which they were at hand."""
    _, values = diagnostics.wait_for(lambda _, values: "places wanted" in values, "places")
    return count(values, "places wanted"), count(values, "places at hand")


def test_places_are_at_hand_where_depth_and_odometry_came_before_the_image(
    camera: DepthCamera, odometry: Camera
) -> None:
    diagnostics = camera.robot.diagnostics()
    _, before = counts(diagnostics)

    def was_at_hand(_: Any, values: dict[str, str]) -> bool:
        stamp = camera.robot.next_stamp(0.5) + 0.5
        move(odometry, stamp - 0.01)
        move(odometry, stamp + 0.01)
        camera.semantic.wait_for_stamp(camera.send(raw(some_depth(1))))
        return count(values, "places at hand") > before

    for _ in range(20):  # topics have no order among each other
        was_at_hand(None, {})
    _, values = diagnostics.wait_for(lambda _, values: count(values, "places at hand") > before, "places at hand")
    assert count(values, "places at hand") <= count(values, "places wanted")


def test_image_does_not_wait_for_depth_that_comes_later(camera: DepthCamera, odometry: Camera) -> None:
    diagnostics = camera.robot.diagnostics()
    wanted, _ = counts(diagnostics)
    stamp = camera.robot.next_stamp(0.5) + 0.5
    move(odometry, stamp + 0.01)
    image = camera.send()
    camera.semantic.wait_for_stamp(image)
    camera.send_depth(raw(some_depth(2)), stamp)
    _, values = diagnostics.wait_for(
        lambda _, values: count(values, "places wanted") > wanted and "places lacking" in values, "a lack of places"
    )
    assert "depth" in values["places lacking"]


def test_image_does_not_wait_for_a_pose(camera: DepthCamera) -> None:
    diagnostics = camera.robot.diagnostics()
    wanted, _ = counts(diagnostics)
    for _ in range(10):
        camera.semantic.wait_for_stamp(camera.send(raw(some_depth(3))))
    _, values = diagnostics.wait_for(
        lambda _, values: count(values, "places wanted") >= wanted + 10 and "places lacking" in values, "a lack"
    )
    assert "no pose by odometry on" in values["places lacking"]


def test_nothing_is_placed_while_nothing_is_remembered(camera: DepthCamera) -> None:
    diagnostics = camera.robot.diagnostics()
    assert not camera.robot.set(remember=0.0)
    try:
        camera.semantic.wait_for_stamp(camera.send(raw(some_depth(4))))
        before = counts(diagnostics)
        camera.semantic.wait_for_stamp(camera.send(raw(some_depth(4))))
        diagnostics.clear()
        assert counts(diagnostics) == before
    finally:
        assert not camera.robot.set(remember=60.0)
