"""Results in metres: depth of each kind, matched by stamp, and all else where there is none."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage

from eomt_ros.msg import ObjectArray
from eomt_ros.node.depth import topics_of
from eomt_ros.node.parameters import Parameters
from test import ROOT
from test.node.conftest import StartRobot
from test.node.depth_camera import SECOND, Depth, DepthCamera, View, compressed_depth, of, png, raw, some_depth
from test.node.robot import Robot
from test.patience import PATIENCE

EVERY_FRAME = {"policy": "every_frame", "reliability": "reliable", "qos_depth": 100}


@pytest.fixture(scope="module")
def robot(start_robot: StartRobot, checkpoint: Path) -> Iterator[Robot]:
    """Beside a node with one depth camera, whose objects are in the frame of the odometry."""
    moving = {"target_frame": "odom", "motion": "odometry", "camera_pose": [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]}
    with start_robot({"model": str(checkpoint), "depth": "raw", **moving, **EVERY_FRAME}) as robot:
        yield robot


@pytest.fixture(scope="module")
def objects(robot: Robot) -> Any:
    """Where things are told."""
    return robot.listen(ObjectArray, "~/objects")


@pytest.fixture(scope="module")
def odometry(robot: Robot) -> Any:
    """Where the robot's base tells where it is."""
    return robot.camera(Odometry, "odom")


@pytest.fixture(scope="module")
def camera_of_module(robot: Robot) -> DepthCamera:
    camera = DepthCamera(robot)
    camera.connect(raw(some_depth()))
    return camera


@pytest.fixture
def camera(camera_of_module: DepthCamera) -> DepthCamera:
    """A depth camera of which nothing has come yet."""
    for inbox in camera_of_module.inboxes:
        inbox.clear()
    return camera_of_module


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_points_are_the_depth_seen_through_camera_info(camera: DepthCamera, encoding: str) -> None:
    depth = some_depth(1)
    image = camera.send(raw(depth, encoding))
    camera.assert_seen(image, depth)
    assert camera.points.wait_for_stamp(image).header == image.header


def test_image_without_depth_has_its_results_in_pixels_and_a_status_says_what_is_missing(camera: DepthCamera) -> None:
    diagnostics = camera.robot.diagnostics()
    _, before = diagnostics.wait_for(lambda _, values: "space wanted" in values, "a status")
    image = camera.send()
    camera.semantic.wait_for_stamp(image)
    status, _ = diagnostics.wait_for(
        lambda status, values: (
            int(values["space lacking: depth_too_far"]) > int(before["space lacking: depth_too_far"])
        ),
        "a lack of depth",
    )
    assert status.level == DiagnosticStatus.WARN
    assert "frames without results in metres: the nearest depth on" in status.message
    assert "older than the image, depth_slop is 0.05 s" in status.message
    assert of(camera.points, image) is None
    depth = some_depth(2)
    camera.assert_seen(camera.send(raw(depth)), depth)


@pytest.mark.parametrize("offset", [-0.04, 0.04])
def test_depth_within_slop_is_taken_and_the_nearest_of_several(camera: DepthCamera, offset: float) -> None:
    near, far = some_depth(3), some_depth(4)
    stamp = camera.robot.next_stamp(0.5) + 0.5  # that of the image
    camera.send_depth(raw(far), stamp + 1.2 * offset)
    camera.send_depth(raw(near), stamp + offset)
    camera.send_depth(raw(far), stamp - 1.2 * offset)
    camera.assert_seen(camera.send(), near)


def test_depth_beyond_slop_is_not_taken_until_slop_is_raised_while_the_node_runs(camera: DepthCamera) -> None:
    depth = some_depth(5)
    beyond = camera.send(raw(depth), offset=0.08)
    camera.assert_seen(camera.send(raw(depth)), depth)  # and so the one before is done
    assert of(camera.points, beyond) is None
    assert not camera.robot.set(depth_slop=0.1)
    try:
        camera.assert_seen(camera.send(raw(depth), offset=0.08), depth)
    finally:
        assert not camera.robot.set(depth_slop=0.05)


def test_depth_that_comes_after_its_image_is_waited_for(camera: DepthCamera) -> None:
    depth = some_depth(6)
    assert not camera.robot.set(depth_slop=1.0)  # which makes the patience longer, too
    try:
        for _ in range(20):  # on a busy machine patience may be at its end
            image = camera.send()
            camera.semantic.wait_for_stamp(image)
            stamp = image.header.stamp
            camera.send_depth(raw(depth), stamp.sec + stamp.nanosec / SECOND)
            camera.seen(camera.send(raw(some_depth(7))))
            if of(camera.points, image) is not None:
                break
        camera.assert_seen(image, depth)
    finally:
        assert not camera.robot.set(depth_slop=0.05)


def test_depth_of_half_the_size_is_the_same_view(camera: DepthCamera) -> None:
    depth = some_depth(8)[::2, ::2]
    seen = camera.seen(camera.send(raw(depth)))
    np.testing.assert_allclose(seen[..., 2], np.kron(depth, np.ones((2, 2))), atol=1e-6)


def test_depth_in_another_frame_is_refused_with_the_switch_of_its_driver(camera: DepthCamera) -> None:
    depth = raw(some_depth(9))
    printed = len(camera.robot.process.output)
    frame_id, camera.frame_id = camera.frame_id, "depth_optical"
    stamp = camera.robot.next_stamp(0.5) + 0.5
    camera.send_depth(depth, stamp)
    camera.frame_id = frame_id
    image = camera.send()
    told = camera.robot.process.wait_for_output("nothing in metres of an image: .*", after=printed)
    assert "is in the frame 'depth_optical', expected the image's 'camera_optical'" in told
    assert "align_depth.enable:=true" in told
    camera.semantic.wait_for_stamp(image)


def test_objects_are_in_the_frame_of_the_odometry_and_wait_for_none_where_it_is_missing(
    camera: DepthCamera, objects: Any, odometry: Any
) -> None:
    odometry.connect()
    diagnostics = camera.robot.diagnostics()

    def move(stamp: float) -> None:
        message = Odometry(child_frame_id="base_link")
        message.header.frame_id = "odom"
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(round(stamp * SECOND), SECOND)
        message.pose.pose.orientation.w = 1.0
        odometry.publish(message)

    deadline = time.monotonic() + PATIENCE
    sent = []
    while not objects.all():  # both ends of a topic learn at different moments that they found each other
        assert time.monotonic() < deadline, camera.robot.process.output
        stamp = camera.robot.next_stamp(0.5) + 0.5
        move(stamp - 0.01)
        move(stamp + 0.01)
        sent.append(camera.send(raw(some_depth(10))))
        camera.seen(sent[-1])
    found = objects.all()[0].header
    assert found.frame_id == "odom"
    assert found.stamp in [image.header.stamp for image in sent]

    while not (told := [text for text in diagnostics.messages() if "frames without objects" in text]):
        assert time.monotonic() < deadline, diagnostics.messages()
        image = camera.send(raw(some_depth(11)))
        camera.seen(image)
        assert of(objects, image) is None
    assert "no pose by odometry on" in told[-1]
    assert "older than the image" in told[-1]


def test_status_tells_what_was_wanted_and_published_and_how_long_it_took(camera: DepthCamera) -> None:
    camera.seen(camera.send(raw(some_depth(12))))
    _, values = camera.robot.diagnostics().wait_for(lambda _, values: "space total p95 (ms)" in values, "latencies")
    assert 0 < int(values["space published"]) <= int(values["space wanted"])
    assert int(values["depth received"]) > 0
    assert float(values["space total p50 (ms)"]) <= float(values["space total p95 (ms)"])
    assert values["depth topic"].endswith("/depth")


def test_node_with_depth_goes_through_its_life_and_back(camera: DepthCamera) -> None:
    robot = camera.robot
    depth = some_depth(13)
    assert robot.transition("deactivate")
    assert robot.transition("activate")
    camera.connect(raw(depth))
    camera.assert_seen(camera.send(raw(depth)), depth)
    assert robot.transition("deactivate")
    assert robot.transition("cleanup")
    for given, expected in (
        ({"target_frame": ""}, "parameter motion: got 'odometry' without target_frame"),
        ({"camera_pose": [1.0] * 5}, "parameter camera_pose: .*six finite numbers"),
    ):
        before = {name: robot.get(name) for name in given}
        printed = len(robot.process.output)
        assert not robot.set(**given)
        assert not robot.transition("configure")
        robot.process.wait_for_output(f"cannot configure: {expected}", after=printed)
        assert not robot.set(
            **{name: list(value) if name == "camera_pose" else value for name, value in before.items()}
        )
    assert not robot.set(depth="none")
    assert robot.transition("configure")
    assert robot.transition("activate")
    camera.inboxes.remove(camera.points)
    robot.connect(camera.images, *camera.inboxes)
    _, values = robot.diagnostics().wait_for(lambda _, values: values["state"] == "active", "a status")
    assert not [key for key in values if "depth" in key or "space" in key]


def _float_compressed(depth: Depth) -> CompressedImage:
    return compressed_depth(depth, "32FC1")


def _integer_compressed(depth: Depth) -> CompressedImage:
    return compressed_depth(depth, "16UC1")


@pytest.fixture(scope="module")
def pair(start_robot: StartRobot, checkpoint: Path) -> Iterator[list[DepthCamera]]:
    """Two cameras of one node, with compressed depth, and a third whose points nobody wants."""
    parameters = {"model": str(checkpoint), "cameras": ["front", "rear", "left"], "depth": "compressed", **EVERY_FRAME}
    with start_robot(parameters) as robot:
        front = DepthCamera(robot, "front", kind=CompressedImage)
        rear = DepthCamera(robot, "rear", kind=CompressedImage, view=View(45.0, 45.0, 20.0, 20.0))
        left = DepthCamera(robot, "left", kind=CompressedImage, listens=False)
        for camera in (front, rear, left):
            camera.connect(png(some_depth()))
        yield [front, rear, left]


@pytest.mark.parametrize("compress", [png, _float_compressed, _integer_compressed])
def test_compressed_depth_of_each_camera_is_its_own(
    pair: list[DepthCamera], compress: Callable[[Depth], CompressedImage]
) -> None:
    front, rear, _ = pair
    sent = [
        (camera, depth, camera.send(compress(depth)))
        for camera, depth in ((front, some_depth(1)), (rear, some_depth(2)))
    ]
    for camera, depth, image in sent:
        # As its encoder, 32FC1 is quantised by inverse depth: to 2.5 mm at 5 m.
        camera.assert_seen(image, depth, tolerance=0.01 if compress is _float_compressed else 1e-4)


def test_a_camera_without_depth_holds_up_no_other(pair: list[DepthCamera]) -> None:
    front, rear, _ = pair
    depth = some_depth(3)
    for _ in range(3):
        front.send()
        camera_image = rear.send(png(depth))
        rear.assert_seen(camera_image, depth)


def test_nothing_is_taken_to_metres_for_a_camera_that_nobody_asks(pair: list[DepthCamera]) -> None:
    *_, left = pair
    image = left.send(png(some_depth()))
    left.semantic.wait_for_stamp(image)
    _, values = left.robot.diagnostics("left").wait_for(lambda _, values: int(values["depth received"]) > 1, "a status")
    assert values["space wanted"] == "0"


@pytest.mark.parametrize(
    ("parameters", "remappings", "expected"),
    [
        ({"depth": "raw"}, [], ("/ns/front/depth", "/ns/front/camera_info")),
        ({"depth": "compressed"}, [], ("/ns/front/depth/compressed", "/ns/front/camera_info")),
        (
            {"depth": "raw"},
            ["front/depth:=/d/image", "front/camera_info:=/c/camera_info"],
            ("/d/image", "/c/camera_info"),
        ),
        ({"depth": "compressed"}, ["front/depth:=/d/image"], ("/d/image/compressed", "/ns/front/camera_info")),
        (
            {"depth": "compressed"},
            ["front/depth:=/d/image/compressedDepth"],
            ("/d/image/compressedDepth", "/ns/front/camera_info"),
        ),
        (
            {"depth": "compressed"},
            ["front/depth/compressed:=/d/image/compressedDepth"],
            ("/d/image/compressedDepth", "/ns/front/camera_info"),
        ),
    ],
)
def test_topics_of_depth_can_be_remapped(
    ros: Context, parameters: dict[str, Any], remappings: list[str], expected: tuple[str, str]
) -> None:
    arguments = ["--ros-args"] if remappings else []
    for remapping in remappings:
        arguments += ["-r", remapping]
    node = Node("remapped", context=ros, namespace="/ns", cli_args=arguments, start_parameter_services=False)
    try:
        assert topics_of(node, "front", Parameters(**parameters)) == expected
    finally:
        node.destroy_node()


def test_without_depth_nothing_of_it_is_loaded() -> None:
    program = (
        "import sys, eomt_ros.node.camera, eomt_ros.node.lifecycle, eomt_ros.node.worker;"
        "print([name for name in sys.modules if name.startswith(('eomt_ros.space', 'nav_msgs', 'tf2'))])"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert answer.stdout.strip() == "[]", answer.stderr
