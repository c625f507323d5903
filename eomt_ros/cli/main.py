"""The program `eomt-ros`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from eomt_ros.cli import compare, convert, evaluate, export, models, overlay
from eomt_ros.cli.command import UserError
from eomt_ros.cli.stopping import STOPPED, sigterm_as_ctrl_c
from eomt_ros.openmp import wait_asleep


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns the exit code: 1 where it cannot be done, 2 where it is not understood."""
    wait_asleep()
    words = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(words, argparse.Namespace(words=words))
    command: Callable[[argparse.Namespace], int | None] = options.command
    try:
        with sigterm_as_ctrl_c():
            return command(options) or 0
    except (UserError, OSError) as error:
        print(f"eomt-ros: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("eomt-ros: stopped", file=sys.stderr)
        return STOPPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="eomt-ros", description="Video segmentation for robots.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (evaluate, compare, overlay, models, export, convert):
        command.add_to(commands)
    return parser
