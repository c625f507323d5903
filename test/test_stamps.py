"""What callers give as stamps becomes whole nanoseconds."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from eomt_ros.stamps import nanoseconds


@pytest.mark.parametrize("start", [0, 1_700_000_000])
def test_floats_have_the_same_differences_on_any_clock(start: int) -> None:
    stamps = [nanoseconds(start + frame / 30) for frame in range(300)]
    assert [stamp - start * 10**9 for stamp in stamps if stamp is not None] == [
        round(frame * 10**6 / 30) * 1000 for frame in range(300)
    ]


def test_rational_numbers_keep_every_nanosecond() -> None:
    assert nanoseconds(Fraction(1_700_000_000_123_456_789, 10**9)) == 1_700_000_000_123_456_789


@pytest.mark.parametrize("stamp", [2, 2.0, np.float32(2), np.float64(2), np.int64(2), Fraction(2)])
def test_any_number_is_of_seconds(stamp: float) -> None:
    assert nanoseconds(stamp) == 2 * 10**9


def test_an_unknown_time_stays_unknown() -> None:
    assert nanoseconds(None) is None
