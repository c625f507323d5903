"""What the figures of a run are made of: `metrics.json` carries it, so that figures of many recordings are exact.

Counts of recordings add up to those of one run over all of them, in any order and any division among machines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.formats.track_counts import TrackCounts
from eomt_ros.evaluation.ids import OUTCOMES
from eomt_ros.evaluation.json_file import JsonFileError, from_json
from eomt_ros.evaluation.latency import LatencyHistogram
from eomt_ros.evaluation.metrics.breakdown import Breakdown
from eomt_ros.evaluation.metrics.returns import TIMES_AWAY
from eomt_ros.evaluation.metrics.scores import PartialScores, ScoreCounts
from eomt_ros.evaluation.metrics.vpq import VPQ_WINDOWS
from eomt_ros.evaluation.results import Drift, Results, ResultsError
from eomt_ros.evaluation.unscored import PredictedCounts
from eomt_ros.evaluation.wrong import SweepPoint, SweptFigures


@dataclass(eq=False)
class Minutes:
    """The first and the last minutes of the sequences that last two minutes at least."""

    first: PartialScores
    last: PartialScores

    @classmethod
    def empty(cls, classes: int) -> Minutes:
        """Makes one without any sequence."""
        return cls(PartialScores.empty(classes), PartialScores.empty(classes))

    def add(self, other: Minutes) -> None:
        """Adds those of other sequences."""
        self.first.add(other.first)
        self.last.add(other.last)

    def drift(self) -> Drift | None:
        """Their scores; None where no sequence is long enough, or none of those has a ground truth."""
        first, last = self.first, self.last
        if first.miou is None and last.miou is None:
            return None
        return Drift(first.miou, last.miou, first.vpq, last.vpq)


@dataclass(eq=False, kw_only=True)
class RunCounts:
    """All that is counted of the frames of any number of recordings."""

    scores: ScoreCounts
    predicted: PredictedCounts
    minutes: Minutes
    frames: int = 0
    frames_scored: int = 0
    nanoseconds: int = 0
    """Length of the sequences, by their stamps."""
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    stages: dict[str, LatencyHistogram] = field(default_factory=dict)
    sweep: dict[str, ScoreCounts] = field(default_factory=dict)
    """The same frames with other thresholds or sizes, by `SweepPoint.name`."""
    sweep_latency: dict[str, LatencyHistogram] = field(default_factory=dict)
    """Of the sizes."""
    tracks: TrackCounts | None = None
    """None where TrackEval's metrics are not asked for."""

    @classmethod
    def empty(cls, classes: int, *, has_ids: bool = True) -> RunCounts:
        """Makes one of no recording."""
        return cls(
            scores=ScoreCounts.empty(classes),
            predicted=PredictedCounts.empty(classes, has_ids=has_ids),
            minutes=Minutes.empty(classes),
        )

    def add(self, other: RunCounts) -> None:
        """Adds other recordings."""
        self.scores.add(other.scores)
        self.predicted.add(other.predicted)
        self.minutes.add(other.minutes)
        self.frames += other.frames
        self.frames_scored += other.frames_scored
        self.nanoseconds += other.nanoseconds
        self.latency.merge(other.latency)
        for stage, times in other.stages.items():
            self.stages.setdefault(stage, LatencyHistogram()).merge(times)
        for point, scores in other.sweep.items():
            self.sweep.setdefault(point, ScoreCounts.empty(len(scores.partial.confusion.counts))).add(scores)
        for point, times in other.sweep_latency.items():
            self.sweep_latency.setdefault(point, LatencyHistogram()).merge(times)
        if other.tracks is not None:
            self.tracks = self.tracks or TrackCounts()
            self.tracks.add(other.tracks)

    def figures(self, class_names: Sequence[str], is_thing: Sequence[bool], convention: Convention) -> dict[str, Any]:
        """The figures of all that was counted, by the names that `Results` has for them. Raises `UserError` as
        `TrackCounts`."""
        latency, things = self.latency, np.array(is_thing, bool)
        return {
            "frames": self.frames,
            "frames_scored": self.frames_scored,
            "seconds": self.nanoseconds * 1e-9,
            **vars(self.scores.figures(class_names, things, convention)),
            "fps": latency.count / latency.seconds if latency.seconds else math.nan,
            "latency_ms": latency.figures(),
            "stages_ms": {stage: times.figures() for stage, times in self.stages.items()},
            "latency_histogram": latency.bars(),
            "predicted": self.predicted.figures(class_names),
            "drift": self.minutes.drift(),
            "sweep": tuple(
                SweptFigures.of(
                    point,
                    self.sweep[point.name].figures(class_names, things, convention),
                    self.sweep_latency[point.name].figures() if point.name in self.sweep_latency else None,
                )
                for point in sorted(map(SweepPoint.named, self.sweep))
            ),
            "other_metrics": {} if self.tracks is None else self.tracks.figures(),
        }


def counts_of(results: Results) -> RunCounts:
    """The counts that results carry. Raises `ResultsError` where they have none, or not those of their classes."""
    if not results.counts:
        raise ResultsError("it has no counts: it was written by an older version of eomt_ros; evaluate again")
    try:
        counts = from_json(RunCounts, results.counts, "counts")
    except JsonFileError as error:
        raise ResultsError(str(error)) from error
    classes = len(results.class_names)
    scores = [counts.scores, *counts.sweep.values()]
    partials = [*(each.partial for each in scores), counts.minutes.first, counts.minutes.last]
    confusions = [partial.confusion.counts for partial in partials]
    tubes = [array for partial in partials if partial.tubes is not None for array in vars(partial.tubes).values()]
    empty = Breakdown.empty(classes)
    for name in counts.sweep:
        try:
            SweepPoint.named(name)
        except ValueError as error:
            raise ResultsError(
                f"counts.sweep has the name {name!r}, expected one such as score_threshold=0.3"
            ) from error
    for array, shape in (
        *((each, (classes, classes + 1)) for each in confusions),
        *((each, (len(VPQ_WINDOWS), classes)) for each in tubes),
        *((array, vars(empty)[name].shape) for each in scores for name, array in vars(each.breakdown or empty).items()),
        *((each.returns.returns, (len(TIMES_AWAY), len(OUTCOMES))) for each in scores if each.returns is not None),
        (counts.predicted.areas, (classes,)),
    ):
        if array.shape != shape:
            raise ResultsError(f"its counts have the shape {array.shape}, expected {shape} for {classes} classes")
    return counts
