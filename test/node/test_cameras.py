"""Four cameras through one node: what concerns one concerns no other, and nothing of one comes out as another's."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from eomt_ros.engine import Segmenter
from test.node.conftest import StartRobot
from test.node.driver import driver
from test.node.rig import NAMES, PARAMETERS, Alone, Rig, Status
from test.node.robot import picture
from test.patience import PATIENCE

WINDOW = 1.0
"""s; the longest `sync_window` there is."""
OK, WARNING, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
NOTHING = Status(OK, "", {})


@pytest.fixture(scope="module")
def rig_of_module(start_robot: StartRobot, checkpoint: Path) -> Iterator[Rig]:
    """The four cameras that the tests share."""
    # float32 is the reference, which the tests compare with to the last bit.
    with start_robot({"model": str(checkpoint), "precision": "float32", **PARAMETERS}) as robot:
        yield Rig(robot)


@pytest.fixture
def rig(rig_of_module: Rig) -> Iterator[Rig]:
    """The cameras in a fresh epoch each; after every test, nothing of one has come out as another's."""
    rig_of_module.start_over()
    yield rig_of_module
    for camera in rig_of_module.cameras:
        camera.assert_nothing_of_others()


@pytest.fixture
def alone(segmenter: Segmenter, rig: Rig) -> Alone:
    """The engine with a stream for each camera, from where the node begins."""
    alone = Alone(segmenter)
    assert rig.robot.reset().success
    return alone


@contextmanager
def joined(rig: Rig) -> Iterator[None]:
    """Within the block, images of all cameras make one batch, as long as they are sent within WINDOW."""
    assert not rig.robot.set(sync_window=WINDOW)
    try:
        yield
    finally:
        assert not rig.robot.set(sync_window=0.0)


# Results


def test_four_cameras_at_once_get_what_each_would_get_alone(rig: Rig, alone: Alone) -> None:
    rounds = [[(camera, camera.picture(number)) for camera in rig.cameras] for number in range(1, 6)]
    sent = [(camera, pixels, camera.send(pixels)) for each in rounds for camera, pixels in each]
    found = [alone.find(camera, message, pixels) for camera, pixels, message in sent]
    for (camera, pixels, message), result in zip(sent, found, strict=True):
        camera.assert_outputs(message, pixels, result, alone.labels)
    different = {result.semantic.tobytes() for result in found}
    assert len(different) == len(found), "a result that went to another camera would not show"


def test_sizes_and_encodings_may_differ_from_camera_to_camera(rig: Rig, alone: Alone) -> None:
    front, rear, left, right = rig.cameras
    colors, grey = picture(1, 32, 40), picture(2, 72, 64)[..., 0]
    opaque = np.dstack([picture(3, 64, 96), np.full((64, 96), 255, np.uint8)])
    both = picture(4, 40, 32)
    sent = [
        (front, colors, front.send(colors)),
        (rear, np.dstack([grey] * 3), rear.send(grey, encoding="mono8")),
        (left, opaque[..., :3], left.send(opaque, encoding="rgba8")),
        (right, both, right.send(both[..., ::-1], encoding="bgr8")),
    ]
    for camera, pixels, message in sent:
        camera.assert_outputs(message, pixels, alone.find(camera, message, pixels), alone.labels)


# Epochs


def test_size_that_changes_begins_an_epoch_of_that_camera_alone(rig: Rig) -> None:
    front, *others = rig.cameras
    before = rig.epochs()
    assert front.segment(picture(1, 32, 40)).epoch == before[0] + 1
    assert [camera.epoch() for camera in others] == before[1:]


def test_reset_of_a_camera_begins_an_epoch_of_that_camera_alone_while_the_others_run(rig: Rig) -> None:
    front, *others = rig.cameras
    before = rig.epochs()
    last = [camera.send(camera.picture(number)) for number in range(10) for camera in others]
    answer = front.reset()
    assert answer.success
    assert answer.message == f"epoch {before[0] + 1} of front begins with the next image"
    assert front.epoch() == before[0] + 1
    for camera, message in zip(others, last[-len(others) :], strict=True):
        camera.instances.wait_for_stamp(message)
    assert rig.epochs() == [before[0] + 1, *before[1:]]
    assert {result.epoch for camera in others for result in camera.instances.all()} == set(before[1:])


def test_reset_of_the_node_begins_an_epoch_of_every_camera(rig: Rig) -> None:
    before = rig.epochs()
    assert rig.robot.reset().success
    assert rig.epochs() == [epoch + 1 for epoch in before]


@pytest.mark.parametrize("jump", [-1000.0, 2.1])
def test_time_that_jumps_in_a_camera_begins_an_epoch_of_that_camera_alone(rig: Rig, jump: float) -> None:
    front, *others = rig.cameras
    before = rig.epochs()
    printed = len(rig.robot.process.output)
    assert front.segment(front.picture(), step=jump).epoch == before[0] + 1
    assert rig.epochs() == [before[0] + 1, *before[1:]]
    said = rig.robot.process.wait_for_output(r"stream reset, epoch \d+ begins: .*", after=printed)
    line = next(line for line in rig.robot.process.output.splitlines() if said in line)
    assert "front" in line
    assert not any(camera.name in line for camera in others)


def test_late_image_is_dropped_in_its_camera_alone(rig: Rig) -> None:
    front, *others = rig.cameras
    before = [camera.segment(camera.picture()) for camera in rig.cameras]
    front.send(front.picture(), step=-0.05)
    after = [camera.segment(camera.picture()) for camera in rig.cameras]
    dropped = [now.dropped - earlier.dropped for now, earlier in zip(after, before, strict=True)]
    assert dropped == [1, 0, 0, 0]
    assert [result.epoch for result in after] == [result.epoch for result in before]
    report = rig.report(lambda report: "older than" in report["front"].message, "a warning of late images")
    assert [report[camera.name].count("dropped: late") for camera in others] == [0, 0, 0]


def test_max_gap_that_changes_counts_for_every_camera(rig: Rig) -> None:
    before = rig.epochs()
    assert not rig.robot.set(max_gap=0.0)
    assert [camera.segment(camera.picture(), step=100.0).epoch for camera in rig.cameras] == before
    assert not rig.robot.set(max_gap=2.0)
    assert [camera.segment(camera.picture(), step=100.0).epoch for camera in rig.cameras] == [e + 1 for e in before]


# Bad images


def _unknown_encoding(message: Image) -> None:
    message.encoding = "32FC3"


def _wrong_step(message: Image) -> None:
    message.step = 7
    message.data.extend(bytes(message.height))


def _too_short(message: Image) -> None:
    message.data = message.data[:-1]


def _nothing(message: Image) -> None:
    message.height, message.width, message.step, message.data = 0, 0, 0, []


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_unknown_encoding, "unsupported_encoding"),
        (_wrong_step, "bad_image"),
        (_too_short, "bad_image"),
        (_nothing, "bad_image"),
    ],
)
def test_bad_image_of_a_camera_is_dropped_and_the_others_of_its_tick_are_not(
    rig: Rig, alone: Alone, spoil: Callable[[Image], None], reason: str
) -> None:
    front, *others = rig.cameras
    before = rig.report()["front"].count(f"dropped: {reason}")
    with joined(rig):
        bad = front.message(front.picture(1))
        spoil(bad)
        front.images.publish(bad)
        sent = [(camera, camera.picture(1), camera.send(camera.picture(1))) for camera in others]
        for camera, pixels, message in sent:
            camera.assert_outputs(message, pixels, alone.find(camera, message, pixels), alone.labels)
    report = rig.report()
    assert report["front"].count(f"dropped: {reason}") == before + 1
    assert report["front"].level == ERROR
    assert [report[camera.name].count(f"dropped: {reason}") for camera in others] == [0, 0, 0]
    assert ERROR not in {report[camera.name].level for camera in others}
    message = front.send(front.picture(2))
    front.assert_outputs(message, front.picture(2), alone.find(front, message, front.picture(2)), alone.labels)


# Ticks


def test_images_that_come_a_little_apart_are_one_batch_within_sync_window(rig: Rig) -> None:
    front, *others = rig.cameras
    rounds = 5
    before = rig.report()["engine"].count("batches")
    with joined(rig):
        for number in range(rounds):
            messages = [front.send(front.picture(number))]
            assert rig.robot.get("sync_window") == WINDOW  # takes a little
            messages += [camera.send(camera.picture(number)) for camera in others]
            for camera, message in zip(rig.cameras, messages, strict=True):
                camera.instances.wait_for_stamp(message)
    # Two for each without it; on a busy machine some images come too late.
    assert rounds <= rig.report()["engine"].count("batches") - before < 2 * rounds


def test_a_camera_that_is_silent_for_ever_holds_up_no_other_longer_than_sync_window(rig: Rig) -> None:
    window = 0.5
    front, rear, left, _ = rig.cameras

    def quickest() -> float:
        times = []
        for number in range(5):
            start = time.monotonic()
            messages = [camera.send(camera.picture(number)) for camera in (front, rear, left)]
            for camera, message in zip((front, rear, left), messages, strict=True):
                camera.instances.wait_for_stamp(message)
            times.append(time.monotonic() - start)
        return min(times)

    at_once = quickest()
    assert not rig.robot.set(sync_window=window)
    try:
        waiting = quickest()
    finally:
        assert not rig.robot.set(sync_window=0.0)
    assert waiting < at_once + 2 * window


def test_a_camera_that_floods_the_node_loses_images_and_the_others_none(rig: Rig) -> None:
    front, rear, *_ = rig.cameras
    counts = [camera.segment(camera.picture()) for camera in (front, rear)]
    assert not rig.robot.set(policy="latest")
    try:
        for number in range(5):
            sent = [front.send(front.picture(each), step=1 / 60) for each in range(60)]
            rear.segment(rear.picture(number), step=1.0)
        last = front.instances.wait_for_stamp(sent[-1])
    finally:
        assert not rig.robot.set(policy="every_frame")
    stamps = [result.header.stamp.sec + result.header.stamp.nanosec * 1e-9 for result in front.instances.all()]
    assert stamps == sorted(stamps)
    assert last.sequence - counts[0].sequence + last.dropped - counts[0].dropped == 300
    rest = rear.segment(rear.picture())
    assert (rest.dropped, rest.epoch, rest.sequence) == (counts[1].dropped, counts[1].epoch, counts[1].sequence + 6)
    assert last.epoch == counts[0].epoch


# Drivers that come and go


def test_publisher_of_a_camera_that_is_killed_and_starts_again_is_heard_and_the_others_do_not_notice(rig: Rig) -> None:
    *others, right = rig.cameras
    before = [camera.epoch() for camera in others]
    right.images.close()
    topic = f"{rig.robot.process.namespace}/right/image"
    with driver(topic, 30.0, right.frame_id) as process:
        right.instances.wait_for(lambda result: result.header.stamp.sec > 10_000, "a result for the driver")
        process.send_signal(signal.SIGKILL)
        process.wait()
    killed = time.time()
    assert [camera.epoch() for camera in others] == before
    with driver(topic, 30.0, right.frame_id):
        right.instances.wait_for(lambda result: result.header.stamp.sec > killed, "a result for the second driver")
        assert [camera.epoch() for camera in others] == before
    right.replug()


def test_a_camera_of_60_hz_beside_one_of_1_hz_takes_nothing_from_it(rig: Rig) -> None:
    front, rear, *_ = rig.cameras
    assert not rig.robot.set(policy="latest")
    namespace = rig.robot.process.namespace
    for camera in (front, rear):
        camera.images.close()
    try:
        with (
            driver(f"{namespace}/front/image", 60.0, front.frame_id),
            driver(f"{namespace}/rear/image", 1.0, rear.frame_id),
        ):
            first = rear.instances.wait_for(lambda result: result.header.stamp.sec > 10_000, "the first of 1 Hz")
            last = rear.instances.wait_for(lambda result: result.sequence == first.sequence + 3, "the fourth of 1 Hz")
        fast = [result for result in front.instances.all() if result.header.stamp.sec >= first.header.stamp.sec]
    finally:
        assert not rig.robot.set(policy="every_frame")
    assert last.dropped == first.dropped
    assert len(fast) > 10
    for camera in (front, rear):
        camera.replug()


# Diagnostics and services


def test_every_camera_has_a_status_and_the_engine_one(rig: Rig) -> None:
    front, rear, *_ = rig.cameras
    before = rig.report()
    assert set(before) == {*NAMES, "engine"}
    for number in range(3):
        front.segment(front.picture(number))
    rear.segment(rear.picture())
    report = rig.report()
    processed = {name: report[name].count("processed") - before[name].count("processed") for name in NAMES}
    assert processed == {"front": 3, "rear": 1, "left": 0, "right": 0}
    for name in NAMES:
        values = report[name].values
        assert values["topic"] == f"{rig.robot.process.namespace}/{name}/image"
        assert (values["state"], values["task"]) == ("active", "panoptic")
        assert int(values["received"]) == int(values["processed"]) + int(values["dropped"]) + int(values["skipped"])
    ages = {name: float(report[name].values["age of the last result (s)"]) for name in NAMES}
    assert max(ages["front"], ages["rear"]) < min(ages["left"], ages["right"])
    assert report["engine"].count("batches") == before["engine"].count("batches") + 4
    assert {"frames per batch", "network p50 (ms)", "network max (ms)", "memory (MiB)"} <= report[
        "engine"
    ].values.keys()


def test_silence_of_a_camera_is_a_warning_of_that_camera_alone(rig: Rig) -> None:
    front, *others = rig.cameras
    front.segment(front.picture())
    printed, deadline = len(rig.robot.process.output), time.monotonic() + PATIENCE
    report = rig.reported()
    # On a busy machine the status of a camera tells of dropped images first, for a while.
    while "no image on" not in report.get("front", NOTHING).message or any(
        report[camera.name].level != OK for camera in others
    ):
        assert time.monotonic() < deadline, report
        for camera in others:
            camera.segment(camera.picture())
        report = rig.reported()
    assert report["front"].level == WARNING
    assert "/front/image" in report["front"].message
    assert [report[camera.name].level for camera in others] == [OK] * 3
    told = rig.robot.process.wait_for_output("no image on .*", after=printed)
    assert "/front/image" in told


def test_node_that_is_disabled_skips_the_images_of_every_camera(rig: Rig) -> None:
    before = rig.report()
    assert rig.robot.enable(False).success
    try:
        for camera in rig.cameras:
            camera.send(camera.picture())
        rig.report(
            lambda report: all(report[name].count("skipped") == before[name].count("skipped") + 1 for name in NAMES),
            "a skipped image of every camera",
        )
    finally:
        assert rig.robot.enable(True).success
    assert not any(camera.instances.all() for camera in rig.cameras)
    rig.epochs()
