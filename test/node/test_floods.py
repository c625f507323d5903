"""Whatever a camera sends, in every frame, neither the log nor /diagnostics fills with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sensor_msgs.msg import CompressedImage, Image

from eomt_ros.msg import InstanceArray
from test.node.conftest import StartRobot
from test.node.robot import Inbox, Robot, picture, stamped

FRAMES = 200
MOST_BYTES = 8_000  # of log, whatever so many frames say
LONG = "\x1b[31mred\n" * 20_000


@pytest.fixture(scope="module")
def robot(start_robot: StartRobot, checkpoint: Path) -> Iterator[Robot]:
    """Beside a node that takes every raw image."""
    parameters = {"model": str(checkpoint), "policy": "every_frame", "reliability": "reliable", "qos_depth": 300}
    with start_robot({**parameters, "queue_size": 300}) as robot:
        yield robot


@pytest.fixture(scope="module")
def instances(robot: Robot) -> Inbox:
    """What the node finds."""
    return robot.listen(InstanceArray, "~/instances")


def _other_size(number: int, stamp: float) -> Image:
    return stamped(picture(height=40 + 8 * (number % 2)), stamp)


def _other_time(number: int, stamp: float) -> Image:
    return stamped(picture(), stamp + 1000 * (number % 2))


def _unknown_encoding(number: int, stamp: float) -> Image:
    message = stamped(picture(), stamp)
    message.encoding = f"{number} {LONG}"
    return message


def _short_data(number: int, stamp: float) -> Image:
    message = stamped(picture(), stamp)
    message.data = message.data[: 100 + number]
    return message


@pytest.mark.parametrize("frame", [_other_size, _other_time, _unknown_encoding, _short_data])
def test_log_and_diagnostics_stay_small(robot: Robot, instances: Inbox, frame: Callable[[int, float], Image]) -> None:
    camera, diagnostics = robot.camera(), robot.diagnostics()
    robot.connect(camera, instances)
    printed = len(robot.process.output)
    _, before = diagnostics.wait_for(lambda _, values: "received" in values, "a report")
    for number in range(FRAMES):
        camera.publish(frame(number, robot.next_stamp()))
    wanted = int(before["received"]) + FRAMES

    def all_done(_: Any, values: dict[str, str]) -> bool:
        done = int(values["processed"]) + int(values["dropped"])
        return int(values["received"]) >= wanted and done == int(values["received"])

    status, values = diagnostics.wait_for(all_done, "a report after all of them")
    told = robot.process.output[printed:]
    assert len(told) < MOST_BYTES, told
    assert "\x1b" not in told
    assert all(len(line) < 1000 for line in told.splitlines())
    shown = [status.message, *values.values()]
    assert all(text.isprintable() and len(text) < 400 for text in shown), shown
    camera.close()


def test_a_format_of_any_length_is_cut_where_it_is_shown(start_robot: StartRobot, checkpoint: Path) -> None:
    with start_robot({"model": str(checkpoint), "image_transport": "compressed", "reliability": "reliable"}) as robot:
        camera = robot.camera(CompressedImage, "camera/image_raw/compressed").connect()
        diagnostics = robot.diagnostics()
        for data in (b"nothing known", b"\xff\xd8\xff\xe0 and no end"):
            message = CompressedImage(format=f"png {LONG}", data=data)
            camera.publish(message)
        status, _ = diagnostics.wait_for(lambda status, _: status.level == b"\x02", "an error")
        assert "(200" in status.message or "characters)" in status.message
        assert status.message.isprintable()
        assert len(status.message) < 400
        told = robot.process.wait_for_output("image dropped: compressed image.*")
        assert told.isprintable()
        assert len(robot.process.output) < MOST_BYTES
