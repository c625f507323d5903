"""Percentiles of a histogram beside those of the times themselves, and what it costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eomt_ros.evaluation.latency import LatencyHistogram

TIMES = st.lists(st.floats(1e-5, 100.0), min_size=1, max_size=200)


def histogram(times: list[float]) -> LatencyHistogram:
    """Of times in seconds."""
    counted = LatencyHistogram()
    for seconds in times:
        counted.add(seconds)
    return counted


@given(TIMES)
def test_percentiles_are_right_to_one_percent(times: list[float]) -> None:
    figures = histogram(times).figures()
    expected = np.percentile(times, (50, 95, 99), method="inverted_cdf") * 1e3
    assert [figures.p50, figures.p95, figures.p99] == pytest.approx(expected.tolist(), rel=0.0101)
    assert figures.highest == pytest.approx(1e3 * max(times))
    assert figures.p50 <= figures.p95 <= figures.p99 <= figures.highest


@given(TIMES, TIMES)
def test_merged_histograms_are_that_of_all_times(some: list[float], others: list[float]) -> None:
    merged = histogram(some)
    merged.merge(histogram(others))
    whole = histogram(some + others)
    assert (merged.figures(), merged.bars(), merged.count) == (whole.figures(), whole.bars(), whole.count)
    assert merged.seconds == pytest.approx(whole.seconds)


@given(TIMES)
def test_bars_hold_every_time_where_it_belongs(times: list[float]) -> None:
    bars = histogram(times).bars()
    edges, counts = zip(*bars, strict=True)
    expected, _ = np.histogram(np.array(times) * 1e3, edges)
    # A time within a millionth of an edge may fall on either side of it.
    near = np.abs(np.array(times)[:, None] * 1e3 / np.array(edges) - 1).min() < 1e-6
    assert near or counts == (*expected.tolist(), 0)
    assert list(edges) == sorted(edges)
    assert sum(counts) == len(times)


def test_nothing_counted_has_no_figures() -> None:
    empty = LatencyHistogram()
    assert all(math.isnan(value) for value in vars(empty.figures()).values())
    assert empty.bars() == ()
    assert empty.count == 0
    empty.merge(LatencyHistogram())
    assert empty.bars() == ()


def test_merging_nothing_changes_nothing() -> None:
    counted = histogram([0.25])
    counted.merge(LatencyHistogram())
    assert counted.figures() == histogram([0.25]).figures()


def test_times_of_any_length_are_counted_in_few_bars() -> None:
    counted = histogram([0.0, 1e-12, *np.logspace(-9, 9, 5000).tolist(), 1e12])
    assert len(counted.bars()) < 500
    assert counted.count == 5003
    assert counted.figures().highest == 1e15
