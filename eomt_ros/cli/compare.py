"""`eomt-ros compare`: evaluations side by side."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    from eomt_ros.evaluation import results
    from eomt_ros.evaluation.report.comparison import ComparedRun, compare, comparison_page, comparison_text

    runs = [ComparedRun(str(folder), results.read_results(folder)) for folder in (options.first, *options.others)]
    comparison = compare(runs)
    print(comparison_text(comparison, colors=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    if options.html is not None:
        options.html.write_text(comparison_page(comparison), encoding="utf-8")
        print(f"\n{options.html}")
