"""MCAP is read whole and in the order of its times, whichever of the format's options its writer chose."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType, Writer

from eomt_ros.evaluation.bag import Bag, BagError, mcap
from test.evaluation import bags

COMPRESSIONS = list(CompressionType)
SWITCHES = ("repeat_channels", "repeat_schemas", "use_statistics", "use_summary_offsets", "enable_crcs")
INDEXES = (
    IndexType.NONE,
    IndexType.CHUNK,
    IndexType.MESSAGE,
    IndexType.CHUNK | IndexType.MESSAGE,
)
CAMERA, OTHER = "/camera", "/other"
FRAMES = 3
IN_ORDER = [(topic, number) for number in range(FRAMES) for topic in (CAMERA, OTHER)]


def write(
    path: Path, order: list[tuple[str, int]], *, encoding: str = "cdr", chunk_size: int = 200, **options: Any
) -> Path:
    """Writes a message for each topic and number, whose time is 1000 ns for each number and 1 ns more for `OTHER`."""
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=chunk_size, **options)
        writer.start(profile="ros2", library="test")
        schema = writer.register_schema("sensor_msgs/msg/Image", "ros2msg", b"std_msgs/Header header")
        channels = {topic: writer.register_channel(topic, encoding, schema) for topic, _ in order}
        for topic, number in order:
            time = 1000 * number + (topic == OTHER)
            image = bags.image(time, np.full((2, 3), number, np.uint8), "mono8")
            writer.add_message(channels[topic], time, bytes(bags.STORE.serialize_cdr(image, image.__msgtype__)), time)
        writer.finish()
    return path


def read(path: Path) -> list[tuple[str, int]]:
    """Topic and number of each message."""
    with Bag(path) as bag:
        assert bag.topics == dict.fromkeys((CAMERA, OTHER), "sensor_msgs/msg/Image")
        assert bag.problems == []
        found = []
        for recorded in bag.recorded(bag.topics):
            image = bag.message(recorded)
            assert recorded.time == image.stamp
            found.append((recorded.topic, int(image.content.data[0])))
        for topic in (CAMERA, OTHER):
            assert bag.count(topic) == sum(each == topic for each, _ in found)
            assert [recorded.topic for recorded in bag.recorded([topic])] == bag.count(topic) * [topic]
        return found


def options() -> Iterator[dict[str, Any]]:
    for values in itertools.product((True, False), repeat=len(SWITCHES)):
        switches = dict(zip(SWITCHES, values, strict=True))
        yield {"use_chunking": False, **switches}
        for index, compression in itertools.product(INDEXES, COMPRESSIONS):
            yield {"index_types": index, "compression": compression, **switches}


@pytest.mark.parametrize("first", [CAMERA, OTHER])
def test_every_option_of_the_format_gives_every_message_in_the_order_of_their_times(tmp_path: Path, first: str) -> None:
    order = sorted(IN_ORDER, key=lambda message: (message[1], message[0] != first))
    for number, chosen in enumerate(options()):
        assert read(write(tmp_path / f"{number}.mcap", order, **chosen)) == IN_ORDER, chosen


@settings(max_examples=50, deadline=None)
@given(
    st.permutations(IN_ORDER),
    st.sampled_from([1, 200, 10**6]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 300, mcap.CACHE_SIZE]),
)
def test_whatever_the_order_in_the_file_and_however_little_memory(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[tuple[str, int]],
    chunk_size: int,
    chunked: bool,
    indexed: bool,
    memory: int,
) -> None:
    path = tmp_path_factory.mktemp("order") / "bag.mcap"
    write(path, order, chunk_size=chunk_size, use_chunking=chunked, use_statistics=indexed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mcap, "CACHE_SIZE", memory)
        patch.setattr(mcap, "LONGEST_RUN", chunk_size)
        assert read(path) == IN_ORDER


def test_messages_of_one_time_come_as_they_lie_in_the_file(tmp_path: Path) -> None:
    with (tmp_path / "bag.mcap").open("wb") as file:
        writer = Writer(file, chunk_size=1)
        writer.start()
        channel = writer.register_channel("/topic", "cdr", writer.register_schema("a/msg/B", "ros2msg", b""))
        for number in range(5):
            writer.add_message(channel, 7, bytes([number]), 7)
        writer.finish()
    with Bag(tmp_path / "bag.mcap") as bag:
        assert [recorded.data for recorded in bag.recorded(["/topic"])] == [bytes([number]) for number in range(5)]


def test_iterators_run_side_by_side(tmp_path: Path) -> None:
    with Bag(write(tmp_path / "bag.mcap", IN_ORDER)) as bag:
        pairs = zip(bag.recorded([CAMERA]), bag.recorded([OTHER]), strict=True)
        assert [(one.time, other.time) for one, other in pairs] == [(0, 1), (1000, 1001), (2000, 2001)]


def test_messages_of_ros_1_are_not_taken_for_images(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"has messages of ROS 1, not read from MCAP: give the \.bag it was made from"):  # noqa: SIM117
        with Bag(write(tmp_path / "bag.mcap", IN_ORDER, encoding="ros1")):
            pass


def test_channels_of_other_tools_are_no_damage(tmp_path: Path) -> None:
    with (tmp_path / "bag.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("foxglove.Log", "jsonschema", b"{}")
        writer.add_message(writer.register_channel("/log", "json", schema), 1, b"{}", 1)
        writer.add_message(writer.register_channel("/nothing", "protobuf", 0), 2, b"", 2)
        image = bags.image(3, np.zeros((2, 3), np.uint8), "mono8")
        schema = writer.register_schema("sensor_msgs/msg/Image", "ros2msg", b"")
        data = bytes(bags.STORE.serialize_cdr(image, image.__msgtype__))
        writer.add_message(writer.register_channel(CAMERA, "cdr", schema), 3, data, 3)
        writer.finish()
    with Bag(tmp_path / "bag.mcap") as bag:
        assert bag.problems == []
        assert bag.image_topics == [CAMERA]
        assert [image.stamp for image in bags.images(bag, CAMERA)] == [3]
