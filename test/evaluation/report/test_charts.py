"""Where things are in the charts of a report."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eomt_ros.evaluation.ids import IdSpan, ObjectTimeline
from eomt_ros.evaluation.latency import Percentiles
from eomt_ros.evaluation.report.charts import (
    axis_end,
    clock,
    curves,
    latency_histogram,
    latency_over_time,
    round_steps,
    scores_over_time,
    time_ticks,
)
from eomt_ros.evaluation.report.figures import Kind
from eomt_ros.evaluation.report.timeline import COLORS, ROWS, IdChart, colors_of, id_chart
from eomt_ros.evaluation.results import Interval
from test.evaluation.examples import long_run, run_without_truth, short_run

LATENCY = Percentiles(40.0, 80.0, 160.0, 300.0)


def ids(*timelines: ObjectTimeline) -> IdChart:
    chart = id_chart(short_run(sequences=("a", "b"), timelines=timelines))
    assert chart is not None
    return chart


def test_a_score_is_as_high_in_the_chart_as_it_is() -> None:
    chart = scores_over_time(short_run())
    assert chart is not None
    miou, vpq = chart.lines
    assert (miou.name, vpq.name) == ("mIoU", "VPQ")
    # Ten seconds, so that the middle of second 3 is at 35 %; y goes downwards, from 1 at the top.
    assert miou.pieces[0][3] == pytest.approx((35.0, 100 - 73.0))
    assert vpq.pieces[0][3] == pytest.approx((35.0, 40.0))
    assert chart.y_ticks[0].at == 100
    assert (chart.y_ticks[-1].text, chart.y_ticks[-1].at) == ("1", 0)


def test_id_switches_are_counted_where_they_are() -> None:
    chart = scores_over_time(short_run())
    assert chart is not None
    assert [bar.height > 0 for bar in chart.bars] == [number == 4 for number in range(10)]
    assert chart.bars[4].title == "0:04 to 0:05: mIoU 0.740, VPQ 0.600, id switches 1"
    assert chart.most == 1


def test_a_line_is_interrupted_where_its_value_is_unknown() -> None:
    parts = [Interval("bag", float(n), n + 1.0, value, None, 0, 30.0) for n, value in enumerate((0.5, None, 0.6, 0.7))]
    chart = scores_over_time(short_run(intervals=tuple(parts)))
    assert chart is not None
    assert [line.name for line in chart.lines] == ["mIoU"]
    assert [len(piece) for piece in chart.lines[0].pieces] == [1, 2]


def test_not_a_number_is_unknown_too() -> None:
    chart = scores_over_time(
        short_run(intervals=(Interval("bag", 0.0, 1.0, math.nan, math.nan, 0, math.nan), *short_run().intervals[1:]))
    )
    assert chart is not None
    assert all(len(piece) == 9 for line in chart.lines for piece in line.pieces)


def test_sequences_lie_one_after_the_other_and_are_not_joined() -> None:
    parts = [Interval(name, 0.0, length, 0.5, None, 0, 30.0) for name, length in (("a", 30.0), ("b", 10.0))]
    chart = scores_over_time(short_run(intervals=tuple(parts)))
    assert chart is not None
    assert chart.borders == (75.0,)
    assert [piece[0][0] for piece in chart.lines[0].pieces] == [37.5, 87.5]
    assert [(tick.text, tick.at) for tick in chart.x_ticks] == [("a", 0.0), ("b", 75.0)]


def test_without_ground_truth_there_is_no_chart_of_scores_but_one_of_latency() -> None:
    run = run_without_truth()
    assert scores_over_time(run) is None
    chart = latency_over_time(run)
    assert chart is not None
    assert [line.name for line in chart.lines] == ["latency"]
    assert chart.lines[0].pieces[0][9] == pytest.approx((95.0, 2.0))  # 49 of 50 ms


def test_curves_lie_at_their_steps_and_are_interrupted_where_a_value_is_unknown() -> None:
    courses = {"loss": [(0.0, 4.0), (50.0, None), (100.0, 1.0)], "dice": [(0.0, 2.0), (50.0, 1.0), (100.0, math.nan)]}
    chart = curves({**courses, "nothing": [(0.0, None)]}, Kind.SCORE, last=200.0)
    assert chart is not None
    assert {line.name: line.pieces for line in chart.lines} == {
        "loss": (((0.0, 0.0),), ((50.0, 75.0),)),
        "dice": (((0.0, 50.0), (25.0, 75.0)),),
    }
    assert [(bar.left, bar.width, bar.title) for bar in chart.bars] == [
        (0.0, 12.5, "step 0: loss 4.000, dice 2.000"),
        (12.5, 25.0, "step 50: dice 1.000"),
        (37.5, 62.5, "step 100: loss 1.000"),
    ]
    assert [tick.text for tick in chart.x_ticks] == ["0", "50", "100", "150", "200"]


@pytest.mark.parametrize("course", [[], [(1.0, None)], [(1.0, math.nan)], [(1.0, 0.0)]])
def test_without_a_value_above_0_there_are_no_curves(course: list[tuple[float, float | None]]) -> None:
    assert curves({"loss": course}, Kind.SCORE, last=1.0) is None


def test_a_histogram_has_its_bars_and_percentiles_at_their_values() -> None:
    edges = tuple((10.0 * 2**number, count) for number, count in enumerate((4, 0, 8, 2, 0)))
    chart = latency_histogram(edges, LATENCY)
    assert chart is not None
    assert [(bar.left, bar.width, bar.height) for bar in chart.bars] == [
        pytest.approx(values) for values in ((0, 25, 50), (50, 25, 100), (75, 25, 25))
    ]
    assert [mark.at for mark in chart.marks] == pytest.approx([50, 75, 100])
    assert [mark.text for mark in chart.marks] == ["p50 40.0 ms", "p95 80.0 ms", "p99 160.0 ms"]
    assert chart.bars[0].title == "10.0 to 20.0 ms: 4 frames"
    assert {"10", "100"} <= {tick.text for tick in chart.x_ticks}


def test_a_narrow_histogram_has_ticks_too() -> None:
    chart = latency_histogram(((31.0, 5), (33.0, 5), (35.0, 0)), Percentiles(32.0, 34.0, 34.5, 34.9))
    assert chart is not None
    assert len(chart.x_ticks) >= 3


@pytest.mark.parametrize("edges", [(), ((10.0, 0),), ((10.0, 0), (20.0, 0))])
def test_an_empty_histogram_is_none(edges: tuple[tuple[float, int], ...]) -> None:
    nothing = Percentiles(math.nan, math.nan, math.nan, math.nan)
    assert latency_histogram(edges, nothing) is None


@given(st.floats(1e-3, 1e7), st.floats(1e-6, 1e6))
def test_round_steps_are_few_round_and_within(low: float, length: float) -> None:
    steps = round_steps(low, low + length)
    assert len(steps) <= 7
    assert all(low - 1e-6 * length - 1e-9 <= step <= low + length + 1e-6 * length + 1e-9 for step in steps)


@given(st.floats(1e-6, 1e9))
def test_an_axis_ends_at_or_above_its_highest_value(highest: float) -> None:
    assert highest * (1 - 1e-9) <= axis_end(highest) <= 1.5 * highest


@pytest.mark.parametrize("seconds", [0.4, 3.0, 20.0, 61.0, 600.0, 3600.0, 100_000.0, 2e6])
def test_a_time_axis_has_few_ticks_from_zero(seconds: float) -> None:
    ticks = time_ticks(seconds)
    assert 2 <= len(ticks) <= 7
    assert ticks[0].at == 0
    assert ticks[-1].at <= 100 + 1e-6
    assert len({tick.text for tick in ticks}) == len(ticks)


def test_clock_is_read_as_minutes_or_hours() -> None:
    assert [clock(0), clock(59.6), clock(83), clock(3723)] == ["0:00", "1:00", "1:23", "1:02:03"]
    assert [clock(4.26, digits=1), clock(59.96, digits=1)] == ["0:04.3", "1:00.0"]


def test_a_row_shows_when_an_object_had_which_id() -> None:
    (rows,) = ids(
        ObjectTimeline(
            "a",
            7,
            "box",
            (IdSpan(0.0, 2.0, None), IdSpan(2.0, 5.0, "4"), IdSpan(5.0, 6.0, "9"), IdSpan(8.0, 10.0, "9")),
        )
    ).sequences
    (row,) = rows.rows
    assert (row.name, row.switches) == ("box 7", 1)
    assert [(cell.left, cell.width, cell.identity, cell.switched) for cell in row.cells] == [
        (0.0, 20.0, None, False),
        (20.0, 30.0, "4", False),
        (50.0, 10.0, "9", True),
        (80.0, 20.0, "9", False),
    ]
    assert row.cells[0].color is None
    assert row.cells[1].color != row.cells[2].color == row.cells[3].color
    assert row.cells[2].title == "box 7, 0:05.0 to 0:06.0: id 9, before: id 4"
    assert "not found" in row.cells[0].title


def test_an_id_that_changes_while_the_object_is_not_found_is_a_switch_too() -> None:
    (rows,) = ids(
        ObjectTimeline("a", 7, "box", (IdSpan(0.0, 2.0, "4"), IdSpan(2.0, 5.0, None), IdSpan(5.0, 6.0, "9")))
    ).sequences
    assert [cell.switched for cell in rows.rows[0].cells] == [False, False, True]


def test_an_id_has_one_color_in_all_rows_of_a_sequence() -> None:
    spans = (IdSpan(0.0, 1.0, "4"), IdSpan(1.0, 2.0, "5"))
    (rows,) = ids(ObjectTimeline("a", 1, "box", spans), ObjectTimeline("a", 2, "box", spans[::-1])).sequences
    first, second = ({cell.identity: cell.color for cell in row.cells} for row in rows.rows)
    assert first == second


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=COLORS), min_size=1, max_size=4))
def test_ids_of_one_object_get_different_colors_while_there_are_enough(objects: list[list[int]]) -> None:
    # Every object has ids of its own, so that only its own stand against each other.
    timelines = [
        ObjectTimeline("a", number, "box", tuple(IdSpan(n, n + 1, f"{number}:{name}") for n, name in enumerate(names)))
        for number, names in enumerate(objects)
    ]
    colors = colors_of(timelines)
    for timeline in timelines:
        own = {span.identity for span in timeline.spans}
        assert len({colors[name] for name in own if name is not None}) == len(own)


def test_neighbouring_ids_differ_in_color_even_where_colors_run_out() -> None:
    names = [str(number) for number in range(10 * COLORS)]
    colors = colors_of([ObjectTimeline("a", 1, "box", tuple(IdSpan(n, n + 1, name) for n, name in enumerate(names)))])
    assert all(colors[one] != colors[other] for one, other in pairwise(names))


def test_the_objects_longest_in_view_are_shown_and_the_others_counted() -> None:
    chart = ids(*(ObjectTimeline("a", number, "box", (IdSpan(0.0, 1.0 + number, "1"),)) for number in range(ROWS + 5)))
    shown = [row.object_id for rows in chart.sequences for row in rows.rows]
    assert sorted(shown) == list(range(5, ROWS + 5))
    assert chart.left_out == 5


def test_objects_are_grouped_by_sequence_in_the_order_in_which_they_come() -> None:
    chart = ids(
        ObjectTimeline("b", 1, "box", (IdSpan(0.0, 9.0, "1"),)),
        ObjectTimeline("a", 2, "box", (IdSpan(5.0, 9.0, "1"),)),
        ObjectTimeline("a", 3, "box", (IdSpan(1.0, 2.0, "1"),)),
    )
    assert [(rows.sequence, [row.object_id for row in rows.rows]) for rows in chart.sequences] == [
        ("a", [3, 2]),
        ("b", [1]),
    ]


def test_an_object_that_flickers_for_half_an_hour_does_not_fill_the_page() -> None:
    chart = id_chart(long_run())
    assert chart is not None
    (flickering,) = (row for rows in chart.sequences for row in rows.rows if row.object_id == 400)
    assert len(flickering.cells) <= 2
    assert flickering.cells[-1].left + flickering.cells[-1].width == pytest.approx(100)


def test_what_can_be_seen_is_not_joined() -> None:
    spans = tuple(IdSpan(n, n + 1, "3" if n % 2 else None) for n in range(20))
    (rows,) = ids(ObjectTimeline("a", 1, "box", spans)).sequences
    assert len(rows.rows[0].cells) == 20


def test_no_objects_are_no_chart() -> None:
    assert id_chart(run_without_truth()) is None
    assert id_chart(replace(short_run(), timelines=(ObjectTimeline("bag", 1, "box", ()),))) is None


def test_percentiles_of_a_real_histogram_lie_in_its_bars() -> None:
    values = np.random.default_rng(0).gamma(3, 12, 1000) + 20
    edges = 20 * 1.06 ** np.arange(60)
    counts = [*np.histogram(values, edges)[0].tolist(), 0]
    chart = latency_histogram(
        tuple(zip(edges.tolist(), counts, strict=True)),
        Percentiles(*np.percentile(values, (50, 95, 99)).tolist(), float(values.max())),
    )
    assert chart is not None
    for mark in chart.marks:
        assert any(bar.left - 1e-9 <= mark.at <= bar.left + bar.width + 1e-9 for bar in chart.bars)
