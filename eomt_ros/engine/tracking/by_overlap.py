"""Lasting ids for networks that carry nothing from frame to frame: by where things are, not by their slot.

EoMT and Mask2Former segment every frame by itself, so a query says nothing about which object it shows. What stays is
the place. The rule, for things, once per frame, in place of the first one in `eomt_ros.engine.tracking.tracker`:

1. **Continuation.** The segments and the tracks seen in the frame before are paired so that the sum of their scores is
   the highest (assignment). A pair's score is the overlap of the two masks (IoU) plus `NEARNESS` times how near the
   centres of the boxes are: 1 in the same place, 0 a diagonal of the larger box away, from where on no pair is
   possible. Of another class, the masks must overlap by `SAME_PLACE`: a class that flickers on a thing that stays is no
   new thing. Where places in space are known, neither is a pair possible that lies too far apart in them.

Doubt, hand-over (here: of a track that was hidden for a while to a segment in its place), birth and absence are the
same. It is less than a network that follows objects can do: two things of a class that cross may exchange their ids.

Fused stuff keeps one id per class for the whole epoch; stuff that is not fused is followed like things.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from eomt_ros.engine.tracking.tracker import SAME_PLACE, Identities, Observation, Track

NEARNESS = 0.3
"""Weight of nearness beside overlap."""
PIXELS = 1 << 16
"""Pixels that are compared, evenly spread: enough for an overlap, and a millisecond at any size."""


class OverlapIdentities(Identities):
    """The ids of one stream, by place."""

    def _forget(self) -> None:
        super()._forget()
        self._index = np.zeros((0, 0), np.uint8)
        """The pixels of the last frame that are compared: i + 1 where segment i is seen."""

    def _continue(
        self,
        observations: Sequence[Observation],
        tracks: list[Track | None],
        width: int,
        segment_index: np.ndarray | None,
    ) -> None:
        """Rule 1."""
        assert segment_index is not None
        step = max(1, math.isqrt(segment_index.size // PIXELS))
        index_before, self._index = self._index, segment_index[::step, ::step].copy()
        seen = [index for index, each in enumerate(observations) if each.is_thing]
        before = [track for track in self._things if track.last_seen == self._before]
        if not seen or not before or index_before.shape != self._index.shape:
            return  # after a change of the image's size rule 3 has the boxes
        ids_before = np.array([0, *(name.id for name in self._named)], np.int64)[index_before]
        shared = _mask_overlaps(self._index, seen, ids_before, before)
        things = [observations[index] for index in seen]
        scores = _scores(things, before, shared)
        scores[self._apart(things, before)] = 0
        for row, column in zip(*linear_sum_assignment(scores, maximize=True), strict=True):
            if scores[row, column] > 0:
                tracks[seen[row]] = before[column]


def _mask_overlaps(
    index: np.ndarray, seen: Sequence[int], ids_before: np.ndarray, before: Sequence[Track]
) -> np.ndarray:
    """IoU of each segment's mask with each track's in the frame before, whose pixels have the ids `ids_before`."""
    column_of = np.zeros(max(int(ids_before.max()), max(track.id for track in before)) + 1, np.int64)
    column_of[[track.id for track in before]] = np.arange(1, len(before) + 1)
    row_of = np.zeros(max(int(index.max()), max(seen) + 1) + 1, np.int64)
    row_of[np.array(seen) + 1] = np.arange(1, len(seen) + 1)
    pairs = row_of[index] * (len(before) + 1) + column_of[ids_before]
    shared = np.bincount(pairs.ravel(), minlength=(len(seen) + 1) * (len(before) + 1))
    shared = shared.reshape(len(seen) + 1, len(before) + 1).astype(float)
    both = shared[1:, 1:]
    union = shared[1:].sum(1, keepdims=True) + shared[:, 1:].sum(0, keepdims=True) - both
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)


def _scores(seen: Sequence[Observation], tracks: Sequence[Track], shared: np.ndarray) -> np.ndarray:
    """The score of each segment as the continuation of each track, (segments, tracks); 0 where it cannot be.

    shared: IoU of their masks.
    """
    boxes, before = (np.array([each.box for each in some], np.float64) for some in (seen, tracks))
    reach = np.maximum.outer(*(np.hypot(*some[:, 2:].T) for some in (boxes, before)))
    apart = (boxes[:, :2] + boxes[:, 2:] / 2)[:, None] - (before[:, :2] + before[:, 2:] / 2)
    nearness = 1 - np.linalg.norm(apart, axis=2) / reach
    is_same = np.equal.outer([each.class_id for each in seen], [each.class_id for each in tracks])
    possible = np.where(is_same, nearness > 0, shared >= SAME_PLACE)
    return np.where(possible, shared + NEARNESS * nearness * is_same, 0)
