"""Video panoptic quality (Kim et al., Video Panoptic Segmentation, 2020).

In every window of k consecutive frames of a sequence, the pixels that a segment has in all of them are one tube, and
tubes match as segments of a frame do. What matches is counted per class over all windows of all sequences:

    PQ = sum of the IoU of matched tubes / (matched + half of the predicted alone + half of the true alone)

VPQ at k is the mean over the classes with any count; VPQ is the mean over k. Unlabelled pixels count nowhere, and a
predicted tube that lies mostly on them is no false alarm. As in panopticapi, nor is one that lies mostly on things of
its own class that nobody told apart (a crowd, id 0); for other classes these are pixels like all others. Pixels of no
predicted segment are missed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.exact import ONE, exact
from eomt_ros.evaluation.metrics.overlap import Counts, Flags, Key, Overlap, Segments, matched_iou, spared

VPQ_WINDOWS = (1, 2, 4, 6, 8)
"""Frames per window."""


@dataclass(eq=False)
class TubeCounts:
    """Matched and unmatched tubes, by window length and class."""

    iou: npt.NDArray[np.object_]
    """(windows, classes), summed over matched tubes; as are all here. Python's integers, in parts of `ONE`."""
    matched: Counts
    only_true: Counts
    only_predicted: Counts

    @classmethod
    def empty(cls, classes: int) -> TubeCounts:
        """Makes one without any tubes."""
        shape = len(VPQ_WINDOWS), classes
        return cls(np.zeros(shape, object), *(np.zeros(shape, np.int64) for _ in range(3)))

    def add(self, other: TubeCounts) -> None:
        """Adds the tubes of another count."""
        self.iou += other.iou
        self.matched += other.matched
        self.only_true += other.only_true
        self.only_predicted += other.only_predicted

    def quality(self, classes: Flags | None = None) -> list[float | None]:
        """VPQ by window length; None where nothing was counted.

        classes: (classes,) those to take the mean over; None takes all.
        """
        weights = self.matched + (self.only_true + self.only_predicted) / 2
        counted = weights > 0 if classes is None else (weights > 0) & classes
        by_class = self.iou.astype(float) / ONE / np.where(weights > 0, weights, 1)
        return [mean(row[among].tolist()) for row, among in zip(by_class, counted, strict=True)]

    @property
    def vpq(self) -> float | None:
        """The mean over window lengths; those that no sequence was long enough for are left out."""
        return mean(self.quality())


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


class Tubes:
    """Matches tubes along one sequence; remembers as many frames as the longest window has."""

    def __init__(self, is_thing: Flags) -> None:
        self._is_thing = is_thing
        self._truth: dict[Key, int] = {}
        self._prediction: dict[Key, int] = {}
        # (frames, true, predicted) common pixels, the latest frame first, under the numbers of the segments above.
        self._history: Counts = np.zeros((VPQ_WINDOWS[-1], 0, 0), np.int64)
        self._frames = 0

    def update(self, overlap: Overlap) -> TubeCounts:
        """The counts of the windows that end with this frame, which follows the one before."""
        self._history[1:] = self._history[:-1].copy()
        self._history[0] = 0
        self._number(overlap)
        rows = [self._truth[key] for key in overlap.truth.keys]
        columns = [self._prediction[key] for key in overlap.prediction.keys]
        self._history[0][np.ix_(rows, columns)] = overlap.counts
        self._frames += 1
        complete = [length - 1 for length in VPQ_WINDOWS if length <= self._frames]
        return self._count(np.cumsum(self._history, axis=0)[complete])

    def _number(self, overlap: Overlap) -> None:
        """Gives numbers to new segments, and takes them back from those that have left the windows."""
        in_truth, in_prediction = overlap.truth.keys, overlap.prediction.keys
        if self._truth.keys() >= set(in_truth) and self._prediction.keys() >= set(in_prediction):
            return
        rows = _still_used(self._truth, self._history.sum(axis=(0, 2)))
        columns = _still_used(self._prediction, self._history.sum(axis=(0, 1)))
        kept = self._history[:, list(rows.values())][:, :, list(columns.values())]
        self._truth = _numbered([*rows, *in_truth])
        self._prediction = _numbered([*columns, *in_prediction])
        self._history = np.zeros((VPQ_WINDOWS[-1], len(self._truth), len(self._prediction)), np.int64)
        self._history[:, : len(rows), : len(columns)] = kept

    def _count(self, counts: Counts) -> TubeCounts:
        """counts: (windows, true, predicted) common pixels in each window."""
        truth = Segments.of(list(self._truth), self._is_thing)
        prediction = Segments.of(list(self._prediction), self._is_thing)
        iou = matched_iou(counts, truth, prediction)
        matched = iou.any(axis=-1)
        only_true = truth.are_segments & counts.any(axis=-1) & ~matched
        wrong = prediction.are_segments & counts.any(axis=-2) & ~spared(counts, truth, prediction) & ~iou.any(axis=-2)
        result = TubeCounts.empty(len(self._is_thing))
        windows = slice(len(counts))
        true_class, predicted_class = self._one_hot(truth), self._one_hot(prediction)
        result.iou[windows] = _EXACT(iou.sum(axis=-1) @ true_class)
        result.matched[windows] = matched @ true_class
        result.only_true[windows] = only_true @ true_class
        result.only_predicted[windows] = wrong @ predicted_class
        return result

    def _one_hot(self, segments: Segments) -> npt.NDArray[np.float64]:
        """(segments, classes)"""
        return (segments.classes[:, None] == np.arange(len(self._is_thing))).astype(float)


_EXACT = np.frompyfunc(exact, 1, 1)


def _still_used(numbers: dict[Key, int], pixels: Counts) -> dict[Key, int]:
    return {key: number for key, number in numbers.items() if pixels[number]}


def _numbered(keys: Iterable[Key]) -> dict[Key, int]:
    return {key: number for number, key in enumerate(dict.fromkeys(keys))}
