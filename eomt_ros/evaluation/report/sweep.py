"""The figures at other thresholds: a table and curves for each threshold that was swept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from eomt_ros.evaluation.report.charts import Bar, Line, LineChart, Tick, round_steps
from eomt_ros.evaluation.report.figures import GROUPS, NOTHING, Figure, as_text, known
from eomt_ros.evaluation.results import Results
from eomt_ros.evaluation.wrong import SweptFigures

COLUMNS = (
    "miou",
    "vpq",
    "stq",
    "objects_found",
    "frames_found",
    "things_precision",
    "ghosts_per_frame",
    "idf1",
    "switches_per_30_seconds",
)
DRAWN = ("miou", "vpq", "frames_found", "things_precision")
"""Shares, which have one axis."""


@dataclass(frozen=True)
class SweepRow:
    """The figures with one value."""

    value: str
    cells: tuple[str, ...]
    are_best: tuple[bool, ...]
    is_own: bool
    """True for the value of the run itself."""


@dataclass(frozen=True)
class SweepTable:
    """One threshold."""

    option: str
    own: str
    """The value of the run itself."""
    figures: tuple[Figure, ...]
    rows: tuple[SweepRow, ...]
    chart: LineChart | None
    """None where there is nothing to draw."""


def sweep_tables(results: Results) -> list[SweepTable]:
    """A table of each threshold that was swept; of figures that are known."""
    of_path = {figure.path: figure for group in GROUPS.values() for figure in group}
    tables = []
    for option, points in groupby(results.sweep, lambda point: point.option):
        swept = list(points)
        paths = [path for path in COLUMNS if any(known(getattr(each, path)) is not None for each in swept)]
        figures = tuple(of_path[path] for path in paths)
        own = results.settings.get(option)
        best = {figure: _best(figure, swept) for figure in figures}
        rows = tuple(
            SweepRow(
                value=f"{each.value:g}",
                cells=tuple(as_text(getattr(each, figure.path), figure.kind) for figure in figures),
                are_best=tuple(getattr(each, figure.path) == best[figure] for figure in figures),
                is_own=each.value == own,
            )
            for each in swept
        )
        own_text = f"{own:g}" if isinstance(own, int | float) else NOTHING
        tables.append(SweepTable(option, own_text, figures, rows, _chart(swept, of_path)))
    return tables


def sweep_lines(results: Results) -> Iterator[str]:
    """The tables for a terminal; `*` marks the best of each column."""
    for table in sweep_tables(results):
        rows = [(table.option, *(figure.name for figure in table.figures))]
        for row in table.rows:
            marked = (
                f"{cell}*" if is_best else f"{cell} " for cell, is_best in zip(row.cells, row.are_best, strict=True)
            )
            rows.append((row.value, *marked))
        name, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
        yield f"sweep of {table.option}, which is {table.own} in this run; * marks the best"
        for first, *others in rows:
            cells = (text.rjust(width) for text, width in zip(others, widths, strict=True))
            yield "  ".join((f"  {first:<{name}}", *cells)).rstrip()


def _best(figure: Figure, swept: Sequence[SweptFigures]) -> float | None:
    """The best value of a figure, None where all are equal."""
    values = [value for each in swept if (value := known(getattr(each, figure.path))) is not None]
    if len(set(values)) < 2:
        return None
    return max(values) if figure.better.name == "HIGHER" else min(values)


def _chart(swept: Sequence[SweptFigures], of_path: Mapping[str, Figure]) -> LineChart | None:
    low, high = swept[0].value, swept[-1].value
    drawn = [path for path in DRAWN if any(known(getattr(each, path)) is not None for each in swept)]
    if not drawn or not low < high:
        return None

    def place(value: float) -> float:
        return 100 * (value - low) / (high - low)

    lines = []
    for path in drawn:
        pairs = [(each.value, known(getattr(each, path))) for each in swept]
        points = tuple((place(value), 100 - 100 * y) for value, y in pairs if y is not None)
        lines.append(Line(of_path[path].name, (points,)))
    edges = [low, *((one.value + other.value) / 2 for one, other in pairwise(swept)), high]
    bars = []
    for each, (left, right) in zip(swept, pairwise(edges), strict=True):
        values = ", ".join(f"{of_path[path].name} {as_text(getattr(each, path), of_path[path].kind)}" for path in drawn)
        bars.append(Bar(place(left), place(right) - place(left), 0.0, f"{each.value:g}: {values}"))
    return LineChart(
        lines=tuple(lines),
        bars=tuple(bars),
        most=0,
        x_ticks=tuple(Tick(place(value), f"{value:g}") for value in round_steps(low, high)),
        y_ticks=tuple(Tick(100 - 100 * value, f"{value:g}") for value in round_steps(0, 1)),
        borders=(),
    )
