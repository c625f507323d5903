"""The player publishes what a bag holds, byte for byte, never ahead of time or of results, and says what is wrong."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from mcap.writer import Writer as McapWriter
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from test import ROOT
from test.evaluation import bags
from test.node.spinning import spinning
from test.patience import PATIENCE

pytestmark = pytest.mark.slow

FRAMES = 5
STAMPS = [bags.stamp(number) for number in range(FRAMES)]
RESULTS = "/results"
OTHER, OTHER_RESULTS = "/other/image/compressed", "/other/results"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "eomt_ros.replay.play_bag", *map(str, arguments)]


def play(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


class Listener:
    """The other end: what came on the image topics and on /clock, and publishers of results."""

    def __init__(self, context: Context) -> None:
        self.images: list[bytes] = []
        self.others: list[bytes] = []
        self.clock: list[int] = []
        self._came = threading.Condition()
        self._node = Node("listener", context=context, start_parameter_services=False)
        self._results = {topic: self._node.create_publisher(Image, topic, 100) for topic in (RESULTS, OTHER_RESULTS)}
        self._node.create_subscription(CompressedImage, bags.IMAGES, self._image, 1000, raw=True)
        self._node.create_subscription(CompressedImage, OTHER, self._other, 1000, raw=True)
        best_effort = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._node.create_subscription(Clock, "/clock", self._time, best_effort)
        self._stack = ExitStack()
        self._stack.callback(self._node.destroy_node)
        self._stack.enter_context(spinning(self._node))

    @property
    def stamps(self) -> list[int]:
        """Those of the images that came."""
        with self._came:
            return [STAMPS[self._number(data)] for data in self.images]

    def wait_until(self, happened: Callable[[], bool], what: str) -> None:
        """Wait for something that a message brings about."""
        with self._came:
            assert self._came.wait_for(happened, PATIENCE), f"{what} did not come; images came: {len(self.images)}"

    def wait_for_publisher(self, topic: str = bags.IMAGES) -> None:
        """Wait for somebody who publishes a topic, by default images."""
        deadline = time.monotonic() + PATIENCE
        while not self._node.count_publishers(topic):
            assert time.monotonic() < deadline, f"nobody published {topic}"
            time.sleep(0.01)

    def wait_for_images(self, count: int) -> None:
        """Wait for so many images."""
        self.wait_until(lambda: len(self.images) >= count, f"image {count}")

    def answer(self, number: int, topic: str = RESULTS) -> None:
        """Publish the result of that frame."""
        result = Image()
        result.header.stamp.sec, result.header.stamp.nanosec = divmod(STAMPS[number], 10**9)
        self._results[topic].publish(result)

    def close(self) -> None:
        """Leave the network."""
        self._stack.close()

    def _number(self, data: bytes) -> int:
        message: Any = bags.STORE.deserialize_cdr(data, "sensor_msgs/msg/CompressedImage")
        return STAMPS.index(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)

    def _image(self, data: bytes) -> None:
        with self._came:
            self.images.append(data)
            self._came.notify_all()

    def _other(self, data: bytes) -> None:
        with self._came:
            self.others.append(data)
            self._came.notify_all()

    def _time(self, message: Clock) -> None:
        with self._came:
            self.clock.append(message.clock.sec * 10**9 + message.clock.nanosec)
            self._came.notify_all()


@pytest.fixture
def listener(ros: Context) -> Iterator[Listener]:
    listener = Listener(ros)
    yield listener
    listener.close()


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bags.write_scene(tmp_path_factory.mktemp("bags") / "bag", FRAMES)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function that starts a player, which is gone at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command(*arguments), cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def moments(log: Path, topic: str) -> list[int]:
    """When each message of a topic was published, in nanoseconds of time.monotonic."""
    with log.open(newline="") as file:
        return [int(row[-1]) for row in csv.reader(file) if row[0] == topic]


def test_subscriber_gets_every_message_as_it_was_recorded(listener: Listener, bag: Path) -> None:
    done = play(bag, "--wait-for", bags.IMAGES, "--rate", 5)
    assert done.returncode == 0, done.stderr
    listener.wait_for_images(FRAMES)
    with AnyReader([bag]) as reader:
        images = [connection for connection in reader.connections if connection.topic == bags.IMAGES]
        recorded = [bytes(data) for _, _, data in reader.messages(images)]
    for got, sent in zip(listener.images, recorded, strict=True):
        # The first 4 bytes and what follows the message are the transport's: it pads to a multiple of 4 bytes.
        assert got[4 : len(sent)] == sent[4:]
        assert len(got) - len(sent) in range(4)


def test_images_without_stamps_get_the_time_of_their_recording(listener: Listener, tmp_path: Path) -> None:
    messages = [(bags.IMAGES, stamp, bags.compressed(0, bags.scene(0)[0])) for stamp in STAMPS]
    bag = bags.write_bag(tmp_path / "bag", messages)
    assert play(bag, "--rate", 0, "--wait-for", bags.IMAGES).returncode == 0
    listener.wait_for_images(FRAMES)
    assert listener.stamps == STAMPS


def test_a_simulation_that_begins_at_0_keeps_its_stamps(tmp_path: Path) -> None:
    messages = [(bags.IMAGES, STAMPS[number], bags.compressed(number * 10**9, bags.scene(0)[0])) for number in range(3)]
    log = tmp_path / "log.csv"
    assert play(bags.write_bag(tmp_path / "bag", messages), "--rate", 0, "--log", log).returncode == 0
    with log.open(newline="") as file:
        assert [int(stamp) for _, _, stamp, _ in csv.reader(file)] == [0, 10**9, 2 * 10**9]


def test_log_has_every_message_and_none_goes_out_ahead_of_time(bag: Path, tmp_path: Path) -> None:
    done = play(bag, "--rate", 0.2, "--log", tmp_path / "log.csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "log.csv").open(newline="") as file:
        topics, *columns = zip(*csv.reader(file), strict=True)
    recorded, stamps, published = (list(map(int, column)) for column in columns)
    assert list(topics) == FRAMES * [bags.IMAGES, bags.SEMANTIC, bags.PANOPTIC]
    assert recorded[::3] == stamps[::3] == STAMPS
    assert published == sorted(published)
    # The first may be late, where the machine is busy.
    assert published[-1] - published[0] >= (FRAMES - 1) * bags.PERIOD / 0.2 - 7 * 10**8


def test_rate_0_waits_for_nothing(tmp_path: Path) -> None:
    stamps = [STAMPS[0] + number * 3600 * 10**9 for number in range(FRAMES)]
    messages = [(bags.IMAGES, stamp, bags.compressed(stamp, bags.scene(0)[0])) for stamp in stamps]
    done = play(bags.write_bag(tmp_path / "bag", messages), "--rate", 0, "--log", tmp_path / "log.csv")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "log.csv").read_text().count("\n") == FRAMES


def test_clock_tells_the_time_of_the_bag(
    listener: Listener, bag: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    player = start(bag, "--wait-for", bags.IMAGES, "--clock", 200, "--loop")  # the bag may be over before it is heard

    def begins() -> list[int]:
        return [place for place, (before, after) in enumerate(pairwise(listener.clock), 1) if after < before]

    listener.wait_until(lambda: len(begins()) > 1, "the time of the bag from its begin to its end")
    player.send_signal(signal.SIGINT)
    player.communicate(timeout=PATIENCE)
    begin, end = begins()[:2]
    clock = listener.clock[begin:end]
    assert len(set(clock)) >= FRAMES
    assert STAMPS[0] <= clock[0]
    assert STAMPS[1] < clock[-1] <= STAMPS[-1]


def test_loop_plays_over_and_over_with_the_stamps_as_recorded(
    listener: Listener, bag: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    player = start(bag, "--wait-for", bags.IMAGES, "--rate", 20, "--loop", "--clock", 1000)
    listener.wait_for_images(3 * FRAMES)
    listener.wait_until(
        lambda: any(after < before for before, after in pairwise(listener.clock)), "a clock that jumps back"
    )
    player.send_signal(signal.SIGINT)
    _, errors = player.communicate(timeout=PATIENCE)
    assert player.returncode == 130
    assert "Traceback" not in errors
    assert listener.stamps == list(islice(cycle(STAMPS), len(listener.stamps)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "arguments",
    [("--wait-for", "/nobody"), ("--rate", 0.01), ("--hold",), ("--ahead", 1, "--of", RESULTS)],
    ids=["for listeners", "for its time", "to be released", "for results"],
)
def test_a_signal_ends_it_whatever_it_waits_for(
    arguments: tuple[object, ...],
    number: signal.Signals,
    listener: Listener,
    start: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    images = [(bags.IMAGES, stamp, bags.compressed(stamp, bags.scene(0)[0])) for stamp in STAMPS]
    path = bags.write_bag(tmp_path / "bag", [("/nobody", STAMPS[0], bags.header(1)), *images])
    player = start(path, "--wait-for", bags.IMAGES, *arguments, "--patience", 10 * PATIENCE)
    if arguments[0] in ("--rate", "--ahead"):
        listener.wait_for_images(1)
    else:
        listener.wait_for_publisher()
    player.send_signal(number)
    _, errors = player.communicate(timeout=PATIENCE)
    assert player.returncode == 130
    assert errors == ""


def test_a_signal_that_interrupts_another_of_its_threads_ends_it(
    listener: Listener, start: Callable[..., subprocess.Popen[str]], bag: Path
) -> None:
    player = start(bag, "--wait-for", bags.IMAGES, "--hold")
    listener.wait_for_publisher()
    threads = [int(thread.name) for thread in Path(f"/proc/{player.pid}/task").iterdir()]
    os.kill(next(thread for thread in threads if thread != player.pid), signal.SIGINT)
    player.communicate(timeout=PATIENCE)
    assert player.returncode == 130


def test_images_are_held_back_until_results_come(
    listener: Listener, bag: Path, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    arguments = ("--wait-for", bags.IMAGES, "--rate", 0, "--patience", PATIENCE, "--log", tmp_path / "log.csv")
    player = start(bag, *arguments, "--ahead", 2, "--of", RESULTS)
    answered = []
    for number in range(FRAMES - 2):
        listener.wait_for_images(number + 2)
        answered.append(time.monotonic_ns())
        listener.answer(number)
    _, errors = player.communicate(timeout=PATIENCE)
    assert player.returncode == 0, errors
    listener.wait_for_images(FRAMES)
    assert listener.stamps == STAMPS
    published = moments(tmp_path / "log.csv", bags.IMAGES)
    assert all(held > result for held, result in zip(published[2:], answered, strict=True))


def test_images_of_each_of_several_cameras_are_held_back_until_results_of_their_own_come(
    listener: Listener, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    picture = bags.scene(0)[0]
    # Those of OTHER first, one after the other.
    pairs = [(topic, stamp + after) for stamp in STAMPS for after, topic in enumerate((OTHER, bags.IMAGES))]
    messages = [(topic, moment, bags.compressed(moment // 10 * 10, picture)) for topic, moment in pairs]
    player = start(
        *(bags.write_bag(tmp_path / "rig", messages), "--wait-for", OTHER, bags.IMAGES, "--rate", 0),
        *("--ahead", 2, "--of", OTHER_RESULTS, RESULTS, "--patience", PATIENCE, "--log", tmp_path / "log.csv"),
    )
    answered: dict[str, list[int]] = {OTHER: [], bags.IMAGES: []}
    for number in range(FRAMES - 2):
        listener.wait_for_images(number + 2)
        answered[OTHER].append(time.monotonic_ns())
        listener.answer(number, OTHER_RESULTS)
        listener.wait_until(lambda count=number + 3: len(listener.others) >= count, f"{OTHER} {number + 3}")
        answered[bags.IMAGES].append(time.monotonic_ns())
        listener.answer(number)
    _, errors = player.communicate(timeout=PATIENCE)
    assert player.returncode == 0, errors
    listener.wait_for_images(FRAMES)
    assert listener.stamps == STAMPS
    for topic, results in answered.items():
        published = moments(tmp_path / "log.csv", topic)
        assert all(held > result for held, result in zip(published[2:], results, strict=True))


def test_result_settles_the_images_before_it_that_gave_none(
    listener: Listener, bag: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    player = start(bag, "--wait-for", bags.IMAGES, "--rate", 0, "--ahead", 3, "--of", RESULTS, "--patience", PATIENCE)
    listener.wait_for_images(3)
    listener.answer(2)
    _, errors = player.communicate(timeout=PATIENCE)
    assert player.returncode == 0, errors
    listener.wait_for_images(FRAMES)


def test_results_that_stop_are_an_error_that_names_topic_and_image(listener: Listener, bag: Path) -> None:
    done = play(bag, "--wait-for", bags.IMAGES, "--ahead", 2, "--of", RESULTS, "--patience", 10)
    assert done.returncode == 1
    assert f"play_bag: {RESULTS}: no result came for 10 s, while 2 images wait, the oldest" in done.stderr
    assert f"the oldest of stamp {STAMPS[0] * 1e-9:.3f} s" in done.stderr
    assert listener.stamps == STAMPS[:2]


def test_topic_of_a_type_that_is_not_installed_is_left_out_with_a_warning(tmp_path: Path) -> None:
    header = bags.header(5)
    path = bags.write_bag(
        tmp_path / "bag", [("/images", 5, bags.compressed(5, bags.scene(0)[0])), ("/header", 5, header)]
    )
    file = path / "bag.mcap"
    file.write_bytes(file.read_bytes().replace(b"std_msgs/msg/Header", b"not_msgs/msg/Header"))
    done = play(path, "--log", tmp_path / "log.csv")
    assert done.returncode == 0, done.stderr
    assert "/header is not played: not_msgs/msg/Header is not installed" in done.stderr
    assert (tmp_path / "log.csv").read_text().count("\n") == 1


def test_topic_of_an_older_version_of_our_messages_is_left_out_with_a_warning(tmp_path: Path) -> None:
    path = bags.write_older(tmp_path / "bag", bags.older_store("returned", "embedding"), instances=1)
    done = play(path, "--log", tmp_path / "log.csv")
    assert done.returncode == 0, done.stderr
    older = "its messages are of an older eomt_ros/msg/InstanceArray"
    assert f"/segment/instances is not played: {older}" in done.stderr
    assert (tmp_path / "log.csv").read_text() == ""


def test_a_bag_that_is_damaged_in_its_middle_is_played_as_far_as_it_is_whole_and_no_success(tmp_path: Path) -> None:
    path = bags.write_scene(tmp_path / "bag", 100)
    bags.damage(path)
    done = play(path, "--rate", 0, "--log", tmp_path / "log.csv")
    assert done.returncode == 1
    played = (tmp_path / "log.csv").read_text().count("\n")
    assert played > 0
    assert f"play_bag: {path}: {played} of 300 messages could be read: bag.mcap has a damaged record" in done.stderr


def test_what_is_no_message_is_left_out_with_a_warning(tmp_path: Path) -> None:
    with (tmp_path / "bag.mcap").open("wb") as file:
        writer = McapWriter(file)
        writer.start()
        for topic, kind, data in (
            ("/image", "sensor_msgs/msg/Image", b"\0\1\0\0\0"),
            ("/header", "std_msgs/msg/Header", b""),
            ("/no topic", "std_msgs/msg/Header", b"\0\1\0\0"),
            ("/json", "foxglove.Log", b"{}"),
        ):
            channel = writer.register_channel(topic, "cdr", writer.register_schema(kind, "ros2msg", b""))
            writer.add_message(channel, 7, data, 7)
        writer.finish()
    done = play(tmp_path / "bag.mcap", "--log", tmp_path / "log.csv")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "log.csv").read_text() == ""
    assert "/image at 7 ns is not played: 5 bytes are no message" in done.stderr
    assert "/no topic is not played: ROS 2 has no topics of such names" in done.stderr
    assert "/json is not played: foxglove.Log is not installed" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--wait-for", bags.IMAGES, "--patience", 0.2], f"nobody subscribed to {bags.IMAGES} within 0.2 s"),
        (["--wait-for", "/nothing"], f"--wait-for /nothing: not played; played are {bags.IMAGES}"),
        (
            ["--wait-for", bags.IMAGES, "--ahead", 1, "--of", "/nothing", "--patience", 0.2],
            "nobody publishes the results on /nothing within 0.2 s",
        ),
        (
            ["--wait-for", bags.IMAGES, "--ahead", 1, "--of", "/one", "/two"],
            f"--of /one /two: expected a topic for each one of --wait-for that has images, {bags.IMAGES}",
        ),
    ],
)
def test_player_without_listeners_says_so(bag: Path, arguments: list[object], message: str) -> None:
    done = play(bag, *arguments)
    assert done.returncode == 1
    assert f"play_bag: {message}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", 1000], "--rate is 1000, expected 0.01 to 100, or 0"),
        (["--clock", 0], "--clock is 0, expected 0.1 to 1000 Hz"),
        (["--ahead", 3], "--ahead, --of and --wait-for go together"),
        (["--wait-for", "/a", "--ahead", 0, "--of", "/b"], "--ahead is 0, expected 1 or more"),
    ],
)
def test_options_that_make_no_sense_are_refused(bag: Path, arguments: list[object], message: str) -> None:
    done = play(bag, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_player_without_a_bag_says_so(tmp_path: Path) -> None:
    done = play(tmp_path / "gone")
    assert done.returncode == 1
    assert f"play_bag: {tmp_path / 'gone'} is not a bag that can be read" in done.stderr
