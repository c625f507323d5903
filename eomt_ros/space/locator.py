"""The things of one camera in metres, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from eomt_ros.space.cloud import organised
from eomt_ros.space.measure import measure
from eomt_ros.space.pinhole import Pinhole
from eomt_ros.space.pose import Pose

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


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
    position: Vector
    """(3,) m, the centre of the smallest box along the frame's axes around the whole thing, also what is hidden."""
    position_covariance: Matrix
    """(3, 3) m^2."""
    size: Vector
    """(3,) m, the edges of that box."""
    size_covariance: Matrix
    """(3, 3) m^2."""
    velocity: Vector | None
    """(3,) m/s of the position; None where the target frame moves or turns with the camera."""
    velocity_covariance: Matrix | None
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
        self._ages: dict[int, int] = {}

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
        camera's optical frame in the target frame at the image's stamp, None where they are the same. stamp: the
        image's, in seconds. fixed: the target frame stands still in the world, its z up, so that a velocity means
        something. A new epoch, or a stamp that goes back, forgets everything.
        """
        if result.epoch != self._epoch:
            self._epoch, self._ages = result.epoch, {}
        points = organised(depth, pinhole)
        found = []
        for segment in result.segments:
            if not segment.is_thing:
                continue
            seen = measure(result.panoptic == segment.id, points, pose or Pose(np.eye(3), np.zeros(3)), segment.box)
            if seen is None:
                continue
            age = self._ages[segment.id] = self._ages.get(segment.id, -1) + 1
            variance = np.diag(seen.low_variance + seen.high_variance)
            found.append(
                LocatedObject(
                    segment.id,
                    segment.class_id,
                    segment.class_name,
                    segment.score,
                    (seen.low + seen.high) / 2,
                    variance / 4,
                    seen.high - seen.low,
                    variance,
                    np.zeros(3) if fixed else None,
                    np.eye(3) if fixed else None,
                    False,
                    seen.partial,
                    seen.points,
                    age,
                )
            )
        return found
