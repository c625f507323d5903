"""Segmentation and tracking quality, counted by hand, and beside a plain program written from the definition."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test.evaluation.metrics.scenes import (
    BALL,
    BOX,
    FLOOR,
    IS_THING,
    UNLABELLED,
    Pair,
    Place,
    pair,
    random_sequence,
    score,
)

Tube = set[tuple[int, int]]
"""Pixels: frame and place."""


def tubes(frames: list[Pair], *, published: bool = False) -> tuple[dict[object, Tube], dict[object, Tube]]:
    """True and predicted tubes of things, without the pixels where association does not count."""
    true: dict[object, Tube] = defaultdict(set)
    predicted: dict[object, Tube] = defaultdict(set)
    dropped: tuple[int, int] | None = None
    for number, (truth, prediction) in enumerate(frames):
        assert truth.instances is not None
        assert prediction.segments is not None
        true_segments = list(zip(truth.classes.ravel().tolist(), truth.instances.ravel().tolist(), strict=True))
        if published and dropped is None:
            dropped = min((each for each in true_segments if is_thing(*each)), default=None)
        predicted_segments = zip(prediction.classes.ravel().tolist(), prediction.segments.ravel().tolist(), strict=True)
        for place, (segment, guess) in enumerate(zip(true_segments, predicted_segments, strict=True)):
            class_id, identity = segment
            not_told_apart = class_id != UNLABELLED and IS_THING[class_id] and (identity == 0 or segment == dropped)
            if not_told_apart or (class_id == UNLABELLED and not published):
                continue
            if is_thing(*segment):
                true[segment].add((number, place))
            if is_thing(*guess):
                predicted[prediction.epoch, guess].add((number, place))
    return true, predicted


def is_thing(class_id: int, identity: int) -> bool:
    return class_id != UNLABELLED and IS_THING[class_id] and identity > 0


def association(*sequences: list[Pair], published: bool = False) -> float | None:
    values = []
    for frames in sequences:
        true, predicted = tubes(frames, published=published)
        for tube in true.values():
            shares = [len(tube & other) * len(tube & other) / len(tube | other) for other in predicted.values()]
            values.append(sum(shares) / len(tube))
    return sum(values) / len(values) if values else None


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


class TestPaperCompatible:
    @settings(max_examples=20, deadline=None)
    @given(seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=2))
    def test_drops_the_first_thing_of_every_video_and_counts_predictions_on_what_is_unlabelled(
        self, seeds: list[int]
    ) -> None:
        sequences = [random_sequence(seed, frames=6) for seed in seeds]
        figures = score(*sequences, paper_compatible=True).figures()
        assert figures.aq == pytest.approx(association(*sequences, published=True))

    def test_first_thing_followed_badly_costs_nothing(self) -> None:
        frames = [
            pair([(1, BOX), (2, BOX), None], [(10 + number, BOX), (2, BOX), None], epoch=0) for number in range(4)
        ]
        assert score(frames).figures().aq == pytest.approx((1 / 4 + 1) / 2)
        assert score(frames, paper_compatible=True).figures().aq == 1.0

    def test_what_is_predicted_beside_the_classes_of_the_truth_lowers_sq(self) -> None:
        truth: list[Place] = [(1, BOX), (2, BOX), None, None]
        frames = [pair(truth, [(1, BOX), (2, BOX), None, (3, BALL)])]
        assert score(frames).figures().sq == pytest.approx((1 + 1 / 2) / 2)
        assert score(frames, paper_compatible=True).figures().sq == pytest.approx((1 + 1 / 2 + 0) / 3)
        unlabelled = np.where(frames[0][1].classes == BALL, UNLABELLED, frames[0][1].classes)
        hole = [(frames[0][0], type(frames[0][1])(unlabelled, frames[0][1].segments))]
        assert score(hole, paper_compatible=True).figures().sq == pytest.approx((1 + 1 / 2 + 0) / 3)
