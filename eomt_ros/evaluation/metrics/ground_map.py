"""The ground from above: where things are, where they were located, and the way of the robot."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.frame import ObjectsInMetres, TrueObject, Vector
from eomt_ros.evaluation.metrics.overlap import Key
from eomt_ros.evaluation.results import GroundMap, MappedObject, Path2D

MOST_POINTS = 400
"""Points of a way that are kept."""
MOST_OBJECTS = 200
"""Things that are kept."""
STEP = 0.05
"""m between two points of a way, at least."""
LONGEST_STEP = 0.5
"""s between two points of a way, at most."""
STILL = 0.1
"""m: a thing whose true centre stays within a square of this size stands still."""


class _Way:
    """Points at some of the times; after `MOST_POINTS` every second one is dropped."""

    def __init__(self) -> None:
        self._numbers = array("d")
        """Of each point: seconds, true x and y, located x and y. Objects of Python's take five times as much."""
        self._gap = LONGEST_STEP

    def add(self, seconds: float, true: Vector, located: Vector | None = None) -> None:
        """Adds a point unless it is next to the last one in place and time."""
        x, y = (np.nan, np.nan) if located is None else located[:2]
        if self._numbers:
            before, last_x, last_y = self._numbers[-5:-2]
            if seconds - before < self._gap and np.hypot(true[0] - last_x, true[1] - last_y) < STEP:
                return
        self._numbers.extend((seconds, true[0], true[1], x, y))
        if len(self._numbers) > 5 * MOST_POINTS:
            self._numbers = array("d", self.rows[::2].tobytes())
            self._gap *= 2

    @property
    def rows(self) -> npt.NDArray[np.float64]:
        """(N, 5)"""
        return np.array(self._numbers).reshape(-1, 5)

    def pieces(self, columns: slice) -> tuple[Path2D, ...]:
        """The stretches without a gap of columns of the rows."""
        rows = self.rows
        known = np.isfinite(rows[:, columns]).all(axis=1)
        ends = np.flatnonzero(~known | (np.diff(rows[:, 0], prepend=rows[0, 0]) > 2 * self._gap))
        stretches = (part[np.isfinite(part).all(axis=1)] for part in np.split(rows[:, columns], ends))
        return tuple(_path(part) for part in stretches if len(part))


class MapSketch:
    """Collects the map of one sequence, in bounded memory."""

    def __init__(self) -> None:
        self._robot = _Way()
        self._ways: dict[Key, tuple[TrueObject, _Way]] = {}

    def add_robot(self, objects: ObjectsInMetres, seconds: float) -> None:
        """Adds where the camera is. seconds: from the start of the sequence."""
        self._robot.add(seconds, objects.camera)

    def add(self, key: Key, true: TrueObject, located: Vector | None, seconds: float) -> None:
        """Adds a thing in view. located: its position; None where it was not found."""
        if key not in self._ways:
            if len(self._ways) == MOST_OBJECTS:
                return
            self._ways[key] = true, _Way()
        self._ways[key][1].add(seconds, true.position, located)

    def map(self, sequence: str, class_names: Sequence[str]) -> GroundMap:
        """The map so far."""
        objects = tuple(_mapped(key, *way, class_names[key.class_id]) for key, way in self._ways.items())
        return GroundMap(sequence, _path(self._robot.rows[:, 1:3]), objects)


def _mapped(key: Key, true: TrueObject, way: _Way, class_name: str) -> MappedObject:
    rows = way.rows
    size = (round(float(true.size[0]), 2), round(float(true.size[1]), 2))
    if np.ptp(rows[:, 1:3], axis=0).max() > STILL:
        return MappedObject(key.id, class_name, size, way.pieces(slice(1, 3)), way.pieces(slice(3, 5)))
    found = rows[np.isfinite(rows[:, 3]), 3:5]
    located = (_path(np.median(found, axis=0)[None]),) if len(found) else ()
    return MappedObject(key.id, class_name, size, (_path(rows[-1:, 1:3]),), located)


def _path(points: npt.NDArray[np.float64]) -> Path2D:
    return tuple((round(x, 2), round(y, 2)) for x, y in points.tolist())
