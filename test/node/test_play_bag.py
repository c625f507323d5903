"""The player publishes what a bag holds, byte for byte, never ahead of time, and says what is wrong."""

from __future__ import annotations

import csv
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CompressedImage

from test.evaluation import bags

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # s: only a broken player or a stopped machine needs longer
FRAMES = 5


def play(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "eomt_ros.node.play_bag", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bags.write_scene(tmp_path_factory.mktemp("bags") / "bag", FRAMES)


def test_subscriber_gets_every_message_as_it_was_recorded(ros: Context, bag: Path) -> None:
    received: list[bytes] = []
    complete = threading.Event()

    def take(data: bytes) -> None:
        received.append(data)
        if len(received) == FRAMES:
            complete.set()

    node = Node("listener", context=ros, start_parameter_services=False)
    node.create_subscription(CompressedImage, bags.IMAGES, take, 100, raw=True)
    executor = SingleThreadedExecutor(context=ros)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        done = play(bag, "--wait-for", bags.IMAGES, "--rate", 5)
        assert done.returncode == 0, done.stderr
        assert complete.wait(PATIENCE), f"{len(received)} of {FRAMES} messages came"
    finally:
        executor.shutdown()
        thread.join(PATIENCE)
        node.destroy_node()
    with AnyReader([bag]) as reader:
        images = [connection for connection in reader.connections if connection.topic == bags.IMAGES]
        recorded = [bytes(data) for _, _, data in reader.messages(images)]
    for got, sent in zip(received, recorded, strict=True):
        # The first 4 bytes and what follows the message are the transport's: it pads to a multiple of 4 bytes.
        assert got[4 : len(sent)] == sent[4:]
        assert len(got) - len(sent) in range(4)


def test_log_has_every_message_and_none_goes_out_ahead_of_time(bag: Path, tmp_path: Path) -> None:
    done = play(bag, "--rate", 2, "--log", tmp_path / "log.csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "log.csv").open(newline="") as file:
        lines = [(topic, int(recorded), int(published)) for topic, recorded, published in csv.reader(file)]
    assert [line[0] for line in lines] == FRAMES * [bags.IMAGES, bags.SEMANTIC, bags.PANOPTIC]
    assert [line[1] for line in lines[::3]] == [bags.stamp(number) for number in range(FRAMES)]
    assert all(before[2] <= after[2] for before, after in pairwise(lines))
    assert lines[-1][2] - lines[0][2] >= (FRAMES - 1) * bags.PERIOD / 2 - 10**7  # the first may be a little late


def test_topic_of_a_type_that_is_not_installed_is_left_out_with_a_warning(tmp_path: Path) -> None:
    header = bags.header(5)
    path = bags.write_bag(
        tmp_path / "bag", [("/images", 5, bags.compressed(5, bags.scene(0)[0])), ("/header", 5, header)]
    )
    text = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(text.replace("std_msgs/msg/Header", "gone_msgs/msg/Header"))
    done = play(path, "--log", tmp_path / "log.csv")
    assert done.returncode == 0, done.stderr
    assert "/header is not played: gone_msgs/msg/Header is not installed" in done.stderr
    assert (tmp_path / "log.csv").read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--wait-for", bags.IMAGES, "--patience", 0.2], f"nobody subscribed to {bags.IMAGES} within 0.2 s"),
        (["--wait-for", "/nothing"], f"--wait-for /nothing: not played; played are {bags.IMAGES}"),
    ],
)
def test_player_without_listeners_says_so(bag: Path, arguments: list[object], message: str) -> None:
    done = play(bag, *arguments)
    assert done.returncode == 1
    assert f"play_bag: {message}" in done.stderr


def test_player_without_a_bag_says_so(tmp_path: Path) -> None:
    done = play(tmp_path / "gone")
    assert done.returncode == 1
    assert f"play_bag: {tmp_path / 'gone'} cannot be read" in done.stderr
