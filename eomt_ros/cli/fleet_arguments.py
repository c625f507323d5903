"""The options of an evaluation of many recordings, and the evaluation as they ask for it."""

from __future__ import annotations

import argparse
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eomt_ros.cli.cluster_arguments import add_cluster_arguments, run_on_cluster
from eomt_ros.cli.stopping import first_sets
from eomt_ros.errors import UserError

if TYPE_CHECKING:
    from eomt_ros.evaluation.fleet.evaluation import Fleet, Run
    from eomt_ros.evaluation.fleet.folder import Shard
    from eomt_ros.evaluation.fleet.unit import Unit
    from eomt_ros.evaluation.request import EvaluationRequest

MOST_JOBS = 1024


def add_fleet_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how many recordings are evaluated."""
    parser.add_argument(
        "--jobs",
        type=_jobs,
        metavar="N",
        help="recordings that are evaluated at a time, each in a process of its own (default: 1)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on in the folder of an evaluation that was stopped: recordings that are done stay as they are, if "
        "they, the model, the settings and the version are the same",
    )
    parser.add_argument(
        "--shard",
        type=_shard,
        metavar="K/N",
        help="only the K-th of N parts of the recordings, for the tasks of a cluster; then eomt-ros merge FOLDER",
    )
    add_cluster_arguments(parser)


def is_fleet(options: argparse.Namespace, recordings: Sequence[Path | str]) -> bool:
    """True where each recording gets a folder of its own."""
    from eomt_ros.evaluation.fleet.inputs import is_picture, stands_for_several

    if (
        options.jobs
        or options.resume
        or options.shard
        or options.scheduler
        or any(map(stands_for_several, options.input))
    ):
        return True
    return len(recordings) > 1 and not all(map(is_picture, recordings))


def evaluate_fleet(
    options: argparse.Namespace,
    request: EvaluationRequest,
    units: Sequence[Unit],
    notes: Sequence[str],
    stop: threading.Event,
) -> Fleet:
    """Evaluates recordings as the options ask for. Raises `UserError`, `OSError`."""
    from eomt_ros.evaluation.fleet.evaluation import Fleet
    from eomt_ros.evaluation.fleet.folder import log_of, make_fleet_ready
    from eomt_ros.evaluation.fleet.work import FleetJob

    if options.resume and options.overwrite:
        raise UserError("--resume goes on and --overwrite begins again: give one of them")
    run = run_on_cluster(options, stop) or _run(options, stop)
    shard: Shard | None = options.shard
    own = units if shard is None else units[shard.number - 1 :: shard.of]
    if not own:
        raise UserError(f"--shard {shard.number}/{shard.of} has no recording" if shard else "there is no recording")
    make_fleet_ready(options.out, units, own, overwrite=options.overwrite, resume=options.resume, shard=shard)
    fleet = Fleet(FleetJob(request=request, out=options.out.absolute()), own, notes, write=shard is None)
    with first_sets(stop):
        fleet.evaluate(run, log_of(options.out, shard), resume=options.resume)
    return fleet


def _run(options: argparse.Namespace, stop: threading.Event) -> Run:
    from eomt_ros.evaluation.fleet.local import run_units

    jobs = options.jobs or 1
    return lambda units, job, ended: run_units(units, job, jobs=jobs, on_outcome=ended, stop=stop)


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_JOBS:
        raise argparse.ArgumentTypeError(f"got {text}, expected a number of processes from 1 to {MOST_JOBS}")
    return int(text)


def _shard(text: str) -> Shard:
    from eomt_ros.evaluation.fleet.folder import Shard

    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"got {text}, expected a part and the number of parts, such as 3/50")
    return Shard(int(found[1]), int(found[2]))
