"""An evaluation: every frame of recordings, in order, through the engine or beside what a node published for it."""

from __future__ import annotations

import datetime
import math
import platform
import threading
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Series
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch

import eomt_ros
from eomt_ros.evaluation.account import Account
from eomt_ros.evaluation.background import Background
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.output_bag import OutputBag
from eomt_ros.evaluation.output_folder import BAG, OVERLAY
from eomt_ros.evaluation.predictions import Predictions
from eomt_ros.evaluation.progress import Progress
from eomt_ros.evaluation.recorded import bag_name
from eomt_ros.evaluation.results import SCHEMA_VERSION, Results
from eomt_ros.evaluation.sources.sequence import Sequence, SourceError

BEHIND = 8
"""Frames that scoring and drawing may be behind the engine."""


@dataclass(frozen=True)
class Options:
    """How an evaluation is run."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """What to write down beside what the evaluation knows itself: the command, the input, the model as it was named."""
    save_bag: bool = False
    """Write the predictions as a bag: `bag` in the output folder, or one in it for each of several sequences."""
    convention: Convention = Convention.STANDARD
    stop: threading.Event = field(default_factory=threading.Event)
    """Set from outside, to end early with what there is."""


def evaluate(sequences: Series[Sequence], predictions: Predictions, out: Path, options: Options) -> Results:
    """Goes through all frames; leaves overlay video, pictures and perhaps a bag in the folder `out`, which exists.

    Raises `SourceError` where there is not one frame, `OSError`.
    """
    _check_classes(sequences, predictions)
    total = sum(sequence.count or 0 for sequence in sequences) if all(each.count for each in sequences) else None
    problems: list[str] = []
    with (
        Account(predictions, out, options.convention) as account,
        Progress(total) as progress,
    ):
        for sequence in sequences:
            if options.stop.is_set():
                break
            problems += _run(sequence, predictions, account, out, options, progress, alone=len(sequences) == 1)
    problems += [*predictions.problems(), *account.problems()]
    if options.stop.is_set():
        of_total = "" if total is None else f"{account.frames:,} of "
        frames = of_total + counted(account.frames if total is None else total, "frame")
        problems.insert(0, f"stopped by the user after {frames}: the figures are of these")
    elif account.frames == 0:
        raise SourceError("; ".join(problems) or f"{', '.join(each.name for each in sequences)}: no frames")
    return _results(sequences, predictions, account, problems, out, options)


def _run(
    sequence: Sequence,
    predictions: Predictions,
    account: Account,
    out: Path,
    options: Options,
    progress: Progress,
    *,
    alone: bool,
) -> list[str]:
    """Goes through one sequence, and returns what is wrong with it."""
    failures = []
    with ExitStack() as stack:
        bag = None
        if options.save_bag:
            bag = stack.enter_context(OutputBag(out / BAG if alone else out / BAG / bag_name(sequence.name)))
        predictions.start_sequence(sequence.name)
        account.start_sequence(sequence.name, bag)
        # The engine leaves cores idle between its parallel parts; and what is counted in a thread is not waited for.
        with Background(account.add, waiting=BEHIND) as background:
            frames = sequence.frames(len(predictions.labels.class_names))
            try:
                with closing(frames):  # type: ignore[type-var]  # a generator
                    for frame in frames:
                        found = predictions.find(frame)
                        if found is not None:
                            background.put((frame, found))
                        progress.update()
                        if options.stop.is_set():
                            break
            except SourceError as error:
                failures.append(str(error))
        account.end_sequence()
    found_wrong = [*sequence.problems, *failures]
    return found_wrong if alone else [f"{sequence.name}: {problem}" for problem in found_wrong]


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
    out: Path,
    options: Options,
) -> Results:
    figures = account.scores.figures()
    files = {"overlay": OVERLAY} if account.frames else {}
    if options.save_bag:
        files["bag"] = BAG
    latency = account.latency
    return Results(
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
        drift=account.drift.drift(),
        intervals=account.trend.intervals(None if figures.objects is None else account.scores.id_switches),
        timelines=tuple(account.scores.timelines()),
        worst_frames=account.worst.write(out),
        files=files,
    )


def _settings(sequences: Series[Sequence], predictions: Predictions, options: Options) -> dict[str, Any]:
    return {
        "model": predictions.model,
        "labels": predictions.labels.name,
        **predictions.settings,
        **options.settings,
        "topics": sorted({sequence.topic for sequence in sequences if sequence.topic is not None}),
        "truth": sorted({sequence.truth for sequence in sequences if sequence.truth is not None}),
        "convention": options.convention.value,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "versions": {
            "eomt_ros": eomt_ros.__version__,
            "python": platform.python_version(),
            **{library.__name__: library.__version__ for library in (torch, np, cv2, av)},
        },
    }
