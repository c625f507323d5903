"""`eomt-ros compare`: evaluations side by side."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from eomt_ros.cli.command import UserError
from eomt_ros.extras import missing

if TYPE_CHECKING:
    from eomt_ros.cli.command import Commands


def add_to(commands: Commands) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "compare",
        help="put evaluations side by side",
        description="Put evaluations side by side, and say of each figure whether it is better or worse than the "
        "first one's.",
    )
    parser.set_defaults(command=run)
    parser.add_argument("first", type=Path, metavar="OUT_A", help="the folder that `eomt-ros evaluate --out` wrote")
    parser.add_argument("others", type=Path, nargs="+", metavar="OUT", help="those to be compared with it")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the comparison as a page, too")


def run(options: argparse.Namespace) -> None:
    """Prints the table. Raises `UserError`, `OSError`."""
    try:
        from eomt_ros.evaluation import results
        from eomt_ros.evaluation.report.comparison import ComparedRun, compare, comparison_page, comparison_text
    except ImportError as error:
        raise UserError(missing(error, "evaluation")) from error

    try:
        runs = [ComparedRun(str(folder), results.read_results(folder)) for folder in (options.first, *options.others)]
    except results.ResultsError as error:
        raise UserError(str(error)) from error
    comparison = compare(runs)
    print(comparison_text(comparison, colors=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    if options.html is not None:
        options.html.write_text(comparison_page(comparison), encoding="utf-8")
        print(f"\n{options.html}")
