"""The parts of the report about where it goes wrong, and about other thresholds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eomt_ros.evaluation.counts import counts_of
from eomt_ros.evaluation.latency import Percentiles
from eomt_ros.evaluation.report import content
from eomt_ros.evaluation.report.breakdown import DEEPEST, LARGEST_MATRIX, MOST_CLASSES, where_wrong
from eomt_ros.evaluation.report.sweep import sweep_lines, sweep_tables
from test.evaluation.examples import CLASSES, run_gone_wrong, run_without_truth, short_run
from test.evaluation.report.parsed_page import Page

MANY = tuple(f"class {number}" for number in range(60))


def test_the_page_has_the_figures_of_each_class_and_size_and_both_confusion_matrices(tmp_path: Path) -> None:
    run = run_gone_wrong()
    page = Page(content.render(run, tmp_path))
    for name, figures in (*run.by_class.items(), *run.by_size.items()):
        assert f"{figures.pq:.3f} 0.8" in page.text, name
        assert f"{100 * (figures.recall or 0):.1f} %" in page.text
    for title in ("By class", "By size of the thing", "Recall by class and size", "What things are taken for"):
        assert title in page.text
    confusion = counts_of(run).scores.partial.confusion.counts
    assert f"floor as wall: {confusion[0, 1]:,}" in {cell.get("title") for cell in page.all("td")}
    assert "mIoU 0.400, 3 missed, 0 ghosts, 1 id switch (stamp" in page.text
    assert "All frames are in frames.csv, all objects in objects.csv." in page.text


def test_classes_are_worst_first_and_rows_of_matrices_are_shares() -> None:
    run = run_gone_wrong()
    found = where_wrong(run)
    assert found is not None
    assert [each.pq for _, each in found.by_class] == sorted(each.pq for each in run.by_class.values())
    assert found.pixels is not None
    assert found.pixels.columns == (*CLASSES, "unlabelled")
    for row in found.pixels.rows:
        assert sum(cell.depth for cell in row.cells) == pytest.approx(DEEPEST)
        assert [cell.is_right for cell in row.cells] == [name == row.name for name in found.pixels.columns]
    assert found.things is not None
    assert found.things.rows[-1].name == "nothing there"
    assert {row.name for row in found.things.rows[:-1]} == {"box", "person", "ball"}


def test_of_many_classes_the_largest_confusions_are_listed() -> None:
    run = run_gone_wrong(MANY)
    found = where_wrong(run)
    assert found is not None
    assert len(MANY) > LARGEST_MATRIX
    assert (found.pixels, found.things) == (None, None)
    assert (len(found.by_class), found.more_classes) == (MOST_CLASSES, len(MANY) - MOST_CLASSES)
    wrong = counts_of(run).scores.partial.confusion.counts.copy()
    np.fill_diagonal(wrong, 0)
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    assert (found.confusions[0].true, found.confusions[0].predicted) == (MANY[row], (*MANY, "unlabelled")[column])
    assert found.confusions[0].of_errors == f"{100 * wrong.max() / wrong.sum():.1f} %"


def test_without_ground_truth_or_counts_there_is_no_such_part(tmp_path: Path) -> None:
    for run in (run_without_truth(), short_run(), replace(run_gone_wrong(), frames_scored=0)):
        assert where_wrong(run) is None
        assert "Where it goes wrong" not in content.render(run, tmp_path)
        assert "Other thresholds and sizes" not in content.render(run_without_truth(), tmp_path)


def test_sweeps_have_a_table_with_the_best_marked_and_a_curve(tmp_path: Path) -> None:
    run = run_gone_wrong()
    single, table = sweep_tables(replace(run, settings={**run.settings, "score_threshold": 0.5}))
    assert (single.option, single.chart, len(single.rows)) == ("overlap_threshold", None, 1)
    assert (table.option, table.own) == ("score_threshold", "0.5")
    assert [row.value for row in table.rows if row.is_own] == ["0.5"]
    best = [
        {figure.path for figure, is_best in zip(table.figures, row.are_best, strict=True) if is_best}
        for row in table.rows
    ]
    assert best == [{"frames_found"}, set(), set(), set(), set(), set(), {"miou"}]
    assert table.chart is not None
    assert [line.name for line in table.chart.lines] == ["mIoU", "VPQ", "frames found", "predicted and there"]
    (piece,) = table.chart.lines[0].pieces
    assert piece[0] == (0.0, 100 - 100 * 0.59)
    assert "Other thresholds and sizes" in content.render(run, tmp_path)


def test_sizes_are_drawn_over_the_time_that_a_frame_takes(tmp_path: Path) -> None:
    run = run_gone_wrong()
    times = {224.0: 25.0, 230.0: 26.0, 640.0: 100.0}
    swept = tuple(
        replace(
            run.sweep[0], option="size", value=size, miou=0.5 + size / 2000, latency_ms=Percentiles(ms, 2 * ms, 0, 0)
        )
        for size, ms in times.items()
    )
    run = replace(run, settings={**run.settings, "size": 640}, sweep=swept)
    (table,) = sweep_tables(run)
    assert [(row.value, row.is_own) for row in table.rows] == [("224", False), ("230", False), ("640", True)]
    assert table.rows[0].cells[-2:] == ("25.0 ms", "50.0 ms")
    assert table.chart is not None
    assert [(tick.at, tick.text) for tick in table.chart.x_ticks] == [(25.0, "224: 25"), (100.0, "640: 100")]
    (piece,) = table.chart.lines[0].pieces
    assert [x for x, _ in piece] == [25.0, 26.0, 100.0]
    assert "640 in 100 ms: mIoU" in table.chart.bars[-1].title
    assert "Figures by milliseconds per frame, median" in content.render(run, tmp_path)


def test_the_terminal_has_the_table_too() -> None:
    lines = list(sweep_lines(run_gone_wrong()))
    assert "sweep of score_threshold, which is 0.8125 in this run; * marks the best" in lines
    (last,) = (line for line in lines if line.split()[0] == "0.9")
    assert last.split()[1] == "0.770*"
