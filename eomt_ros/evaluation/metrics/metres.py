"""Errors in metres: of the positions, sizes and velocities of things that were found in the image.

A predicted thing is matched with a true one in the image, as for all other figures, so that an error in metres is that
of one thing; what is not matched is not located. A true thing counts in a frame where it is in view.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from eomt_ros.evaluation.frame import ObjectsInMetres, TrueObject
from eomt_ros.evaluation.log_histogram import LogHistogram
from eomt_ros.evaluation.metrics.ground_map import MapSketch
from eomt_ros.evaluation.metrics.overlap import Key, Overlap
from eomt_ros.evaluation.results import (
    MetreFigures,
    MetresByDistance,
    ObjectsInMetresFigures,
    Spread,
    VelocityErrors,
)

if TYPE_CHECKING:
    from eomt_ros.space.locator import LocatedObject

LOCATED_WITHIN = 0.3
"""m: largest error of a position that counts as right."""
WITHIN = 5.0
"""m: most distance from the camera to the centre of a thing that a robot has to act on; a limit of `DISTANCES` too."""
DISTANCES = (0.0, 2.0, 5.0, 10.0)
"""m: limits of the distances that have figures of their own; what is farther does not count."""
MOVING = 0.1
"""m/s: true speed from which on a thing moves."""
SETTLED = 1.0
"""s: a velocity counts after so long in view, and a thing stands still if it did not move for so long."""


@dataclass
class MetreCounts:
    """Of any number of things in any number of frames."""

    things: int = 0
    found: int = 0
    located: int = 0
    position: LogHistogram = field(default_factory=LogHistogram)
    size: LogHistogram = field(default_factory=LogHistogram)
    moving: LogHistogram = field(default_factory=LogHistogram)
    still: LogHistogram = field(default_factory=LogHistogram)

    def add(self, other: MetreCounts) -> None:
        """Adds other things or frames."""
        self.things += other.things
        self.found += other.found
        self.located += other.located
        self.position.merge(other.position)
        self.size.merge(other.size)
        self.moving.merge(other.moving)
        self.still.merge(other.still)

    def figures(self) -> MetreFigures:
        """The figures of all that was counted."""
        return MetreFigures(
            things=self.things,
            located_share=self.located / self.found if self.found else None,
            located_share_of_all=self.located / self.things if self.things else None,
            position_error_m=_spread(self.position),
            size_error_m=_spread(self.size),
            velocity_error_mps=VelocityErrors(_spread(self.moving), _spread(self.still)),
        )


@dataclass
class _Course:
    """The times of one thing, in seconds from the start of the sequence."""

    seen: float
    """When it came into view."""
    last: float
    """When it was in view last."""
    moved: float = -np.inf
    """When it moved last while in view."""


@dataclass
class MetreCells:
    """The counts of any number of sequences, by the number of the distance in `DISTANCES` and by class."""

    by_distance: dict[int, dict[int, MetreCounts]] = field(default_factory=dict)

    def cell(self, place: int, class_id: int) -> MetreCounts:
        """Those of one distance and class."""
        return self.by_distance.setdefault(place, {}).setdefault(class_id, MetreCounts())

    def add(self, other: MetreCells) -> None:
        """Adds the counts of other sequences."""
        for place, by_class in other.by_distance.items():
            for class_id, counts in by_class.items():
                self.cell(place, class_id).add(counts)


class MetreScore:
    """Errors of the things of one sequence; keeps counts, and a few numbers for each thing."""

    def __init__(self) -> None:
        self.cells = MetreCells()
        self.is_measured = False
        """True if a frame had depth and true boxes."""
        self.sketch = MapSketch()
        self._courses: dict[Key, _Course] = {}

    def update(self, overlap: Overlap, in_view: Iterable[Key], objects: ObjectsInMetres, *, begin: float) -> None:
        """Counts one frame. in_view: the true things that count. begin: seconds from the start of the sequence."""
        self.is_measured = True
        self.sketch.add_robot(objects, begin)
        located = {each.id: each for each in objects.located if each.points}
        for key in in_view:
            true = objects.truth.get(key.id)
            if true is None:
                continue
            match = overlap.matches.get(key)
            found = None if match is None else located.get(match.id)
            course = self._advance(key, true, begin)
            place = int(np.searchsorted(DISTANCES, np.linalg.norm(true.position - objects.camera), side="right")) - 1
            if place == len(DISTANCES) - 1:
                continue
            counts = self.cells.cell(place, key.class_id)
            counts.things += 1
            counts.found += match is not None
            self.sketch.add(key, true, None if found is None else found.position, begin)
            if found is not None:
                _count_errors(counts, true, found, course, begin)

    def _advance(self, key: Key, true: TrueObject, begin: float) -> _Course:
        course = self._courses.get(key)
        if course is None or begin - course.last > SETTLED:
            course = self._courses[key] = _Course(begin, begin)
        course.last = begin
        if true.velocity is not None and np.linalg.norm(true.velocity) >= MOVING:
            course.moved = begin
        return course


def _count_errors(counts: MetreCounts, true: TrueObject, found: LocatedObject, course: _Course, begin: float) -> None:
    error = float(np.linalg.norm(found.position - true.position))
    counts.located += error <= LOCATED_WITHIN
    counts.position.add(error)
    counts.size.add(float(np.abs(found.size - true.size).mean()))
    if found.velocity is None or true.velocity is None:
        return
    error = float(np.linalg.norm(found.velocity - true.velocity))
    if course.moved == begin and begin - course.seen >= SETTLED:
        counts.moving.add(error)
    elif begin - course.moved >= SETTLED:
        counts.still.add(error)


def metre_figures(cells: MetreCells, class_names: Sequence[str]) -> ObjectsInMetresFigures:
    """The figures of the sequences that were counted."""
    near = DISTANCES.index(WITHIN)
    by_class: defaultdict[int, MetreCounts] = defaultdict(MetreCounts)
    by_distance = [MetreCounts() for _ in DISTANCES[1:]]
    for place, of_classes in cells.by_distance.items():
        for class_id, counts in of_classes.items():
            by_distance[place].add(counts)
            if place < near:
                by_class[class_id].add(counts)
    whole = MetreCounts()
    for counts in by_class.values():
        whole.add(counts)
    return ObjectsInMetresFigures(
        **vars(whole.figures()),
        within_m=WITHIN,
        located_within_m=LOCATED_WITHIN,
        by_distance=tuple(
            MetresByDistance(**vars(counts.figures()), from_m=DISTANCES[place], to_m=DISTANCES[place + 1])
            for place, counts in enumerate(by_distance)
        ),
        by_class={class_names[class_id]: by_class[class_id].figures() for class_id in sorted(by_class)},
    )


def _spread(errors: LogHistogram) -> Spread:
    return Spread(*(errors.percentile(share) for share in (0.5, 0.9, 0.95)))
