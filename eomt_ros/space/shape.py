"""The size of things, also where they are hidden: what was seen of them from all sides so far, and what is likely.

A thing is taken to be as symmetric as its two edges across the ray are: what is behind mirrors what is in front.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eomt_ros.space.measure import DIRECTIONS, Floats, Sight, depth_noise

_LIKELY_DEPTH = 0.3  # standard deviation of a hidden extent, as a share of the likely one
_SAME_ERROR = 1.0  # seconds for which a measurement errs in the same way
_FORGETTING = (
    0.02  # metres in a second by which the size of a thing that stands becomes uncertain; people change theirs
)
_FORGETTING_MOVING = 0.15
_CUT, _SMALL = 0.5, 0.4  # of what is cut, the standard deviation of the extent as a share, for extents from here on, m
_SPREAD = 0.3  # of the sizes of things of a class of which one has been seen, as a share
_UNKNOWN = 1e6


@dataclass(eq=False)
class Shapes:
    """The widths in `DIRECTIONS` (N, 8) and the heights (N,) of N things, in metres, with their variances."""

    width: Floats
    width_variance: Floats
    height: Floats
    height_variance: Floats

    @classmethod
    def unknown(cls, count: int) -> Shapes:
        """Of things that have not been seen."""
        many = (count, len(DIRECTIONS))
        return cls(np.zeros(many), np.full(many, _UNKNOWN), np.zeros(count), np.full(count, _UNKNOWN))

    def take(self, rows: npt.NDArray[np.intp]) -> Shapes:
        """A copy of some."""
        return Shapes(*(each[rows] for each in vars(self).values()))

    def put(self, rows: npt.NDArray[np.intp], shapes: Shapes) -> None:
        """Replace some."""
        for name, values in vars(shapes).items():
            getattr(self, name)[rows] = values

    def with_more(self, more: Shapes) -> Shapes:
        """These, and then others."""
        return Shapes(*(np.concatenate(pair) for pair in zip(vars(self).values(), vars(more).values(), strict=True)))

    def expected(self, class_ids: npt.NDArray[np.intp], wanted: npt.NDArray[np.intp]) -> Shapes:
        """What is to be expected of things of the classes `wanted` (M,), from these, of `class_ids` (N,)."""
        found = Shapes.unknown(len(wanted))
        for number, class_id in enumerate(wanted):
            same = class_ids == class_id
            if same.any():
                width, variance = _typical(self.width[same].mean(axis=1), self.width_variance[same].mean(axis=1))
                found.width[number], found.width_variance[number] = width, variance
                found.height[number], found.height_variance[number] = _typical(
                    self.height[same], self.height_variance[same]
                )
        return found

    def boxes(self, rows: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Edges (N, 3) of the boxes of some, along x, y and z, and their covariances (N, 3, 3)."""
        size = np.column_stack([self.width[rows][:, [0, 4]], self.height[rows]])
        variance = np.column_stack([self.width_variance[rows][:, [0, 4]], self.height_variance[rows]])
        return size, variance[..., None] * np.eye(3)

    def towards(self, direction: Floats) -> tuple[Floats, Floats]:
        """Widths (N,) in a horizontal direction (N, 2) of each, and their variances."""
        count = len(DIRECTIONS)
        place = np.arctan2(direction[:, 1], direction[:, 0]) % np.pi / np.pi * count
        before = np.floor(place).astype(np.intp)
        share = place - before
        row, first, second = np.arange(len(place)), before % count, (before + 1) % count

        def between(values: Floats) -> Floats:
            return (1 - share) * values[row, first] + share * values[row, second]

        return between(self.width), between(self.width_variance)


@dataclass(frozen=True, eq=False)
class Placed:
    """The centres of N things: `centre (N, 3)` m.

    Their covariances are the sum of `noise (N, 3, 3)` m^2, which differs from frame to frame, and `bias (N, 3, 3)` m^2,
    which stays, as long as the same part of the thing is hidden.
    """

    centre: Floats
    noise: Floats
    bias: Floats


def placed(seen: Sight, origin: Floats, shapes: Shapes, moving: npt.NDArray[np.bool_], passed: Floats) -> Placed:
    """Where the things' centres are; `shapes`, those of these things, learn from what is seen.

    origin: (3,) the camera. moving: (N,). passed: (N,) seconds since each was seen before.
    """
    noise, edge = depth_noise(seen.distance), 0.7 * seen.pixel + 0.01
    likely, likely_variance = _likely_depth(seen, noise)
    right = np.stack([seen.ray[:, 1], -seen.ray[:, 0]], axis=1)
    cut = seen.cut

    passed = np.minimum(passed, 60.0)
    forgot = np.where(moving, _FORGETTING_MOVING, _FORGETTING) ** 2 * passed
    shapes.width_variance += forgot[:, None]
    shapes.height_variance += forgot

    # The widths as this frame alone has them.
    across = seen.across[:, 1] - seen.across[:, 0]
    middle = seen.across.mean(axis=1)
    along = seen.near + likely / 2
    centre = seen.ray * along[:, None] + right * middle[:, None]
    centred = centre @ DIRECTIONS.T
    width = 2 * np.maximum(seen.high - centred, centred - seen.low)
    facing = (seen.ray @ DIRECTIONS.T) ** 2
    cut_across = cut[:, :2].any(axis=1)
    across_variance = edge**2 + np.where(cut_across, (_CUT * np.maximum(across, _SMALL)) ** 2, 0.0)
    variance = across_variance[:, None] * (1 - facing) + (likely_variance + noise**2)[:, None] * facing
    _learn(shapes.width, shapes.width_variance, width, variance, passed[:, None])
    np.maximum(shapes.width, seen.high - seen.low - 2 * noise[:, None], out=shapes.width)
    height = seen.up[:, 1] - seen.up[:, 0]
    cut_up = cut[:, 2:].any(axis=1)
    height_variance = edge**2 + np.where(cut_up, (_CUT * np.maximum(height, _SMALL)) ** 2, 0.0)
    _learn(shapes.height, shapes.height_variance, height, height_variance, passed)
    np.maximum(shapes.height, height - 2 * edge, out=shapes.height)

    # The centre, with all that is known of the thing.
    known_depth, depth_variance = shapes.towards(seen.ray)
    known_across, width_variance = shapes.towards(right)
    along = seen.near + known_depth / 2
    middle, middle_variance = _middle(seen.across, cut[:, :2], known_across, width_variance, edge)
    upright, upright_variance = _middle(seen.up, cut[:, 2:], shapes.height, shapes.height_variance, edge)
    centre = np.column_stack([seen.ray * along[:, None] + right * middle[:, None], upright])
    axes = np.zeros((len(centre), 3, 3))
    axes[:, :2, 0], axes[:, :2, 1], axes[:, 2, 2] = seen.ray, right, 1.0
    unsteady = np.stack(
        [noise**2, edge**2 * np.where(cut_across, 4.0, 1.0), edge**2 * np.where(cut_up, 4.0, 1.0)], axis=1
    )
    steady = np.stack([depth_variance / 4, middle_variance, upright_variance], axis=1)
    return Placed(centre + origin, *(np.einsum("nij,nj,nkj->nik", axes, each, axes) for each in (unsteady, steady)))


def _likely_depth(seen: Sight, noise: Floats) -> tuple[Floats, Floats]:
    """A thing's extent along the ray and its variance: as wide as it is across, unless its far end is seen."""
    across, height = seen.across[:, 1] - seen.across[:, 0], seen.up[:, 1] - seen.up[:, 0]
    cut = seen.cut.any(axis=1)
    guess = np.where(cut, np.maximum(across, np.minimum(height, _SMALL)), np.minimum(across, 1.5 * height))
    variance = (np.where(cut, _CUT, _LIKELY_DEPTH) * guess) ** 2
    # A row of pixels on a top that is seen flat covers much of it.
    row = seen.pixel * seen.distance / np.maximum(-seen.up[:, 1], 0.02)
    far = seen.depth + row
    far_variance = np.where(seen.flat_top & ~seen.cut[:, 3], (0.7 * row) ** 2 + noise**2, _UNKNOWN)
    total = 1 / variance + 1 / far_variance
    depth = (guess / variance + far / far_variance) / total
    return np.maximum(depth, seen.depth - 2 * noise), 1 / total


def _learn(known: Floats, known_variance: Floats, found: Floats, variance: Floats, passed: Floats) -> None:
    """Take what is found; frame for frame it errs in the same way, so that it is not worth much more than once."""
    share = known_variance / (known_variance + variance)
    best = np.minimum(known_variance, variance) * (1 - np.minimum(passed / _SAME_ERROR, 0.5))
    known += share * (found - known)
    known_variance[:] = np.maximum(known_variance * (1 - share), best)


def _typical(values: Floats, variances: Floats) -> tuple[float, float]:
    weight = 1 / (variances + 0.1**2)
    mean = float(np.average(values, weights=weight))
    spread = float(np.average((values - mean) ** 2, weights=weight))
    return mean, spread + (_SPREAD * mean) ** 2 / len(values) + 1 / float(weight.sum())


def _middle(
    edges: Floats, cut: npt.NDArray[np.bool_], extent: Floats, extent_variance: Floats, edge: Floats
) -> tuple[Floats, Floats]:
    """The middle of two edges (N, 2), and its variance: where one is cut, from the other and the known extent."""
    seen = edges[:, 1] - edges[:, 0]
    half = np.maximum(extent, seen) / 2
    one, both = cut.any(axis=1), cut.all(axis=1)
    found = edges.mean(axis=1)
    found = np.where(cut[:, 0] & ~both, edges[:, 1] - half, found)
    found = np.where(cut[:, 1] & ~both, edges[:, 0] + half, found)
    variance = edge**2 / 4 + np.where(one, extent_variance / 4, 0.0) + np.where(both, (0.5 * half) ** 2, 0.0)
    return found, variance
