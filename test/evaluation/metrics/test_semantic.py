"""mIoU and the IoU of classes, counted by hand and pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eomt_ros.evaluation.metrics.overlap import overlap_of
from eomt_ros.evaluation.metrics.semantic import Confusion
from test.evaluation.metrics.scenes import (
    BALL,
    BOX,
    FLOOR,
    IS_THING,
    UNLABELLED,
    WALL,
    Pair,
    random_sequence,
    rows,
)


def confusion(*frames: Pair) -> Confusion:
    total = Confusion.empty(len(IS_THING))
    for truth, prediction in frames:
        total.add(Confusion.of(overlap_of(truth, prediction, np.array(IS_THING)), len(IS_THING)))
    return total


def test_perfect_prediction_gives_one() -> None:
    score = confusion(rows([FLOOR, WALL, BOX], [FLOOR, WALL, BOX]))
    assert score.miou == 1.0
    assert score.class_iou == (1.0, 1.0, 1.0, None)


def test_iou_is_intersection_over_union_of_all_frames_together() -> None:
    score = confusion(
        rows([FLOOR, FLOOR, FLOOR, WALL], [FLOOR, FLOOR, WALL, WALL]),
        rows([FLOOR, WALL, WALL, WALL], [WALL, WALL, WALL, WALL]),
    )
    assert score.class_iou[:2] == (pytest.approx(2 / 4), pytest.approx(4 / 6))
    assert score.miou == pytest.approx((2 / 4 + 4 / 6) / 2)


def test_class_absent_from_the_ground_truth_is_left_out_of_the_mean() -> None:
    score = confusion(rows([FLOOR, FLOOR], [FLOOR, BALL]))
    assert score.class_iou[BALL] is None
    assert score.miou == pytest.approx(1 / 2)


def test_class_that_is_never_found_counts_as_zero() -> None:
    assert confusion(rows([FLOOR, BALL], [FLOOR, FLOOR])).miou == pytest.approx((1 / 2 + 0) / 2)


def test_pixels_unlabelled_in_the_ground_truth_are_ignored() -> None:
    assert confusion(rows([FLOOR, UNLABELLED], [FLOOR, BALL])).miou == 1.0


def test_pixels_left_unlabelled_by_the_prediction_are_missed() -> None:
    score = confusion(rows([FLOOR, FLOOR, WALL], [FLOOR, UNLABELLED, WALL]))
    assert score.class_iou[:2] == (pytest.approx(1 / 2), 1.0)


def test_nothing_to_compare_with_gives_none() -> None:
    assert confusion(rows([UNLABELLED], [FLOOR])).miou is None


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_equals_counting_pixel_by_pixel(seed: int) -> None:
    frames = random_sequence(seed, frames=3)
    expected: list[float | None] = []
    for label in range(len(IS_THING)):
        common = together = 0
        for truth, prediction in frames:
            counted = truth.classes != UNLABELLED
            true, predicted = (truth.classes == label) & counted, (prediction.classes == label) & counted
            common += int((true & predicted).sum())
            together += int((true | predicted).sum())
        present = any((truth.classes == label).any() for truth, _ in frames)
        expected.append(common / together if present else None)
    score = confusion(*frames)
    assert list(score.class_iou) == pytest.approx(expected)
    assert score.miou == pytest.approx(np.mean([iou for iou in expected if iou is not None]))


@pytest.mark.parametrize(("shift", "told"), [(0, 0), (1, 1), (-1, -1), (2, 0)])
def test_ids_that_agree_only_when_shifted_look_shifted(shift: int, told: int) -> None:
    predicted = [WALL] * 5 + [BOX] * 5 + [UNLABELLED]
    true = [each + shift for each in predicted[:-1]] + [0]
    # One is wrong either way.
    predicted[0] = BALL if shift <= 0 else FLOOR
    names = len(IS_THING) + 2
    score = Confusion.empty(names)
    score.add(Confusion.of(overlap_of(*rows(true, predicted), np.zeros(names, bool)), names))
    assert score.shift == told


def test_a_model_that_knows_one_class_only_does_not_look_shifted() -> None:
    assert confusion(rows([WALL] * 9 + [BOX], [FLOOR] * 10)).shift == 0
