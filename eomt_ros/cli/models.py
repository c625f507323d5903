"""`eomt-ros models`: what comes with the package."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from eomt_ros.cli.errors import UserError

if TYPE_CHECKING:
    from eomt_ros.cli import Commands


def add_to(commands: Commands) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "models",
        help="list the label tables that come with the package",
        description="List the label tables that come with the package: task, classes, and the checkpoints they fit.",
    )
    parser.set_defaults(command=run)


def run(_: argparse.Namespace) -> None:
    """Prints the tables. Raises `UserError`."""
    from eomt_ros.engine import LabelsError
    from eomt_ros.engine.labels import shipped_tables
    from eomt_ros.engine.shipped import shipped

    try:
        tables = list(shipped_tables())
    except LabelsError as error:
        raise UserError(str(error)) from error
    print(f"{'labels':<18}{'task':<10}{'things':>7}{'stuff':>7}  for checkpoints named")
    for table in tables:
        things = sum(table.is_thing)
        stuff = len(table.is_thing) - things
        print(f"{table.name:<18}{table.task:<10}{things:>7}{stuff:>7}  {', '.join(table.checkpoints)}")
    try:
        print(f"\nmodel demo comes with the package: {shipped('checkpoint', 'demo/checkpoint')}")
    except FileNotFoundError:
        print("\nmodel demo is missing from this installation")
