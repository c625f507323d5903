"""Things get their ids by their places too, where a recording has depth and odometry, and metrics.json says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eomt_ros.cli.main import main
from eomt_ros.engine import Segmenter
from eomt_ros.engine.tracking.places import Locate
from eomt_ros.evaluation.predictions import EnginePredictions
from eomt_ros.evaluation.sources import TruthSource, open_sequences
from eomt_ros.evaluation.sources.sequence import FrameInSpace, FrameSequence
from test.engine.checkpoints import write_checkpoint
from test.evaluation import bags
from test.evaluation.bags import stamp
from test.evaluation.sources.recordings import FRAMES, Message, frame, write
from test.evaluation.sources.test_space import DEPTH, OBJECTS, ODOMETRY, beside, instead, odometry, without


def bag_with(path: Path, messages: Callable[[int], Iterable[Message]], *, truth: bool = True) -> Path:
    moments = [[*frame(number), *messages(number)] for number in range(FRAMES)]
    wanted = [[each for each in moment if truth or "ground_truth" not in each[0]] for moment in moments]
    return write(path, wanted)


def opened(path: Path, truth: TruthSource | None = None, *, places: bool = True) -> FrameSequence:
    (sequence,) = open_sequences([path], truth=truth or TruthSource(), places=places)
    return sequence


def spaces(sequence: FrameSequence) -> list[FrameInSpace | None]:
    return [each.space for each in sequence.frames()]


@pytest.mark.parametrize("truth", [True, False])
def test_depth_and_odometry_are_enough(truth: bool, tmp_path: Path) -> None:
    sequence = opened(bag_with(tmp_path / "bag", without(OBJECTS), truth=truth))
    found = spaces(sequence)
    assert sequence.problems == []
    for number, space in enumerate(found):
        assert space is not None
        assert space.truth is None
        np.testing.assert_allclose(space.depth, 2.0)
        np.testing.assert_allclose(space.pose.translation, [0.1 * number, 0, 0.5], atol=1e-9)


def test_they_are_beside_a_folder_of_ground_truth_too(tmp_path: Path) -> None:
    path = bag_with(tmp_path / "bag", without(OBJECTS), truth=False)
    (tmp_path / "truth").mkdir()
    for number in range(FRAMES):
        assert cv2.imwrite(str(tmp_path / "truth" / f"{stamp(number)}.png"), bags.scene(number)[1])
    assert None not in spaces(opened(path, TruthSource(folder=tmp_path / "truth")))


def test_they_are_not_read_where_they_are_not_wanted(tmp_path: Path) -> None:
    path = bag_with(tmp_path / "bag", without(OBJECTS))
    assert spaces(opened(path, places=False)) == [None] * FRAMES


@pytest.mark.parametrize("topic", [DEPTH, ODOMETRY])
def test_most_recordings_have_none_of_it_and_nothing_is_said(topic: str, tmp_path: Path) -> None:
    sequence = opened(
        bag_with(tmp_path / "bag", lambda number: [each for each in without(OBJECTS)(number) if each[0] != topic])
    )
    assert spaces(sequence) == [None] * FRAMES
    assert sequence.problems == []


def test_two_topics_of_odometry_are_named_and_none_is_chosen(tmp_path: Path) -> None:
    more = [("/wheels/odom", stamp(number), odometry(stamp(number), 0.0)) for number in range(FRAMES)]
    sequence = opened(bag_with(tmp_path / "bag", lambda number: [*without(OBJECTS)(number), more[number]]))
    assert spaces(sequence) == [None] * FRAMES
    assert sequence.problems == [
        "the places of things are not known: expected one topic of nav_msgs/msg/Odometry, found /odom, /wheels/odom"
    ]


def test_frames_without_depth_are_told(tmp_path: Path) -> None:
    sequence = opened(
        bag_with(
            tmp_path / "bag",
            lambda number: [each for each in without(OBJECTS)(number) if number != 2 or each[0] != DEPTH],
        )
    )
    assert [number for number, space in enumerate(spaces(sequence)) if space is None] == [2]
    assert sequence.problems == [f"1 frame without depth: the places of things are not known; first: at {stamp(2)} ns"]


def test_odometry_that_jumps_is_counted_and_not_bridged(tmp_path: Path) -> None:
    def late(number: int) -> list[Message]:
        """Between the images, so that a pose is of two messages; from the fourth on it is 9 m farther."""
        at = stamp(number) - bags.PERIOD // 2
        others = [each for each in without(OBJECTS)(number) if each[0] != ODOMETRY]
        return [*others, (ODOMETRY, at, odometry(at, 0.1 * number + 9.0 * (number >= 3)))]

    found = spaces(opened(bag_with(tmp_path / "bag", late)))
    assert [None if space is None else space.jumps for space in found] == [0, 0, None, 1, 1, None]


class Watched(Segmenter):
    """Remembers what each frame was to be placed by."""

    def begin(self, *given: Any, locate: Locate | None = None, **others: Any) -> Any:
        self.__dict__.setdefault("located", []).append(locate)
        return super().begin(*given, locate=locate, **others)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "small")


@pytest.mark.parametrize(
    ("places", "topic", "expected"),
    [(True, OBJECTS, "depth and odometry"), (False, OBJECTS, "none"), (True, DEPTH, "none")],
)
def test_the_engine_is_given_the_places_and_the_settings_say_so(
    places: bool, topic: str, expected: str, model: Path, tmp_path: Path
) -> None:
    sequence = opened(bag_with(tmp_path / "bag", without(topic)))
    segmenter = Watched.load(model, device="cpu", precision="float32", score_threshold=0.2)
    assert isinstance(segmenter, Watched)
    predictions = EnginePredictions(segmenter, places=places)
    predictions.start_sequence("bag")
    frames = list(sequence.frames())
    assert all(predictions.find(each) is not None for each in frames)
    assert predictions.settings["places"] == expected
    located = [each for each in segmenter.__dict__["located"] if each is not None]
    assert len(located) == (FRAMES if expected != "none" else 0)
    for locate, each in zip(located, frames, strict=False):
        index = np.zeros(each.image.shape[:2], np.uint8)
        index[16:32, 8:24] = 1
        found = locate(index, [Square()])
        assert found is not None
        # Two metres from the camera, which looks to the left of the odometry's frame, and half its width behind.
        assert each.space is not None
        ahead = found.positions[0] - each.space.pose.translation
        np.testing.assert_allclose(ahead, [-0.5, 2.0, 0.0], atol=0.05)


class Square:
    is_thing = True
    box = (8, 16, 16, 16)


@pytest.mark.parametrize(("words", "expected"), [([], "depth and odometry"), (["--places", "none"], "none")])
def test_metrics_say_whether_places_were_used(words: list[str], expected: str, model: Path, tmp_path: Path) -> None:
    path = bag_with(tmp_path / "bag", beside)
    asked = ["--model", str(model), "--device", "cpu", "--score-threshold", "0.2", "--no-video"]
    assert main(["evaluate", str(path), *asked, *words, "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["settings"]["places"] == expected


def test_a_depth_of_another_frame_is_told(tmp_path: Path) -> None:
    from test.evaluation.sources.test_space import depth

    messages = instead(DEPTH, lambda at: depth(at, frame_id="depth_optical"))
    sequence = opened(
        bag_with(tmp_path / "bag", lambda number: [each for each in messages(number) if each[0] != OBJECTS])
    )
    assert spaces(sequence) == [None] * FRAMES
    (problem,) = sequence.problems
    assert problem.startswith("the places of things are not known: /camera/depth is in the frame 'depth_optical'")
