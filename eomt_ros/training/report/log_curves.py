"""`training.csv`, a row per step, made small enough for a chart."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from eomt_ros.evaluation.report.charts import Course
from eomt_ros.training.run_log import LOG_FILE, STEP

MOST_POINTS = 60
"""Of a curve: losses of single steps are so different that more would hide the course."""


def read_log(folder: Path) -> dict[str, list[float]]:
    """The columns of a run's log; NaN where a value is missing or is no number. Empty where there is no log.

    Rows that were not written to their end are left out. Raises `OSError`.
    """
    try:
        with (folder / LOG_FILE).open(newline="", encoding="utf-8", errors="replace") as file:
            head, *rows = list(csv.reader(file)) or [[]]
    except FileNotFoundError:
        return {}
    if STEP not in head:
        return {}
    whole = [row for row in rows if len(row) == len(head)]
    return {name: [_number(row[place]) for row in whole] for place, name in enumerate(head)}


def curve(log: dict[str, list[float]], name: str) -> Course:
    """A column over the steps: the mean of as many neighbours as leave `MOST_POINTS`; None where none is a number."""
    steps, values = log[STEP], log[name]
    together = math.ceil(len(steps) / MOST_POINTS) or 1
    return [
        (_mean(steps[begin : begin + together]) or 0.0, _mean(values[begin : begin + together]))
        for begin in range(0, len(steps), together)
    ]


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
