"""Layout of the charts: lines over time or steps, and histograms. All places are percent of the chart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise

from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.latency import Percentiles
from eomt_ros.evaluation.report.figures import Kind, as_text, known
from eomt_ros.evaluation.results import Interval, Results

MOST_TICKS = 6
"""Most steps of an axis, so that their texts have room on a telephone."""
HIGHEST_EVENT = 25.0
"""Percent of the chart: height of the bar where there are most events."""
NAMED_SEQUENCES = 5
"""Most sequences whose names fit beside each other."""
STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
WIDE = 4.0
"""Smallest ratio of the ends of an axis for ticks at 1, 2, 5, 10, ... instead of equal steps."""

Value = Callable[[Interval], "float | None"]
Course = Sequence[tuple[float, "float | None"]]
"""(step, value) in the order of steps; None where the value is not known."""


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A value over time, in pieces where it is not known all the time."""

    name: str
    pieces: tuple[tuple[tuple[float, float], ...], ...]
    """Points (x, y), y downwards."""


@dataclass(frozen=True)
class Bar:
    """A bar from the x axis upwards."""

    left: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class LineChart:
    """Values over time, or over the steps of a training."""

    lines: tuple[Line, ...]
    bars: tuple[Bar, ...]
    """One per interval, or per step that has a value, as high as it has events; the title is shown on hovering."""
    most: int
    """Largest number of events in an interval."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    borders: tuple[float, ...]
    """Where a sequence ends and the next one begins."""


@dataclass(frozen=True)
class Histogram:
    """Numbers of frames by value."""

    bars: tuple[Bar, ...]
    marks: tuple[Tick, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def scores_over_time(results: Results) -> LineChart | None:
    """The lines of mIoU and VPQ, with id switches as events; None where there is nothing to draw."""
    values: dict[str, Value] = {"mIoU": lambda part: known(part.miou), "VPQ": lambda part: known(part.vpq)}
    present = {
        name: value for name, value in values.items() if any(value(part) is not None for part in results.intervals)
    }
    return _line_chart(results.intervals, present, 1.0, Kind.SCORE) if present else None


def latency_over_time(results: Results) -> LineChart | None:
    """The line of the median latency; None where there is nothing to draw."""
    latencies = [part.latency_ms for part in results.intervals if known(part.latency_ms) is not None]
    if len(latencies) < 2 or not max(latencies) > 0:
        return None
    values: dict[str, Value] = {"latency": lambda part: known(part.latency_ms)}
    return _line_chart(results.intervals, values, max(latencies), Kind.MILLISECONDS)


def curves(courses: Mapping[str, Course], kind: Kind, *, last: float, highest: float | None = None) -> LineChart | None:
    """A line for each course, from step 0 to step `last`; None where there is nothing to draw.

    highest: the value at which the axis ends; None for the highest there is.
    """
    placed = {name: [(step, known(value)) for step, value in course] for name, course in courses.items()}
    present = {name: course for name, course in placed.items() if any(value is not None for _, value in course)}
    values = [value for course in present.values() for _, value in course if value is not None]
    end = max(values, default=0.0) if highest is None else highest
    if not present or not end > 0 or not last > 0:
        return None
    end = axis_end(end)

    def line(name: str, course: Course) -> Line:
        points = [("", 100 * step / last, None if y is None else 100 - 100 * y / end) for step, y in course]
        return Line(name, tuple(_pieces(points)))

    return LineChart(
        lines=tuple(line(name, course) for name, course in present.items()),
        bars=tuple(_said_by_step(present, kind, last)),
        most=0,
        x_ticks=tuple(Tick(100 * step / last, f"{step:,.0f}") for step in round_steps(0, last) if step == int(step)),
        y_ticks=tuple(Tick(100 - 100 * value / end, f"{value:g}") for value in round_steps(0, end)),
        borders=(),
    )


def _said_by_step(courses: Mapping[str, Course], kind: Kind, last: float) -> Iterable[Bar]:
    """What there is to be read at each step, from half way from the step before to half way to the next."""
    said: dict[float, list[str]] = {}
    for name, course in courses.items():
        for step, value in course:
            if value is not None:
                said.setdefault(step, []).append(f"{name} {as_text(value, kind)}")
    steps = sorted(said)
    edges = [0.0, *((one + other) / 2 for one, other in pairwise(steps)), last]
    for step, (left, right) in zip(steps, pairwise(edges), strict=True):
        yield Bar(100 * left / last, 100 * (right - left) / last, 0.0, f"step {step:,.0f}: {', '.join(said[step])}")


def latency_histogram(edges: Sequence[tuple[float, int]], latency: Percentiles) -> Histogram | None:
    """The histogram of `Results`, with its percentiles, on a logarithmic axis; None where it is empty."""
    if len(edges) < 2 or not any(count for _, count in edges):
        return None
    first, last = edges[0][0], edges[-1][0]
    highest = axis_end(max(count for _, count in edges))

    def place(value: float) -> float:
        # Logarithmic, as the widths of the bins are: one frame that took seconds does not squeeze the rest.
        return 100 * math.log(value / first) / math.log(last / first)

    return Histogram(
        bars=tuple(
            Bar(
                place(low),
                place(high) - place(low),
                100 * count / highest,
                f"{low:.1f} to {high:.1f} ms: {counted(count, 'frame')}",
            )
            for (low, count), (high, _) in pairwise(edges)
            if count
        ),
        marks=tuple(
            Tick(min(max(place(value), 0.0), 100.0), f"{name} {as_text(value, Kind.MILLISECONDS)}")
            for name, value in (("p50", latency.p50), ("p95", latency.p95), ("p99", latency.p99))
            if value > 0
        ),
        x_ticks=tuple(Tick(place(value), f"{value:,g}") for value in _log_ticks(first, last)),
        y_ticks=tuple(Tick(100 - 100 * value / highest, f"{value:,g}") for value in round_steps(0, highest)),
    )


def time_ticks(seconds: float) -> tuple[Tick, ...]:
    """The ticks of an axis from 0 to `seconds`."""
    if not seconds > 0:
        return ()
    longest = STEPS_S[-1] * math.ceil(seconds / STEPS_S[-1] / MOST_TICKS)
    step = next((step for step in STEPS_S if seconds / step <= MOST_TICKS), longest)
    digits = 1 if step < 1 else 0
    return tuple(
        Tick(100 * number * step / seconds, clock(number * step, digits=digits))
        for number in range(int(seconds / step + 1e-9) + 1)
    )


def clock(seconds: float, *, digits: int = 0) -> str:
    """Seconds as `1:02:03`, or `2:03` within the first hour; `digits` after the point."""
    ticks = 10**digits
    whole, fraction = divmod(round(seconds * ticks), ticks)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    front = f"{hours}:{minute:02}" if hours else f"{minute}"
    return f"{front}:{second:02}" + (f".{fraction:0{digits}}" if digits else "")


def round_steps(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`, at most `MOST_TICKS` steps."""
    step = _round_step(high - low)
    return [round(number * step, 9) for number in range(math.ceil(low / step - 1e-9), int(high / step + 1e-9) + 1)]


def _log_ticks(first: float, last: float) -> list[float]:
    if last < WIDE * first:
        return round_steps(first, last)
    exponents = range(math.floor(math.log10(first)), math.ceil(math.log10(last)) + 1)
    ticks = [factor * 10.0**exponent for exponent in exponents for factor in (1, 2, 5)]
    return [tick for tick in ticks if first <= tick <= last]


def axis_end(highest: float) -> float:
    """The round number at or above `highest` at which an axis ends."""
    step = _round_step(highest)
    return math.ceil(highest / step - 1e-9) * step


def _round_step(length: float) -> float:
    unit = 10.0 ** math.floor(math.log10(length / MOST_TICKS))
    return next(unit * factor for factor in (1, 2, 5, 10) if length / (unit * factor) <= MOST_TICKS)


def _line_chart(intervals: Sequence[Interval], values: dict[str, Value], highest: float, kind: Kind) -> LineChart:
    end = axis_end(highest)
    starts, total = _one_after_the_other(intervals)

    def place(part: Interval, seconds: float) -> float:
        return 100 * (starts[part.sequence] + seconds) / total

    def say(part: Interval) -> str:
        where = f"{part.sequence}, " if len(starts) > 1 else ""
        said = [f"{name} {as_text(value(part), kind)}" for name, value in values.items()]
        switches = [f"id switches {part.id_switches}"] if part.id_switches and kind is Kind.SCORE else []
        return f"{where}{clock(part.begin)} to {clock(part.end)}: " + ", ".join(said + switches)

    lines = []
    for name, value in values.items():
        points = [
            (part.sequence, place(part, (part.begin + part.end) / 2), None if y is None else 100 - 100 * y / end)
            for part, y in ((part, value(part)) for part in intervals)
        ]
        lines.append(Line(name, tuple(_pieces(points))))
    events = [(part.id_switches or 0) if kind is Kind.SCORE else 0 for part in intervals]
    most = max(events, default=0)
    bars = tuple(
        Bar(
            place(part, part.begin),
            100 * (part.end - part.begin) / total,
            HIGHEST_EVENT * count / max(most, 1),
            say(part),
        )
        for part, count in zip(intervals, events, strict=True)
    )
    y_ticks = tuple(Tick(100 - 100 * value / end, f"{value:g}") for value in round_steps(0, end))
    borders = tuple(100 * start / total for start in starts.values() if start)
    return LineChart(tuple(lines), bars, most, _x_ticks(starts, total), y_ticks, borders)


def _one_after_the_other(intervals: Iterable[Interval]) -> tuple[dict[str, float], float]:
    """When each sequence starts if they are played one after the other, and how long that takes, in seconds."""
    lengths: dict[str, float] = {}
    for part in intervals:
        lengths[part.sequence] = max(lengths.get(part.sequence, 0.0), part.end)
    *starts, total = accumulate(lengths.values(), initial=0.0)
    return dict(zip(lengths, starts, strict=True)), total or 1.0


def _x_ticks(starts: dict[str, float], total: float) -> tuple[Tick, ...]:
    if len(starts) == 1:
        return time_ticks(total)
    if len(starts) <= NAMED_SEQUENCES:
        return tuple(Tick(100 * start / total, name) for name, start in starts.items())
    return ()


def _pieces(points: Iterable[tuple[str, float, float | None]]) -> Iterable[tuple[tuple[float, float], ...]]:
    """Cuts a line where a value is missing and where a sequence ends. points: sequence, x, y."""
    for (_, missing), piece in groupby(points, lambda point: (point[0], point[2] is None)):
        if not missing:
            yield tuple((x, y) for _, x, y in piece if y is not None)
