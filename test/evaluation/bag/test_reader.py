"""Bags are read frame by frame, whatever they were written with, and without ROS."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from eomt_ros.evaluation.bag import Bag, BagError
from test import ROOT
from test.evaluation import bags

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (6, 9, 3), np.uint8)


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_images_and_labels_come_back_as_written(tmp_path: Path, storage: StoragePlugin) -> None:
    with Bag(bags.write_scene(tmp_path / "bag", 4, storage)) as bag:
        assert bag.image_topics == [bags.IMAGES, bags.PANOPTIC, bags.SEMANTIC]
        assert bag.count(bags.IMAGES) == 4
        for number, (picture, classes, instances) in enumerate(
            zip(
                bags.images(bag, bags.IMAGES),
                bags.labels(bag, bags.SEMANTIC),
                bags.labels(bag, bags.PANOPTIC),
                strict=True,
            )
        ):
            expected = bags.scene(number)
            assert picture.stamp == classes.stamp == instances.stamp == bags.stamp(number)
            for read, written in zip((picture, classes, instances), expected, strict=True):
                np.testing.assert_array_equal(read.content, written)
                assert read.content.dtype == written.dtype


def test_a_single_file_of_a_bag_is_read_too(tmp_path: Path) -> None:
    path = bags.write_scene(tmp_path / "bag", 2)
    with Bag(path / "bag.mcap") as bag:
        assert [frame.stamp for frame in bags.images(bag, bags.IMAGES)] == [bags.stamp(0), bags.stamp(1)]


@pytest.mark.parametrize(("encoding", "shown"), [("rgb8", PICTURE), ("bgr8", PICTURE[..., ::-1])])
def test_raw_images_are_rgb_whatever_their_row_padding(tmp_path: Path, encoding: str, shown: Any) -> None:
    path = bags.write_bag(tmp_path / "bag", [("/camera", 5, bags.image(5, PICTURE, encoding, padding=3))])
    with Bag(path) as bag:
        np.testing.assert_array_equal(next(bags.images(bag, "/camera")).content, shown)


@pytest.mark.parametrize("big_endian", [False, True])
def test_label_images_respect_byte_order_and_row_padding(tmp_path: Path, big_endian: bool) -> None:
    ids = RNG.integers(0, 65536, (4, 5), np.uint16)
    message = bags.image(5, ids, "16UC1", padding=3, big_endian=big_endian)
    with Bag(bags.write_bag(tmp_path / "bag", [("/ids", 5, message)])) as bag:
        read = next(bags.labels(bag, "/ids")).content
    np.testing.assert_array_equal(read, ids)
    assert read.dtype == np.uint16


def test_time_of_recording_stands_in_for_a_missing_stamp(tmp_path: Path) -> None:
    path = bags.write_bag(tmp_path / "bag", [("/camera", 77, bags.image(0, PICTURE, "rgb8"))])
    with Bag(path) as bag:
        assert next(bags.images(bag, "/camera")).stamp == 77


def test_a_stamp_of_zero_is_one_where_a_simulation_begins(tmp_path: Path) -> None:
    stamps = [0, 10**8, 0, 10**8]
    messages = ((bags.IMAGES, 77 + number, bags.compressed(stamp, PICTURE)) for number, stamp in enumerate(stamps))
    with Bag(bags.write_bag(tmp_path / "bag", messages)) as bag:
        assert [frame.stamp for frame in bags.images(bag, bags.IMAGES)] == stamps


@pytest.mark.parametrize("stamps", [[0, 0, 0], [bags.START, 0, bags.START + 1]], ids=["all", "one"])
def test_a_stamp_of_zero_is_none_where_the_others_are_zero_too_or_since_1970(stamps: list[int], tmp_path: Path) -> None:
    messages = ((bags.IMAGES, 77 + number, bags.compressed(stamp, PICTURE)) for number, stamp in enumerate(stamps))
    with Bag(bags.write_bag(tmp_path / "bag", messages)) as bag:
        found = [frame.stamp for frame in bags.images(bag, bags.IMAGES)]
    assert found == [stamp or 77 + number for number, stamp in enumerate(stamps)]


def test_missing_topic_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    with Bag(bags.write_scene(tmp_path / "bag", 1)) as bag:
        with pytest.raises(BagError, match="has no topic /nothing; it has /camera/image/compressed, /ground_truth"):
            next(bag.messages("/nothing"))
        assert bag.count("/nothing") == 0


def test_topic_of_another_type_is_refused(tmp_path: Path) -> None:
    path = bags.write_bag(tmp_path / "bag", [("/header", 1, bags.header(1))])
    with Bag(path) as bag, pytest.raises(BagError, match="/header is std_msgs/msg/Header, expected"):
        bag.expect_images("/header", "--topic")


NEW = ("returned", "embedding")


@pytest.mark.parametrize("without", [NEW, ("identity", *NEW)])
def test_messages_of_an_older_version_are_read_by_their_definition_in_the_bag(
    tmp_path: Path, without: tuple[str, ...]
) -> None:
    with Bag(bags.write_older(tmp_path / "bag", bags.older_store(*without), instances=2)) as bag:
        assert bag.is_older("/segment/instances")
        for number, message in enumerate(bag.messages("/segment/instances")):
            assert (message.stamp, message.content.sequence) == (bags.stamp(number), number)
            assert [(each.id, each.age, each.class_name) for each in message.content.instances] == [
                (7, 70, "box"),
                (8, 80, "box"),
            ]


@pytest.mark.parametrize("instances", [1, 2, 3])
def test_messages_of_an_older_version_without_their_definition_are_refused_with_a_clear_sentence(
    tmp_path: Path, instances: int
) -> None:
    path = bags.write_older(tmp_path / "bag", bags.older_store(*NEW), instances, StoragePlugin.SQLITE3)
    with closing(sqlite3.connect(path / "bag.db3")) as database:  # as Humble records
        database.execute("DROP TABLE message_definitions")
        database.commit()
    with Bag(path) as bag:
        assert not bag.is_older("/segment/instances")
        older = "older eomt_ros/msg/InstanceArray; only bags that have its definition, as MCAP, can be read then"
        with pytest.raises(BagError, match=f"/segment/instances: a message of .* bytes is damaged, or of an {older}: "):
            next(bag.messages("/segment/instances"))


def test_messages_of_this_version_and_of_others_are_not_older(tmp_path: Path) -> None:
    with Bag(ROOT / "demo" / "bag") as bag:
        assert "eomt_ros/msg/ObjectArray" in bag.topics.values()
        assert not any(map(bag.is_older, bag.topics))


@pytest.mark.parametrize("content", [None, b"", b"no bag at all"])
def test_what_is_no_bag_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "some.mcap"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BagError, match=r"some\.mcap is not a bag that can be read"), Bag(path):
        pass


def test_a_file_that_is_no_bag_by_its_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no bag")
    with pytest.raises(BagError, match=r"notes\.txt is no bag by its name, expected \.mcap, \.db3, \.bag"), Bag(path):
        pass


def test_bags_are_read_where_there_is_no_ros(tmp_path: Path) -> None:
    path = bags.write_scene(tmp_path / "bag", 2)
    program = (
        "import sys; from pathlib import Path\n"
        "sys.modules |= dict.fromkeys(('rclpy', 'sensor_msgs', 'std_msgs', 'builtin_interfaces'))\n"
        "from eomt_ros.evaluation.bag import Bag\n"
        f"with Bag(Path({str(path)!r})) as bag: print(*(each.stamp for each in bag.messages({bags.IMAGES!r})))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(bags.stamp(0)), str(bags.stamp(1))]
