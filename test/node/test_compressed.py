"""JPEG and PNG images, with the default quality of service, on a clock that does not run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from eomt_ros.msg import InstanceArray
from test.node.conftest import StartRobot
from test.node.robot import HEIGHT, WIDTH, Camera, Inbox, Robot, picture, pixels_of, stamped


@pytest.fixture(scope="module")
def robot(start_robot: StartRobot, checkpoint: Path) -> Iterator[Robot]:
    """Beside a node that takes compressed images, in the semantic task."""
    parameters = {
        "model": str(checkpoint),
        "task": "semantic",
        "image_transport": "compressed",
        "policy": "every_frame",
        # Nobody publishes /clock here.
        "use_sim_time": True,
    }
    with start_robot(parameters) as robot:
        yield robot


@pytest.fixture(scope="module")
def semantic(robot: Robot) -> Inbox:
    """The class images."""
    return robot.listen(Image, "~/semantic")


@pytest.fixture(scope="module")
def instances(robot: Robot) -> Inbox:
    """What the node finds."""
    return robot.listen(InstanceArray, "~/instances")


@pytest.fixture(scope="module")
def camera(robot: Robot, semantic: Inbox, instances: Inbox) -> Camera:
    """A camera that sends JPEG files, beside the raw topic as image_transport names it."""
    camera = robot.camera(CompressedImage, "camera/image_raw/compressed")
    robot.connect(camera, semantic, instances, image=lambda stamp: compressed(".jpg", stamp))
    return camera


def compressed(extension: str, stamp: float) -> CompressedImage:
    """A file of the test picture, as a message."""
    _, data = cv2.imencode(extension, picture(1)[..., ::-1])
    header = stamped(picture(1), stamp).header
    return CompressedImage(header=header, format=f"rgb8; {extension[1:]} compressed bgr8", data=data.tobytes())


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_compressed_image_is_segmented_at_its_own_size(
    robot: Robot, camera: Camera, semantic: Inbox, instances: Inbox, extension: str
) -> None:
    message = camera.publish(compressed(extension, robot.next_stamp()))
    classes = pixels_of(semantic.wait_for_stamp(message))
    assert classes.shape == (HEIGHT, WIDTH)
    found = instances.wait_for_stamp(message)
    assert found.header == message.header
    assert sorted(instance.class_id for instance in found.instances) == sorted(np.unique(classes[classes != 255]))


def test_semantic_task_gives_no_ids(robot: Robot, camera: Camera, instances: Inbox) -> None:
    panoptic = robot.listen(Image, "~/panoptic")
    robot.connect(camera, panoptic, image=lambda stamp: compressed(".jpg", stamp))
    message = camera.publish(compressed(".jpg", robot.next_stamp()))
    assert not pixels_of(panoptic.wait_for_stamp(message)).any()
    assert all(instance.id == 0 for instance in instances.wait_for_stamp(message).instances)


def test_corrupt_files_are_dropped_and_counted_and_the_node_goes_on(
    robot: Robot, camera: Camera, instances: Inbox
) -> None:
    before = instances.wait_for_stamp(camera.publish(compressed(".jpg", robot.next_stamp())))
    truncated = compressed(".jpg", robot.next_stamp())
    truncated.data = truncated.data[: len(truncated.data) // 2]
    noise = compressed(".png", robot.next_stamp())
    noise.data = bytes(range(256))
    for message in (truncated, noise):
        camera.publish(message)
    after = instances.wait_for_stamp(camera.publish(compressed(".jpg", robot.next_stamp())))
    assert after.dropped == before.dropped + 2
    robot.process.wait_for_output(r"WARN.*image dropped: compressed image of \d+ bytes")
