"""Cost of an evaluation on top of the engine, and growth of its memory over a long bag."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

from bench import machine
from bench.timing import Row, compare
from eomt_ros.engine import FrameResult, Segmenter
from eomt_ros.evaluation import run
from eomt_ros.evaluation.predictions import EnginePredictions, Predictions
from eomt_ros.evaluation.sources import FrameSequence, SourceFrame, TruthSource, open_sequences

BAG = Path(__file__).parent.parent / "demo" / "bag"
PERIOD = 10**8
"""ns between two of its frames."""
PAIRS = 5
TIMED = 100
"""Frames in each of a pair's runs."""
SETTLED, FRAMES = 1000, 10_000
"""Memory is looked at after so many frames, and at the end."""


def rows() -> Iterator[Row]:
    """All measurements of this file, with the demo model on the demo bag and its ground truth."""
    segmenter = Segmenter.load("demo", device="cpu")
    (sequence,) = open_sequences([BAG], truth=TruthSource())
    frames = list(sequence.frames())
    yield cost(frames[:TIMED], segmenter)
    predictions = EnginePredictions(segmenter)
    predictions.start_sequence(sequence.name)
    results = [predictions.find(frame) for frame in frames]
    del frames
    yield memory(sequence, Again(predictions, results))


def cost(frames: list[SourceFrame], segmenter: Segmenter) -> Row:
    """A whole evaluation (scores, pictures, video) beside the engine alone, over the same frames in memory."""
    predictions = EnginePredictions(segmenter)
    sequence = FrameSequence("demo", lambda _: (frame for frame in frames), count=len(frames))
    processor: dict[str, list[float]] = {"ours": [], "reference": []}

    def evaluation() -> None:
        with tempfile.TemporaryDirectory() as out:
            run.evaluate([sequence], predictions, Path(out), run.EvaluationOptions())

    def engine() -> None:
        predictions.start_sequence("demo")
        for frame in frames:
            predictions.find(frame)

    row = compare(
        "evaluation, demo bag, beside the engine",
        _timed(evaluation, processor["ours"]),
        _timed(engine, processor["reference"]),
        pairs=PAIRS,
    )
    assert row.ratio is not None
    # The first of each is the warm-up.
    pairs = zip(processor["ours"][1:], processor["reference"][1:], strict=True)
    of_processor = statistics.median(ours / reference for ours, reference in pairs)
    note = f"{100 / row.ratio - 100:+.0f} % time, {100 * of_processor - 100:+.0f} % processor time"
    return replace(row, note=note)


def _timed(work: Callable[[], object], seconds: list[float]) -> Callable[[], None]:
    """Notes the processor time of all threads."""

    def timed() -> None:
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)

    return timed


class Again(Predictions):
    """Results of the engine for one round of the bag, given again in every round under other ids."""

    def __init__(self, predictions: EnginePredictions, results: list[FrameResult | None]) -> None:
        self.labels, self.robot = predictions.labels, predictions.robot
        self.task, self.model = predictions.task, predictions.model
        self.identity = predictions.identity
        self.settings = predictions.settings
        self._results = results
        self._given = 0

    def start_sequence(self, name: str) -> None:
        """Begins with the first round."""
        self._given = 0

    def find(self, frame: SourceFrame) -> FrameResult | None:
        """The result of the next frame."""
        epoch, number = divmod(self._given, len(self._results))
        self._given += 1
        result = self._results[number]
        assert isinstance(result, FrameResult)
        return replace(result, epoch=epoch)

    def problems(self) -> list[str]:
        """None."""
        return []


def memory(bag: FrameSequence, predictions: Again) -> Row:
    """Growth of the process while the demo bag is read and evaluated over and over as one long bag.

    The engine, whose memory `bench.engine` measures, has made its results before: it would take most of the time.
    """
    used: dict[int, float] = {}

    def read(_: list[str]) -> Iterator[SourceFrame]:
        over_and_over = (frame for _ in count() for frame in bag.frames())
        for number, frame in enumerate(islice(over_and_over, FRAMES), start=1):
            yield replace(frame, stamp=number * PERIOD)
            if number in (SETTLED, FRAMES):
                used[number] = machine.resident()

    with tempfile.TemporaryDirectory() as out:
        long = FrameSequence("long", read, count=FRAMES)
        found = run.evaluate([long], predictions, Path(out), run.EvaluationOptions())
    grown = used[FRAMES] - used[SETTLED]
    note = f"{grown:+.1f} MiB of resident memory from frame {SETTLED} on, {found.objects} objects"
    return Row(f"memory of an evaluation over {FRAMES} frames", growth_mib=grown, note=note)
