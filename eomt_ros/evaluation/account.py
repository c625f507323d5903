"""Scores, times, pictures, video and bag of an evaluation, from one frame's prediction after the other."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eomt_ros.engine import FrameResult, Timings
from eomt_ros.evaluation.beside import Beside
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.counting import Tally, counted
from eomt_ros.evaluation.counts import RunCounts
from eomt_ros.evaluation.frame import ObjectsInMetres, Prediction
from eomt_ros.evaluation.latency import LatencyHistogram
from eomt_ros.evaluation.metrics import ObjectLimits, PartialScores, Scores
from eomt_ros.evaluation.metrics.objects import FrameObjects
from eomt_ros.evaluation.output_bag import OutputBag
from eomt_ros.evaluation.pace import NOMINAL_STEP, FrameTime, Pace
from eomt_ros.evaluation.pictures import PicturedFrame, WorstFrames, by_objects
from eomt_ros.evaluation.predictions import Predictions
from eomt_ros.evaluation.results import Recording
from eomt_ros.evaluation.row_file import RowFile
from eomt_ros.evaluation.rows import FrameRow
from eomt_ros.evaluation.sources.sequence import SourceFrame
from eomt_ros.evaluation.sweep import SweepScores
from eomt_ros.evaluation.trend import DriftWatch, Trend
from eomt_ros.evaluation.unscored import PredictedCounts, PredictedFigures
from eomt_ros.evaluation.video import VideoWriter
from eomt_ros.evaluation.wrong import SweepPoint

if TYPE_CHECKING:
    from eomt_ros.space.locator import Locator


@dataclass
class SequenceAccount:
    """What is counted of each sequence, beside its scores."""

    name: str
    predicted: PredictedFigures
    frames: int = 0
    frames_scored: int = 0
    nanoseconds: int = 0
    """Its length, known when it has ended."""


class Account:
    """Takes the frames of sequences with their predictions, within a `with` block; after it everything is written.

    video: the file for the overlay video, rows: that for a row of each frame; None: none. May be fed from another
    thread than it was made in, by one at a time. sweep: other thresholds and sizes to score.
    """

    def __init__(
        self,
        predictions: Predictions,
        video: Path | None,
        convention: Convention,
        limits: ObjectLimits,
        rows: Path | None = None,
        sweep: Sequence[SweepPoint] = (),
    ) -> None:
        self._predictions = predictions
        labels = predictions.labels
        classes = len(labels.class_names)
        self.scores = Scores(labels.class_names, labels.is_thing, convention, limits)
        self._sweep = SweepScores(sweep, labels.class_names, labels.is_thing, convention, limits)
        self.trend = Trend(classes)
        self.drift = DriftWatch(classes)
        self.sequences: list[SequenceAccount] = []
        self._has_ids = predictions.task != "semantic"
        self.worst = WorstFrames(labels)
        self.worst_by_objects = WorstFrames(labels, rank=by_objects)
        self.latency = LatencyHistogram()
        self.stages: defaultdict[str, LatencyHistogram] = defaultdict(LatencyHistogram)
        self.video = None if video is None else Beside(video, lambda path: VideoWriter(path, quick=True))
        self.rows = None if rows is None else Beside(rows, lambda path: RowFile.open(path, FrameRow))
        self._unscored = Tally()
        self._repeated = 0
        self._shown = 0
        self._bag: Beside[OutputBag] | None = None
        self._bag_problems: list[str] = []
        self._pace = Pace()
        self._held: tuple[SourceFrame, FrameResult, Sequence[FrameResult]] | None = None
        self._locator: Locator | None = None
        self._jumps = 0

    def __enter__(self) -> Account:
        return self

    def __exit__(self, *_: object) -> None:
        for beside in (self.video, self._bag, self.rows):
            if beside is not None:
                beside.close()

    def start_sequence(self, name: str, bag: Path | None) -> None:
        """Begins another sequence. bag: where its predictions are written as a bag; None: nowhere."""
        self.scores.start_sequence(name)
        self._sweep.start_sequence(name)
        self.drift.start_sequence()
        predicted = PredictedFigures(len(self._predictions.labels.class_names), has_ids=self._has_ids)
        self.sequences.append(SequenceAccount(name, predicted))
        self._bag = None if bag is None else Beside(bag, OutputBag)
        self._pace = Pace()
        self._held = None
        self._locator = None
        self._sequence_frames = 0

    def add(self, frame: SourceFrame, found: FrameResult, swept: Sequence[FrameResult] = ()) -> None:
        """Counts the next frame of the sequence; swept: what is found at each point of the sweep."""
        if self._bag is not None:
            self._bag.write(
                lambda bag: bag.write_found(
                    found,
                    frame.stamp,
                    sequence=self._sequence_frames,
                    task=self._predictions.task,
                    model=self._predictions.model,
                    identity=self._predictions.identity,
                )
            )
        self._sequence_frames += 1
        moment = self._pace.push(frame.stamp)
        if self._held is not None and moment is not None:
            self._count(*self._held, moment)
        self._held = frame, found, swept

    def end_sequence(self) -> None:
        """Ends the sequence, and its bag."""
        moment = self._pace.end()
        if self._held is not None and moment is not None:
            self._count(*self._held, moment)
            self.sequences[-1].nanoseconds = round((moment.begin + moment.seconds) * 1e9)
            self._shown += moment.shown + round(moment.seconds * 1e9)
        self._held = None
        self.sequences[-1].predicted.end_sequence()
        self._repeated += self._pace.repeated
        if self._bag is not None:
            self._bag.close()
            self._bag_problems += [self._bag.problem] if self._bag.problem else []

    def problems(self) -> list[str]:
        """Reasons why frames were not scored or files not written so far, a sentence each."""
        unscored = self._unscored.sentence(
            "frame is not scored: its prediction does not fit the ground truth",
            "frames are not scored: their predictions do not fit the ground truth",
        )
        has = counted(self._repeated, "frame has", "frames have")
        repeated = (
            f"{has} the stamp of the frame before: where stamps do not say how long a frame stands, it counts as the "
            f"frame before, the first as {NOMINAL_STEP * 1e-9:g} s"
        )
        shift = self.scores.shift
        shifted = (
            "the ids of the true and the predicted classes agree only if the true ones are taken for "
            f"{shift:+d} too large: if they are numbered from {shift}, give --truth-map offset={-shift}"
        )
        besides = [each.problem for each in (self.video, self.rows) if each is not None and each.problem is not None]
        hints = [*([shifted] if shift else []), *([repeated] if self._repeated else [])]
        return [*unscored, *hints, *besides, *self._bag_problems]

    @property
    def frames(self) -> int:
        """Number of frames that were counted: all but the newest, which is counted when the next one comes."""
        return sum(sequence.frames for sequence in self.sequences)

    def counts(self) -> RunCounts:
        """The counts of all frames so far."""
        labels = self._predictions.labels
        predicted = PredictedCounts.empty(len(labels.class_names), has_ids=self._has_ids)
        for sequence in self.sequences:
            predicted.add(sequence.predicted.counts())
        return RunCounts(
            scores=self.scores.counts(),
            predicted=predicted,
            minutes=self.drift.minutes(),
            frames=self.frames,
            frames_scored=sum(sequence.frames_scored for sequence in self.sequences),
            nanoseconds=sum(sequence.nanoseconds for sequence in self.sequences),
            latency=self.latency,
            stages=dict(self.stages),
            sweep=self._sweep.counts(),
            sweep_latency=self._sweep.latency,
        )

    def recordings(self) -> tuple[Recording, ...]:
        """The figures of each sequence so far."""
        figures = self.scores.figures_by_sequence()
        class_names = self._predictions.labels.class_names
        return tuple(
            Recording(
                name=each.name,
                frames=each.frames,
                frames_scored=each.frames_scored,
                seconds=each.nanoseconds * 1e-9,
                predicted=each.predicted.counts().figures(class_names),
                **vars(scored),
            )
            for each, scored in zip(self.sequences, figures, strict=True)
        )

    def _count(self, frame: SourceFrame, found: FrameResult, swept: Sequence[FrameResult], moment: FrameTime) -> None:
        sequence = self.sequences[-1]
        sequence.frames += 1
        seconds = self._time(found.timings)
        self._sweep.time(swept)
        score = self._score(frame, found, moment)
        if score is not None and frame.truth is not None:
            self._sweep.add(frame.truth, swept, moment)
        self.trend.add(sequence.name, moment, seconds, score)
        self.drift.add(moment, score)
        sequence.predicted.add(found, moment)
        objects = None if score is None or score.tubes is None else self.scores.frame_objects
        self._write_row(frame, moment, seconds, score, objects)
        picture = found.plot(frame.image)
        if self.video is not None:
            self.video.write(lambda video: video.write(picture, self._shown + moment.shown))
        if score is not None and frame.truth is not None and score.miou is not None:
            where = sequence.name, frame.stamp, moment.begin
            pictured = PicturedFrame(*where, score.miou, frame.image, picture, frame.truth, objects)
            self.worst.offer(pictured)
            if objects is not None and objects.errors:
                self.worst_by_objects.offer(pictured)

    def _write_row(
        self,
        frame: SourceFrame,
        moment: FrameTime,
        seconds: float | None,
        score: PartialScores | None,
        objects: FrameObjects | None,
    ) -> None:
        if self.rows is None:
            return
        row = FrameRow(
            sequence=self.sequences[-1].name,
            stamp=frame.stamp,
            seconds=moment.begin,
            latency_ms=None if seconds is None else 1e3 * seconds,
            miou=None if score is None else score.miou,
            pq=None if score is None else score.pq,
            objects=None if objects is None else objects.in_view,
            missed=None if objects is None else objects.missed,
            ghosts=None if objects is None else objects.ghosts,
            id_switches=None if objects is None else objects.switches,
        )
        self.rows.write(lambda rows: rows.add(row))

    def _time(self, timings: Timings) -> float | None:
        """Counts the seconds of each stage, and returns their sum; None where they are not known."""
        stages = vars(timings)
        total = sum(stages.values())
        if math.isnan(total):
            return None
        for stage, seconds in stages.items():
            self.stages[stage].add(seconds)
        self.latency.add(total)
        return total

    def _score(self, frame: SourceFrame, found: FrameResult, moment: FrameTime) -> PartialScores | None:
        objects = self._in_metres(frame, found)
        if frame.truth is None:
            return None
        segments = None if self._predictions.task == "semantic" else found.panoptic
        predicted = Prediction(found.semantic, segments, found.epoch)
        try:
            score = self.scores.update(
                frame.truth, predicted, begin=moment.begin, seconds=moment.seconds, objects=objects
            )
        except ValueError as error:
            self._unscored.add(f"at {frame.stamp} ns: {error}")
            return None
        self.sequences[-1].frames_scored += 1
        return score

    def _in_metres(self, frame: SourceFrame, found: FrameResult) -> ObjectsInMetres | None:
        """Locates the things that were found; None where the frame has no depth or no true boxes."""
        space = frame.space
        if space is None or space.truth is None:
            return None
        if self._locator is None or space.jumps != self._jumps:
            from eomt_ros.space.locator import Locator

            self._locator, self._jumps = Locator(), space.jumps
        located = self._locator.locate(found, space.depth, space.pinhole, space.pose, frame.stamp * 1e-9, fixed=True)
        return ObjectsInMetres(space.truth, located, space.pose.translation)
