"""An evaluation: every frame of recordings, in order, through the engine or beside what a node published for it."""

from __future__ import annotations

import datetime
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np

from eomt_ros.engine import FrameResult
from eomt_ros.evaluation.account import Account
from eomt_ros.evaluation.beside import Beside
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.formats.exports import Exports
from eomt_ros.evaluation.formats.track_metrics import TrackMetrics
from eomt_ros.evaluation.json_file import plain
from eomt_ros.evaluation.metrics import STANDARD_LIMITS, ObjectLimits
from eomt_ros.evaluation.output_folder import BAG, EXPORTS, FRAMES, OBJECTS, OVERLAY
from eomt_ros.evaluation.predictions import Predictions, found_in
from eomt_ros.evaluation.progress import Progress
from eomt_ros.evaluation.provenance import provenance
from eomt_ros.evaluation.recorded import bag_name
from eomt_ros.evaluation.results import SCHEMA_VERSION, Results, write_results
from eomt_ros.evaluation.row_file import RowFile
from eomt_ros.evaluation.rows import ObjectRow
from eomt_ros.evaluation.sources.sequence import FrameSequence, SourceFrame, frame_count
from eomt_ros.evaluation.sweep import SweptPredictions

BEHIND = 8
"""Most frames by which scoring and drawing may lag behind the engine."""
KEPT_EVERY = 5.0
"""s between two writings of the figures so far, at least."""
KEPT_SHARE = 0.02
"""Largest share of the time that writing them may take."""


@dataclass(frozen=True)
class EvaluationOptions:
    """How an evaluation is run."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings for `metrics.json` that the evaluation does not know itself: command, input, name of the model."""
    save_bag: bool = False
    """Write the predictions as a bag: `bag` in the output folder, or one in it for each of several sequences."""
    video: bool = True
    """Write the overlay video."""
    convention: Convention = Convention.STANDARD
    limits: ObjectLimits = STANDARD_LIMITS
    complete: Callable[[Results], Results] = field(default=lambda found: found)
    """Adds what the caller knows, before anything is written."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Ends the evaluation early, with the frames so far, once it is set."""
    quiet: bool = False
    """Show no progress."""
    exports: Sequence[str] = ()
    """Formats of `formats/exports.py` to write the predictions in: `exports` in the output folder."""
    track_metrics: bool = False
    """Also count the metrics of TrackEval."""


def evaluate(
    sequences: Sequence[FrameSequence], predictions: Predictions, out: Path, options: EvaluationOptions
) -> Results:
    """Goes through all frames; leaves figures, overlay video, pictures and perhaps a bag in the folder `out`.

    The folder exists. The figures so far are written every few seconds, so that they are there if the process is
    killed. A video, picture, table or bag that cannot be written is one of the results' problems, and no error.
    Raises `SourceError` where there is not one frame, `OSError` where the figures cannot be written.
    """
    _check_classes(sequences, predictions)
    total = frame_count(sequences)
    video = out / OVERLAY if options.video else None
    rows = out / FRAMES
    points = predictions.points if isinstance(predictions, SweptPredictions) else []
    with (
        Account(predictions, video, options.convention, options.limits, rows, points) as account,
        Progress(total, quiet=options.quiet) as progress,
        Exports(options.exports, out, predictions, sequences) as exports,
    ):
        evaluation = _Evaluation(sequences, predictions, out, options, account, progress, exports)
        for sequence in sequences:
            if options.stop.is_set():
                break
            evaluation.go_through(sequence)
    problems = evaluation.problems()
    if options.stop.is_set():
        of_total = "" if total is None else f"{account.frames:,} of "
        frames = of_total + counted(account.frames if total is None else total, "frame")
        problems.insert(0, f"stopped by the user after {frames}: the figures are of these")
    elif account.frames == 0:
        raise SourceError("; ".join(problems) or f"{', '.join(each.name for each in sequences)}: no frames")
    found = evaluation.finished(problems)
    write_results(found, out)
    return found


@dataclass
class _Evaluation:
    sequences: Sequence[FrameSequence]
    predictions: Predictions
    out: Path
    options: EvaluationOptions
    account: Account
    progress: Progress
    exports: Exports
    _problems: list[str] = field(default_factory=list)
    """Of the sequences that are done."""
    _next_write: float = -math.inf

    def __post_init__(self) -> None:
        is_thing = np.array(self.predictions.labels.is_thing, bool)
        self._tracks = TrackMetrics(is_thing) if self.options.track_metrics else None

    def go_through(self, sequence: FrameSequence) -> None:
        """Segments and scores a sequence."""
        alone = len(self.sequences) == 1
        bag = self.out / BAG if alone else self.out / BAG / bag_name(sequence.name)
        self.account.start_sequence(sequence.name, bag if self.options.save_bag else None)
        self.predictions.start_sequence(sequence.name)
        self.exports.start_sequence(sequence)
        if self._tracks is not None:
            self._tracks.start_sequence(sequence.name)
        failures = []
        # The engine leaves cores idle between its parallel parts.
        waiting: deque[Future[None]] = deque()
        swept = self.predictions if isinstance(self.predictions, SweptPredictions) else None
        # Each frame that waits holds what was found at every point.
        behind = BEHIND if swept is None else BEHIND // (1 + len(swept.points))
        with ThreadPoolExecutor(1, "scoring") as scoring:
            robot = self.predictions.robot
            frames = sequence.frames(robot.model.class_names, None if robot.are_the_models else robot.class_ids)
            try:
                with closing(found_in(frames, self.predictions)) as each:
                    for frame, found in each:
                        if found is not None:
                            waiting.append(
                                scoring.submit(self._score, frame, found, [] if swept is None else swept.swept)
                            )
                        if len(waiting) > behind:
                            waiting.popleft().result()
                        self.progress.update()
                        if self.options.stop.is_set():
                            break
            except SourceError as error:
                sequence.problems.incomplete = True
                failures.append(str(error))
            for scored in waiting:
                scored.result()
        self.account.end_sequence()
        self.exports.end_sequence()
        if self._tracks is not None:
            self._tracks.end_sequence()
        self._problems += [
            problem if alone else f"{sequence.name}: {problem}" for problem in (*sequence.problems, *failures)
        ]

    def problems(self) -> list[str]:
        """Everything that went wrong so far, a sentence each."""
        tracks = [] if self._tracks is None else self._tracks.problems()
        return [
            *self._problems,
            *self.predictions.problems(),
            *self.account.problems(),
            *self.exports.problems(),
            *tracks,
        ]

    def finished(self, problems: list[str]) -> Results:
        """The results of the whole run; writes the pictures of the worst frames, and the rows of objects."""
        found, account = self._results(problems), self.account
        objects: Beside[RowFile] = Beside(self.out / OBJECTS, lambda path: RowFile.open(path, ObjectRow))
        for row in account.scores.object_rows():
            objects.write(methodcaller("add", row))
        objects.close()
        besides = {"overlay": account.video, "frames": account.rows, "objects": objects}
        files = {name: each.path.name for name, each in besides.items() if each is not None and each.is_there}
        if (self.out / BAG).exists():
            files["bag"] = BAG
        if self.exports.are_there:
            files["exports"] = EXPORTS
        more = [] if objects.problem is None else [objects.problem]
        try:
            by_objects = account.worst_by_objects.write(self.out, "objects_")
            found = replace(found, worst_frames=account.worst.write(self.out), worst_frames_by_objects=by_objects)
        except OSError as error:
            more.append(f"the pictures of the worst frames were given up: {error}")
        return self.options.complete(replace(found, files=files, problems=(*found.problems, *more)))

    def _score(self, frame: SourceFrame, found: FrameResult, swept: Sequence[FrameResult]) -> None:
        """Counts a frame; writes the figures so far now and then, rarely enough that it takes next to no time."""
        self.account.add(frame, found, swept)
        self.exports.add(frame, found)
        if self._tracks is not None:
            self._tracks.add(frame.truth, found)
        begun = time.monotonic()
        if begun < self._next_write:
            return
        first = f"not finished: the figures are of the first {counted(self.account.frames, 'frame')}"
        # Where it fails the figures before stay, and whether there is room at the end is another question.
        with suppress(OSError):
            write_results(self.options.complete(self._results([first, *self.problems()])), self.out)
        took = time.monotonic() - begun
        self._next_write = begun + max(KEPT_EVERY, took / KEPT_SHARE)

    def _results(self, problems: list[str]) -> Results:
        account, labels = self.account, self.predictions.labels
        counts = account.counts()
        counts.tracks = None if self._tracks is None else self._tracks.counts()
        figures = counts.figures(labels.class_names, labels.is_thing, self.options.convention)
        return Results(
            schema_version=SCHEMA_VERSION,
            settings=self._settings(),
            class_names=tuple(labels.class_names),
            is_thing=tuple(labels.is_thing),
            sequences=tuple(sequence.name for sequence in self.sequences),
            problems=tuple(problems),
            **figures,
            recordings=account.recordings(),
            intervals=account.trend.intervals(None if figures["objects"] is None else account.scores.id_switches),
            timelines=tuple(account.scores.timelines()),
            maps=tuple(account.scores.maps()),
            counts=plain(counts),
        )

    def _settings(self) -> dict[str, Any]:
        sequences, predictions, options = self.sequences, self.predictions, self.options
        return {
            "model": predictions.model,
            "labels": predictions.labels.name,
            **predictions.settings,
            **options.settings,
            "topics": sorted({sequence.topic for sequence in sequences if sequence.topic is not None}),
            "truth": sorted({sequence.truth for sequence in sequences if sequence.truth is not None}),
            "convention": options.convention.value,
            "min_object_area": options.limits.min_area,
            "min_object_frames": options.limits.min_frames,
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            **provenance(predictions.settings.get("device"), predictions.settings.get("backend")),
        }


def _check_classes(sequences: Iterable[FrameSequence], predictions: Predictions) -> None:
    """Raises `SourceError` where a data set and the model number different classes."""
    model = predictions.robot.model.class_names
    for sequence in sequences:
        expected = sequence.class_names
        if expected is None or expected == model:
            continue
        if len(expected) != len(model):
            what = f"{counted(len(expected), 'class', 'classes')}, the model {len(model)}"
        else:
            number = next(number for number, name in enumerate(expected) if name != model[number])
            what = f"{expected[number]!r} as class {number}, the model {model[number]!r}"
        raise SourceError(
            f"the ground truth of {sequence.name} has {what}: take a model of the same data set, "
            "or a table of its classes (--labels)"
        )
