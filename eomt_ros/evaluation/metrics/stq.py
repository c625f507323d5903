"""Segmentation and tracking quality (Weber et al., STEP: Segmenting and Tracking Every Pixel, 2021).

STQ is the geometric mean of SQ, the mean IoU of classes, and AQ, the association quality of things: of each true tube
g (all pixels of a thing in a sequence) and every predicted tube p that shares pixels with it,

    AQ = mean over g of (1 / |g|) * sum over p of |p and g| * IoU(p, g)

with the mean taken over the tubes of all sequences.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from eomt_ros.evaluation.metrics.overlap import Flags, Key, Overlap, Segments
from eomt_ros.evaluation.metrics.semantic import Confusion


class Association:
    """The tubes of things of one sequence; keeps a few numbers per id, however long the sequence is.

    paper_compatible: as the published script, which drops each video's first thing, and counts as part of a predicted
    tube what lies on unlabelled pixels.
    """

    def __init__(self, classes: int, *, paper_compatible: bool = False) -> None:
        self._classes = classes
        self._paper_compatible = paper_compatible
        self._truth: Counter[Key] = Counter()
        self._prediction: Counter[Key] = Counter()
        self._common: Counter[tuple[Key, Key]] = Counter()
        self._dropped: Key | None = None

    def update(self, overlap: Overlap) -> None:
        """Counts one frame."""
        truth, prediction = overlap.truth, overlap.prediction
        tubes, counted = self._tubes(truth)
        sizes = overlap.counts.sum(axis=1)
        for row in np.flatnonzero(tubes).tolist():
            self._truth[truth.keys[row]] += int(sizes[row])
        sizes = overlap.counts[counted].sum(axis=0)
        for column in np.flatnonzero(prediction.are_things & (sizes > 0)).tolist():
            self._prediction[prediction.keys[column]] += int(sizes[column])
        common = overlap.counts * (tubes[:, None] & prediction.are_things[None, :])
        for row, column in np.argwhere(common).tolist():
            self._common[truth.keys[row], prediction.keys[column]] += int(common[row, column])

    def total(self) -> tuple[float, int]:
        """The sum over the true tubes so far, and how many there are."""
        total = 0.0
        for (true, predicted), common in self._common.items():
            union = self._truth[true] + self._prediction[predicted] - common
            total += common * common / union / self._truth[true]
        return total, len(self._truth)

    def _tubes(self, truth: Segments) -> tuple[Flags, Flags]:
        """Which true segments are tubes, and on which ones the size of predicted tubes is counted."""
        if not self._paper_compatible:
            return truth.are_things, truth.are_segments
        # The script numbers segments from 0, and takes a thing of number 0 for things that nobody told apart, on which
        # predictions are not counted.
        if self._dropped is None and truth.are_things.any():
            self._dropped = min(key for key, thing in zip(truth.keys, truth.are_things, strict=True) if thing)
        kept = np.array([key != self._dropped for key in truth.keys])
        return truth.are_things & kept, (truth.are_segments & kept) | (truth.classes == self._classes)


def published_sq(confusion: Confusion) -> float | None:
    """SQ as the published script has it: unlabelled and what the ground truth lacks are classes too, if predicted."""
    counts = np.vstack([confusion.counts, np.zeros(confusion.counts.shape[1], np.int64)])
    hits = np.diagonal(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    return float((hits[union > 0] / union[union > 0]).mean()) if union.any() else None


def stq(sq: float | None, aq: float | None) -> float | None:
    """The geometric mean; None where either is not known."""
    return None if sq is None or aq is None else math.sqrt(sq * aq)
