"""The arguments that score many thresholds from one pass of the network, and many sizes of its input."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from eomt_ros.model_options import ModelOptions, rules_of

if TYPE_CHECKING:
    from eomt_ros.evaluation.sweep import Sweep


def add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments, of which `size` is the one of `ModelOptions`; `sweeps_of` then takes them."""
    parser.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="NAME=FIRST:LAST:STEP",
        help="also score other values of score_threshold, mask_threshold or overlap_threshold, from the same pass of "
        "the network; or NAME=VALUE,VALUE; several are swept one by one, the others as they are",
    )
    parser.add_argument(
        "--size",
        type=_sizes,
        default=(0,),
        metavar="PIXELS[,PIXELS...]",
        help=f"{rules_of(ModelOptions)['size'].text} Of several the largest is that of the run; the others are scored "
        "and timed beside it (default: 0)",
    )


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def sweeps_of(options: argparse.Namespace) -> tuple[Sweep, ...]:
    """What is to be swept. Raises `SweepError` where that makes no sense, or no model runs; `EngineError`."""
    if not options.sweep and len(options.size) == 1:
        return ()
    from eomt_ros.engine.model.checkpoint import load_model_labels
    from eomt_ros.evaluation.sweep import Sweep, SweepError, expect_difference, points_of

    sweeps = tuple(map(Sweep.parse, options.sweep))
    if len(options.size) > 1:
        sweeps = *sweeps, Sweep.of_sizes(options.size)
    points_of(sweeps)
    if options.predictions is not None:
        what = "--sweep" if options.sweep else "--size with several"
        raise SweepError(f"{what} needs a model that runs, and --predictions {options.predictions} runs none")
    expect_difference(sweeps, options.task or load_model_labels(options.model, options.labels or None).task)
    return sweeps
