"""`eomt-ros merge`: the figures and the report of recordings that were evaluated by several processes or machines."""

from __future__ import annotations

import argparse
from pathlib import Path

from eomt_ros.cli.gate_arguments import add_gate_arguments, asked_gates, judged


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "merge",
        help="put recordings that were evaluated apart into one report",
        description="Add up the recordings whose evaluations lie in a folder, each in a folder of its own, and leave "
        "metrics.json, report.html and tables of all together beside them. The figures equal those of one run over "
        "all, to the last digit.",
    )
    parser.set_defaults(command=run)
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder that `eomt-ros evaluate --out` wrote")
    add_gate_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Merges, and returns the exit code: 1 where recordings failed or were read in part only, 2 where a gate fails.

    Raises `UserError`, `OSError`.
    """
    from eomt_ros.cli.evaluate import summary
    from eomt_ros.evaluation.fleet.merge import merge
    from eomt_ros.evaluation.fleet.output import write_fleet

    found, incomplete = merge(options.out)
    gates = asked_gates(options, found.slices, lambda: found.class_names)
    report = write_fleet(found, options.out)
    print(summary(found))
    print(f"\n{report}")
    return judged(found, gates, options.junit, incomplete) or int(bool(incomplete or found.failed))
