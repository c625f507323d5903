"""The timeline of ids: a row for each object, with the ids it had over time. All places are percent of the row."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from eomt_ros.evaluation.ids import IdSpan, ObjectTimeline
from eomt_ros.evaluation.report.charts import Tick, clock, time_ticks
from eomt_ros.evaluation.results import Results

COLORS = 10
"""As many as the style sheet has for ids."""
ROWS = 60
"""Objects that a timeline shows at most."""
INVISIBLE = 1 / 1500
"""Share of a row: smaller gaps between two spans of one id are not seen."""
LEAST_ROOM = 1 / 120
"""Share of a row: in smaller gaps a sign would hide what was before."""
BACK_WITH = {"right": "its old id", "wrong": "an id that another object had", "new": "a new id"}
"""By the outcome of a return."""


@dataclass(frozen=True)
class IdCell:
    """A stretch of a row."""

    left: float
    width: float
    identity: str | None
    """Id by the model; None where no prediction matched."""
    color: int | None
    title: str
    switched: bool
    """True if it had another id before."""
    returned: str | None = None
    """The outcome of a return, see `ThingReturn`, where there is room for its sign before the cell."""


@dataclass(frozen=True)
class IdRow:
    """One object."""

    class_name: str
    object_id: int
    cells: tuple[IdCell, ...]

    @property
    def name(self) -> str:
        """Class and number of the object."""
        return f"{self.class_name} {self.object_id}"

    @property
    def switches(self) -> int:
        """Number of cells that have another id than the one before."""
        return sum(cell.switched for cell in self.cells)


@dataclass(frozen=True)
class IdRows:
    """The objects of one sequence, in the order in which they came."""

    sequence: str
    ticks: tuple[Tick, ...]
    rows: tuple[IdRow, ...]


@dataclass(frozen=True)
class IdChart:
    """The objects that are shown, and how many are not."""

    sequences: tuple[IdRows, ...]
    left_out: int


def id_chart(results: Results) -> IdChart | None:
    """Lays out the objects that were in view longest, `ROWS` at most; None where there is none."""
    timelines = [timeline for timeline in results.timelines if timeline.spans]
    shown = sorted(timelines, key=_seconds_in_view, reverse=True)[:ROWS]
    if not shown:
        return None
    shown.sort(key=lambda timeline: (timeline.spans[0].begin, timeline.object_id))
    names = [name for name in results.sequences if any(timeline.sequence == name for timeline in shown)]
    sequences = tuple(_rows(name, [timeline for timeline in shown if timeline.sequence == name]) for name in names)
    return IdChart(sequences, len(timelines) - len(shown))


def colors_of(timelines: Sequence[ObjectTimeline]) -> dict[str, int]:
    """A color for each id, so that two ids of one object have the same only where it had more ids than there are."""
    colors: dict[str, int] = {}
    used = Counter[int]()
    # Objects with many ids first, because they have the least choice.
    courses = sorted((_identities(timeline) for timeline in timelines), key=len, reverse=True)
    together: dict[str, set[str]] = defaultdict(set)
    for course in courses:
        for identity in course:
            together[identity].update(course)
    for course in courses:
        for place, identity in enumerate(course):
            if identity in colors:
                continue
            taken = Counter(colors[other] for other in together[identity] if other in colors)
            # Where all are taken, at least not that of the id before.
            before = colors.get(course[place - 1]) if place else None
            colors[identity] = min(range(COLORS), key=partial(_reluctance, before, taken, used))
            used[colors[identity]] += 1
    return colors


def _reluctance(before: int | None, taken: Counter[int], used: Counter[int], color: int) -> tuple[bool, int, int]:
    return color == before, taken[color], used[color]


def _rows(sequence: str, timelines: Sequence[ObjectTimeline]) -> IdRows:
    end = max(span.end for timeline in timelines for span in timeline.spans) or 1.0
    colors = colors_of(timelines)
    return IdRows(sequence, time_ticks(end), tuple(_row(timeline, end, colors) for timeline in timelines))


def _row(timeline: ObjectTimeline, end: float, colors: dict[str, int]) -> IdRow:
    name = f"{timeline.class_name} {timeline.object_id}"
    cells = []
    before: str | None = None
    for span in _visible(timeline.spans, INVISIBLE * end):
        switched = None not in (span.identity, before) and span.identity != before
        what = "not found" if span.identity is None else f"id {span.identity}"
        change = f", before: id {before}" if switched else ""
        back = span.returned
        if back is not None:
            change += f", back after {back.away:.1f} s with {BACK_WITH[back.outcome]}"
        when = f"{clock(span.begin, digits=1)} to {clock(span.end, digits=1)}"
        cells.append(
            IdCell(
                left=100 * span.begin / end,
                width=100 * (span.end - span.begin) / end,
                identity=span.identity,
                color=None if span.identity is None else colors[span.identity],
                title=f"{name}, {when}: {what}{change}",
                switched=switched,
                returned=back.outcome if back is not None and back.away >= LEAST_ROOM * end else None,
            )
        )
        before = span.identity or before
    return IdRow(timeline.class_name, timeline.object_id, tuple(cells))


def _visible(spans: Sequence[IdSpan], shortest: float) -> list[IdSpan]:
    """Joins spans of one id that are apart by less than can be seen, so that hours of flicker stay a small page."""
    joined: list[IdSpan] = []
    for number, span in enumerate(spans):
        last = joined[-1] if joined else None
        hidden = (
            last is not None
            and span.identity is None
            and span.end - span.begin < shortest
            and number + 1 < len(spans)
            and spans[number + 1].identity == last.identity
        )
        if hidden:
            continue
        if last is not None and last.identity == span.identity and span.begin - last.end < shortest:
            joined[-1] = IdSpan(last.begin, span.end, last.identity)
        else:
            joined.append(span)
    return joined


def _identities(timeline: ObjectTimeline) -> list[str]:
    """The ids that an object had, in order, each once."""
    return list(dict.fromkeys(span.identity for span in timeline.spans if span.identity is not None))


def _seconds_in_view(timeline: ObjectTimeline) -> float:
    return sum(span.end - span.begin for span in timeline.spans)
