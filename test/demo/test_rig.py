"""The rig that ships with the repository: two cameras in two worlds, at the same moments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from demo import CLASS_NAMES, FIRST_THING, RIG_SEEDS
from eomt_ros.evaluation.bag import Bag, Stamped
from eomt_ros.evaluation.label_image import decode_labels
from eomt_ros.evaluation.sources import TruthSource, open_sequences
from test import ROOT

RIG = ROOT / "demo" / "rig"
OPTICAL = ("image/compressed", "camera_info", "depth/compressed", "ground_truth/semantic", "ground_truth/panoptic")
FIXED = ("odom", "ground_truth/objects")
NAMES = OPTICAL + FIXED


def messages_of(bag: Path, topic: str) -> list[Stamped[Any]]:
    with Bag(bag) as opened:
        return list(opened.messages(topic))


@pytest.fixture(scope="module")
def rig() -> dict[str, list[Stamped[Any]]]:
    return {f"/{camera}/{name}": messages_of(RIG, f"/{camera}/{name}") for camera in RIG_SEEDS for name in NAMES}


def label_images(messages: Sequence[Stamped[Any]]) -> npt.NDArray[Any]:
    return np.stack([decode_labels(message.content) for message in messages])


def test_it_takes_at_most_nine_megabytes_and_has_nothing_else() -> None:
    assert sum(file.stat().st_size for file in RIG.iterdir()) <= 9_000_000
    with Bag(RIG) as bag:
        assert set(bag.topics) == {f"/{camera}/{name}" for camera in RIG_SEEDS for name in NAMES}


def test_all_topics_have_the_same_stamps_ten_a_second_for_twenty_seconds(rig: dict[str, list[Stamped[Any]]]) -> None:
    stamps = [message.stamp for message in rig["/front/image/compressed"]]
    assert len(stamps) == 200
    assert set(np.diff(stamps)) == {100_000_000}
    for topic, messages in rig.items():
        assert [message.stamp for message in messages] == stamps, topic


def test_every_message_is_in_a_frame_of_its_camera(rig: dict[str, list[Stamped[Any]]]) -> None:
    for camera in RIG_SEEDS:
        for names, frame in ((OPTICAL, f"{camera}_optical"), (FIXED, f"{camera}_odom")):
            for name in names:
                assert {message.content.header.frame_id for message in rig[f"/{camera}/{name}"]} == {frame}, name


def test_front_sees_what_the_camera_of_the_bag_sees(rig: dict[str, list[Stamped[Any]]]) -> None:
    bag = ROOT / "demo" / "bag"
    for name in ("ground_truth/semantic", "ground_truth/panoptic"):
        for ours, theirs in zip(rig[f"/front/{name}"], messages_of(bag, f"/{name}"), strict=True):
            assert ours.stamp == theirs.stamp
            np.testing.assert_array_equal(ours.content.data, theirs.content.data)
    for ours, theirs in zip(rig["/front/ground_truth/objects"], messages_of(bag, "/ground_truth/objects"), strict=True):
        assert [vars(thing.position) for thing in ours.content.objects] == [
            vars(thing.position) for thing in theirs.content.objects
        ]
    # Compressed more, for the size of the file.
    for ours, theirs in zip(rig["/front/image/compressed"], messages_of(bag, "/camera/image/compressed"), strict=True):
        one, other = (cv2.imdecode(each.content.data, cv2.IMREAD_COLOR).astype(int) for each in (ours, theirs))
        assert np.abs(one - other).mean() < 8


def test_an_evaluation_knows_of_each_camera_where_its_things_are() -> None:
    topics = [f"/{camera}/image/compressed" for camera in RIG_SEEDS]
    for sequence in open_sequences([RIG], topics=topics, truth=TruthSource()):
        frame = next(iter(sequence.frames(CLASS_NAMES)))
        assert frame.space is not None
        assert frame.space.truth
        assert not list(sequence.problems)


def test_rear_is_another_world_whose_truth_labels_every_pixel(rig: dict[str, list[Stamped[Any]]]) -> None:
    classes = label_images(rig["/rear/ground_truth/semantic"])
    ids = label_images(rig["/rear/ground_truth/panoptic"])
    assert classes.max() < len(CLASS_NAMES)
    np.testing.assert_array_equal(ids > 0, classes >= FIRST_THING)
    # So that a result under the wrong header is seen.
    same = np.mean(classes == label_images(rig["/front/ground_truth/semantic"]), axis=(1, 2))
    assert np.median(same) < 0.7
    for message in rig["/rear/image/compressed"]:
        assert cv2.imdecode(message.content.data, cv2.IMREAD_COLOR).shape == (*classes.shape[1:], 3)


@pytest.mark.parametrize("camera", RIG_SEEDS)
def test_each_camera_is_in_the_world_of_its_seed(rig: dict[str, list[Stamped[Any]]], camera: str) -> None:
    simulation = pytest.importorskip("demo.world", reason="only remaking it needs MuJoCo", exc_type=ImportError)
    with simulation.World(RIG_SEEDS[camera], fine=True) as world:
        (frame,) = world.frames(0.1, start=15.0, depth=False)
    # Another OpenGL may draw edges otherwise.
    classes = decode_labels(rig[f"/{camera}/ground_truth/semantic"][150].content)
    assert np.mean(frame.classes == classes) > 0.995
