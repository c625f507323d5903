"""Many thresholds from one pass of the network, `--sweep score_threshold=0.3:0.9:0.1`, and sizes, `--size 224,640`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from eomt_ros.continuity import MAX_GAP
from eomt_ros.engine import EngineError, FrameResult, Segmenter
from eomt_ros.engine.threshold_sweep import SWEPT, ThresholdSweep
from eomt_ros.errors import UserError
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.latency import LatencyHistogram
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
SIZE = "size"
MOST_SIZES = 10
"""Each is a model in memory, and a pass of the network."""


class SweepError(UserError):
    """A sweep that makes no sense; the message says which and what was expected."""


@dataclass(frozen=True)
class Sweep:
    """Values of one threshold, or of the size; all others as they are."""

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

    @classmethod
    def of_sizes(cls, sizes: Sequence[int]) -> Sweep:
        """Raises `SweepError` for sizes that have no place beside each other."""
        if 0 in sizes:
            raise SweepError(f"--size {_listed(sizes)}: 0 stands for the model's own, expected pixels beside others")
        if len(sizes) > MOST_SIZES:
            raise SweepError(f"--size {_listed(sizes)}: expected at most {MOST_SIZES}, each of which is a pass")
        return cls(SIZE, tuple(sorted(set(map(float, sizes)))))

    @property
    def points(self) -> list[SweepPoint]:
        """The option with each of its values."""
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
        if sweep.option not in (SIZE, *SWEPT[task]):
            raise SweepError(
                f"--sweep {sweep.option}: it makes no difference to the {task} task, which has "
                f"{' and '.join(SWEPT[task]) or 'no threshold'}"
            )


class SweptPredictions(EnginePredictions):
    """Segments the frames, and beside that with other thresholds, see `ThresholdSweep`, and at other sizes.

    others: the model at each of the other sizes. Raises `SweepError` where a threshold makes no difference to the task.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        sweeps: Sequence[Sweep],
        others: Sequence[Segmenter] = (),
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
        self._others = others

    def start_sequence(self, name: str) -> None:
        """Begins a new stream at each of the points."""
        super().start_sequence(name)
        self._sizes = [other.open_stream(max_gap=self._max_gap) for other in self._others]
        self._sweep: ThresholdSweep | None = None
        changes: list[dict[str, Any]] = [{point.option: point.value} for point in self.points if point.option != SIZE]
        if changes:
            options = [replace(self._segmenter.options, **each) for each in changes]
            self._sweep = ThresholdSweep(self._segmenter, options, max_gap=self._max_gap)
            self._stream = self._sweep.stream

    def _warm_up(self, height: int, width: int) -> None:
        for segmenter in (self._segmenter, *self._others):
            segmenter.warm_up(height, width)

    def _begin(self, frame: SourceFrame) -> Callable[[], FrameResult]:
        found = self._at_every_size(frame) if self._others else self._at_own_size(frame)

        def finish() -> FrameResult:
            result, self.swept = found()
            return result

        return finish

    def _at_own_size(self, frame: SourceFrame) -> Callable[[], tuple[FrameResult, list[FrameResult]]]:
        """Begins a frame; what this gives are its result and those with other thresholds."""
        if self._sweep is not None:
            return self._sweep.begin(frame.image, **self._wanted(frame))
        finish = super()._begin(frame)
        return lambda: (finish(), [])

    def _at_every_size(self, frame: SourceFrame) -> Callable[[], tuple[FrameResult, list[FrameResult]]]:
        """Does all of a frame now, so that the time of a size is not that of two frames at once."""
        try:
            result, of_thresholds = self._at_own_size(frame)()
            of_size = {self._segmenter.size: result}
            for other, stream in zip(self._others, self._sizes, strict=True):
                of_size[other.size] = stream.segment(frame.image, **self._wanted(frame))
        except EngineError:
            for stream in self._sizes:
                stream.reset()
            self._forget_own_ids()
            raise
        thresholds = iter(of_thresholds)
        swept = [of_size[point.value] if point.option == SIZE else next(thresholds) for point in self.points]
        return lambda: (result, swept)

    def _wanted(self, frame: SourceFrame) -> dict[str, Any]:
        stamp = Fraction(frame.stamp, SECOND)
        return {"stamp": stamp, "locate": self._locate(frame), "with_masks": self._with_masks}

    def _forget_ids(self) -> None:
        if not self._others:  # else it is done, by the thread that all of a frame is done by
            self._forget_own_ids()

    def _forget_own_ids(self) -> None:
        if self._sweep is None:
            super()._forget_ids()
        else:
            self._sweep.forget_ids()

    def problems(self) -> list[str]:
        """As without a sweep, and where times are of different runtimes."""
        own = self._segmenter
        runtimes = {(each.backend, each.precision): each.size for each in (own, *self._others)}
        told = ", ".join(f"{size} in {backend} and {precision}" for (backend, precision), size in runtimes.items())
        mixed = [f"the times of the sizes do not compare: {told}"] if len(runtimes) > 1 else []
        return [*super().problems(), *mixed]


def engine_predictions(
    segmenters: Sequence[Segmenter], sweeps: Sequence[Sweep], *, with_masks: bool, places: bool
) -> EnginePredictions:
    """What the model finds, and with sweeps, what it would find with other thresholds and at other sizes.

    segmenters: the model, and the same at each of the other sizes. Raises `SweepError`.
    """
    own, *others = segmenters
    if sweeps:
        return SweptPredictions(own, sweeps, others, with_masks=with_masks, places=places)
    return EnginePredictions(own, with_masks=with_masks, places=places)


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
        self.latency = {point.name: LatencyHistogram() for point in points if point.option == SIZE}
        """Of the frames at each size, by the names of the points."""

    def start_sequence(self, name: str) -> None:
        """Begins another sequence."""
        for scores in self._scores.values():
            scores.start_sequence(name)

    def add(self, truth: Truth, swept: Sequence[FrameResult], moment: FrameTime) -> None:
        """Counts a frame; swept: at each of the points. Raises as `Scores.update`."""
        for scores, found in zip(self._scores.values(), swept, strict=True):
            predicted = Prediction(found.semantic, found.panoptic, found.epoch)
            scores.update(truth, predicted, begin=moment.begin, seconds=moment.seconds)

    def time(self, swept: Sequence[FrameResult]) -> None:
        """Counts the time of a frame at each size; swept: as in `add`."""
        for point, found in zip(self._scores, swept, strict=True):
            if point.name in self.latency:
                self.latency[point.name].add(sum(vars(found.timings).values()))

    def counts(self) -> dict[str, ScoreCounts]:
        """The counts so far, by the names of the points."""
        return {point.name: scores.counts() for point, scores in self._scores.items()}


def _listed(values: Iterable[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
