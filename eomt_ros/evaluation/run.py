"""An evaluation: every frame of recordings, in order, through the engine or beside what a node published for it."""

from __future__ import annotations

import datetime
import math
import platform
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Series
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import av
import cv2
import numpy as np
import torch

import eomt_ros
from eomt_ros.evaluation.account import Account
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.metrics import STANDARD_LIMITS, ObjectLimits
from eomt_ros.evaluation.output_folder import BAG, OVERLAY
from eomt_ros.evaluation.predictions import Found, Predictions
from eomt_ros.evaluation.progress import Progress
from eomt_ros.evaluation.recorded import bag_name
from eomt_ros.evaluation.results import SCHEMA_VERSION, Results, WorstFrame, write_results
from eomt_ros.evaluation.sources.sequence import Sequence, SourceFrame

BEHIND = 8
"""Frames that scoring and drawing may be behind the engine."""
KEPT_EVERY = 5.0
"""s between two writings of the figures so far."""
KEPT_SHARE = 0.02
"""Of the time, that writing them may take."""


@dataclass(frozen=True)
class EvaluationOptions:
    """How an evaluation is run."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """What to write down beside what the evaluation knows itself: the command, the input, the model as it was named."""
    save_bag: bool = False
    """Write the predictions as a bag: `bag` in the output folder, or one in it for each of several sequences."""
    video: bool = True
    """Write the overlay video."""
    convention: Convention = Convention.STANDARD
    limits: ObjectLimits = STANDARD_LIMITS
    complete: Callable[[Results], Results] = field(default=lambda found: found)
    """Adds what the caller knows, before anything is written."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set from outside, to end early with what there is."""


def evaluate(sequences: Series[Sequence], predictions: Predictions, out: Path, options: EvaluationOptions) -> Results:
    """Goes through all frames; leaves figures, overlay video, pictures and perhaps a bag in the folder `out`.

    The folder exists. The figures so far are in it every few seconds, whatever becomes of this process; and what cannot
    be written beside them is a problem in them, and no end.
    Raises `SourceError` where there is not one frame, `OSError` where the figures cannot be written.
    """
    _check_classes(sequences, predictions)
    total = sum(sequence.count or 0 for sequence in sequences) if all(each.count for each in sequences) else None
    problems: list[str] = []
    with (
        Account(predictions, out / OVERLAY if options.video else None, options.convention, options.limits) as account,
        Progress(total) as progress,
    ):
        keeper = _Keeper(out, lambda: _unfinished(sequences, predictions, account, problems, options))
        for sequence in sequences:
            if options.stop.is_set():
                break
            alone = len(sequences) == 1
            bag = (out / BAG if alone else out / BAG / bag_name(sequence.name)) if options.save_bag else None
            account.start_sequence(sequence.name, bag)
            wrong = _run(sequence, predictions, account, keeper, options, progress)
            problems += wrong if alone else [f"{sequence.name}: {problem}" for problem in wrong]
    problems += [*predictions.problems(), *account.problems()]
    if options.stop.is_set():
        of_total = "" if total is None else f"{account.frames:,} of "
        frames = of_total + counted(account.frames if total is None else total, "frame")
        problems.insert(0, f"stopped by the user after {frames}: the figures are of these")
    elif account.frames == 0:
        raise SourceError("; ".join(problems) or f"{', '.join(each.name for each in sequences)}: no frames")
    worst: tuple[WorstFrame, ...] = ()
    try:
        worst = account.worst.write(out)
    except OSError as error:
        problems.append(f"the pictures of the worst frames were given up: {error}")
    found = _results(sequences, predictions, account, problems, options, worst, _files(account, out))
    write_results(found, out)
    return found


def _run(
    sequence: Sequence,
    predictions: Predictions,
    account: Account,
    keeper: _Keeper,
    options: EvaluationOptions,
    progress: Progress,
) -> list[str]:
    """Goes through one sequence, and returns what is wrong with it."""
    failures = []
    predictions.start_sequence(sequence.name)

    def add(item: tuple[SourceFrame, Found]) -> None:
        account.add(item)
        keeper.keep()

    # The engine leaves cores idle between its parallel parts.
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "scoring") as scoring:
        frames = sequence.frames(predictions.labels.class_names)
        try:
            with closing(frames):  # type: ignore[type-var]  # a generator
                for frame in frames:
                    found = predictions.find(frame)
                    if found is not None:
                        waiting.append(scoring.submit(add, (frame, found)))
                    if len(waiting) > BEHIND:
                        waiting.popleft().result()
                    progress.update()
                    if options.stop.is_set():
                        break
        except SourceError as error:
            sequence.problems.incomplete = True
            failures.append(str(error))
        for scored in waiting:
            scored.result()
    account.end_sequence()
    return [*sequence.problems, *failures]


class _Keeper:
    """Writes the figures so far now and then, rarely enough that it takes no time worth speaking of."""

    def __init__(self, out: Path, figures: Callable[[], Results]) -> None:
        self._out = out
        self._figures = figures
        self._due = -math.inf

    def keep(self) -> None:
        begun = time.monotonic()
        if begun < self._due:
            return
        # The figures before stay, and whether there is room at the end is another question.
        with suppress(OSError):
            write_results(self._figures(), self._out)
        took = time.monotonic() - begun
        self._due = begun + max(KEPT_EVERY, took / KEPT_SHARE)


def _unfinished(
    sequences: Series[Sequence],
    predictions: Predictions,
    account: Account,
    problems: list[str],
    options: EvaluationOptions,
) -> Results:
    first = f"not finished: the figures are of the first {counted(account.frames, 'frame')}"
    return _results(
        sequences,
        predictions,
        account,
        [first, *problems, *predictions.problems(), *account.problems()],
        options,
    )


def _files(account: Account, out: Path) -> dict[str, str]:
    files = {"overlay": OVERLAY} if account.video is not None and account.video.is_there else {}
    return {**files, "bag": BAG} if (out / BAG).exists() else files


def _check_classes(sequences: Iterable[Sequence], predictions: Predictions) -> None:
    """Raises `SourceError` where a data set numbers other classes than the model."""
    model = predictions.labels.class_names
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


def _results(
    sequences: Series[Sequence],
    predictions: Predictions,
    account: Account,
    problems: list[str],
    options: EvaluationOptions,
    worst_frames: tuple[WorstFrame, ...] = (),
    files: Mapping[str, str] = MappingProxyType({}),
) -> Results:
    figures = account.scores.figures()
    latency = account.latency
    found = Results(
        schema_version=SCHEMA_VERSION,
        settings=_settings(sequences, predictions, options),
        class_names=tuple(predictions.labels.class_names),
        sequences=tuple(sequence.name for sequence in sequences),
        problems=tuple(problems),
        frames=account.frames,
        frames_scored=account.frames_scored,
        seconds=account.seconds,
        **vars(figures),
        fps=latency.count / latency.seconds if latency.seconds else math.nan,
        latency_ms=latency.figures(),
        stages_ms={stage: histogram.figures() for stage, histogram in account.stages.items()},
        latency_histogram=latency.bars(),
        predicted=account.predicted.figures(),
        drift=account.drift.drift(),
        intervals=account.trend.intervals(None if figures.objects is None else account.scores.id_switches),
        timelines=tuple(account.scores.timelines()),
        worst_frames=worst_frames,
        files=files,
    )
    return options.complete(found)


def _settings(sequences: Series[Sequence], predictions: Predictions, options: EvaluationOptions) -> dict[str, Any]:
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
        "machine": platform.platform(),
        "versions": {
            "eomt_ros": eomt_ros.__version__,
            "python": platform.python_version(),
            **{library.__name__: library.__version__ for library in (torch, np, cv2, av)},
        },
    }
