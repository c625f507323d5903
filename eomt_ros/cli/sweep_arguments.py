"""The argument that scores many thresholds from one pass of the network."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eomt_ros.evaluation.sweep import Sweep


def add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the argument; `sweeps_of` then takes it."""
    parser.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="NAME=FIRST:LAST:STEP",
        help="also score other values of score_threshold, mask_threshold or overlap_threshold, from the same pass of "
        "the network; or NAME=VALUE,VALUE; several are swept one by one, the others as they are",
    )


def sweeps_of(options: argparse.Namespace) -> tuple[Sweep, ...]:
    """What is to be swept. Raises `SweepError` where that makes no sense, or no model runs; `EngineError`."""
    if not options.sweep:
        return ()
    from eomt_ros.engine.model.checkpoint import load_model_labels
    from eomt_ros.evaluation.sweep import Sweep, SweepError, expect_difference, points_of

    sweeps = tuple(map(Sweep.parse, options.sweep))
    points_of(sweeps)
    if options.predictions is not None:
        raise SweepError(f"--sweep needs a model that runs, and --predictions {options.predictions} runs none")
    expect_difference(sweeps, options.task or load_model_labels(options.model, options.labels or None).task)
    return sweeps
