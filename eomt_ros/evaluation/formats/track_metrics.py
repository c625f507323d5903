"""HOTA, IDF1 and YouTube-VIS AP by TrackEval (github.com/JonathonLuiten/TrackEval), from the pixels that are counted.

All true and predicted things count, of any size and in any number of frames. The masks are those of the label image, in
which a pixel is of one thing. As for KITTI MOTS, a prediction that matches nothing and lies mostly on what nobody
labelled is left out; where the ground truth is exhaustive, as YouTube-VIS', it is wrong.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from eomt_ros.engine import FrameResult
from eomt_ros.evaluation.formats.track_counts import (
    QUIET,
    ClassTracks,
    TrackCounts,
    average_precision,
    trackeval_metrics,
)
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.metrics.overlap import MATCH_IOU, Flags, Key, Overlap, overlap_of, spared

MOST_IDS = 2000
"""True and predicted things of a class in a sequence: TrackEval keeps a number for each pair of them, 20 times."""
MOST_TRACKS = 100
"""Predicted tracks of a class in a video that count for AP, as YouTube-VIS' servers take them."""

PredictedTrack = tuple[int, int]
"""(epoch, id)"""


@dataclass
class _Course:
    """The frames of the things of one class in a sequence."""

    true: list[npt.NDArray[np.int64]] = field(default_factory=list)
    """For each frame, numbers of the true things from 0 on."""
    predicted: list[npt.NDArray[np.int64]] = field(default_factory=list)
    iou: list[npt.NDArray[np.float64]] = field(default_factory=list)
    """(true, predicted)"""
    numbers: tuple[dict[Key, int], dict[Key, int]] = field(default_factory=lambda: ({}, {}))

    def add(self, true: list[Key], predicted: list[Key], iou: npt.NDArray[np.float64]) -> None:
        for keys, numbers, frames in zip((true, predicted), self.numbers, (self.true, self.predicted), strict=True):
            frames.append(np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64))
        self.iou.append(iou)

    def data(self) -> dict[str, Any]:
        """As TrackEval takes them."""
        return {
            "num_timesteps": len(self.iou),
            "num_gt_ids": len(self.numbers[0]),
            "num_tracker_ids": len(self.numbers[1]),
            "num_gt_dets": sum(map(len, self.true)),
            "num_tracker_dets": sum(map(len, self.predicted)),
            "gt_ids": self.true,
            "tracker_ids": self.predicted,
            "similarity_scores": self.iou,
        }


@dataclass
class _Tracks:
    """The pixels of the things of a sequence, over all its frames."""

    true: Counter[Key] = field(default_factory=Counter)
    predicted: Counter[PredictedTrack] = field(default_factory=Counter)
    common: Counter[tuple[Key, PredictedTrack]] = field(default_factory=Counter)
    scores: defaultdict[PredictedTrack, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    """(score, class id) of each frame."""

    def data(self, class_id: int) -> dict[str, Any]:
        """The tracks of a class, as TrackEval takes them; a track has its mean score, and the class with most of it."""
        true = [key for key in self.true if key.class_id == class_id]
        mean = {
            track: sum(score for score, _ in each) / len(each)
            for track, each in self.scores.items()
            if track in self.predicted and _class_of(each) == class_id
        }
        found = sorted(mean, key=lambda track: -mean[track])[:MOST_TRACKS]
        union = [[self.true[key] + self.predicted[track] - self.common[key, track] for key in true] for track in found]
        return {
            # Ids from 1: TrackEval takes a true track that 0 matched for a free one.
            "gt_track_ids": list(range(1, len(true) + 1)),
            "dt_track_ids": list(range(1, len(found) + 1)),
            "gt_tracks": list(range(len(true))),
            "dt_tracks": [
                [self.common[key, track] / pixels for key, pixels in zip(true, row, strict=True)]
                for track, row in zip(found, union, strict=True)
            ],
            "dt_track_scores": np.array([mean[track] for track in found]),
            "iou_type": "mask",
        }


def _class_of(scores: list[tuple[float, int]]) -> int:
    by_class: dict[int, float] = {}
    for score, class_id in scores:
        by_class[class_id] = by_class.get(class_id, 0.0) + score
    return max(by_class, key=lambda each: by_class[each])


class TrackMetrics:
    """Takes the frames of any number of sequences; keeps the overlaps of one, and counts of the others.

    is_thing: by class id. Raises `UserError` without TrackEval.
    """

    def __init__(self, is_thing: Flags) -> None:
        metrics = trackeval_metrics()
        self._hota, self._identity = metrics.HOTA(), metrics.Identity(QUIET)
        self._precision = average_precision(metrics)
        self._is_thing = is_thing
        self._counts = TrackCounts()
        self._left_out: list[str] = []

    def start_sequence(self, name: str) -> None:
        """Begins another sequence."""
        self._name = name
        self._courses: defaultdict[int, _Course] = defaultdict(_Course)
        self._tracks = _Tracks()

    def add(self, truth: Truth | None, found: FrameResult) -> None:
        """Counts the next frame; nothing where one side does not tell things apart, or they do not fit each other."""
        if truth is None or truth.instances is None or found.semantic.shape != truth.classes.shape:
            return
        overlap = overlap_of(truth, Prediction(found.semantic, found.panoptic, found.epoch), self._is_thing)
        iou = _iou(overlap)
        judged = _judged(overlap, iou, is_exhaustive=truth.is_exhaustive)
        for class_id in np.flatnonzero(self._is_thing).tolist():
            rows = np.flatnonzero(overlap.truth.are_things & (overlap.truth.classes == class_id))
            columns = np.flatnonzero(judged & (overlap.prediction.classes == class_id))
            if len(rows) or len(columns) or class_id in self._courses:
                true, predicted = overlap.truth.keys, overlap.prediction.keys
                self._courses[class_id].add(
                    [true[row] for row in rows], [predicted[column] for column in columns], iou[np.ix_(rows, columns)]
                )
        self._add_tracks(overlap, judged, found)

    def _add_tracks(self, overlap: Overlap, judged: Flags, found: FrameResult) -> None:
        tracks, areas = self._tracks, overlap.counts.sum(axis=0)
        for row in np.flatnonzero(overlap.truth.are_things).tolist():
            tracks.true[overlap.truth.keys[row]] += int(overlap.counts[row].sum())
        for column in np.flatnonzero(judged).tolist():
            key = overlap.prediction.keys[column]
            tracks.predicted[key.epoch, key.id] += int(areas[column])
            for row in np.flatnonzero(overlap.truth.are_things & (overlap.counts[:, column] > 0)).tolist():
                tracks.common[overlap.truth.keys[row], (key.epoch, key.id)] += int(overlap.counts[row, column])
        for segment in found.segments:
            tracks.scores[found.epoch, segment.id].append((segment.score, segment.class_id))

    def end_sequence(self) -> None:
        """Brings the sequence to counts."""
        for class_id, course in self._courses.items():
            data = course.data()
            if data["num_gt_ids"] + data["num_tracker_ids"] > MOST_IDS:
                self._left_out.append(f"a class of {self._name}, which has more than {MOST_IDS} things and ids")
                continue
            found = ClassTracks.of(
                self._hota.eval_sequence(data),
                self._identity.eval_sequence(data),
                self._precision.eval_sequence(self._tracks.data(class_id)),
            )
            self._counts.add(TrackCounts({class_id: found}))
        self._courses.clear()

    def counts(self) -> TrackCounts:
        """Of the sequences that have ended."""
        return self._counts

    def problems(self) -> list[str]:
        """What was left out, a sentence each."""
        return [f"TrackEval's metrics leave out {each}" for each in self._left_out]


def _iou(overlap: Overlap) -> npt.NDArray[np.float64]:
    """(true, predicted)"""
    counts = overlap.counts
    union = counts.sum(axis=1)[:, None] + counts.sum(axis=0)[None, :] - counts
    return counts / np.maximum(union, 1)


def _judged(overlap: Overlap, iou: npt.NDArray[np.float64], *, is_exhaustive: bool) -> Flags:
    """(predicted,) True for the things that count."""
    truth, prediction = overlap.truth, overlap.prediction
    same = truth.are_things[:, None] & (truth.classes[:, None] == prediction.classes[None, :])
    matched = (same & (iou > MATCH_IOU)).any(axis=0)
    if is_exhaustive:
        truth = replace(truth, are_unlabelled=np.zeros_like(truth.are_unlabelled))
    return prediction.are_things & (matched | ~spared(overlap.counts, truth, prediction))
