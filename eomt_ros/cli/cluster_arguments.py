"""The options of an evaluation on the workers of a Dask cluster."""

from __future__ import annotations

import argparse
import math
import threading
from typing import TYPE_CHECKING

from eomt_ros.errors import UserError

if TYPE_CHECKING:
    from eomt_ros.evaluation.fleet.evaluation import Run


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which cluster evaluates, and on which of its workers."""
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="evaluate on the workers of this scheduler of Dask (tcp://HOST:8786), which see recordings and --out at "
        "the same paths",
    )
    parser.add_argument(
        "--worker-resource",
        dest="worker_resources",
        action="append",
        default=[],
        type=_resource,
        metavar="NAME=COUNT",
        help="what a worker has to offer for one recording, such as GPU=1, where it was started with --resources GPU=1",
    )


def run_on_cluster(options: argparse.Namespace, stop: threading.Event) -> Run | None:
    """What evaluates on the cluster that is asked for; None where none is. Raises `UserError`."""
    if options.scheduler is None:
        if options.worker_resources:
            raise UserError("--worker-resource chooses workers of a --scheduler, and there is none")
        return None
    if options.jobs:
        raise UserError(
            f"--jobs {options.jobs} is of this machine, --scheduler {options.scheduler} has its own workers"
        )
    from eomt_ros.evaluation.fleet.cluster import run_units

    resources = dict(options.worker_resources)
    return lambda units, job, ended: run_units(
        units, job, scheduler=options.scheduler, resources=resources, on_outcome=ended, stop=stop
    )


def _resource(text: str) -> tuple[str, float]:
    name, _, count = text.partition("=")
    try:
        number = float(count)
    except ValueError:
        number = math.nan
    if not name or not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"got {text}, expected a name and a number above 0, such as GPU=1")
    return name, number
