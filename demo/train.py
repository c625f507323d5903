"""Trains on simulated worlds: renders them into a data set, and calls `eomt-ros train`.

    python -m demo.train --data demo_data --out demo_model --worlds 100 --seconds 4 --minutes 60
    python -m demo.train --site night --data demo_night --out night_model --minutes 20 --replay demo_data

Where the data set is there, it is trained on as it is: a machine with a GPU needs neither MuJoCo nor a network then.
The settings are those of `demo/train.yaml`, and on a GPU of `demo/train_gpu.yaml`; options that are not listed here are
those of `eomt-ros train`, such as `--resume` and `--set learning_rate=1e-4`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from demo.dataset import add_world_arguments, chosen_worlds, make_dataset
from eomt_ros.cli.main import main as eomt_ros
from eomt_ros.errors import UserError

HERE = Path(__file__).parent
MOST_PROCESSES = 6
"""As many as there are streams."""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.train",
        description="Render worlds into a data set, unless it is there, and train on it.",
        epilog="All other options are those of `eomt-ros train`.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--data", type=Path, default=Path("demo_data"), help="folder of the data set (default: %(default)s)"
    )
    parser.add_argument("--start", default="demo", help="as of `eomt-ros train` (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--settings", type=Path, metavar="YAML", help="other settings than the demo's")
    # On a CPU a process per core, each with one thread: threads that meet at every operation stand still whenever the
    # machine does something else.
    parser.add_argument(
        "--processes",
        type=int,
        default=1 if torch.cuda.is_available() else min(os.cpu_count() or 1, MOST_PROCESSES),
        metavar="N",
        help="as of `eomt-ros train` (default: %(default)s here)",
    )
    add_world_arguments(parser)
    arguments, others = parser.parse_known_args()
    worlds = chosen_worlds(parser, arguments)
    if not arguments.data.exists():
        try:
            make_dataset(arguments.data, worlds, arguments.extra)
        except (UserError, ImportError, OSError) as error:
            sys.exit(f"python -m demo.train: {error}")
    settings = arguments.settings or HERE / ("train_gpu.yaml" if torch.cuda.is_available() else "train.yaml")
    words = ["--start", arguments.start, "--out", str(arguments.out), "--settings", str(settings)]
    words += ["--processes", str(arguments.processes)]
    return eomt_ros(["train", str(arguments.data), *words, *others])


if __name__ == "__main__":
    sys.exit(main())
