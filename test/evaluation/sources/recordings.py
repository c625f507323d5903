"""Recordings of `bags.scene` with their ground truth, and how tests read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_typestore

from eomt_ros.evaluation.sources import TruthSource, open_sequences
from eomt_ros.evaluation.sources.sequence import FrameSequence, SourceFrame
from test.evaluation import bags

FRAMES = 6
USUAL = TruthSource()
ROS1 = get_typestore(Stores.ROS1_NOETIC)
Message = tuple[str, int, Any]


def read(
    *paths: Path, truth: TruthSource | None = USUAL, topics: Sequence[str] = (), classes: int | None = None
) -> list[tuple[FrameSequence, list[SourceFrame]]]:
    sequences = open_sequences(paths, truth=truth, topics=topics)
    names = None if classes is None else [f"class {number}" for number in range(classes)]
    return [(sequence, list(sequence.frames(names))) for sequence in sequences]


def read_one(*paths: Path, **options: Any) -> tuple[FrameSequence, list[SourceFrame]]:
    (found,) = read(*paths, **options)
    return found


def frame(number: int, classes: np.ndarray | None = None, ids: np.ndarray | None = None) -> list[Message]:
    """The messages of one moment of `bags.scene`."""
    picture, usual_classes, usual_ids = bags.scene(number)
    stamp = bags.stamp(number)
    return [
        (bags.IMAGES, stamp, bags.compressed(stamp, picture)),
        (bags.SEMANTIC, stamp, bags.image(stamp, usual_classes if classes is None else classes, "mono8")),
        (bags.PANOPTIC, stamp, bags.image(stamp, usual_ids if ids is None else ids, "16UC1")),
    ]


def write(path: Path, frames: Iterable[list[Message]]) -> Path:
    return bags.write_bag(path, [message for each in frames for message in each])


def write_ros1(path: Path, frames: Mapping[str, int] | None = None) -> Path:
    """A rosbag1 with so many images on each topic; by default, one on one."""
    with Ros1Writer(path) as writer:
        for topic, count in (frames or {"/camera": 1}).items():
            connection = writer.add_connection(topic, "sensor_msgs/msg/Image", typestore=ROS1)
            for number in range(1, 1 + count):
                header = ROS1.types["std_msgs/msg/Header"](0, ROS1.types["builtin_interfaces/msg/Time"](number, 0), "")
                image = ROS1.types["sensor_msgs/msg/Image"](header, 2, 3, "mono8", 0, 3, np.zeros(6, np.uint8))
                writer.write(connection, number, ROS1.serialize_ros1(image, image.__msgtype__))
    return path


def expect_scene(frames: list[SourceFrame], numbers: Iterable[int], *, instances: bool = True) -> None:
    for found, number in zip(frames, numbers, strict=True):
        picture, classes, ids = bags.scene(number)
        assert found.stamp == bags.stamp(number)
        np.testing.assert_array_equal(found.image, picture)
        assert found.truth is not None
        np.testing.assert_array_equal(found.truth.classes, classes)
        if instances:
            assert found.truth.instances is not None
            np.testing.assert_array_equal(found.truth.instances, ids)
        else:
            assert found.truth.instances is None


def unscored(frames: list[SourceFrame]) -> list[int]:
    return [number for number, each in enumerate(frames) if each.truth is None]


def write_folder(folder: Path, numbers: Iterable[int], name: str, *, ids: bool = True) -> Path:
    for number in numbers:
        _, classes, instances = bags.scene(number)
        file = f"{name.format(index=number, stamp=bags.stamp(number))}.png"
        for kind, labels in (("semantic", classes), ("panoptic", instances))[: 1 + ids]:
            (folder / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / kind / file), labels)
    return folder
