"""A bag of several cameras is a sequence for each, with its own name, images and ground truth."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from eomt_ros.evaluation.sources import SourceError, TruthSource, open_sequences
from eomt_ros.evaluation.sources.cameras import camera_names
from eomt_ros.evaluation.sources.sequence import SourceFrame
from test.evaluation import bags
from test.evaluation.sources.recordings import frame, read, read_one, unscored, write, write_folder, write_ros1

FRONT, REAR = bags.rig_topic("front"), bags.rig_topic("rear")
FRAMES = {"front": 4, "rear": 3}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bags.write_rig(tmp_path_factory.mktemp("rig") / "rig", FRAMES)


def expect_camera(frames: Iterable[SourceFrame], camera: str) -> None:
    """Expects all frames of a camera of the rig, with their ground truth."""
    for number, found in zip(range(FRAMES[camera]), frames, strict=True):
        picture, classes, instances = bags.rig_scene(camera, number)
        assert found.stamp == bags.stamp(number)
        np.testing.assert_array_equal(found.image, picture)
        assert found.truth is not None
        np.testing.assert_array_equal(found.truth.classes, classes)
        assert found.truth.instances is not None
        np.testing.assert_array_equal(found.truth.instances, instances)


def test_every_topic_is_a_sequence_called_by_its_camera_with_the_truth_in_its_namespace(rig: Path) -> None:
    for topics in ([FRONT, REAR], [REAR, FRONT]):
        found = read(rig, topics=topics)
        assert [sequence.topic for sequence, _ in found] == topics
        for sequence, frames in found:
            expect_camera(frames, sequence.name)
            assert (sequence.topic, sequence.count) == (bags.rig_topic(sequence.name), FRAMES[sequence.name])
            assert sequence.truth == f"/{sequence.name}/ground_truth/semantic, /{sequence.name}/ground_truth/panoptic"
            assert (sequence.bag, sequence.problems) == ("rig", [])


def test_cameras_may_be_read_side_by_side(tmp_path: Path) -> None:
    path = write_ros1(tmp_path / "a.bag", {"/front/image": 3, "/rear/image": 1})
    front, rear = (each.frames() for each in open_sequences([path], topics=["/front/image", "/rear/image"]))
    next(rear)
    next(front)
    assert list(rear) == []
    assert len(list(front)) == 2


def test_one_topic_of_several_is_called_by_the_bag_and_has_the_truth_in_its_namespace(rig: Path) -> None:
    sequence, frames = read_one(rig, topics=[REAR])
    expect_camera(frames, "rear")
    assert (sequence.name, sequence.topic) == ("rig", REAR)


def test_the_usual_topics_go_before_those_of_the_namespace_for_a_camera_alone_only(tmp_path: Path) -> None:
    messages = frame(0)
    wrong = np.full((48, 64), 7, np.uint8)
    messages += [("/camera/ground_truth/semantic", bags.stamp(0), bags.image(bags.stamp(0), wrong, "mono8"))]
    path = write(tmp_path / "bag", [messages])
    assert read_one(path)[0].truth == f"{bags.SEMANTIC}, {bags.PANOPTIC}"
    # Of two cameras none is the one that these are of.
    other = [("/other/image", 1, bags.image(1, np.zeros((8, 8, 3), np.uint8), "rgb8"))]
    path = write(tmp_path / "two", [messages, other])
    found = read(path, topics=[bags.IMAGES, "/other/image"])
    assert [sequence.truth for sequence, _ in found] == ["/camera/ground_truth/semantic", None]


def test_of_several_bags_each_sequence_is_called_by_bag_and_camera(rig: Path, tmp_path: Path) -> None:
    other = bags.write_rig(tmp_path / "monday", FRAMES)
    found = read(rig, other, topics=[FRONT, REAR])
    assert [sequence.name for sequence, _ in found] == ["rig front", "rig rear", "monday front", "monday rear"]
    assert [sequence.bag for sequence, _ in found] == ["rig", "rig", "monday", "monday"]
    for sequence, frames in found:
        expect_camera(frames, sequence.name.split()[1])


@pytest.mark.parametrize(
    ("topics", "names"),
    [
        (["/front/image/compressed", "/rear/image/compressed"], ["front", "rear"]),
        (["/robot/front/image_raw", "/robot/rear/image_raw/compressed"], ["front", "rear"]),
        (["/front/color/image", "/rear/rgb/image"], ["front", "rear"]),
        (["/camera_1/image", "/camera_2/image", "/camera_3/image"], ["camera_1", "camera_2", "camera_3"]),
        (["/rig/left", "/rig/right"], ["left", "right"]),
        (["/image", "/rear/image"], ["image", "rear"]),
        (["/l/a/image", "/l/b/image", "/r/a/image"], ["l/a", "l/b", "r/a"]),
        (["/a/image", "/a/image/compressed"], ["a/image", "a/image/compressed"]),
    ],
)
def test_a_camera_is_called_by_what_tells_its_topic_from_the_others(topics: list[str], names: list[str]) -> None:
    assert camera_names(topics) == names


def test_topics_of_the_truth_are_named_for_all_cameras_at_once(tmp_path: Path) -> None:
    path = bags.write_rig(tmp_path / "bag", FRAMES, "/sim/{what}/{camera}")
    source = TruthSource(classes_topic="/sim/semantic/{camera}", instances_topic="/sim/panoptic/{camera}")
    for sequence, frames in read(path, topics=[FRONT, REAR], truth=source):
        expect_camera(frames, sequence.name)
    assert [sequence.truth for sequence, _ in read(path, topics=[FRONT, REAR])] == [None, None]


def test_a_folder_of_truth_has_one_for_each_camera(rig: Path, tmp_path: Path) -> None:
    for camera, count in FRAMES.items():
        write_folder(tmp_path / camera, range(count), "{index}")
    found = read(rig, topics=[FRONT, REAR], truth=TruthSource(folder=tmp_path))
    assert [sequence.truth for sequence, _ in found] == [str(tmp_path / "front"), str(tmp_path / "rear")]
    assert [unscored(frames) for _, frames in found] == [[], []]
    with pytest.raises(SourceError, match=f"--truth {tmp_path}/gone/front cannot be read: No such file"):
        read(rig, topics=[FRONT, REAR], truth=TruthSource(folder=tmp_path / "gone"))


LISTED = ", ".join(
    f"/{camera}/{name} ({count} messages)"
    for camera, count in FRAMES.items()
    for name in ("ground_truth/panoptic", "ground_truth/semantic", "image/compressed")
)


@pytest.mark.parametrize(
    ("topics", "truth", "refusal"),
    [
        ([FRONT, FRONT], TruthSource(), f"--topic {FRONT} is given twice, expected each camera once: {FRONT}, {FRONT}"),
        ([FRONT, "/gone"], TruthSource(), f"--topic /gone: {{rig}} has no such topic; it has {LISTED}"),
        (
            [FRONT, "/front/ground_truth/semantic"],
            TruthSource(),
            "/front/ground_truth/semantic is to be both image and ground truth; give another one with --topic: {rig} "
            f"has {LISTED}",
        ),
        (
            ["/front/ground_truth/panoptic"],
            TruthSource(),
            "/front/ground_truth/panoptic is to be both image and ground truth; give another one with --topic: {rig} "
            f"has {LISTED}",
        ),
        (
            [FRONT, REAR],
            TruthSource(classes_topic="/front/ground_truth/semantic"),
            f"{{rig}}: /front/ground_truth/semantic is to be the ground truth of {FRONT} and of {REAR}: name each "
            "camera's with --truth-classes and --truth-instances, where {{camera}} stands for its name",
        ),
        (
            [FRONT, REAR],
            TruthSource(classes_topic="/gone/{camera}"),
            f"--truth-classes /gone/front: {{rig}} has no such topic; it has {LISTED}",
        ),
    ],
)
def test_topics_that_do_not_go_together_are_refused_in_a_line_that_says_what_there_is(
    rig: Path, topics: list[str], truth: TruthSource, refusal: str
) -> None:
    with pytest.raises(SourceError, match=f"^{re.escape(refusal.format(rig=rig))}$"):
        read(rig, topics=topics, truth=truth)


def test_cameras_of_one_namespace_do_not_share_its_truth(tmp_path: Path) -> None:
    names = {bags.IMAGES: "/rig/left", bags.SEMANTIC: "/rig/ground_truth/semantic"}
    messages = [(names.get(topic, "/rig/right"), time, message) for topic, time, message in frame(0)]
    path = write(tmp_path / "bag", [messages])
    with pytest.raises(SourceError, match="/rig/ground_truth/semantic is to be the ground truth of /rig/left and of"):
        read(path, topics=["/rig/left", "/rig/right"])


def test_several_cameras_are_told_to_who_chose_none(rig: Path) -> None:
    refusal = f"{rig} has several image topics; choose with --topic, which an evaluation takes several times:\n"
    with pytest.raises(SourceError, match=re.escape(refusal)) as refused:
        read(rig)
    assert all(f"\n  {topic}  CompressedImage 'png', " in str(refused.value) for topic in (FRONT, REAR))


def test_topics_are_for_bags_alone(rig: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    write_folder(folder, range(1), "{index}")
    with pytest.raises(SourceError, match=rf"a topic \(--topic {FRONT}\) is for bags, and .*semantic is none"):
        read(rig, folder / "semantic", topics=[FRONT, REAR])
