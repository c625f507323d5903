"""Video consistency, counted by hand, and beside a plain program written from the definition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.frame import Prediction, Truth
from test.evaluation.metrics.scenes import (
    BALL,
    FLOOR,
    SECONDS,
    UNLABELLED,
    WALL,
    Pair,
    play,
    random_sequence,
    rows,
    score,
)


def constant(window: list[npt.NDArray[np.integer]]) -> npt.NDArray[np.bool_]:
    stack = np.stack(window)
    return (stack == stack[0]).all(axis=0)


def shares(frames: list[Pair], length: int, *, published: bool = False) -> list[float]:
    """VC of every window that has a pixel to look at."""
    result = []
    for start in range(len(frames) - length + (0 if published else 1)):
        window = frames[start : start + length]
        steady = constant([truth.classes for truth, _ in window])
        if not published:
            steady &= window[0][0].classes != UNLABELLED
        if steady.any():
            result.append(float(constant([guess.classes for _, guess in window])[steady].mean()))
    return result


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


@settings(max_examples=25, deadline=None)
@given(seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3), frames=st.integers(6, 20))
def test_equals_the_definition(seeds: list[int], frames: int) -> None:
    sequences = [random_sequence(seed, frames) for seed in seeds]
    figures = score(*sequences).figures()
    assert figures.mvc8 == pytest.approx(mean([share for each in sequences for share in shares(each, 8)]))
    assert figures.mvc16 == pytest.approx(mean([share for each in sequences for share in shares(each, 16)]))
    authors = score(*sequences, convention=Convention.STQ).figures()
    assert (authors.mvc8, authors.mvc16) == (figures.mvc8, figures.mvc16)


def test_prediction_may_be_wrong_as_long_as_it_stays_so() -> None:
    assert score([rows([FLOOR, WALL], [BALL, UNLABELLED])] * 8).figures().mvc8 == 1.0


def test_one_flicker_spoils_every_window_that_it_lies_in() -> None:
    frames = [rows([FLOOR] * 4, [FLOOR, FLOOR, FLOOR, BALL if number == 8 else FLOOR]) for number in range(20)]
    # Of the 13 windows those that begin at 1 to 8.
    assert score(frames).figures().mvc8 == pytest.approx((5 + 8 * 3 / 4) / 13)
    assert score(frames).figures().mvc16 == pytest.approx(3 / 4)


def test_pixels_whose_true_class_changes_do_not_count() -> None:
    frames = [rows([FLOOR, WALL if number == 3 else FLOOR], [FLOOR, number % 2]) for number in range(8)]
    assert score(frames).figures().mvc8 == 1.0


def test_unlabelled_pixels_do_not_count() -> None:
    frames = [rows([FLOOR, UNLABELLED], [FLOOR, number % 2]) for number in range(8)]
    assert score(frames).figures().mvc8 == 1.0


def test_windows_without_a_constant_true_pixel_are_left_out() -> None:
    changing = [rows([number % 2], [number % 2]) for number in range(9)]
    assert score(changing).figures().mvc8 is None
    steady = [rows([FLOOR], [FLOOR])] * 8
    assert score(changing, steady).figures().mvc8 == 1.0


def test_fewer_frames_than_a_window_give_none() -> None:
    figures = score([rows([FLOOR], [FLOOR])] * 15).figures()
    assert (figures.mvc8, figures.mvc16) == (1.0, None)


def test_windows_do_not_reach_into_another_sequence() -> None:
    four = [rows([FLOOR], [FLOOR])] * 4
    assert score(four, four, four).figures().mvc8 is None


def test_frames_of_another_size_start_anew() -> None:
    frames = [rows([FLOOR, FLOOR], [FLOOR, FLOOR])] * 7 + [rows([FLOOR], [FLOOR])] * 7
    assert score(frames).figures().mvc8 is None


def test_an_image_that_the_caller_paints_over_is_remembered_as_it_was() -> None:
    truth, guess = np.zeros((1, 2), np.uint8), np.zeros((1, 2), np.uint8)
    scores = score()
    scores.start_sequence("painted over")
    for number in range(8):
        guess[0, 1] = number % 2
        scores.update(Truth(truth), Prediction(guess), begin=number, seconds=1)
    assert scores.figures().mvc8 == 1 / 2


class TestPublished:
    def test_last_window_is_left_out_unlabelled_counts_and_the_counter_runs_on(self) -> None:
        sequences = [random_sequence(seed, frames) for seed, frames in [(1, 20), (2, 8), (3, 17)]]
        figures = score(*sequences, convention=Convention.PUBLISHED).figures()
        eight = [share for each in sequences for share in shares(each, 8, published=True)]
        sixteen = [share for each in sequences for share in shares(each, 16, published=True)]
        assert (len(eight), len(sixteen)) == (12 + 0 + 9, 4 + 0 + 1)
        assert len(set(eight)) > 10
        assert figures.mvc8 == pytest.approx(mean(eight))
        assert figures.mvc16 == pytest.approx(mean(eight + sixteen))

    def test_figures_half_way_through_a_sequence_do_not_disturb_what_follows(self) -> None:
        frames = random_sequence(4, 20)
        scores = score(convention=Convention.PUBLISHED)
        play(scores, frames[:12])
        scores.figures()
        for number, (truth, prediction) in enumerate(frames[12:], 12):
            scores.update(truth, prediction, begin=number * SECONDS, seconds=SECONDS)
        assert scores.figures() == score(frames, convention=Convention.PUBLISHED).figures()
