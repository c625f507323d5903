"""Figures of predictions that need no ground truth: areas of classes, flicker, and how long ids last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.exact import ONE, exact, median_seconds
from eomt_ros.evaluation.frame import LabelImage
from eomt_ros.evaluation.pace import FrameTime
from eomt_ros.evaluation.results import Predicted

if TYPE_CHECKING:
    from eomt_ros.engine import FrameResult  # which takes the memory of torch, and counts alone need none of it


@dataclass(eq=False)
class PredictedCounts:
    """What is counted of the predictions of any number of sequences."""

    areas: npt.NDArray[np.object_]
    """(classes,) shares of the image, summed over frames. Python's integers, in parts of `ONE`."""
    frames: int = 0
    pairs: int = 0
    """Frames that follow one of the same size."""
    changed: int = 0
    """Share of the pixels of another class than in the frame before, summed over pairs, in parts of `ONE`."""
    things: int | None = 0
    """Summed over frames; None where things are not told apart."""
    lives: Counter[int] = field(default_factory=Counter)
    """Nanoseconds from the first to the last frame of an id."""

    @classmethod
    def empty(cls, classes: int, *, has_ids: bool) -> PredictedCounts:
        """Makes one without any frames."""
        return cls(np.zeros(classes, object), things=0 if has_ids else None)

    def add(self, other: PredictedCounts) -> None:
        """Adds the frames of other sequences."""
        self.areas += other.areas
        self.frames += other.frames
        self.pairs += other.pairs
        self.changed += other.changed
        self.things = None if self.things is None or other.things is None else self.things + other.things
        self.lives.update(other.lives)

    def figures(self, class_names: Sequence[str]) -> Predicted:
        """The figures of all that was counted."""
        if not self.frames:
            return Predicted()
        areas = [area / ONE / self.frames for area in self.areas.tolist()]
        has_ids = self.things is not None
        return Predicted(
            class_area=dict(zip(class_names, areas, strict=True)),
            unlabelled_area=max(0.0, 1.0 - sum(areas)),
            flicker=self.changed / ONE / self.pairs if self.pairs else None,
            things_per_frame=None if self.things is None else self.things / self.frames,
            ids=self.lives.total() if has_ids else None,
            id_seconds=median_seconds(self.lives),
        )


class PredictedFigures:
    """Counts the frames of a sequence; keeps the classes of one frame, and when each id was seen."""

    def __init__(self, classes: int, *, has_ids: bool) -> None:
        self._counts = PredictedCounts.empty(classes, has_ids=has_ids)
        self._seen: dict[tuple[int, int], tuple[float, float]] = {}
        self._before: LabelImage | None = None

    def add(self, found: FrameResult, moment: FrameTime) -> None:
        """Counts the next frame of the sequence."""
        classes, counts = found.semantic, self._counts
        count = len(counts.areas)
        counts.frames += 1
        areas = cv2.calcHist([classes], [0], None, [count], [0, count]).ravel().astype(float) / classes.size
        counts.areas += np.array([exact(area) for area in areas.tolist()], object)
        if self._before is not None and self._before.shape == classes.shape:
            counts.pairs += 1
            counts.changed += exact(np.count_nonzero(self._before != classes) / classes.size)
        self._before = classes
        ids = {(found.epoch, segment.id) for segment in found.segments if segment.is_thing and segment.id}
        if counts.things is not None:
            counts.things += len(ids)
        end = moment.begin + moment.seconds
        self._seen.update((identity, (self._seen.get(identity, (moment.begin,))[0], end)) for identity in ids)

    def counts(self) -> PredictedCounts:
        """The counts of all frames so far."""
        return replace(self._counts, lives=self._counts.lives + self._lives())

    def end_sequence(self) -> None:
        """Lets go of what is needed for further frames only."""
        self._counts.lives += self._lives()
        self._seen = {}
        self._before = None

    def _lives(self) -> Counter[int]:
        return Counter(round((end - begin) * 1e9) for begin, end in self._seen.values())
