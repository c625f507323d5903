"""What breaks a stream of images."""

from __future__ import annotations

import pytest

from eomt_ros.node.continuity import Continuity

SIZE = (480, 640)


def continuity(*stamps: float | None, max_gap: float = 1.0) -> list[str | None]:
    stream = Continuity()
    return [stream.broken_by(stamp, SIZE, max_gap) for stamp in stamps]


def test_regular_stamps_continue() -> None:
    assert continuity(10.0, 10.5, 11.5) == [None, None, None]


def test_equal_stamps_continue() -> None:
    assert continuity(10.0, 10.0) == [None, None]


def test_time_that_jumps_back_breaks_once() -> None:
    _, jump, after = continuity(100.0, 1.0, 1.1)
    assert jump == "time jumped back by 99.000 s, from 100.000 to 1.000"
    assert after is None


def test_gap_breaks_once_and_names_the_parameter() -> None:
    _, gap, after = continuity(10.0, 11.5, 12.0)
    assert gap == "a gap of 1.500 s between frames exceeds max_gap (1.0 s)"
    assert after is None


def test_max_gap_of_zero_allows_any_gap() -> None:
    assert continuity(10.0, 1e6, max_gap=0.0) == [None, None]


def test_frames_without_stamps_continue() -> None:
    assert continuity(None, None, 10.0, None, 10.1) == [None] * 5


def test_frames_without_stamps_do_not_hide_a_jump() -> None:
    assert continuity(100.0, None, 50.0)[2] == "time jumped back by 50.000 s, from 100.000 to 50.000"


@pytest.mark.parametrize("stamp", [None, 10.1])
def test_size_change_breaks_once(stamp: float | None) -> None:
    stream = Continuity()
    assert stream.broken_by(10.0, (480, 640), 1.0) is None
    assert stream.broken_by(stamp, (240, 320), 1.0) == "the image size changed from 640x480 to 320x240"
    assert stream.broken_by(stamp, (240, 320), 1.0) is None
