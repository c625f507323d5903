"""The things of one camera in metres, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from eomt_ros.space.measure import Floats, sight
from eomt_ros.space.pinhole import Pinhole
from eomt_ros.space.place import placed
from eomt_ros.space.pose import OPTICAL_IN_BODY, Pose
from eomt_ros.space.tracks import GAP, Tracks


class LocatableSegment(Protocol):
    """A segment of a frame, as the engine's and the evaluation's are."""

    @property
    def id(self) -> int: ...
    @property
    def class_id(self) -> int: ...
    @property
    def class_name(self) -> str: ...
    @property
    def is_thing(self) -> bool: ...
    @property
    def score(self) -> float: ...
    @property
    def box(self) -> tuple[int, int, int, int]: ...


class LocatableFrame(Protocol):
    """A segmented frame, as the engine's and the evaluation's are."""

    @property
    def panoptic(self) -> npt.NDArray[Any]: ...
    @property
    def segments(self) -> Sequence[LocatableSegment]: ...
    @property
    def epoch(self) -> int: ...


@dataclass(frozen=True, eq=False)
class LocatedObject:
    """A thing in metres, in the target frame."""

    id: int
    """That of its segment."""
    class_id: int
    class_name: str
    score: float
    """0..1, of its last segment."""
    position: Floats
    """(3,) m, the centre of the smallest box along the frame's axes around the whole thing, also what is hidden."""
    position_covariance: Floats
    """(3, 3) m^2."""
    size: Floats
    """(3,) m, the edges of that box."""
    size_covariance: Floats
    """(3, 3) m^2."""
    velocity: Floats | None
    """(3,) m/s of the position; None where the target frame moves or turns with the camera."""
    velocity_covariance: Floats | None
    """(3, 3) m^2/s^2."""
    moving: bool
    """True if its velocity is not noise; False without a velocity."""
    partial: bool
    """True if a part of it is outside the picture or behind something."""
    points: int
    """Pixels whose depth was used; 0 for one that is not seen in this frame, but predicted."""
    age: int
    """Frames since it was first located; 0 in the first."""


class Locator:
    """The things of one camera: it measures them in every frame, and follows them from frame to frame."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._stamp = -np.inf
        self._tracks = Tracks()
        # What was seen until GAP seconds ago, and if partial.
        self._lately: dict[int, tuple[LocatableSegment, bool]] = {}

    def locate(
        self,
        result: LocatableFrame,
        depth: npt.NDArray[np.float32],
        pinhole: Pinhole,
        pose: Pose | None,
        stamp: float,
        *,
        fixed: bool,
    ) -> list[LocatedObject]:
        """Give the things of a frame, and those that were seen until at most a second ago.

        depth: (H, W) float32 m, NaN unknown, of the size of the panoptic image and of the pinhole. pose: of the
        camera's optical frame in the target frame, whose z is up, at the image's stamp; None for the optical frame
        itself. stamp: the image's, in seconds. fixed: the target frame stands still in the world, so that a velocity
        means something. A new epoch, or a stamp that goes back, forgets everything.
        """
        if result.epoch != self._epoch or stamp < self._stamp:
            self._tracks, self._lately = Tracks(), {}
        self._epoch, self._stamp = result.epoch, stamp
        tracks, upright = self._tracks, OPTICAL_IN_BODY if pose is None else pose
        things = [segment for segment in result.segments if segment.is_thing]
        shown = [thing.id for thing in things], [thing.box for thing in things]
        seen = sight(result.panoptic, *shown, depth, pinhole, upright.rotation)
        things = [things[place] for place in seen.places]
        ids, class_ids = [thing.id for thing in things], [thing.class_id for thing in things]
        rows = tracks.rows_at(ids, class_ids, stamp, seen.surface() + upright.translation[:2])
        shapes = tracks.shapes.take(rows)
        found = placed(
            seen, upright.translation, tracks.shapes.ground(), shapes, tracks.moving[rows], stamp - tracks.stamp[rows]
        )
        tracks.shapes.put(rows, shapes)
        tracks.update(rows, stamp, found)
        partial = np.any(seen.cut, axis=1).tolist()
        self._lately.update((thing.id, (thing, part)) for thing, part in zip(things, partial, strict=True))
        points = {thing.id: int(number) for thing, number in zip(things, seen.points, strict=True)}
        return self._objects(points, stamp, None if pose is not None else OPTICAL_IN_BODY.inverse().rotation, fixed)

    def _objects(self, points: dict[int, int], stamp: float, turn: Floats | None, fixed: bool) -> list[LocatedObject]:
        """What is known at `stamp`, predicted where it is not in `points`; turn: of the result, by right angles."""
        tracks = self._tracks
        ids = list(self._lately)
        rows = tracks.rows(ids, [self._lately[each][0].class_id for each in ids])
        recent = stamp - tracks.stamp[rows] <= GAP
        self._lately = {each: self._lately[each] for each, kept in zip(ids, recent, strict=True) if kept}
        rows = rows[recent]
        position, position_covariance, velocity, velocity_covariance = tracks.at(rows, stamp)
        size, size_covariance = tracks.shapes.boxes(rows)
        if turn is not None:
            position, velocity = position @ turn.T, velocity @ turn.T
            size = size @ np.abs(turn).T
            position_covariance, velocity_covariance, size_covariance = (
                turn @ each @ turn.T for each in (position_covariance, velocity_covariance, size_covariance)
            )
        return [
            LocatedObject(
                id=thing.id,
                class_id=thing.class_id,
                class_name=thing.class_name,
                score=thing.score,
                position=position[number],
                position_covariance=position_covariance[number],
                size=size[number],
                size_covariance=size_covariance[number],
                velocity=velocity[number] if fixed else None,
                velocity_covariance=velocity_covariance[number] if fixed else None,
                moving=fixed and bool(tracks.moving[rows[number]]),
                partial=partial,
                points=points.get(thing.id, 0),
                age=int(tracks.age[rows[number]]),
            )
            for number, (thing, partial) in enumerate(self._lately.values())
        ]
