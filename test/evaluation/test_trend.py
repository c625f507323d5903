"""Intervals and drift: parts that add up to the whole, whose number and memory do not grow with the run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.metrics import PartialScores, Scores
from eomt_ros.evaluation.pace import FrameTime
from eomt_ros.evaluation.results import Interval
from eomt_ros.evaluation.trend import INTERVALS, DriftWatch, Trend

CLASSES = 2
RATE = 10


def frames(count: int, wrong_from: int | None = None) -> Iterator[tuple[FrameTime, PartialScores]]:
    """A thing on a floor; from some frame on, part of it is taken for floor."""
    scores = Scores(["floor", "box"], [False, True])
    scores.start_sequence("a")
    classes = np.zeros((20, 20), np.uint8)
    classes[5:15, 5:15] = 1
    worse = classes.copy()
    worse[5:8] = 0
    for number in range(count):
        found = classes if wrong_from is None or number < wrong_from else worse
        moment = FrameTime(number / RATE, 1 / RATE, number * 10**9 // RATE)
        truth = Truth(classes, (classes == 1).astype(np.uint16))
        predicted = Prediction(found, (found == 1).astype(np.uint16))
        yield moment, scores.update(truth, predicted, begin=moment.begin, seconds=moment.seconds)


def trend(count: int, wrong_from: int | None = None) -> tuple[Interval, ...]:
    followed = Trend(CLASSES)
    for number, (moment, score) in enumerate(frames(count, wrong_from)):
        followed.add("a", moment, 0.01 * (1 + number % 3), score)
    return followed.intervals(lambda name, begin, end: round(RATE * (end - begin)))


def test_intervals_of_a_short_run_last_a_second_each() -> None:
    intervals = trend(25, wrong_from=20)
    assert [(part.sequence, part.begin, part.end) for part in intervals] == [
        ("a", 0.0, 1.0),
        ("a", 1.0, 2.0),
        ("a", 2.0, 2.5),
    ]
    assert [part.miou for part in intervals] == [1.0, 1.0, pytest.approx((70 / 100 + 300 / 330) / 2)]
    assert intervals[0].vpq == 1.0
    assert 0 < (intervals[2].vpq or 0.0) < 1.0
    assert intervals[0].latency_ms == pytest.approx(20.0, rel=0.011)
    assert [part.id_switches for part in intervals] == [10, 10, 10]


def test_intervals_of_a_long_run_widen_and_lose_nothing() -> None:
    intervals = trend(2500, wrong_from=2000)
    assert INTERVALS / 2 < len(intervals) <= INTERVALS
    assert [part.begin for part in intervals[1:]] == pytest.approx([part.end for part in intervals[:-1]])
    assert {round(part.end - part.begin, 6) for part in intervals[:-1]} == {4.0}
    assert intervals[-1].end == pytest.approx(250.0)
    assert [part.miou for part in intervals[:50]] == [1.0] * 50
    # Each has the figures of its own frames, as if they were counted on their own.
    alone = PartialScores.empty(CLASSES)
    for _, score in list(frames(2080, wrong_from=2000))[2040:]:
        alone.add(score)
    assert (intervals[51].miou, intervals[51].vpq) == pytest.approx((alone.miou, alone.vpq))
    assert sum(part.id_switches or 0 for part in intervals) == 40 * len(intervals)


def test_every_sequence_has_intervals_of_its_own() -> None:
    followed = Trend(CLASSES)
    for name in ("b", "a", "c"):
        followed.add(name, FrameTime(0.0, 0.5, 0), 0.01, None)
        followed.add(name, FrameTime(0.5, 0.5, 0), 0.01, None)
    intervals = followed.intervals(None)
    assert [(part.sequence, part.begin, part.end) for part in intervals] == [
        ("b", 0.0, 1.0),
        ("a", 0.0, 1.0),
        ("c", 0.0, 1.0),
    ]
    assert {(part.miou, part.vpq, part.id_switches) for part in intervals} == {(None, None, None)}


def test_more_sequences_than_intervals_have_one_each() -> None:
    followed = Trend(CLASSES)
    for number in range(2 * INTERVALS):
        for second in range(3):
            followed.add(str(number), FrameTime(float(second), 1.0, 0), 0.01, None)
    assert [part.sequence for part in followed.intervals(None)] == [str(number) for number in range(2 * INTERVALS)]


def drift_of(*runs: list[tuple[FrameTime, PartialScores]]) -> DriftWatch:
    watch = DriftWatch(CLASSES)
    for run in runs:
        watch.start_sequence()
        for moment, score in run:
            watch.add(moment, score)
    return watch


def test_drift_sets_the_last_minute_beside_the_first() -> None:
    # 200 s; what is wrong from 130 s on is half in the last minute, which begins at 140 s, and not in the first.
    run = list(frames(2000, wrong_from=1700))
    drift = drift_of(run).minutes().drift()
    first, last = PartialScores.empty(CLASSES), PartialScores.empty(CLASSES)
    for _, score in run[:600]:
        first.add(score)
    for _, score in run[1400:]:
        last.add(score)
    assert drift is not None
    assert (drift.first_miou, drift.first_vpq) == (1.0, 1.0) == (first.miou, first.vpq)
    assert (drift.last_miou, drift.last_vpq) == pytest.approx((last.miou, last.vpq))
    assert (drift.last_miou or 1.0) < 0.95


def test_there_is_no_drift_in_less_than_two_minutes() -> None:
    run = list(frames(1200))
    assert drift_of(run).minutes().drift() is not None
    assert drift_of(run[:1199]).minutes().drift() is None
    assert drift_of(run[:700], run[:700]).minutes().drift() is None


def test_drift_of_several_sequences_is_that_of_the_long_ones_together() -> None:
    good, bad, short = list(frames(1300)), list(frames(1300, wrong_from=0)), list(frames(50, wrong_from=0))
    both = drift_of(good, short, bad).minutes().drift()
    first = PartialScores.empty(CLASSES)
    for _, score in good[:600] + bad[:600]:
        first.add(score)
    assert both is not None
    assert (both.first_miou, both.first_vpq) == pytest.approx((first.miou, first.vpq))


def test_asking_for_the_drift_half_way_changes_nothing() -> None:
    run = list(frames(2000, wrong_from=1700))
    watch = DriftWatch(CLASSES)
    watch.start_sequence()
    for number, (moment, score) in enumerate(run):
        watch.add(moment, score)
        if number in (300, 1500):
            watch.minutes().drift()
    assert watch.minutes().drift() == drift_of(run).minutes().drift()


def test_there_is_no_drift_without_ground_truth() -> None:
    watch = DriftWatch(CLASSES)
    for second in range(130):
        watch.add(FrameTime(float(second), 1.0, 0), None)
    assert watch.minutes().drift() is None
