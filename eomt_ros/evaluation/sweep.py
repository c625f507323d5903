"""Many thresholds from one pass of the network: `--sweep score_threshold=0.3:0.9:0.1`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from eomt_ros.continuity import MAX_GAP
from eomt_ros.engine import FrameResult, Segmenter
from eomt_ros.engine.threshold_sweep import SWEPT, ThresholdSweep
from eomt_ros.errors import UserError
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.metrics import ObjectLimits, Scores
from eomt_ros.evaluation.metrics.scores import ScoreCounts
from eomt_ros.evaluation.pace import FrameTime
from eomt_ros.evaluation.predictions import EnginePredictions
from eomt_ros.evaluation.sources.sequence import SourceFrame
from eomt_ros.evaluation.wrong import SweepPoint
from eomt_ros.stamps import SECOND

MOST_POINTS = 50
"""Values of all sweeps of an evaluation: each is post-processed and scored by itself."""
THRESHOLDS = SWEPT["panoptic"]
EXAMPLE = "score_threshold=0.3:0.9:0.1"


class SweepError(UserError):
    """A sweep that makes no sense; the message says which and what was expected."""


@dataclass(frozen=True)
class Sweep:
    """Values of one threshold, all others as they are."""

    option: str
    values: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Sweep:
        """From `NAME=FIRST:LAST:STEP`, both ends among the values, or `NAME=VALUE,VALUE`. Raises `SweepError`."""
        name, _, wanted = text.partition("=")
        if name not in THRESHOLDS:
            (near,) = difflib.get_close_matches(name, THRESHOLDS, 1, 0.0)
            raise SweepError(
                f"--sweep {text}: {name!r} is no threshold, expected one of {', '.join(THRESHOLDS)}; "
                f"did you mean {near!r}?"
            )
        try:
            values = _range(wanted) if ":" in wanted else [Decimal(each) for each in wanted.split(",")]
        except (InvalidOperation, ValueError) as error:
            raise SweepError(
                f"--sweep {text}: expected FIRST:LAST:STEP or values with commas between, such as {EXAMPLE}"
            ) from error
        if not all(value.is_finite() and 0 <= value <= 1 for value in values):
            raise SweepError(f"--sweep {text}: a threshold lies in 0 to 1")
        return cls(name, tuple(dict.fromkeys(map(float, values))))

    @property
    def points(self) -> list[SweepPoint]:
        """The threshold with each of its values."""
        return [SweepPoint(self.option, value) for value in self.values]


def _range(text: str) -> list[Decimal]:
    """Raises `ValueError`."""
    first, last, step = (Decimal(part) for part in text.split(":"))
    if not all(each.is_finite() for each in (first, last, step)) or step <= 0 or last < first:
        raise ValueError("it does not ascend")
    # Decimal, since 0.3 + 0.1 + ... would miss the last.
    return [first + number * step for number in range(min(int((last - first) / step), MOST_POINTS) + 1)]


def points_of(sweeps: Iterable[Sweep]) -> list[SweepPoint]:
    """The points of all sweeps, each once. Raises `SweepError` where there are too many."""
    points = list(dict.fromkeys(point for sweep in sweeps for point in sweep.points))
    if len(points) > MOST_POINTS:
        raise SweepError(f"--sweep has more than {MOST_POINTS} values in all, expected fewer: take a longer step")
    return points


def expect_difference(sweeps: Iterable[Sweep], task: str) -> None:
    """Raises `SweepError` where a threshold makes no difference to the task."""
    for sweep in sweeps:
        if sweep.option not in SWEPT[task]:
            raise SweepError(
                f"--sweep {sweep.option}: it makes no difference to the {task} task, which has "
                f"{' and '.join(SWEPT[task]) or 'no threshold'}"
            )


class SweptPredictions(EnginePredictions):
    """Segments the frames, and beside that with other thresholds, see `ThresholdSweep`.

    Raises `SweepError` where a threshold makes no difference to the task.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        sweeps: Sequence[Sweep],
        *,
        max_gap: float = MAX_GAP,
        with_masks: bool = False,
        places: bool = True,
    ) -> None:
        super().__init__(segmenter, max_gap=max_gap, with_masks=with_masks, places=places)
        expect_difference(sweeps, self.task)
        self.points = points_of(sweeps)
        self.settings = {**self.settings, "sweep": [f"{each.option}={_listed(each.values)}" for each in sweeps]}
        self.swept: list[FrameResult] = []
        """Of the frame found last, at each of the points; of the thread that does the rests."""

    def start_sequence(self, name: str) -> None:
        """Begins a new stream at each of the points."""
        changes: list[dict[str, Any]] = [{point.option: point.value} for point in self.points]
        others = [replace(self._segmenter.options, **each) for each in changes]
        self._sweep = ThresholdSweep(self._segmenter, others, max_gap=self._max_gap)
        self._stream = self._sweep.stream

    def _begin(self, frame: SourceFrame) -> Callable[[], FrameResult]:
        stamp, locate = Fraction(frame.stamp, SECOND), self._locate(frame)
        finish = self._sweep.begin(frame.image, stamp=stamp, locate=locate, with_masks=self._with_masks)

        def finish_all() -> FrameResult:
            result, self.swept = finish()
            return result

        return finish_all

    def _forget_ids(self) -> None:
        self._sweep.forget_ids()


def engine_predictions(
    segmenter: Segmenter, sweeps: Sequence[Sweep], *, with_masks: bool, places: bool
) -> EnginePredictions:
    """What the model finds, and with sweeps, what it would find with other thresholds. Raises `SweepError`."""
    if sweeps:
        return SweptPredictions(segmenter, sweeps, with_masks=with_masks, places=places)
    return EnginePredictions(segmenter, with_masks=with_masks, places=places)


class SweepScores:
    """The scores at each of some points, over any number of sequences."""

    def __init__(
        self,
        points: Sequence[SweepPoint],
        class_names: Sequence[str],
        is_thing: Sequence[bool],
        convention: Convention,
        limits: ObjectLimits,
    ) -> None:
        self._scores = {point: Scores(class_names, is_thing, convention, limits) for point in points}

    def start_sequence(self, name: str) -> None:
        """Begins another sequence."""
        for scores in self._scores.values():
            scores.start_sequence(name)

    def add(self, truth: Truth, swept: Sequence[FrameResult], moment: FrameTime) -> None:
        """Counts a frame; swept: at each of the points. Raises as `Scores.update`."""
        for scores, found in zip(self._scores.values(), swept, strict=True):
            predicted = Prediction(found.semantic, found.panoptic, found.epoch)
            scores.update(truth, predicted, begin=moment.begin, seconds=moment.seconds)

    def counts(self) -> dict[str, ScoreCounts]:
        """The counts so far, by the names of the points."""
        return {point.name: scores.counts() for point, scores in self._scores.items()}


def _listed(values: Iterable[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
