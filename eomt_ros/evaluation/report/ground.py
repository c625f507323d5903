"""Layout of the ground from above: things and where they were located. All places are percent of the chart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eomt_ros.evaluation.report.charts import Tick, round_steps
from eomt_ros.evaluation.results import GroundMap, MappedObject, Path2D, Results

MARGIN = 0.5
"""m of ground around all that is drawn."""
METRES = 30
"""Most lines of a grid of metres; a wider ground has lines where the axis has its texts."""
LEAST = 4.0
"""m: the ground that is shown is at least so wide and deep."""

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Mark:
    """A thing that stands still: its true box, and where it was located."""

    left: float
    top: float
    width: float
    height: float
    located: tuple[float, float] | None
    """None where it never was."""
    name: str
    title: str

    @property
    def middle(self) -> tuple[float, float]:
        """Of the box."""
        return self.left + self.width / 2, self.top + self.height / 2


@dataclass(frozen=True)
class Walk:
    """A thing that moves: its true way, and the one that was located."""

    truth: tuple[Points, ...]
    located: tuple[Points, ...]
    name: str


@dataclass(frozen=True)
class GroundChart:
    """One sequence."""

    sequence: str
    ratio: float
    """Width over height, so that a metre is as long one way as the other."""
    robot: Points
    marks: tuple[Mark, ...]
    walks: tuple[Walk, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    columns: tuple[float, ...]
    """Lines of the grid."""
    rows: tuple[float, ...]


def ground_charts(results: Results) -> list[GroundChart]:
    """The ground of each sequence that has figures in metres."""
    return [_chart(drawn) for drawn in results.maps if drawn.robot]


def _chart(drawn: GroundMap) -> GroundChart:
    (left, right), (bottom, top) = (_span(_along(drawn, axis)) for axis in (0, 1))
    width, height = right - left, top - bottom

    def place(x: float, y: float) -> tuple[float, float]:
        return 100 * (x - left) / width, 100 * (top - y) / height

    def placed(paths: Iterable[Path2D]) -> tuple[Points, ...]:
        return tuple(tuple(place(x, y) for x, y in path) for path in paths)

    def mark(thing: MappedObject) -> Mark:
        ((x, y),) = thing.truth[0]
        corner = place(x - thing.size[0] / 2, y + thing.size[1] / 2)
        ((found,),) = thing.located or ((None,),)
        off = "never located" if found is None else f"located {math.dist(found, (x, y)):.2f} m beside it"
        return Mark(
            *corner,
            100 * thing.size[0] / width,
            100 * thing.size[1] / height,
            None if found is None else place(*found),
            thing.class_name,
            f"{thing.class_name} {thing.object_id}: {off}",
        )

    still = [thing for thing in drawn.objects if _is_still(thing)]
    moving = [thing for thing in drawn.objects if not _is_still(thing)]
    return GroundChart(
        sequence=drawn.sequence,
        ratio=width / height,
        robot=placed([drawn.robot])[0],
        marks=tuple(mark(thing) for thing in still),
        walks=tuple(
            Walk(placed(thing.truth), placed(thing.located), f"{thing.class_name} {thing.object_id}")
            for thing in moving
        ),
        x_ticks=tuple(Tick(place(value, top)[0], f"{value:g}") for value in round_steps(left, right)),
        y_ticks=tuple(Tick(place(left, value)[1], f"{value:g}") for value in round_steps(bottom, top)),
        columns=tuple(place(value, top)[0] for value in _grid(left, right)),
        rows=tuple(place(left, value)[1] for value in _grid(bottom, top)),
    )


def _grid(low: float, high: float) -> Sequence[float]:
    return range(math.ceil(low), math.floor(high) + 1) if high - low <= METRES else round_steps(low, high)


def _is_still(thing: MappedObject) -> bool:
    return len(thing.truth) == 1 and len(thing.truth[0]) == 1


def _along(drawn: GroundMap, axis: int) -> list[float]:
    """All places along an axis, those of the edges of boxes too."""
    places = [point[axis] for point in drawn.robot]
    for thing in drawn.objects:
        places += [point[axis] for path in (*thing.truth, *thing.located) for point in path]
        places += [point[axis] + sign * thing.size[axis] / 2 for point in thing.truth[0][:1] for sign in (-1, 1)]
    return places


def _span(places: Sequence[float]) -> tuple[float, float]:
    low, high = min(places) - MARGIN, max(places) + MARGIN
    more = max(0.0, LEAST - (high - low)) / 2
    return low - more, high + more
