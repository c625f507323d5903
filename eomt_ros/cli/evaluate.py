"""`eomt-ros evaluate`: how right and how fast a model is on recordings."""

from __future__ import annotations

import argparse
import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eomt_ros.cli.evaluation_arguments import (
    add_input_arguments,
    add_output_arguments,
    add_truth_arguments,
    truth_source,
)
from eomt_ros.cli.format_arguments import add_format_arguments
from eomt_ros.cli.model_arguments import add_model_arguments, load_model
from eomt_ros.cli.stopping import STOPPED, first_sets
from eomt_ros.errors import UserError
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.formats.names import TRACKEVAL, YOUTUBE_VIS

if TYPE_CHECKING:
    from eomt_ros.evaluation.report.figures import Figure
    from eomt_ros.evaluation.results import Recording, Results
    from eomt_ros.evaluation.sources.sequence import FrameSequence

TRUTH = "truth"
"""The value of --predictions that is no bag."""
MOST_LINES = 16
"""Recordings that have a line each in a terminal."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "evaluate",
        help="score a model on recordings; leaves a report",
        description="Run a model on every frame of recordings, compare with the ground truth where there is one, and "
        "leave metrics.json, report.html, overlay.mp4 and pictures of the worst frames in a folder.",
    )
    parser.set_defaults(command=run)
    add_input_arguments(parser, split="val")
    add_output_arguments(parser)
    parser.add_argument("--save-bag", action="store_true", help="also write the predictions, as the node's topics")
    add_truth_arguments(parser)
    add_format_arguments(parser)
    parser.add_argument(
        "--convention",
        choices=[each.value for each in Convention],
        default=Convention.STANDARD.value,
        help="count STQ and mVC by their definitions, as the scripts published with VidEoMT do, or as STQ's authors do "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--paper-compatible",
        dest="convention",
        action="store_const",
        const=Convention.PUBLISHED.value,
        help="the same as --convention published",
    )
    parser.add_argument(
        "--predictions",
        metavar="BAG",
        help="score what a node published and somebody recorded, instead of running a model; truth: the ground truth "
        "itself, for what perfect masks would give (a bag of that name is ./truth)",
    )
    parser.add_argument(
        "--min-object-area",
        type=float,
        default=0.001,
        metavar="0..1",
        help="share of the image from which on an object counts as in view (default: %(default)s)",
    )
    parser.add_argument(
        "--min-object-frames",
        type=int,
        default=5,
        metavar="COUNT",
        help="objects in view for fewer frames are left out (default: %(default)s)",
    )
    add_model_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Evaluates, and returns the exit code. Raises `UserError`, `OSError`."""
    from eomt_ros.evaluation.output_folder import make_ready, nothing_half
    from eomt_ros.evaluation.report import write_report
    from eomt_ros.evaluation.results import nothing_scored
    from eomt_ros.evaluation.sources import open_sequences

    recorded = None if options.predictions in (None, TRUTH) else Path(options.predictions)
    if recorded is not None and options.save_bag:
        raise UserError(f"--save-bag writes what a model finds, and --predictions {recorded} runs none")
    stop = threading.Event()
    truth = truth_source(options)
    sequences = open_sequences(options.input, topics=options.topics, truth=truth, split=options.split)
    inputs = [path for path in (*options.input, options.truth, recorded) if path is not None]
    make_ready(options.out, inputs, overwrite=options.overwrite)
    with nothing_half(options.out):
        found = _evaluate(options, sequences, recorded, stop)
    print(summary(found))
    print(f"\n{write_report(options.out)}")
    if stop.is_set():
        return STOPPED
    if why := nothing_scored(found):
        raise UserError(why)
    return int(any(sequence.problems.incomplete for sequence in sequences))


def _evaluate(
    options: argparse.Namespace, sequences: list[FrameSequence], recorded: Path | None, stop: threading.Event
) -> Results:
    from eomt_ros.evaluation.metrics import ObjectLimits
    from eomt_ros.evaluation.predictions import EnginePredictions, Predictions
    from eomt_ros.evaluation.recorded import RecordedPredictions
    from eomt_ros.evaluation.run import EvaluationOptions, evaluate
    from eomt_ros.evaluation.true_masks import TrueMasks

    settings: dict[str, Any] = {
        "command": ["eomt-ros", *options.words],
        "input": [os.path.abspath(path) for path in options.input],
    }
    try:
        limits = ObjectLimits(options.min_object_area, options.min_object_frames)
    except ValueError as error:
        raise UserError(str(error)) from error
    with ExitStack() as stack:
        predictions: Predictions
        labels = options.labels or None
        if options.predictions == TRUTH:
            predictions = TrueMasks(options.model, labels, taxonomy=options.taxonomy, classes=options.classes)
        elif recorded is not None:
            predictions = stack.enter_context(
                RecordedPredictions(recorded, sequences, labels, taxonomy=options.taxonomy, classes=options.classes)
            )
        else:
            predictions = EnginePredictions(load_model(options), with_masks=YOUTUBE_VIS in options.exports)
        stack.enter_context(first_sets(stop))
        return evaluate(
            sequences,
            predictions,
            options.out,
            EvaluationOptions(
                settings,
                save_bag=options.save_bag,
                video=not options.no_video,
                convention=Convention(options.convention),
                limits=limits,
                stop=stop,
                exports=options.exports,
                track_metrics=options.metrics == TRACKEVAL,
            ),
        )


def summary(found: Results) -> str:
    """The figures that matter most, and what was wrong, for a terminal."""
    from eomt_ros.evaluation.counting import counted
    from eomt_ros.evaluation.report.figures import Kind, as_text, headline, recording_figures

    lines = [f"{counted(found.frames, 'frame')}, {found.frames_scored:,} with ground truth, {found.seconds:.1f} s"]
    for figure in headline(found):
        missing = f"  ({figure.why_missing(found)})" if figure.value(found) is None else ""
        lines.append(f"  {figure.name:<22}{figure.text(found):>12}{missing}")
    if found.objects_in_metres is not None:
        error, located = found.objects_in_metres.position_error_m, found.objects_in_metres.located_share
        lines.append(
            f"  {'position error':<22}{as_text(error.p50, Kind.METRES):>12}  (90 %: {as_text(error.p90, Kind.METRES)}; "
            f"{as_text(located, Kind.SHARE)} of the things found within {found.objects_in_metres.within_m:g} m are "
            f"within {found.objects_in_metres.located_within_m:g} m)"
        )
    if found.drift is not None:
        for name, first, last in (
            ("mIoU", found.drift.first_miou, found.drift.last_miou),
            ("VPQ", found.drift.first_vpq, found.drift.last_vpq),
        ):
            if first is not None and last is not None:
                lines.append(
                    f"  {name + ' drift':<22}{last - first:>+12.3f}  (first minute {first:.3f}, last {last:.3f})"
                )
    lines += [f"  {name + ' (TrackEval)':<22}{value:>12.3f}" for name, value in found.other_metrics.items()]
    if len(found.recordings) > 1:
        lines += _recording_lines(found.recordings, recording_figures(found))
    return "\n".join([*lines, *(f"note: {problem}" for problem in found.problems)])


def _recording_lines(recordings: Sequence[Recording], figures: Sequence[Figure]) -> list[str]:
    """A table of the recordings, without the longest of lists."""
    rows = [("recording", "frames", *(figure.name for figure in figures))]
    rows += [
        (each.name, f"{each.frames:,}", *(figure.text(each) for figure in figures)) for each in recordings[:MOST_LINES]
    ]
    name, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = [
        "  ".join((f"  {row[0]:<{name}}", *(text.rjust(width) for text, width in zip(row[1:], widths, strict=True))))
        for row in rows
    ]
    left_out = len(recordings) - MOST_LINES
    return [*lines, *([f"  and {left_out:,} more, which report.html and metrics.json have"] if left_out > 0 else [])]
