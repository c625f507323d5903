"""Odometry and transforms that are missing, late or jump: no object where it is not, and no speed that it has not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image

from eomt_ros.msg import ObjectArray
from test.node.bad_depth import PARAMETERS, DepthStation
from test.node.conftest import StartRobot
from test.node.depth_camera import raw
from test.node.robot import Robot

ODOMETRY = {**PARAMETERS, "target_frame": "odom", "motion": "odometry"}
FLAT = np.full((48, 64), 2.0, np.float32)
FASTEST = 0.5
"""m/s; what stands still never seems to move faster."""


class MovingStation(DepthStation):
    """A robot whose node takes the camera's pose from odometry."""

    def __init__(self, robot: Robot) -> None:
        super().__init__(robot)
        self.odometry = robot.camera(Odometry, "odom")

    @property
    def now(self) -> float:
        """The stamp of the last image (s)."""
        return self.robot.next_stamp(0.0)

    def send_odometry(self, stamp: float, x: float = 0.0, frame_id: str = "odom") -> None:
        """Publish that the robot is x metres ahead of where it began, looking ahead."""
        message = Odometry(child_frame_id="base_link")
        message.header.frame_id = frame_id
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(round(stamp * 1e9), 10**9)
        message.pose.pose.position.x = x
        message.pose.pose.orientation.w = 1.0
        self.odometry.publish(message)

    def send(self, x: float | None = 0.0, *, frame_id: str = "odom", step: float = 0.1) -> Image:
        """Publish odometry, none where x is None, and an image with depth."""
        stamp = self.now + step
        if x is not None:
            self.send_odometry(stamp, x, frame_id)
        return self.camera.send(raw(FLAT), step=step)

    def objects_of(self, image: Image) -> ObjectArray:
        """The things of an image in metres."""
        return self.objects.wait_for_stamp(image)


@pytest.fixture(scope="module")
def station_of_module(start_robot: StartRobot, checkpoint: Path) -> Iterator[MovingStation]:
    """The node that most tests share."""
    with start_robot({"model": str(checkpoint), **ODOMETRY}) as robot:
        station = MovingStation(robot)
        station.odometry.connect()
        station.connect()
        yield station


@pytest.fixture
def station(station_of_module: MovingStation) -> MovingStation:
    """The shared node in a fresh epoch, where the last image had a pose."""
    assert station_of_module.robot.reset().success
    station_of_module.send(step=5.0)
    image = station_of_module.send()
    assert station_of_module.objects_of(image).objects
    station_of_module.objects.clear()
    return station_of_module


def positions(objects: ObjectArray) -> dict[int, float]:
    """How far ahead of the odometry's origin each object that is seen is, by id."""
    return {each.id: each.position.x for each in objects.objects if each.points}


def speeds(objects: ObjectArray) -> list[float]:
    """m/s."""
    return [float(np.hypot(each.velocity.x, each.velocity.y)) for each in objects.objects if each.velocity_known]


def assert_shifted(before: dict[int, float], objects: ObjectArray, shift: float) -> None:
    """What stood there before is now seen so many metres further on, but for what else is seen of it."""
    after = positions(objects)
    both = before.keys() & after.keys()
    assert both
    assert all(abs(after[id_] - before[id_] - shift) < 0.5 for id_ in both)


def test_without_odometry_a_status_names_the_topic_and_points_go_on(start_robot: StartRobot, checkpoint: Path) -> None:
    with start_robot({"model": str(checkpoint), **ODOMETRY}) as robot:
        station = MovingStation(robot)
        station.connect()
        sent, _ = station.assert_told(lambda: station.send(None), f"{robot.process.namespace}/odom", "'odom'")
        for image in sent:
            station.camera.points.wait_for_stamp(image)
            station.obstacles.wait_for_stamp(image)
        assert not station.objects.all()


def test_odometry_that_is_too_old_gives_no_objects_and_a_status(station: MovingStation) -> None:
    sent, _ = station.assert_told(lambda: station.send(None, step=1.0), "odom")
    for image in sent[1:]:
        station.camera.points.wait_for_stamp(image)
    good = station.send(step=2.0)
    assert station.objects_of(good).objects
    stamps = [image.header.stamp for image in sent[1:]]
    assert not [message for message in station.objects.all() if message.header.stamp in stamps]


def test_odometry_that_comes_after_its_image_is_still_used(station: MovingStation) -> None:
    image = station.send(None, step=0.5)  # longer than a pose is taken to go on
    station.instances.wait_for_stamp(image)
    station.send_odometry(station.now, 0.0)
    assert station.objects_of(image).header.frame_id == "odom"


def test_odometry_of_another_frame_is_refused_with_both_frames(station: MovingStation) -> None:
    station.assert_told(lambda: station.send(frame_id="world", step=2.0), "world", "odom")


def test_odometry_that_jumps_is_told_and_gives_nothing_a_speed(station: MovingStation) -> None:
    for _ in range(10):
        before = station.objects_of(station.send(0.0))
    assert max(speeds(before)) < FASTEST
    printed = len(station.robot.process.output)
    for _ in range(10):
        after = station.objects_of(station.send(50.0))
        assert max(speeds(after), default=0.0) < FASTEST
    station.robot.process.wait_for_output(f"{station.robot.process.namespace}/odom.*jumped", after=printed)
    assert_shifted(positions(before), after, 50.0)
    places = itertools.cycle((0.0, 50.0))
    station.assert_told(lambda: station.send(next(places)), "target_frame 'odom' has jumped")


def test_where_tf2_is_missing_a_target_frame_from_tf_is_refused_with_what_to_do(
    start_robot: StartRobot, checkpoint: Path
) -> None:
    if find_spec("tf2_ros") is not None:
        pytest.skip("tf2_ros is installed")
    parameters = {"model": str(checkpoint), **PARAMETERS, "target_frame": "odom", "motion": "tf", "autostart": False}
    with start_robot(parameters) as robot:
        assert not robot.transition("configure")
        (told,) = [line for line in robot.process.output.splitlines() if "ERROR" in line]
        assert "target_frame" in told
        assert "tf2_ros" in told
        assert "motion" in told


def test_missing_transform_is_told_and_points_go_on(start_robot: StartRobot, checkpoint: Path) -> None:
    pytest.importorskip("tf2_ros", reason="tf2_ros is optional")
    with start_robot({"model": str(checkpoint), **PARAMETERS, "target_frame": "odom"}) as robot:
        station = DepthStation(robot)
        station.connect()
        sent, _ = station.assert_told(lambda: station.camera.send(raw(FLAT)), "'camera_optical'", "'odom'")
        for image in sent:
            station.camera.points.wait_for_stamp(image)
        assert not station.objects.all()
