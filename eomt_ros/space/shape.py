"""The sizes of things: what was seen of them from all sides so far, and what others of their class are like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eomt_ros.space.measure import DIRECTIONS, Flags, Floats

Rows = npt.NDArray[np.intp]

_WORTH = 0.1  # of a measured extent's variance is left, however often it is measured: it errs in the same way again
_SAME_ERROR = 1.0  # seconds unseen after which an average begins anew
# m^2 in a second by which extents become uncertain: of what stands, what moves.
_FORGETTING = np.array([0.02, 0.15]) ** 2
_LONGEST = 60.0  # seconds after which no more is forgotten
_SPREAD = 0.3  # of the sizes of a class of which one thing has been seen, as a share
_ROUGH = 0.1  # m, standard deviation of what two things of a class have in common
_STRIDE = 0.8  # seconds over which swinging arms and legs are averaged
_GROUND = 0.03  # m, standard deviation of the ground where all things stand at one height
_UNKNOWN = 1e6


@dataclass(eq=False)
class Shapes:
    """What is known of N things. Metres; variances in m^2, large where nothing is known."""

    width: Floats
    """(N, 8) in `DIRECTIONS`."""
    width_variance: Floats
    height: Floats
    """(N,)"""
    height_variance: Floats
    offset: Floats
    """(N, 2) along and across the ray from the middle of what is seen to the centre, averaged."""
    averaged: Floats
    """(N,) frames in that average."""
    foot: Floats
    """(N,) the height of its lower edge in the target frame, NaN where it was not seen."""

    @classmethod
    def unknown(cls, count: int) -> Shapes:
        """Of things that have not been seen."""
        width, height = np.zeros((count, len(DIRECTIONS))), np.zeros(count)
        variances = np.full_like(width, _UNKNOWN), np.full(count, _UNKNOWN)
        return cls(width, variances[0], height, variances[1], np.zeros((count, 2)), np.zeros(count), height * np.nan)

    def take(self, rows: Rows) -> Shapes:
        """A copy of some."""
        return Shapes(*(each[rows] for each in vars(self).values()))

    def put(self, rows: Rows, shapes: Shapes) -> None:
        """Replace some."""
        for name, values in vars(shapes).items():
            getattr(self, name)[rows] = values

    def with_more(self, more: Shapes) -> Shapes:
        """These, and then others."""
        return Shapes(*(np.concatenate(pair) for pair in zip(vars(self).values(), vars(more).values(), strict=True)))

    def expected(self, class_ids: Rows, wanted: Rows) -> Shapes:
        """What things of the classes `wanted` (M,) are like, if they are like these, which are of `class_ids` (N,)."""
        found = Shapes.unknown(len(wanted))
        for number, class_id in enumerate(wanted):
            same = class_ids == class_id
            if same.any():
                width, variance = self.width[same].mean(axis=1), self.width_variance[same].mean(axis=1)
                found.width[number], found.width_variance[number] = _typical(width, variance)
                found.height[number], found.height_variance[number] = _typical(
                    self.height[same], self.height_variance[same]
                )
        return found

    def ground(self) -> tuple[float, float]:
        """The height of what things stand on, and its variance; most of them stand on the same."""
        known = self.foot[np.isfinite(self.foot)]
        if not len(known):
            return 0.0, _UNKNOWN
        height = float(np.quantile(known, 0.3))
        return height, _GROUND**2 + (float(np.mean((known - height) ** 2)) + _SPREAD**2 / len(known) ** 2)

    def boxes(self, rows: Rows) -> tuple[Floats, Floats]:
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

    def forget(self, moving: Flags, passed: Floats) -> None:
        """Extents become uncertain, as things turn, and people stretch."""
        forgotten = _FORGETTING[moving.astype(int)] * np.minimum(passed, _LONGEST)
        self.width_variance += forgotten[:, None]
        self.height_variance += forgotten

    def learn_widths(self, width: Floats, variance: Floats, least: Floats) -> None:
        """Take widths (N, 8) that are at least `least`."""
        _learn(self.width, self.width_variance, width, variance)
        np.maximum(self.width, least, out=self.width)

    def learn_heights(self, height: Floats, variance: Floats, least: Floats) -> None:
        """Take heights (N,) that are at least `least`."""
        _learn(self.height, self.height_variance, height, variance)
        np.maximum(self.height, least, out=self.height)

    def learn_offsets(self, offset: Floats, usual: Flags, passed: Floats) -> None:
        """Take offsets (N, 2); what is not `usual` begins a new average."""
        frames = np.where(usual & (passed < _SAME_ERROR), self.averaged, 0.0)
        share = np.maximum(1 / (frames + 1), np.minimum(passed / _STRIDE, 1.0))
        self.offset += share[:, None] * (offset - self.offset)
        self.averaged[:] = np.where(usual, frames + 1, 0.0)


def _learn(known: Floats, known_variance: Floats, found: Floats, variance: Floats) -> None:
    """Take what is found, but not more than a few times, see `_WORTH`."""
    share = known_variance / (known_variance + variance)
    known += share * (found - known)
    known_variance[:] = np.maximum(known_variance * (1 - share), np.minimum(known_variance, _WORTH * variance))


def _typical(values: Floats, variances: Floats) -> tuple[float, float]:
    weight = 1 / (variances + _ROUGH**2)
    mean = float(np.average(values, weights=weight))
    spread = float(np.average((values - mean) ** 2, weights=weight))
    return mean, spread + (_SPREAD * mean) ** 2 / len(values) + 1 / float(weight.sum())
