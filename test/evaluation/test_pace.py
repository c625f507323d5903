"""Stamps become moments: when a frame was, and how long it stands for."""

from __future__ import annotations

import pytest

from eomt_ros.evaluation.pace import FrameTime, Pace

START = 1_700_000_000 * 10**9
MS = 10**6


def moments(*milliseconds: int) -> list[FrameTime]:
    """Of frames at these times after the start."""
    pace = Pace()
    found = [pace.push(START + moment * MS) for moment in milliseconds]
    assert found[0] is None
    return [moment for moment in (*found, pace.end()) if moment is not None]


def begins(*milliseconds: int) -> list[float]:
    return [round(moment.begin, 9) for moment in moments(*milliseconds)]


def lengths(*milliseconds: int) -> list[float]:
    return [round(moment.seconds, 9) for moment in moments(*milliseconds)]


def test_a_frame_stands_for_the_time_to_the_next_and_the_last_for_as_long_as_the_one_before() -> None:
    assert begins(0, 100, 150, 450) == [0.0, 0.1, 0.15, 0.45]
    assert lengths(0, 100, 150, 450) == [0.1, 0.05, 0.3, 0.3]


def test_a_frame_before_a_long_gap_stands_for_as_long_as_the_one_before() -> None:
    assert begins(0, 100, 9000, 9100) == [0.0, 0.1, 9.0, 9.1]
    assert lengths(0, 100, 9000, 9100) == [0.1, 0.1, 0.1, 0.1]


def test_a_gap_is_not_shown() -> None:
    assert [moment.shown for moment in moments(0, 100, 9000, 9100)] == [0, 100 * MS, 200 * MS, 300 * MS]


def test_time_goes_on_where_stamps_jump_back_or_stand_still() -> None:
    assert begins(0, 100, 200, 0, 100) == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert begins(0, 100, 100, 200) == [0.0, 0.1, 0.2, 0.3]


def test_where_no_stamp_tells_how_long_a_frame_stands_it_is_a_tenth_of_a_second() -> None:
    assert moments(0) == [FrameTime(0.0, 0.1, 0)]
    assert begins(0, 0, 0) == [0.0, 0.1, 0.2]
    assert lengths(0, 0, 0) == lengths(0, 5000, 10_000) == [0.1, 0.1, 0.1]


def test_moments_are_exact() -> None:
    """3 s times 1e-9 would be more than 3, and in the fourth second."""
    assert [moment.begin for moment in moments(*range(0, 10_000, 1000))] == list(range(10))


def test_nothing_has_no_moment() -> None:
    assert Pace().end() is None


def test_stamps_of_years_keep_their_nanoseconds() -> None:
    pace = Pace()
    pace.push(START)
    pace.push(START + 33_333_333)
    pace.push(START + 66_666_666)
    last = pace.end()
    assert last is not None
    assert last.begin == pytest.approx(0.066666666, abs=1e-12)
