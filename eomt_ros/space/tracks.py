"""Tracks of things in metres: position and velocity by Kalman filters, all things at once.

1. A thing either stands or moves. Each track has a filter for both: one of a position, and one of a position and a
   velocity that changes at random (constant velocity with white noise as acceleration; Bar-Shalom, Li, Kirubarajan,
   "Estimation with Applications to Tracking and Navigation", 2001, 6.2.2).
2. In every frame each filter says how likely the measured position was. The difference of the logarithms is summed
   up: much of it for the one says that the thing moves, some for the other that it stands.
3. A measured position has an error that differs from frame to frame, which the filters take, and one that stays the
   same for long, because a part of the thing is hidden. Where less is hidden than before, the position may jump by the
   difference, and where more is, the measurement may be wrong by it: neither says that the thing moves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eomt_ros.space.measure import Floats
from eomt_ros.space.place import Placed
from eomt_ros.space.shape import Rows, Shapes

GAP = 1.0
"""Seconds for which a thing that is not seen is predicted; after more its motion is forgotten, not its size."""

_AGILITY = np.array([0.6, 0.6, 0.1]) ** 2  # (m/s)^2 in a second by which the velocity of what moves changes
_FIRST_VELOCITY = np.array([1.5, 1.5, 0.3]) ** 2  # (m/s)^2, variance of the velocity of what has just been seen
_SAME_NOISE = 0.3  # seconds for which the error that differs from frame to frame still is the same
_CREEP = 0.02**2  # m^2 in a second by which the place of a standing thing becomes uncertain
# m^2 in a second, the same of the error that stays: of what stands, what moves.
_BIAS_CREEP = np.array([0.05, 0.2]) ** 2
_MOVES, _STOPS = 3.0, -1.0  # sum of evidence from which on a standing thing moves, and a moving one stands
_MOST_EVIDENCE = np.array([2.0, 5.0])  # of a frame, and of all
_SLOWEST = 0.1  # m/s; nothing slower is said to move
_OUTLIER = 16.0  # squared Mahalanobis distance from which on a frame is no more surprising
_ANYWHERE = 1e6
_OTHER = 0.2  # m, besides what is uncertain, from the known edge of a thing to what can no more be a part of it
_WALK = 2.5  # m/s, with which a moving thing may have gone on while it was not seen


class Tracks:
    """Tracks of things, each with a row in arrays of N rows; a row is never given back."""

    def __init__(self) -> None:
        self._row: dict[int, int] = {}
        self.stamp = np.zeros(0)
        """(N,) seconds, of the last frame with the thing; -inf before the first."""
        self.class_id = np.zeros(0, np.intp)
        self.age = np.zeros(0, np.intp)
        self.shapes = Shapes.unknown(0)
        self.moving = np.zeros(0, bool)
        self._evidence = np.zeros(0)  # of moving
        self._bias = np.zeros((0, 3))  # m^2, variance of the error that stays
        self._stand = np.zeros((0, 3))
        self._stand_covariance = np.zeros((0, 3, 3))
        self._state = np.zeros((0, 6))  # position, velocity
        self._covariance = np.zeros((0, 6, 6))

    def rows(self, ids: Sequence[int], class_ids: Sequence[int]) -> Rows:
        """The rows of the ids, new ones for ids that have none."""
        new = [place for place, each in enumerate(ids) if each not in self._row]
        if new:
            before = len(self.stamp)
            self._row.update((ids[place], before + number) for number, place in enumerate(new))
            fresh = np.array([class_ids[place] for place in new], np.intp)
            self.shapes = self.shapes.with_more(self.shapes.expected(self.class_id, fresh))
            for name, values in vars(self).items():
                if isinstance(values, np.ndarray):
                    more = np.zeros((len(new), *values.shape[1:]), values.dtype)
                    setattr(self, name, np.concatenate([values, more]))
            self.stamp[before:], self.class_id[before:], self.age[before:] = -np.inf, fresh, -1
        return np.array([self._row[each] for each in ids], np.intp)

    def rows_at(self, ids: Sequence[int], class_ids: Sequence[int], stamp: float, surface: Floats) -> Rows:
        """The rows of the ids, new ones also for ids that are given to another thing now.

        surface: (N, 2) m, the middle of what is seen of each, horizontally.
        """
        rows = self.rows(ids, class_ids)
        passed = stamp - self.stamp[rows]
        known = np.isfinite(passed)
        place, covariance, _, _ = self.at(rows[known], stamp)
        way = surface[known] - place[:, :2]
        distance = np.linalg.norm(way, axis=1)
        extent, _ = self.shapes.take(rows[known]).towards(way / np.maximum(distance, 1e-9)[:, None])
        likely = 2 * np.sqrt(np.trace(covariance[:, :2, :2], axis1=1, axis2=2))
        likely += np.where(self.moving[rows[known]], _WALK * passed[known], 0.0)
        another = np.flatnonzero(known)[distance > extent / 2 + likely + _OTHER]
        for number in another:
            del self._row[ids[number]]
        return self.rows(ids, class_ids) if len(another) else rows

    def update(self, rows: Rows, stamp: float, seen: Placed) -> None:
        """Take the places of things that are seen at `stamp`."""
        passed = stamp - self.stamp[rows]
        begins = ~(passed < GAP)
        passed = np.where(begins, _SAME_NOISE, np.maximum(passed, 1e-3))
        bias, before = np.einsum("nii->ni", seen.bias), self._bias[rows]
        before[begins] = bias[begins]
        creep = _BIAS_CREEP[self.moving[rows].astype(int)] * passed
        self._bias[rows] = np.minimum(bias, before + creep[:, None])
        noise = seen.noise * np.maximum(_SAME_NOISE / passed, 1.0)[:, None, None]
        noise += _diagonal(np.maximum(bias - before, 0.0))
        revealed = _diagonal(np.maximum(before - bias, 0.0))

        state, covariance = self._predicted(rows, passed)
        covariance[:, :3, :3] += revealed
        state[begins] = 0.0
        covariance[begins] = np.diag(np.concatenate([np.full(3, _ANYWHERE), _FIRST_VELOCITY]))
        self._state[rows], self._covariance[rows], moves = _filtered(state, covariance, seen.centre, noise)

        stand, covariance = self._stand[rows], self._stand_covariance[rows] + revealed
        covariance += _diagonal(np.repeat(_CREEP * passed[:, None], 3, axis=1))
        covariance[begins] = _ANYWHERE * np.eye(3)
        self._stand[rows], self._stand_covariance[rows], stands = _filtered(stand, covariance, seen.centre, noise)

        self._judge(rows, np.where(begins, 0.0, stands - moves))
        self.stamp[rows] = stamp
        self.age[rows] += 1

    def at(self, rows: Rows, stamp: float) -> tuple[Floats, Floats, Floats, Floats]:
        """Positions (N, 3), their covariances, velocities (N, 3) and theirs, predicted to `stamp`.

        The velocity of what stands is 0.
        """
        moving = self.moving[rows]
        state, covariance = self._predicted(rows, stamp - self.stamp[rows])
        position = np.where(moving[:, None], state[:, :3], self._stand[rows])
        spread = np.where(moving[:, None, None], covariance[:, :3, :3], self._stand_covariance[rows])
        velocity = np.where(moving[:, None], state[:, 3:], 0.0)
        return position, spread + _diagonal(self._bias[rows]), velocity, covariance[:, 3:, 3:]

    def _predicted(self, rows: Rows, passed: Floats) -> tuple[Floats, Floats]:
        """States (N, 6) and covariances (N, 6, 6) of what moves, `passed` (N,) seconds later."""
        step = np.repeat(np.eye(6)[None], len(rows), axis=0)
        noise = np.zeros((len(rows), 6, 6))
        for axis in range(3):
            step[:, axis, axis + 3] = passed
            noise[:, axis, axis] = _AGILITY[axis] * passed**3 / 3
            noise[:, axis, axis + 3] = noise[:, axis + 3, axis] = _AGILITY[axis] * passed**2 / 2
            noise[:, axis + 3, axis + 3] = _AGILITY[axis] * passed
        state = np.einsum("nij,nj->ni", step, self._state[rows])
        return state, step @ self._covariance[rows] @ step.transpose(0, 2, 1) + noise

    def _judge(self, rows: Rows, evidence: Floats) -> None:
        most, most_of_all = _MOST_EVIDENCE
        total = np.clip(self._evidence[rows] + np.clip(evidence, -most, most), -most_of_all, most_of_all)
        fast = np.linalg.norm(self._state[rows, 3:5], axis=1) > _SLOWEST
        self.moving[rows] = fast & np.where(self.moving[rows], total > _STOPS, total > _MOVES)
        self._evidence[rows] = total


def _filtered(state: Floats, covariance: Floats, position: Floats, noise: Floats) -> tuple[Floats, Floats, Floats]:
    """States and covariances with measured positions (N, 3), and minus the log likelihood of these, horizontally."""
    moved, spread = position - state[:, :3], covariance[:, :3, :3] + noise
    gain = covariance[:, :, :3] @ np.linalg.inv(spread)
    flat, flat_spread = moved[:, :2], spread[:, :2, :2]
    distance = np.einsum("ni,nij,nj->n", flat, np.linalg.inv(flat_spread), flat)
    surprise = 0.5 * (np.minimum(distance, _OUTLIER) + np.log(np.linalg.det(flat_spread)))
    return state + np.einsum("nij,nj->ni", gain, moved), covariance - gain @ covariance[:, :3], surprise


def _diagonal(values: Floats) -> Floats:
    """(N, 3) -> (N, 3, 3)."""
    return values[..., None] * np.eye(3)
