"""Cameras of nodes that each test starts anew: lists that are refused or change, and what only some nodes have."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage

from eomt_ros.msg import InstanceArray
from test.engine.checkpoints import write_checkpoint
from test.node.conftest import StartRobot
from test.node.rig import PARAMETERS, Rig
from test.node.robot import NodeProcess, Robot, picture, stamped
from test.node.test_faults import DARK, WHITE, plain, write_overflowing
from test.patience import PATIENCE

REFUSED = [
    (
        ["front", "rear", "front"],
        r"parameter cameras: 'front' stands twice in \['front', 'rear', 'front'\]; rename one",
    ),
    (["front", "1st"], r"parameter cameras: got '1st' in \['front', '1st'\], expected names of letters"),
    (["front/left"], "parameter cameras: got 'front/left' in .*, expected names of letters"),
    (["front left"], "parameter cameras: got 'front left' in .*, expected names of letters"),
    (["größe"], "parameter cameras: got 'größe' in .*, expected names of letters"),
    (["", "front"], r"parameter cameras: got '' in \['', 'front'\], expected names of letters"),
    (["engine", "rear"], r"parameter cameras: got 'engine' in .* the status .* rename the camera"),
    ([], "parameter cameras: got an empty list, expected names of letters"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("cameras", "reason"), REFUSED)
def test_node_does_not_start_with_a_list_that_names_no_cameras(
    domain: dict[str, str], cameras: list[str], reason: str
) -> None:
    process = NodeProcess("/unstartable", {"cameras": cameras}, {}, name="segment")
    assert process.wait_for_end() == 1
    process.wait_for_output(reason)
    assert "Traceback" not in process.output


def test_list_of_cameras_changes_where_the_node_is_not_configured(
    ros: Context, start_robot: StartRobot, checkpoint: Path
) -> None:
    watcher = Node("watcher", context=ros)
    with start_robot({"model": str(checkpoint), **PARAMETERS, "cameras": ["front", "rear"]}) as robot:
        rig = Rig(robot, ("front", "rear"))
        front, rear = rig.cameras
        assert "parameter cameras: cannot become ['left']" in robot.set(cameras=["left"])
        _wait(lambda: {"front", "rear"} == _cameras(watcher, robot), "both cameras in the graph")

        assert robot.transition("deactivate")
        assert not front.reset().success
        front.images.close()
        rear.images.close()
        assert robot.transition("activate")
        for camera in rig.cameras:
            camera.replug()
        assert rig.epochs() == [1, 1]

        assert robot.transition("deactivate")
        assert robot.transition("cleanup")
        for cameras, reason in REFUSED:
            assert re.search(reason, robot.set(cameras=cameras))
            assert robot.get("cameras") == ["front", "rear"]
        assert not robot.set(cameras=["left"])
        assert robot.transition("configure")
        assert robot.transition("activate")
        _wait(lambda: _cameras(watcher, robot) == {"left"}, "only the new camera in the graph")
        (left,) = Rig(robot, ("left",)).cameras
        assert left.epoch() == 0
        assert set(rig.report()) == {"left", "engine"}
    watcher.destroy_node()


def _cameras(watcher: Node, robot: Robot) -> set[str]:
    """Cameras that the node has topics or services of, and none that it lacks some of."""
    namespace = robot.process.namespace
    ends = watcher.get_publisher_names_and_types_by_node("segment", namespace)
    read = watcher.get_subscriber_names_and_types_by_node("segment", namespace)
    served = watcher.get_service_names_and_types_by_node("segment", namespace)
    found = [
        {name.split("/")[-2] for name, _ in ends if name.endswith("/semantic")},
        {name.split("/")[-2] for name, _ in read if name.endswith("/image")},
        {name.split("/")[-2] for name, _ in served if name.endswith("/reset")} - {"segment"},
    ]
    return set.union(*found) if found[0] == found[1] == found[2] else set()


def _wait(happened: Callable[[], bool], what: str) -> None:
    for _ in range(round(PATIENCE / 0.1)):
        if happened():
            return
        threading.Event().wait(0.1)  # the graph has no event for a single topic
    pytest.fail(f"{what} did not come")


def test_quality_of_service_is_overridden_for_one_camera_alone(
    ros: Context, checkpoint: Path, domain: dict[str, str]
) -> None:
    namespace = "/rig_with_overrides"
    parameters = {
        "model": str(checkpoint),
        "cameras": ["front", "rear"],
        f"qos_overrides.{namespace}/front/image.subscription.reliability": "reliable",
        f"qos_overrides.{namespace}/segment/rear/semantic.publisher.reliability": "best_effort",
        f"qos_overrides.{namespace}/image.subscription.depth": 3,
    }
    process = NodeProcess(namespace, parameters, {}, name="segment")
    robot = Robot(process, ros, name="segment")
    try:
        process.wait_for_output(f"without effect, .*{namespace}/image.subscription.depth")
        reliable, best_effort = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
        assert robot.quality(f"{namespace}/front/image") == reliable
        assert robot.quality(f"{namespace}/rear/image") == best_effort
        assert robot.quality(f"{namespace}/segment/front/semantic") == reliable
        assert robot.quality(f"{namespace}/segment/rear/semantic") == best_effort
    finally:
        robot.close()
        process.end()


def test_broken_jpeg_of_a_camera_is_dropped_there_alone(start_robot: StartRobot, checkpoint: Path) -> None:
    names = ("front", "rear")
    parameters = {"model": str(checkpoint), **PARAMETERS, "cameras": list(names), "image_transport": "compressed"}
    with start_robot(parameters) as robot:
        cameras = {name: robot.camera(CompressedImage, f"{name}/image/compressed") for name in names}
        instances = {name: robot.listen(InstanceArray, f"~/{name}/instances") for name in names}
        for name in names:
            robot.connect(cameras[name], instances[name], image=_jpeg)
        broken = _jpeg(robot.next_stamp())
        broken.data = broken.data[: len(broken.data) // 2]
        cameras["front"].publish(broken)
        after = {
            name: instances[name].wait_for_stamp(cameras[name].publish(_jpeg(robot.next_stamp()))) for name in names
        }
        assert {name: result.dropped for name, result in after.items()} == {"front": 1, "rear": 0}
        robot.process.wait_for_output(r"front.*image dropped: .*compressed image of \d+ bytes")


def _jpeg(stamp: float) -> CompressedImage:
    _, data = cv2.imencode(".jpg", picture()[..., ::-1])
    return CompressedImage(
        header=stamped(picture(), stamp).header, format="rgb8; jpeg compressed bgr8", data=data.tobytes()
    )


def test_image_that_gives_nan_resets_its_camera_alone(start_robot: StartRobot, tmp_path: Path) -> None:
    model = write_overflowing(tmp_path / "overflowing")
    with start_robot({"model": str(model), **PARAMETERS, "cameras": ["front", "rear"]}) as robot:
        dark, white = plain(DARK), plain(WHITE)
        front, rear = Rig(robot, ("front", "rear"), first=dark).cameras
        before = [camera.segment(dark) for camera in (front, rear)]
        assert not robot.set(sync_window=1.0)
        front.send(white)
        beside = rear.segment(dark)
        assert not robot.set(sync_window=0.0)
        after = front.segment(dark)
        assert (beside.epoch, beside.dropped) == (before[1].epoch, before[1].dropped)
        assert (after.epoch, after.dropped) == (before[0].epoch + 1, before[0].dropped + 1)
        assert rear.segment(dark).epoch == before[1].epoch
        rear.assert_nothing_of_others()


def test_every_camera_of_an_overloaded_node_gets_its_share(
    start_robot: StartRobot, tmp_path_factory: pytest.TempPathFactory
) -> None:
    many_tokens = {"image_size": 256, "num_hidden_layers": 6, "num_attention_heads": 1}
    model = write_checkpoint(tmp_path_factory.mktemp("slow"), **many_tokens)
    with start_robot({"model": str(model), **PARAMETERS, "policy": "latest"}) as robot:
        rig = Rig(robot)
        for camera in rig.cameras:
            camera.clear()

        def results() -> list[int]:
            return [len(camera.instances.all()) for camera in rig.cameras]

        while max(results()) < 60:
            before = results()
            for camera in rig.cameras * 2:  # twice as many as the node can do, and always more of the first
                camera.send(camera.picture())
            for _ in range(3):
                rig.cameras[0].send(rig.cameras[0].picture())
            robot.process.wait(lambda before=before: results() != before, "a result")
        mean = sum(results()) / len(rig.cameras)
        assert all(0.9 * mean <= count <= 1.1 * mean for count in results()), results()
        report = rig.report()
        assert min(report[camera.name].count("dropped: overtaken") for camera in rig.cameras) > 0
