"""The log of a run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from eomt_ros.training.run_log import EVENTS, LOG_FILE, RunLog


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG_FILE).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_resumed_run_goes_on_where_its_state_is(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for step in range(1, 6):
            log.row(step, {"loss": 1 / step, "rate": 1e-4})
    with (tmp_path / LOG_FILE).open("a") as file:
        file.write("6,0.1")  # as a killed process leaves it
    with RunLog(tmp_path, 3) as log:
        log.row(4, {"loss": 0.5, "rate": 2e-4})
    assert [(row["step"], row["loss"], row["rate"]) for row in rows_of(tmp_path)] == [
        ("1", "1", "0.0001"),
        ("2", "0.5", "0.0001"),
        ("3", "0.33333333", "0.0001"),
        ("4", "0.5", "0.0002"),
    ]


def test_a_run_that_begins_anew_begins_its_log_anew(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.row(1, {"loss": 1.0})
    with RunLog(tmp_path, 0) as log:
        log.row(1, {"loss": 2.0, "rate": 1.0})
    assert [dict(row) for row in rows_of(tmp_path)] == [{"step": "1", "loss": "2", "rate": "1"}]


def test_tensorboard_reads_the_figures_of_a_run_and_not_those_after_its_state(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for step in range(1, 6):
            log.row(step, {"loss": 1 / step})
    with RunLog(tmp_path, 3) as log:
        log.row(4, {"loss": 0.75})
        log.figures(4, "validation", {"miou": 0.5})
    events = EventAccumulator(str(tmp_path / EVENTS)).Reload()
    assert [(each.step, each.value) for each in events.Scalars("training/loss")] == [
        (1, 1.0),
        (2, 0.5),
        (3, pytest.approx(1 / 3)),
        (4, 0.75),
    ]
    assert [(each.step, each.value) for each in events.Scalars("validation/miou")] == [(4, 0.5)]
