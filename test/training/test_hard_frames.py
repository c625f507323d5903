"""Frames that teach most are found in recordings of which it is known which they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from eomt_ros.engine import FrameResult, Segment
from eomt_ros.engine.model.labels import Labels, distinct_colors
from eomt_ros.engine.results import Timings
from eomt_ros.evaluation.frame import Truth
from eomt_ros.stamps import SECOND
from eomt_ros.training.hard_frames import MEASURES, SPREAD, FramePlace, HardFrame, HardFrames
from eomt_ros.training.prelabel import ClassMap

FLOOR, BOX, PALLET, NONE = 0, 1, 2, 255
LABELS = Labels("few", ("floor", "box", "pallet"), (False, True, True), distinct_colors(3), "panoptic")
NOT_TIMED = Timings(0, 0, 0, 0)
PERIOD = SECOND // 10
FRAMES = 100
SIZE = 40

Change = Callable[[int, npt.NDArray[np.uint8], npt.NDArray[np.uint16], npt.NDArray[np.uint8]], None]


def nothing(*_: object) -> None:
    """Leaves a frame easy."""


def frame_with(number: int, change: Change = nothing) -> FrameResult:
    """A sure frame with a box (id 7) that moves over the floor, before a change of its classes, ids or confidence."""
    classes, ids = np.full((SIZE, SIZE), FLOOR, np.uint8), np.zeros((SIZE, SIZE), np.uint16)
    confidence = np.full((SIZE, SIZE), 250, np.uint8)
    box = np.s_[10:20, number // 10 : number // 10 + 10]
    classes[box], ids[box] = BOX, 7
    change(number, classes, ids, confidence)
    segments = []
    for each in np.unique(ids[ids > 0]).tolist():
        (class_id,) = np.unique(classes[ids == each]).tolist()
        area = int((ids == each).sum())
        segments.append(Segment(each, class_id, LABELS.class_names[class_id], True, 1.0, area, (0, 0, 1, 1), 0))
    return FrameResult(classes, ids, confidence, segments, 0, NOT_TIMED, LABELS)


def measured(change: Change, truths: Sequence[Truth | None] | None = None, frames: int = FRAMES) -> HardFrames:
    found = HardFrames(LABELS.class_names, ClassMap(LABELS, LABELS.class_names))
    found.start_video()
    for number in range(frames):
        truth = None if truths is None else truths[number]
        found.add(FramePlace(0, number), number * PERIOD, frame_with(number, change), truth)
    return found


def picked(count: int, change: Change, truths: Sequence[Truth | None] | None = None) -> list[HardFrame]:
    return measured(change, truths).picked(count, [FramePlace(0, number) for number in range(FRAMES)])


def unsure(number: int, _: object, __: object, confidence: npt.NDArray[np.uint8]) -> None:
    if number == 50:
        confidence[:] = 120


def unlabelled(number: int, classes: npt.NDArray[np.uint8], *_: object) -> None:
    if number == 50:
        classes[25:] = NONE


def flickering(number: int, classes: npt.NDArray[np.uint8], *_: object) -> None:
    if number == 50:
        classes[30:, :] = NONE
        classes[25:30] = PALLET


def switching(number: int, _: object, ids: npt.NDArray[np.uint16], __: object) -> None:
    if number >= 50:
        ids[ids == 7] = 8


def vanishing(number: int, classes: npt.NDArray[np.uint8], ids: npt.NDArray[np.uint16], _: object) -> None:
    if number == 50:
        classes[:], ids[:] = FLOOR, 0


def short_lived(number: int, classes: npt.NDArray[np.uint8], ids: npt.NDArray[np.uint16], _: object) -> None:
    if number == 50:
        classes[30:35, 30:35], ids[30:35, 30:35] = BOX, 9


def rare(number: int, classes: npt.NDArray[np.uint8], ids: npt.NDArray[np.uint16], _: object) -> None:
    if 48 <= number <= 52:
        classes[30:35, 30:35], ids[30:35, 30:35] = PALLET, 9


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (unsure, "unsure"),
        (unlabelled, "unlabelled"),
        (flickering, "flicker"),
        (switching, "ids"),
        (vanishing, "ids"),
        (short_lived, "ids"),
    ],
)
def test_the_one_hard_frame_is_the_first_that_is_picked(change: Change, reason: str) -> None:
    first = picked(5, change)[0]
    assert first.place == FramePlace(0, 50)
    assert first.reason in MEASURES
    assert first.measures[reason] > 0


def test_a_frame_with_a_class_that_is_seldom_seen_is_picked_for_it() -> None:
    first, second, *_ = picked(5, rare)
    assert 48 <= first.place.number <= 52
    assert first.reason == "rare: pallet"
    assert second.hardness <= first.hardness / 2


def test_flicker_is_of_the_frame_between_not_of_its_neighbours() -> None:
    found = {each.place.number: each.measures["flicker"] for each in picked(FRAMES, flickering)}
    assert found[50] == pytest.approx(15 / SIZE)
    assert max(found[49], found[51]) < 0.01


def test_where_the_model_is_wrong_is_hard_however_sure_it_is() -> None:
    truths = [Truth(np.full((SIZE, SIZE), FLOOR, np.uint8)) for _ in range(FRAMES)]
    truths[50].classes[20:] = PALLET
    first = picked(1, nothing, truths)[0]
    assert (first.place.number, first.reason) == (50, "wrong")


def test_what_is_not_labelled_is_not_wrong() -> None:
    truths = [Truth(frame_with(number).semantic.copy()) for number in range(FRAMES)]
    truths[50].classes[20:] = 255
    assert {each.measures["wrong"] for each in picked(FRAMES, nothing, truths)} == {0.0}


def test_what_all_frames_have_is_not_hard() -> None:
    def everywhere(_: int, classes: npt.NDArray[np.uint8], __: object, confidence: npt.NDArray[np.uint8]) -> None:
        classes[25:] = NONE
        confidence[:] = 100

    assert {each.reason for each in picked(10, everywhere)} <= {"rare: box", SPREAD, "ids", "flicker"}
    assert all(each.hardness < 0.01 for each in picked(10, everywhere))


def test_hard_frames_side_by_side_are_picked_once_as_long_as_the_count_allows() -> None:
    def stretch(number: int, _: object, __: object, confidence: npt.NDArray[np.uint8]) -> None:
        if 40 <= number < 60:
            confidence[:] = 100 + number

    numbers = [each.place.number for each in picked(5, stretch)]
    assert numbers[0] == 40
    assert min(abs(one - other) for one in numbers for other in numbers if one != other) >= 20


def test_a_count_that_is_too_large_for_that_brings_them_closer_together() -> None:
    numbers = sorted(each.place.number for each in picked(20, unsure))
    assert len(set(numbers)) == 20
    assert min(after - before for before, after in pairwise(numbers)) >= 2


def test_frames_of_different_recordings_may_be_of_the_same_time() -> None:
    found = HardFrames(LABELS.class_names, ClassMap(LABELS, LABELS.class_names))
    for recording in range(2):
        found.start_video()
        for number in range(FRAMES):
            found.add(FramePlace(recording, number), number * PERIOD, frame_with(number, unsure), None)
    both = found.picked(2, [FramePlace(recording, number) for recording in range(2) for number in range(FRAMES)])
    assert {each.place for each in both} == {FramePlace(0, 50), FramePlace(1, 50)}


def test_all_frames_are_picked_where_more_are_wanted() -> None:
    assert {each.place.number for each in picked(FRAMES + 5, unsure)} == set(range(FRAMES))


def test_only_frames_among_those_that_may_be_picked_are() -> None:
    found = measured(unsure).picked(3, [FramePlace(0, number) for number in range(20)])
    assert {each.place.number for each in found} <= set(range(20))
    assert len(found) == 3
