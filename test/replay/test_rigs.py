"""Several cameras of a bag through one node: each keeps its own results, counts and scores, and they add up."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eomt_ros.evaluation.bag import Bag
from eomt_ros.evaluation.sources import SourceError, TruthSource
from eomt_ros.replay.bag_images import listen_to
from eomt_ros.replay.tiles import CAPTION_HEIGHT, MARGIN
from eomt_ros.video import read_video
from test import ROOT
from test.evaluation import bags
from test.replay.both_ways import (
    EVERY_FRAME,
    as_the_engine_says_it,
    evaluate_through_engine,
    evaluate_through_node,
    metrics,
    running_node,
)

pytestmark = pytest.mark.slow

FRAMES = 24
MISSING = range(9, 14)
"""Frames that the camera rear does not have."""
NUMBERS = {"front": list(range(FRAMES)), "rear": [number for number in range(FRAMES) if number not in MISSING]}
TOPICS = [word for camera in NUMBERS for word in ("--topic", bags.rig_topic(camera))]
RIG = {"cameras": "[front,rear]", "precision": "float32"}
"""Parameters; in float32 a frame's result is the same whatever else is in its batch."""
RESULTS = ("semantic", "panoptic", "instances")
HEADS = ("published", "processed", "dropped", "lost on the way", "age of a result", "p95 of it")
HEIGHT, WIDTH = 240, 424


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of the demo's rig, with a pause in one of its cameras."""

    def messages() -> Iterator[tuple[str, int, Any]]:
        with Bag(ROOT / "demo" / "rig") as bag:
            for topic in bag.topics:
                for number, message in enumerate(islice(bag.messages(topic), FRAMES)):
                    if number in NUMBERS[topic.split("/")[1]]:
                        yield topic, message.stamp, message.content

    path = tmp_path_factory.mktemp("played") / "rig"
    return bags.write_bag(path, sorted(messages(), key=lambda message: message[1]))


@pytest.fixture(scope="module")
def replayed(played: Path, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The output folder, and what was printed."""
    out = tmp_path_factory.mktemp("replayed") / "out"
    with running_node(variables, **EVERY_FRAME, **RIG):
        done = evaluate_through_node(played, out, variables, *TOPICS)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return out, done.stdout


@pytest.fixture(scope="module")
def alone(played: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """For each camera, the output folder of an evaluation of it alone, straight through the engine."""
    folder = tmp_path_factory.mktemp("alone")
    for camera in NUMBERS:
        evaluate_through_engine(played, folder / camera, "--topic", bags.rig_topic(camera), "--precision", "float32")
    return {camera: folder / camera for camera in NUMBERS}


def test_every_camera_has_its_own_counts_and_they_add_up(replayed: tuple[Path, str]) -> None:
    found = metrics(replayed[0])
    for camera, numbers in NUMBERS.items():
        replay = found["replays"][camera]
        counts = [replay[name] for name in ("published", "processed", "dropped", "lost_on_the_way")]
        assert counts == [len(numbers), len(numbers), 0, 0]
        assert 0 < replay["age_ms"]["p50"] <= replay["age_ms"]["highest"]
    whole = found["replay"]
    total = sum(map(len, NUMBERS.values()))
    assert [whole[name] for name in ("published", "processed", "dropped")] == [total, total, 0]
    assert whole["age_ms"]["highest"] == max(each["age_ms"]["highest"] for each in found["replays"].values())
    assert found["frames"] == found["frames_scored"] == total
    assert found["problems"] == []


def test_nothing_of_one_camera_is_under_the_header_of_another(
    replayed: tuple[Path, str], alone: Mapping[str, Path]
) -> None:
    with Bag(replayed[0] / "bag") as recorded:
        assert set(recorded.topics) == {f"/segment/{camera}/{name}" for camera in NUMBERS for name in RESULTS}
        for camera, numbers in NUMBERS.items():
            stamps = [bags.stamp(number) for number in numbers]
            with Bag(alone[camera] / "bag") as engine:
                for name in RESULTS:
                    ours = list(recorded.messages(f"/segment/{camera}/{name}"))
                    theirs = list(engine.messages(f"/segment/{name}"))
                    assert [message.stamp for message in ours] == [message.stamp for message in theirs] == stamps
                    assert {message.content.header.frame_id for message in ours} == {f"{camera}_optical"}
                    for mine, other in zip(ours, theirs, strict=True):
                        if name == "instances":
                            assert as_the_engine_says_it(mine.content) == as_the_engine_says_it(other.content)
                        else:
                            np.testing.assert_array_equal(mine.content.data, other.content.data)


def test_the_scores_of_a_camera_are_those_that_it_has_alone_and_those_of_all_are_of_both_bags(
    replayed: tuple[Path, str], alone: Mapping[str, Path], played: Path, tmp_path: Path
) -> None:
    found = metrics(replayed[0])
    by_camera = {each["name"]: each for each in found["recordings"]}
    assert list(by_camera) == list(NUMBERS)
    evaluate_through_engine(played, tmp_path / "out", *TOPICS, "--precision", "float32")
    expected = {**{camera: metrics(out) for camera, out in alone.items()}, "all": metrics(tmp_path / "out")}
    for camera, scores in {**by_camera, "all": found}.items():
        for name in ("miou", "vpq", "stq", "objects", "id_switches"):
            assert scores[name] == expected[camera][name], (camera, name)
    assert found["objects"] == sum(each["objects"] for each in by_camera.values()) > 0


def test_the_video_shows_all_cameras_at_every_moment_of_any(replayed: tuple[Path, str]) -> None:
    frames = list(read_video(replayed[0] / "overlay.mp4"))
    stamps = [number * bags.PERIOD for number in range(FRAMES)]
    assert [frame.stamp for frame in frames] == pytest.approx(stamps, abs=1e6)
    size = MARGIN + CAPTION_HEIGHT + HEIGHT + MARGIN, MARGIN + 2 * (WIDTH + MARGIN)
    assert {frame.image.shape for frame in frames} == {(*size, 3)}
    changed = [_changed(before.image, after.image) for before, after in pairwise(frames)]
    for number, (front, rear) in enumerate(changed, start=1):
        assert front > 1, number
        assert (rear > 1) == (number not in MISSING), number


def _changed(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Mean difference of the pictures of front and rear."""
    difference = np.abs(before.astype(int) - after)[MARGIN + CAPTION_HEIGHT : -MARGIN]
    return float(difference[:, MARGIN:][:, :WIDTH].mean()), float(difference[:, 2 * MARGIN + WIDTH :][:, :WIDTH].mean())


def test_the_summary_has_a_line_for_each_camera_and_one_for_all(replayed: tuple[Path, str]) -> None:
    out, printed = replayed
    found = metrics(out)
    _, _, table = printed.partition("through the node, policy every_frame\n")
    head, *lines = table.splitlines()
    assert re.split(" {2,}", head.strip()) == ["camera", *HEADS]
    for line, (name, replay) in zip(lines, {**found["replays"], "all": found["replay"]}.items(), strict=False):
        age = replay["age_ms"]
        cells = [name, *(str(replay[count]) for count in ("published", "processed", "dropped", "lost_on_the_way"))]
        assert line.split() == [*cells, f"{age['p50']:,.1f}", "ms", f"{age['p95']:,.1f}", "ms"]
    for camera in NUMBERS:
        assert re.search(rf"^  {camera} .*\d\.\d{{3}}", printed, re.MULTILINE), "its scores"


@pytest.mark.parametrize(
    ("cameras", "missing", "there"),
    [("['']", "front", "/camera/image/compressed"), ("[front]", "rear", "/front/image/compressed")],
)
def test_a_camera_that_the_node_does_not_have_is_named(
    cameras: str, missing: str, there: str, played: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    with running_node(variables, **EVERY_FRAME, cameras=cameras):
        done = evaluate_through_node(played, tmp_path / "out", variables, *TOPICS)
    assert done.returncode == 1
    complaint = f"no camera of the node /segment listens to {bags.rig_topic(missing)}, only to {there}"
    assert f"evaluate_bag: {complaint}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").iterdir())


def test_a_camera_that_the_bag_does_not_have_is_said_before_anything_is_waited_for(
    played: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    words = ("--topic", bags.rig_topic("front"), "--topic", bags.rig_topic("left"))
    done = evaluate_through_node(played, tmp_path / "out", variables, *words)
    assert done.returncode == 1
    assert done.stderr.startswith(f"evaluate_bag: --topic /left/image/compressed: {played} has no such topic; it has /")
    assert not (tmp_path / "out").exists()


def test_one_camera_of_a_node_with_several_is_scored_alone(
    played: Path, alone: Mapping[str, Path], variables: dict[str, str], tmp_path: Path
) -> None:
    with running_node(variables, **EVERY_FRAME, **RIG):
        done = evaluate_through_node(played, tmp_path / "out", variables, "--topic", bags.rig_topic("rear"))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found, single = metrics(tmp_path / "out"), metrics(alone["rear"])
    assert found["frames"] == len(NUMBERS["rear"])
    assert [found[name] for name in ("miou", "vpq", "stq")] == [single[name] for name in ("miou", "vpq", "stq")]


def test_a_camera_without_any_result_is_said_and_the_other_is_scored(variables: dict[str, str], tmp_path: Path) -> None:
    frames = 5

    def messages() -> Iterator[tuple[str, int, Any]]:
        for number in range(frames):
            stamp = bags.stamp(number)
            picture, classes, _ = bags.rig_scene("front", number)
            yield bags.rig_topic("front"), stamp, bags.compressed(stamp, picture)
            yield "/front/ground_truth/semantic", stamp, bags.image(stamp, classes, "mono8")
            broken = bags.compressed(stamp, picture)
            yield bags.rig_topic("rear"), stamp, dataclasses.replace(broken, data=np.zeros(64, np.uint8))

    bag = bags.write_bag(tmp_path / "played", messages())
    with running_node(variables, **EVERY_FRAME, **RIG):
        done = evaluate_through_node(bag, tmp_path / "out", variables, *TOPICS)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = metrics(tmp_path / "out")
    assert found["frames"] == found["frames_scored"] == frames
    assert found["replays"]["rear"]["dropped_by_reason"] == {"bad_image": frames}
    assert "no result came for /rear/image/compressed" in found["problems"]


def test_the_node_is_told_of_all_topics_and_their_one_transport(tmp_path: Path) -> None:
    topics = [bags.rig_topic("rear"), bags.rig_topic("front")]
    rig = bags.write_rig(tmp_path / "rig", {"front": 1, "rear": 1})
    assert listen_to(rig, topics, TruthSource()) == (["/rear/image", "/front/image"], "compressed")
    picture = bags.scene(0)[0]
    mixed = [(bags.IMAGES, 1, bags.compressed(1, picture)), ("/raw", 1, bags.image(1, picture, "rgb8"))]
    bag = bags.write_bag(tmp_path / "mixed", mixed)
    with pytest.raises(SourceError, match="some are compressed and some are not, expected one kind for all cameras"):
        listen_to(bag, [bags.IMAGES, "/raw"], TruthSource())
