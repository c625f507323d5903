"""Figures of predictions that need no ground truth: areas of classes, flicker, and how long ids last."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import cv2
import numpy as np

from eomt_ros.engine import FrameResult
from eomt_ros.evaluation.frame import LabelImage
from eomt_ros.evaluation.pace import FrameTime
from eomt_ros.evaluation.results import Predicted


class PredictedFigures:
    """Counts the frames of a sequence; keeps the classes of one frame, and when each id was seen.

    `merge` adds the counts of other sequences.
    """

    def __init__(self, class_names: Sequence[str], *, has_ids: bool) -> None:
        self._class_names = class_names
        self._has_ids = has_ids
        self._frames = self._pairs = self._things = 0
        self._areas = np.zeros(len(class_names))
        self._changed = 0.0
        self._lives: list[float] = []
        self._seen: dict[tuple[int, int], tuple[float, float]] = {}
        self._before: LabelImage | None = None

    def add(self, found: FrameResult, moment: FrameTime) -> None:
        """Counts the next frame of the sequence."""
        classes, count = found.semantic, len(self._class_names)
        self._frames += 1
        self._areas += cv2.calcHist([classes], [0], None, [count], [0, count]).ravel() / classes.size
        if self._before is not None and self._before.shape == classes.shape:
            self._pairs += 1
            self._changed += np.count_nonzero(self._before != classes) / classes.size
        self._before = classes
        ids = {(found.epoch, segment.id) for segment in found.segments if segment.is_thing and segment.id}
        self._things += len(ids)
        end = moment.begin + moment.seconds
        self._seen.update((identity, (self._seen.get(identity, (moment.begin,))[0], end)) for identity in ids)

    def end_sequence(self) -> None:
        """Lets go of what is needed for further frames only."""
        self._lives = self._all_lives()
        self._seen = {}
        self._before = None

    def merge(self, other: PredictedFigures) -> None:
        """Adds the frames of another sequence."""
        self._frames += other._frames
        self._pairs += other._pairs
        self._things += other._things
        self._areas += other._areas
        self._changed += other._changed
        self._lives += other._all_lives()

    def figures(self) -> Predicted:
        """The figures of all frames so far."""
        if not self._frames:
            return Predicted()
        areas = (self._areas / self._frames).tolist()
        lives = self._all_lives()
        return Predicted(
            class_area=dict(zip(self._class_names, areas, strict=True)),
            unlabelled_area=max(0.0, 1.0 - sum(areas)),
            flicker=self._changed / self._pairs if self._pairs else None,
            things_per_frame=self._things / self._frames if self._has_ids else None,
            ids=len(lives) if self._has_ids else None,
            id_seconds=median(lives) if lives else None,
        )

    def _all_lives(self) -> list[float]:
        return [*self._lives, *(end - begin for begin, end in self._seen.values())]
