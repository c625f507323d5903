"""`eomt-ros evaluate`: how right and how fast a model is on recordings."""

from __future__ import annotations

import argparse
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
from eomt_ros.cli.fleet_arguments import add_fleet_arguments, evaluate_fleet, is_fleet
from eomt_ros.cli.format_arguments import add_format_arguments, expect_installed
from eomt_ros.cli.gate_arguments import (
    add_gate_arguments,
    add_slice_argument,
    asked_gates,
    asked_slices,
    judged,
    junit_of_failure,
    model_class_names,
)
from eomt_ros.cli.model_arguments import add_model_arguments, asked_model
from eomt_ros.cli.stopping import STOPPED, first_sets
from eomt_ros.cli.sweep_arguments import add_sweep_arguments, sweeps_of
from eomt_ros.errors import UserError
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.formats.names import TRACKEVAL
from eomt_ros.printable import printable

if TYPE_CHECKING:
    from eomt_ros.evaluation.report.figures import Figure
    from eomt_ros.evaluation.request import EvaluationRequest
    from eomt_ros.evaluation.results import Recording, Results

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
    add_input_arguments(parser, split="val", several=True)
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
        "--places",
        choices=["auto", "none"],
        default="auto",
        help="auto: where a bag has depth and odometry, things that come back are also known by their places, as with "
        "a node that has depth and a target_frame; none: from the images alone (default: %(default)s)",
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
    add_fleet_arguments(parser)
    add_slice_argument(parser)
    add_gate_arguments(parser)
    add_sweep_arguments(parser)
    add_model_arguments(parser, without=("size",))


def run(options: argparse.Namespace) -> int:
    """Evaluates, and returns the exit code: 1 where a recording failed. Raises `UserError`, `OSError`."""
    from eomt_ros.evaluation.fleet.inputs import expand

    expect_installed(options)
    request = _request(options)
    recordings = expand(options.input)
    with junit_of_failure(options.junit, ", ".join(map(str, options.input))):
        if is_fleet(options, recordings):
            return _run_many(options, request, recordings)
        with ExitStack() as stack:
            return _run_one(options, request, recordings, stack)


def _request(options: argparse.Namespace) -> EvaluationRequest:
    """What the options ask for. Raises `UserError`."""
    from eomt_ros.evaluation.fleet.remote import is_url, without_secrets
    from eomt_ros.evaluation.metrics import ObjectLimits
    from eomt_ros.evaluation.request import TRUTH, EvaluationRequest

    if options.predictions not in (None, TRUTH) and options.save_bag:
        raise UserError(f"--save-bag writes what a model finds, and --predictions {options.predictions} runs none")
    try:
        limits = ObjectLimits(options.min_object_area, options.min_object_frames)
    except ValueError as error:
        raise UserError(str(error)) from error
    return EvaluationRequest(
        model=asked_model(options, size=max(options.size)),
        topics=tuple(options.topics),
        truth=truth_source(options),
        split=options.split,
        predictions=options.predictions or "",
        places=options.places == "auto",
        save_bag=options.save_bag,
        video=not options.no_video,
        convention=Convention(options.convention),
        limits=limits,
        exports=tuple(options.exports),
        track_metrics=options.metrics == TRACKEVAL,
        sweep=sweeps_of(options),
        settings={
            "command": ["eomt-ros", *(without_secrets(each) if is_url(each) else each for each in options.words)]
        },
    )


def _run_one(
    options: argparse.Namespace, request: EvaluationRequest, recordings: list[Path | str], stack: ExitStack
) -> int:
    """One recording, or pictures: all that it leaves is in the output folder itself.

    stack: until it is closed, what a URL names is at hand.
    """
    from eomt_ros.evaluation.csv_files import write_figure_tables
    from eomt_ros.evaluation.fleet.remote import at_hand
    from eomt_ros.evaluation.fleet.unit import address_of, fingerprint_of
    from eomt_ros.evaluation.output_folder import make_ready, nothing_half
    from eomt_ros.evaluation.report import write_report
    from eomt_ros.evaluation.request import opened_predictions
    from eomt_ros.evaluation.results import nothing_scored
    from eomt_ros.evaluation.run import evaluate
    from eomt_ros.evaluation.slices import tags_of

    stop = threading.Event()
    tags = tags_of(recordings[0], asked_slices(options))
    gates = asked_gates(options, tags, lambda: model_class_names(options))
    paths = [stack.enter_context(at_hand(each)) for each in recordings]
    sequences = request.open(paths)
    settings: dict[str, Any] = {"input": [address_of(each) for each in recordings]}
    if len(recordings) == 1:
        settings["fingerprint"] = fingerprint_of(recordings[0])
    make_ready(
        options.out,
        [path for path in (*recordings, options.truth, request.recorded) if isinstance(path, Path)],
        overwrite=options.overwrite,
    )
    # A signal that comes while the model is loaded leaves nothing.
    with nothing_half(options.out), opened_predictions(request, sequences) as predictions, first_sets(stop):
        found = evaluate(sequences, predictions, options.out, request.options(settings, tags, stop=stop))
    write_figure_tables(found, options.out)
    print(summary(found))
    print(f"\n{write_report(options.out)}")
    if stop.is_set():
        return STOPPED
    if why := nothing_scored(found):
        raise UserError(why)
    incomplete = {each.name: "; ".join(found.problems) for each in sequences if each.problems.incomplete}
    return judged(found, gates, options.junit, incomplete) or int(bool(incomplete))


def _run_many(options: argparse.Namespace, request: EvaluationRequest, recordings: list[Path | str]) -> int:
    """Each recording has a folder of its own in the output folder, which has what is of all."""
    from eomt_ros.evaluation.fleet.output import write_fleet
    from eomt_ros.evaluation.fleet.unit import units_of

    if not any(isinstance(each, str) or each.exists() for each in recordings):
        raise UserError(f"{recordings[0]} does not exist")
    stop = threading.Event()
    units, notes = units_of(recordings, request, asked_slices(options))
    tags = {tag for unit in units for tag in unit.tags}
    gates = asked_gates(options, tags, lambda: model_class_names(options))
    fleet = evaluate_fleet(options, request, units, notes, stop)
    found = fleet.results(stopped=stop.is_set())
    # Those of all shards are put together by `eomt-ros merge`.
    report = "" if options.shard else f"\n{write_fleet(found, options.out)}"
    print("\n".join((summary(found), report)).rstrip())
    if stop.is_set():
        return STOPPED
    return judged(found, gates, options.junit, fleet.incomplete) or int(bool(fleet.incomplete or found.failed))


def summary(found: Results) -> str:
    """The figures that matter most, and what was wrong, for a terminal."""
    from eomt_ros.evaluation.counting import counted
    from eomt_ros.evaluation.report.figures import Kind, as_text, headline, recording_figures
    from eomt_ros.evaluation.report.sweep import sweep_lines

    lines = [f"{counted(found.frames, 'frame')}, {found.frames_scored:,} with ground truth, {found.seconds:.1f} s"]
    runs = [found.settings[name] for name in ("backend", "precision", "device") if found.settings.get(name)]
    if runs:
        lines.append(f"  {'network':<22}{', '.join(runs):>12}")
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
    if found.returns_right is not None:
        lines.append(
            f"  {'returns with old id':<22}{as_text(found.returns_right, Kind.SHARE):>12}  (with another object's id "
            f"{as_text(found.returns_wrong, Kind.SHARE)}; of those after 2 to 60 s)"
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
    lines += sweep_lines(found)
    lines += [f"note: {problem}" for problem in found.problems]
    lines += [f"failed: {printable(each.name)}: {printable(each.error)}" for each in found.failed[:MOST_LINES]]
    if len(found.failed) > MOST_LINES:
        lines.append(f"failed: {len(found.failed) - MOST_LINES:,} more, which report.html has")
    return "\n".join(lines)


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
