"""The figures at other thresholds and sizes: a table and curves for each that was swept; of sizes, over their time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from eomt_ros.evaluation.report.charts import Bar, Line, LineChart, Tick, round_steps
from eomt_ros.evaluation.report.figures import GROUPS, NOTHING, Figure
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
    "latency_ms.p50",
    "latency_ms.p95",
)
DRAWN = ("miou", "vpq", "frames_found", "things_precision")
"""Shares, which have one axis."""
TIME = "latency_ms.p50"
"""What the other axis is, where it is known."""
APART = 12.0
"""Percent of the chart between the texts of ticks."""


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
    """One threshold, or the size."""

    option: str
    own: str
    """The value of the run itself."""
    figures: tuple[Figure, ...]
    rows: tuple[SweepRow, ...]
    chart: LineChart | None
    """None where there is nothing to draw."""
    over: str
    """What the chart goes over."""


def sweep_tables(results: Results) -> list[SweepTable]:
    """A table of each threshold that was swept; of figures that are known."""
    of_path = {figure.path: figure for group in GROUPS.values() for figure in group}
    tables = []
    for option, points in groupby(results.sweep, lambda point: point.option):
        swept = list(points)
        paths = [path for path in COLUMNS if any(of_path[path].value(each) is not None for each in swept)]
        figures = tuple(of_path[path] for path in paths)
        own = results.settings.get(option)
        best = {figure: _best(figure, swept) for figure in figures}
        rows = tuple(
            SweepRow(
                value=f"{each.value:g}",
                cells=tuple(figure.text(each) for figure in figures),
                are_best=tuple(figure.value(each) == best[figure] for figure in figures),
                is_own=each.value == own,
            )
            for each in swept
        )
        own_text = f"{own:g}" if isinstance(own, int | float) else NOTHING
        over = "milliseconds per frame, median" if TIME in paths else option
        tables.append(SweepTable(option, own_text, figures, rows, _chart(swept, of_path, timed=TIME in paths), over))
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
    values = [value for each in swept if (value := figure.value(each)) is not None]
    if len(set(values)) < 2:
        return None
    return max(values) if figure.better.name == "HIGHER" else min(values)


def _chart(swept: Sequence[SweptFigures], of_path: Mapping[str, Figure], *, timed: bool) -> LineChart | None:
    """Over the values; timed: over their times, from 0."""
    at = {each.value: of_path[TIME].value(each) if timed else each.value for each in swept}
    ordered = [(x, each) for each in swept if (x := at[each.value]) is not None]
    ordered.sort(key=lambda pair: pair[0])
    drawn = [path for path in DRAWN if any(of_path[path].value(each) is not None for _, each in ordered)]
    if not drawn or not ordered[0][0] < ordered[-1][0]:
        return None
    low, high = 0.0 if timed else ordered[0][0], ordered[-1][0]

    def place(x: float) -> float:
        return 100 * (x - low) / (high - low)

    lines = []
    for path in drawn:
        pairs = [(x, of_path[path].value(each)) for x, each in ordered]
        lines.append(Line(of_path[path].name, (tuple((place(x), 100 - 100 * y) for x, y in pairs if y is not None),)))
    edges = [low, *((one + other) / 2 for (one, _), (other, _) in pairwise(ordered)), high]
    bars = []
    for (x, each), (left, right) in zip(ordered, pairwise(edges), strict=True):
        values = ", ".join(f"{of_path[path].name} {of_path[path].text(each)}" for path in drawn)
        took = f" in {x:.3g} ms" if timed else ""
        bars.append(Bar(place(left), place(right) - place(left), 0.0, f"{each.value:g}{took}: {values}"))
    ticks = [Tick(place(x), f"{x:g}") for x in round_steps(low, high)]
    if timed:
        ticks = []
        for x, each in ordered:
            if not ticks or place(x) - ticks[-1].at >= APART:
                ticks.append(Tick(place(x), f"{each.value:g}: {x:.3g}"))
    return LineChart(
        lines=tuple(lines),
        bars=tuple(bars),
        most=0,
        x_ticks=tuple(ticks),
        y_ticks=tuple(Tick(100 - 100 * y, f"{y:g}") for y in round_steps(0, 1)),
        borders=(),
    )
