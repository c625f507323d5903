"""Segmentation and tracking quality (Weber et al., STEP: Segmenting and Tracking Every Pixel, 2021).

STQ is the geometric mean of SQ, the mean IoU of classes, and AQ, the association quality of things: of each true tube
g (all pixels of a thing in a sequence) and every predicted tube p that shares pixels with it,

    AQ = mean over g of (1 / |g|) * sum over p of |p and g| * IoU(p, g)

with the mean taken over the tubes of all sequences. What is unlabelled, and things that nobody told apart, belong to no
tube. `Convention` names the other ways in which it is counted.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.exact import ONE, exact
from eomt_ros.evaluation.metrics.overlap import Flags, Key, Overlap, Segments
from eomt_ros.evaluation.metrics.semantic import Confusion


@dataclass
class AssociationCounts:
    """The true tubes of any number of sequences."""

    quality: int = 0
    """Summed over them, in parts of `ONE`."""
    tubes: int = 0

    def add(self, other: AssociationCounts) -> None:
        """Adds the tubes of another count."""
        self.quality += other.quality
        self.tubes += other.tubes

    @property
    def aq(self) -> float | None:
        """AQ; None where there is no thing."""
        return self.quality / ONE / self.tubes if self.tubes else None


class Association:
    """The tubes of things of one sequence; keeps a few numbers per id, however long the sequence is."""

    def __init__(self, convention: Convention = Convention.STANDARD) -> None:
        self._convention = convention
        self._truth: Counter[Key] = Counter()
        self._prediction: Counter[Key] = Counter()
        self._common: Counter[tuple[Key, Key]] = Counter()
        self._first: Key | None = None

    def update(self, overlap: Overlap, listed_first: tuple[int, int] | None = None) -> None:
        """Counts one frame; listed_first: see `Truth`."""
        truth, prediction = overlap.truth, overlap.prediction
        tubes, counted = self._tubes(truth, listed_first)
        sizes = overlap.counts.sum(axis=1)
        for row in np.flatnonzero(tubes).tolist():
            self._truth[truth.keys[row]] += int(sizes[row])
        sizes = overlap.counts[counted].sum(axis=0)
        predicted = self._predicted_tubes(prediction)
        for column in np.flatnonzero(predicted & (sizes > 0)).tolist():
            self._prediction[prediction.keys[column]] += int(sizes[column])
        common = overlap.counts * (tubes[:, None] & predicted[None, :])
        for row, column in np.argwhere(common).tolist():
            self._common[truth.keys[row], prediction.keys[column]] += int(common[row, column])

    def counts(self) -> AssociationCounts:
        """The true tubes so far."""
        quality = 0
        for (true, predicted), common in self._common.items():
            union = self._truth[true] + self._prediction[predicted] - common
            quality += exact(common * common / union / self._truth[true])
        return AssociationCounts(quality, len(self._truth))

    def _tubes(self, truth: Segments, listed_first: tuple[int, int] | None) -> tuple[Flags, Flags]:
        """True for the true segments that are tubes; True for those on which the size of predicted tubes is counted."""
        if self._convention is Convention.STANDARD:
            return truth.are_things, truth.are_segments
        tubes, counted = truth.are_things, truth.are_segments | truth.are_unlabelled
        if self._convention is Convention.STQ:
            return tubes, counted
        # The script numbers a video's segments from 0 as they are listed, and a thing of number 0 is a crowd to it.
        if self._first is None:
            self._first = _first(truth) if listed_first is None else Key(listed_first[0], 0, listed_first[1])
        kept = np.array([key != self._first for key in truth.keys]) | ~truth.are_things
        return tubes & kept, counted & kept

    def _predicted_tubes(self, prediction: Segments) -> Flags:
        if self._convention is not Convention.STQ:
            return prediction.are_things
        # Predicted pixels of a thing without an id are one thing to STQ's authors, of id 0.
        return prediction.are_things | ~(prediction.are_segments | prediction.are_unlabelled)


def _first(truth: Segments) -> Key | None:
    """The segment that is listed first where there is no list: VIPSeg's converter names stuff before things."""
    segments = [key for key, is_segment in zip(truth.keys, truth.are_segments, strict=True) if is_segment]
    return min(segments, key=lambda key: (key.id > 0, key), default=None)


def authors_sq(confusion: Confusion) -> float | None:
    """SQ as STQ's authors count it: unlabelled and what the ground truth lacks are classes too, if predicted."""
    counts = np.vstack([confusion.counts, np.zeros(confusion.counts.shape[1], np.int64)])
    hits = np.diagonal(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    return float((hits[union > 0] / union[union > 0]).mean()) if union.any() else None


def stq(sq: float | None, aq: float | None) -> float | None:
    """The geometric mean; None where either is not known."""
    return None if sq is None or aq is None else math.sqrt(sq * aq)
