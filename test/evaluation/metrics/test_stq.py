"""Segmentation and tracking quality, counted by hand, and beside a plain program written from the definition."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eomt_ros.evaluation.convention import Convention
from test.evaluation.metrics.scenes import (
    BALL,
    BOX,
    FLOOR,
    IS_THING,
    UNLABELLED,
    WALL,
    Pair,
    Place,
    pair,
    random_sequence,
    score,
)

Segment = tuple[int, int]
"""Class and id, 0 for stuff and for things that nobody told apart."""
Tube = set[tuple[int, int]]
"""Pixels: frame and place."""


def is_thing(class_id: int) -> bool:
    return class_id != UNLABELLED and IS_THING[class_id]


def segments(classes: npt.NDArray[np.integer], ids: npt.NDArray[np.integer] | None) -> list[Segment]:
    """That of every pixel."""
    assert ids is not None
    pixels = zip(classes.ravel().tolist(), ids.ravel().tolist(), strict=True)
    return [(class_id, identity if is_thing(class_id) else 0) for class_id, identity in pixels]


def numbered_from_zero(frames: list[Pair]) -> dict[Segment, int]:
    """The numbers that the published script gives: those of a list that names a frame's stuff before its things."""
    listed: list[Segment] = []
    for truth, _ in frames:
        found = {each for each in segments(truth.classes, truth.instances) if each[0] != UNLABELLED}
        listed += sorted(each for each in found if not is_thing(each[0]))
        listed += sorted(each for each in found if is_thing(each[0]) and each[1])
    return {segment: number for number, segment in enumerate(dict.fromkeys(listed))}


def association(*sequences: list[Pair], convention: Convention = Convention.STANDARD) -> float | None:
    """AQ from sets of pixels: a true thing of number 0 is a crowd, on which nothing counts."""
    standard, values = convention is Convention.STANDARD, []
    for frames in sequences:
        numbers = numbered_from_zero(frames) if convention is Convention.PUBLISHED else {}
        true: dict[object, Tube] = defaultdict(set)
        predicted: dict[object, Tube] = defaultdict(set)
        for time, (truth, prediction) in enumerate(frames):
            pairs = zip(
                segments(truth.classes, truth.instances),
                segments(prediction.classes, prediction.segments),
                strict=True,
            )
            for place, (segment, guess) in enumerate(pairs):
                crowd = is_thing(segment[0]) and 0 in (segment[1], numbers.get(segment, segment[1]))
                if crowd or (standard and segment[0] == UNLABELLED):
                    continue
                if is_thing(segment[0]):
                    true[segment].add((time, place))
                if is_thing(guess[0]) and (guess[1] or convention is Convention.STQ):
                    predicted[prediction.epoch if guess[1] else 0, guess].add((time, place))
        for tube in true.values():
            shares = [len(tube & other) * len(tube & other) / len(tube | other) for other in predicted.values()]
            values.append(sum(shares) / len(tube))
    return sum(values) / len(values) if values else None


def classes_iou(*sequences: list[Pair]) -> float:
    """SQ of STQ's authors: over all that either side says of labelled pixels, unlabelled being a class of its own."""
    common: Counter[int] = Counter()
    either: Counter[int] = Counter()
    for truth, prediction in (frame for frames in sequences for frame in frames):
        for one, other in zip(truth.classes.ravel().tolist(), prediction.classes.ravel().tolist(), strict=True):
            if one != UNLABELLED:
                common[one] += one == other
                either.update({one, other})
    return sum(common[each] / area for each, area in either.items()) / len(either)


def without_stuff_at_first(frames: list[Pair]) -> list[Pair]:
    truth, prediction = frames[0]
    classes = np.where(np.isin(truth.classes, [FLOOR, WALL]), UNLABELLED, truth.classes).astype(np.uint8)
    return [(replace(truth, classes=classes), prediction), *frames[1:]]


@settings(max_examples=20, deadline=None)
@given(seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3))
def test_equals_the_definition(seeds: list[int]) -> None:
    sequences = [random_sequence(seed, frames=8) for seed in seeds]
    figures = score(*sequences).figures()
    assert figures.aq == pytest.approx(association(*sequences))
    assert figures.sq == figures.miou
    assert figures.miou is not None
    assert figures.aq is not None
    assert figures.stq == pytest.approx(math.sqrt(figures.aq * figures.miou))


def test_two_ids_swapped_half_way() -> None:
    order: list[Place] = [(1, BOX), (2, BOX), None]
    swapped: list[Place] = [(2, BOX), (1, BOX), None]
    figures = score([pair(order, order if number < 5 else swapped) for number in range(10)]).figures()
    # Each predicted tube shares half with each true one, a third of their union: 2 * 1/2 * 1/3.
    assert figures.aq == pytest.approx(1 / 3)
    assert figures.stq == pytest.approx(math.sqrt(1 / 3))
    assert figures.sq == 1.0


def test_id_that_changes_after_three_of_four_frames() -> None:
    frames = [pair([(1, BOX), None], [(5 if number < 3 else 6, BOX), None]) for number in range(4)]
    assert score(frames).figures().aq == pytest.approx((3 * 3 / 4 + 1 * 1 / 4) / 4)


def test_same_number_in_a_new_epoch_is_another_id() -> None:
    frames = [pair([(1, BOX), None], epoch=number // 3) for number in range(4)]
    assert score(frames).figures().aq == pytest.approx((3 * 3 / 4 + 1 * 1 / 4) / 4)


def test_things_that_are_missed_or_of_another_class_cost_only_what_they_are() -> None:
    frames = [pair([(1, BOX), (2, BALL), None], [(1, BALL), None, None])] * 3
    # Association does not ask for the class; the first is followed, the second not at all.
    assert score(frames).figures().aq == pytest.approx((1 + 0) / 2)


def test_stuff_has_no_part_in_association() -> None:
    figures = score([pair([None, (1, BOX)], [(9, FLOOR), (1, BOX)])] * 2).figures()
    assert figures.aq == 1.0
    without = score([pair([None, None])] * 2).figures()
    assert (without.aq, without.stq, without.sq) == (None, None, 1.0)


def test_ids_are_taken_anew_in_every_sequence() -> None:
    first = [pair([(1, BOX), None], [(5, BOX), None])] * 3
    second = [pair([(1, BOX), None], [(6, BOX), None])] * 4
    assert score(first, second).figures().aq == 1.0


@settings(max_examples=20, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=2),
    convention=st.sampled_from([Convention.PUBLISHED, Convention.STQ]),
    stuff=st.booleans(),
)
def test_other_conventions_equal_their_descriptions(seeds: list[int], convention: Convention, stuff: bool) -> None:
    sequences = [random_sequence(seed, frames=6) for seed in seeds]
    if not stuff:
        sequences = [without_stuff_at_first(frames) for frames in sequences]
    figures = score(*sequences, convention=convention).figures()
    assert figures.aq == pytest.approx(association(*sequences, convention=convention))
    assert figures.sq == pytest.approx(classes_iou(*sequences))


BADLY_FOLLOWED = [
    pair([(1, BOX), (2, BOX), (3, BALL)], [(10 + number, BOX), (2, BOX), (3, BALL)]) for number in range(4)
]


class TestPublished:
    def test_a_thing_that_is_listed_first_in_its_video_is_dropped(self) -> None:
        assert score(BADLY_FOLLOWED).figures().aq == pytest.approx((1 / 4 + 1 + 1) / 3)
        assert score(BADLY_FOLLOWED, convention=Convention.PUBLISHED).figures().aq == 1.0

    def test_nothing_is_dropped_where_the_first_frame_has_stuff(self) -> None:
        frames = [pair([None, None, None]), *BADLY_FOLLOWED]
        assert score(frames, convention=Convention.PUBLISHED).figures().aq == pytest.approx((1 / 4 + 1 + 1) / 3)

    def test_an_empty_frame_comes_before_the_first_list(self) -> None:
        truth, prediction = BADLY_FOLLOWED[0]
        empty = replace(truth, classes=np.full_like(truth.classes, UNLABELLED)), prediction
        figures = score([empty, *BADLY_FOLLOWED], convention=Convention.PUBLISHED).figures()
        # What is predicted on the empty frame counts: each tube has five frames of which four are right.
        assert figures.aq == pytest.approx(4 / 5)

    @pytest.mark.parametrize(
        ("listed_first", "aq"),
        [((BOX, 2), (1 / 4 + 1) / 2), ((BALL, 3), (1 / 4 + 1) / 2), ((FLOOR, 0), (1 / 4 + 1 + 1) / 3)],
    )
    def test_a_data_sets_list_says_what_comes_first(self, listed_first: tuple[int, int], aq: float) -> None:
        frames = [(replace(truth, listed_first=listed_first), guess) for truth, guess in BADLY_FOLLOWED]
        assert score(frames, convention=Convention.PUBLISHED).figures().aq == pytest.approx(aq)


def test_what_is_predicted_beside_the_classes_of_the_truth_lowers_the_authors_sq() -> None:
    truth: list[Place] = [(1, BOX), (2, BOX), None, None]
    frames = [pair(truth, [(1, BOX), (2, BOX), None, (3, BALL)])]
    assert score(frames).figures().sq == pytest.approx((1 + 1 / 2) / 2)
    unlabelled = np.where(frames[0][1].classes == BALL, UNLABELLED, frames[0][1].classes)
    hole = [(frames[0][0], replace(frames[0][1], classes=unlabelled))]
    for convention in (Convention.PUBLISHED, Convention.STQ):
        assert score(frames, convention=convention).figures().sq == pytest.approx((1 + 1 / 2 + 0) / 3)
        assert score(hole, convention=convention).figures().sq == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_what_is_predicted_on_unlabelled_pixels_is_part_of_a_tube_to_the_authors() -> None:
    truth, prediction = pair([(1, BOX), None], [(1, BOX), (1, BOX)])
    classes = np.where(truth.classes == FLOOR, UNLABELLED, truth.classes).astype(np.uint8)
    frames = [(replace(truth, classes=classes), prediction)]
    assert score(frames).figures().aq == 1.0
    assert score(frames, convention=Convention.STQ).figures().aq == pytest.approx(1 / 2)
