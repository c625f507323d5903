"""Two runs over the same recordings: differences by recording, and whether they are more than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eomt_ros.cli.main import main
from eomt_ros.evaluation import results
from eomt_ros.evaluation.report.comparison import ComparedRun, Comparison, compare, comparison_page, comparison_text
from eomt_ros.evaluation.report.paired import (
    FEWEST_RECORDINGS,
    Evidence,
    PairedFigure,
    PairedRuns,
    interval_of_mean,
    paired,
)
from eomt_ros.evaluation.results import Recording, Results
from test.evaluation.examples import recording, short_run
from test.evaluation.report.parsed_page import Page


def recordings(mious: Sequence[float | None], **changes: Sequence[object]) -> list[Recording]:
    """Recordings `r0`, `r1`, ... with these mIoUs, each in a folder of its name."""
    return [
        recording(
            f"r{number}",
            short_run(),
            folder=f"r{number}",
            miou=miou,
            **{name: values[number] for name, values in changes.items()},
        )
        for number, miou in enumerate(mious)
    ]


def row(runs: PairedRuns, path: str) -> PairedFigure:
    (found,) = (each for each in runs.figures if each.figure.path == path)
    return found


def test_a_gain_in_nearly_every_recording_is_better() -> None:
    before = np.linspace(0.4, 0.8, 20)
    gains = np.array([0.05, 0.02, 0.04, -0.01] * 5)
    found = row(paired(recordings(before.tolist()), recordings((before + gains).tolist())), "miou")
    assert (found.pairs, found.better, found.worse, found.evidence) == (20, 15, 5, Evidence.BETTER)
    assert found.mean == pytest.approx(0.025)
    assert 0 < found.low < found.mean < found.high < 0.05


def test_the_same_gain_of_a_figure_that_is_better_low_is_worse() -> None:
    switches = [number % 4 for number in range(20)]
    one = recordings([0.5] * 20, id_switches=switches)
    other = recordings([0.5] * 20, id_switches=[each + 1 + each % 2 for each in switches])
    found = row(paired(one, other), "id_switches")
    assert (found.better, found.worse, found.evidence) == (0, 20, Evidence.WORSE)
    assert row(paired(other, one), "id_switches").evidence is Evidence.BETTER


def test_differences_to_and_fro_are_chance() -> None:
    before = np.linspace(0.4, 0.8, 20)
    found = row(
        paired(recordings(before.tolist()), recordings((before + 0.1 * (-1) ** np.arange(20)).tolist())), "miou"
    )
    assert found.low < 0 < found.high
    assert found.evidence is Evidence.CHANCE


def test_few_recordings_have_differences_and_no_verdict() -> None:
    few = [0.5] * (FEWEST_RECORDINGS - 1)
    found = row(paired(recordings(few), recordings([each + 0.1 for each in few])), "miou")
    assert found.evidence is Evidence.FEW
    assert found.mean == pytest.approx(0.1)
    assert (math.isnan(found.low), found.interval_text) == (True, "")


def test_equal_runs_are_equal() -> None:
    runs = recordings(np.linspace(0.4, 0.8, 9).tolist())
    assert {each.evidence for each in paired(runs, runs).figures} == {Evidence.EQUAL}


def test_a_figure_counts_where_both_runs_know_it() -> None:
    one, other = recordings([0.5, None, 0.5, 0.7]), recordings([0.6, 0.7, None, 0.8])
    assert row(paired(one, other), "miou").pairs == 2
    unknown = recordings([None] * 4)
    assert "miou" not in [each.figure.path for each in paired(one, unknown).figures]


def test_recordings_are_the_same_by_content_and_else_by_name() -> None:
    one = recordings([0.5] * 4, fingerprint=["p", "q", "", "s"])
    other = recordings([0.5] * 4, fingerprint=["q", "p", "x", "t"])
    runs = paired(one, other)
    # r3 has another content than before: it is another recording.
    assert [(a.name, b.name) for a, b in runs.pairs] == [("r0", "r1"), ("r1", "r0"), ("r2", "r2")]
    assert (runs.only_first, runs.only_second) == (("r3",), ("r3",))


@pytest.mark.parametrize("shape", ["even", "skewed"])
def test_the_interval_holds_the_true_mean_as_often_as_it_says(shape: str) -> None:
    random = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        sample = random.normal(0.02, 0.05, 40) if shape == "even" else random.exponential(0.02, 40)
        low, high = interval_of_mean(sample)
        held += low <= 0.02 <= high
    assert 178 <= held <= 200  # of 190: five standard deviations of chance are 15, and the bootstrap is a bit narrow


def test_the_interval_is_the_same_in_every_run() -> None:
    sample = np.random.default_rng(1).normal(size=30)
    assert interval_of_mean(sample) == interval_of_mean(sample)


def fleet(mious: Sequence[float | None], **changes: object) -> Results:
    return short_run(recordings=tuple(recordings(mious)), **changes)


def compared(one: Results, other: Results) -> Comparison:
    return compare([ComparedRun("A", one), ComparedRun("B", other)])


def test_the_table_says_what_is_more_than_chance() -> None:
    before = np.linspace(0.4, 0.8, 20)
    text = comparison_text(compared(fleet(before.tolist()), fleet((before + 0.031).tolist())))
    assert "B beside A, recording by recording: 20 recordings that both have" in text
    (line,) = (line for line in text.splitlines() if line.startswith("  mIoU") and "to" in line)
    assert line.split() == ["mIoU", "+0.031", "+0.031", "to", "+0.031", "20", "0", "better"]


def test_runs_of_one_recording_have_no_such_table() -> None:
    comparison = compared(short_run(), short_run())
    assert comparison.paired == {}
    assert "recording by recording" not in comparison_text(comparison) + comparison_page(comparison)


def test_recordings_that_one_run_lacks_are_told_of() -> None:
    comparison = compared(fleet([0.5] * 9), fleet([0.5] * 7))
    (warning,) = (each for each in comparison.warnings if "lacks" in each)
    assert warning.startswith("B lacks 2 recordings that A has: r7, r8: ")


def test_the_page_has_a_line_for_each_recording_and_figure() -> None:
    before = np.linspace(0.4, 0.8, 20)
    page = Page(comparison_page(compared(fleet(before.tolist()), fleet((before - 0.05).tolist()))))
    assert "B beside A, recording by recording" in page.text
    assert "mIoU ▼ worse 20 -0.050 -0.050 to -0.050 0 20" in page.text
    assert "r19 -0.050" in page.text


def test_two_folders_of_recordings_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = np.linspace(0.4, 0.8, 20)
    for name, mious in (("a", before), ("b", before + 0.05)):
        (tmp_path / name).mkdir()
        results.write_results(fleet(mious.tolist()), tmp_path / name)
    page = tmp_path / "page.html"
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--html", str(page)]) == 0
    assert "20 recordings that both have" in capsys.readouterr().out
    assert "sortable" in page.read_text()


def test_nothing_but_failures_can_be_compared() -> None:
    failed = results.FailedRecording("r0", "/bags/r0", "no images")
    comparison = compared(fleet([0.5] * 9), replace(short_run(), recordings=(), failed=(failed,)))
    assert comparison.paired["B"].pairs == ()
    assert comparison_text(comparison)
    assert comparison_page(comparison)
