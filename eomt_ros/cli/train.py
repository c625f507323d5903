"""`eomt-ros train`: a model of one's own classes."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from eomt_ros.cli.stopping import STOPPED, first_sets
from eomt_ros.errors import UserError
from eomt_ros.extras import missing

if TYPE_CHECKING:
    from eomt_ros.training.settings import TrainingSettings

LENGTHS = {"minutes": "minutes, without validation", "epochs": "passes over the data", "steps": "steps"}


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "train",
        help="train a model on one's own classes",
        description="Train a network on a data set that `eomt-ros dataset` wrote. --out then is a model for every "
        "other command and the node, with its settings, training.csv and report.html. Several processes: --processes, "
        "or torchrun or `accelerate launch`.",
    )
    parser.set_defaults(command=run)
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of the data set")
    parser.add_argument(
        "--start",
        required=True,
        metavar="MODEL",
        help="what to go on from: demo, a folder or hub id of VidEoMT, EoMT, DINOv2 with registers, DINOv3; or nothing",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the result, made anew")
    parser.add_argument("--settings", type=Path, metavar="YAML", help="settings; a run writes all of them to its --out")
    length = parser.add_mutually_exclusive_group()
    for name, text in LENGTHS.items():
        kind = int if name == "steps" else float
        length.add_argument(f"--{name}", type=kind, metavar=name[0].upper(), help=f"length of the run in {text}")
    parser.add_argument("--replay", type=Path, metavar="DATA", help="a second data set, so that its lesson is kept")
    parser.add_argument(
        "--freeze-encoder", action="store_true", help="train the queries, the last blocks and the heads only"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any other setting; may stand several times"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, if there is one")
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto", help="auto: GPUs where there are some")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="processes on this machine (default: 1)")


def run(options: argparse.Namespace) -> int:
    """Trains, and returns the exit code. Raises `UserError`, `OSError`."""
    if options.processes < 1:
        raise UserError(f"--processes is {options.processes}, expected 1 or more")
    try:
        import accelerate  # noqa: F401

        from eomt_ros.training.run import beginning_of, train
    except ModuleNotFoundError as error:
        raise UserError(missing(error, "training")) from error

    settings = settings_of(options)
    if options.processes > 1 and "RANK" not in os.environ:
        beginning_of(options.data, options.start, settings, options.out, replay=options.replay, resume=options.resume)
        launch(options)
    stop = threading.Event()
    with first_sets(stop):
        finished = train(
            options.data,
            options.start,
            settings,
            options.out,
            replay=options.replay,
            resume=options.resume,
            cpu=options.device == "cpu",
            stop=stop,
        )
    return 0 if finished else STOPPED


def settings_of(options: argparse.Namespace) -> TrainingSettings:
    """The settings that the options ask for: those of the file, changed by the others. Raises `SettingsError`."""
    from eomt_ros.training.settings import TrainingSettings, read_settings, with_entries

    settings = read_settings(options.settings) if options.settings else TrainingSettings()
    for name in LENGTHS:
        if (value := getattr(options, name)) is not None:
            settings = with_entries(settings, f"{name}: {value}", f"--{name}")
    if options.freeze_encoder:
        settings = with_entries(settings, "freeze_encoder: true", "--freeze-encoder")
    for each in options.set:
        name, _, value = each.partition("=")
        settings = with_entries(settings, f"{name}: {value}", f"--set {each}")
    return settings


def launch(options: argparse.Namespace) -> None:
    """Becomes a launcher that runs this command in several processes, and ends as they do."""
    # "--", or torchrun takes --start for the beginning of an option of its own.
    words = ["--standalone", f"--nproc-per-node={options.processes}", "-m", "--", "eomt_ros.cli.main", *options.words]
    # Errors only: torch warns of its own search for parameters that a batch of streams does not use.
    environment = {"TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ}
    os.execve(sys.executable, [sys.executable, "-m", "torch.distributed.run", *words], environment)
