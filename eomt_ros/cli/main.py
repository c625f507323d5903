"""The program `eomt-ros`."""

from __future__ import annotations

import argparse
import sys

from eomt_ros.cli import compare, convert, dataset, evaluate, export, merge, models, overlay, taxonomy, train
from eomt_ros.cli.stopping import exit_code_of, sigterm_as_ctrl_c
from eomt_ros.openmp import wait_asleep


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns the exit code: 1 where it cannot be done, 2 where it is not understood."""
    wait_asleep()
    words = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="eomt-ros", description="Video segmentation for robots.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (evaluate, merge, compare, overlay, models, taxonomy, dataset, train, export, convert):
        command.add_to(commands)
    options = parser.parse_args(words, argparse.Namespace(words=words))
    with sigterm_as_ctrl_c():
        return exit_code_of("eomt-ros", lambda: options.command(options))


if __name__ == "__main__":
    sys.exit(main())
