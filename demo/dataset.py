"""Renders worlds into a data set to train on: `python -m demo.dataset --worlds 8 --site night --out DATA`.

Rendering is the slow part, so every world is rendered once and kept, in processes side by side; a run that was broken
off goes on with the worlds that are missing. Then all of them are written as a data set, as `eomt-ros dataset` writes
one: training worlds, and worlds with seeds of their own to validate with (`demo.SEEDS`).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from demo import CLASS_NAMES, FIRST_THING, SEEDS, add_kind_arguments, class_names, world_name
from eomt_ros.engine.model.labels import load_labels
from eomt_ros.errors import UserError
from eomt_ros.package_data import shipped
from eomt_ros.training.annotation_files import ANNOTATIONS
from eomt_ros.training.dataset import Dataset, DatasetClass
from eomt_ros.training.dataset_writer import DatasetWriter

EXTRA_COLORS = {"pallet": (150, 214, 60)}
LATEST_START = 60.0
"""Seconds into a world; when a recording begins in it varies with the seed."""


@dataclass(frozen=True)
class Recording:
    """Some seconds of one world as they are kept: one file, `path`."""

    path: Path
    seed: int
    seconds: float
    rate: float
    site: str
    extra: str | None


def classes_of(extra: str | None) -> tuple[DatasetClass, ...]:
    """The classes of a kind of world, in the order of their ids."""
    table = load_labels(shipped("config/labels", "config/labels") / "demo.yaml")
    colors = dict(zip(CLASS_NAMES, table.colors, strict=True)) | EXTRA_COLORS
    return tuple(
        DatasetClass(name, number >= FIRST_THING, colors[name]) for number, name in enumerate(class_names(extra))
    )


def render(recording: Recording) -> None:
    """Renders a world, unless its file is there."""
    if recording.path.exists():
        return
    from demo.world import World  # MuJoCo: not needed where all worlds are kept

    cv2.setNumThreads(1)
    start = float(np.random.default_rng(recording.seed).uniform(0, LATEST_START))
    with World(recording.seed, fine=True, site=recording.site, extra=recording.extra) as world:
        frames = list(world.frames(recording.seconds, recording.rate, start=start, depth=False))
    parts = {name: np.stack([getattr(frame, name) for frame in frames]) for name in ("image", "classes", "instances")}
    # Under another name until it is whole.
    unfinished = recording.path.with_suffix(f".{os.getpid()}.npz")
    recording.path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(unfinished, stamps=np.array([frame.stamp for frame in frames]), **parts)
    unfinished.rename(recording.path)


def make_dataset(out: Path, worlds: Sequence[tuple[str, Recording]], extra: str | None) -> None:
    """Renders what is missing and writes a data set; each world is a video in the part that goes with it."""
    with (
        multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, len(worlds))) as pool,
        DatasetWriter(out, classes_of(extra)) as writer,
    ):
        rendered = pool.imap(render, [recording for _, recording in worlds])
        for split, recording in tqdm(worlds, "rendering worlds", unit="world"):
            next(rendered)
            with np.load(recording.path) as kept:
                parts = [kept[name] for name in ("stamps", "image", "classes", "instances")]
            for stamp, image, classes, instances in zip(*parts, strict=True):
                writer.add(recording.path.stem, split, round(stamp * 1e9), image, classes, instances)


def is_there(out: Path, worlds: Sequence[tuple[str, Recording]]) -> bool:
    """True if the folder is a data set of just these worlds. Raises `DatasetError` where it is a damaged one."""
    if not (out / ANNOTATIONS).exists():
        return False
    found = Dataset.open(out)
    videos = {("train", video.name) for video in found.train} | {("val", video.name) for video in found.val}
    return videos == {(split, recording.path.stem) for split, recording in worlds}


def add_world_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which worlds a data set is made of."""
    parser.add_argument("--worlds", type=int, default=8, metavar="N", help="to train on (default: %(default)s)")
    parser.add_argument("--seeds-from", type=int, metavar="S", help="first seed (default: the first for this kind)")
    parser.add_argument("--val-worlds", type=int, default=2, metavar="N", help="to validate on (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each (default: %(default)g)")
    parser.add_argument("--rate", type=float, default=10.0, help="frames a second (default: %(default)g)")
    add_kind_arguments(parser)
    parser.add_argument(
        "--frames",
        type=Path,
        default=Path("demo_frames"),
        help="where the rendered worlds are kept (default: %(default)s)",
    )


def chosen_worlds(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[tuple[str, Recording]]:
    """The worlds that the options ask for, each with the part of the data set that it is for; ends where none are."""
    kind = (arguments.site, arguments.extra)
    seeds = SEEDS[kind]
    first = seeds.training.start if arguments.seeds_from is None else arguments.seeds_from
    training = range(first, first + arguments.worlds)
    if arguments.worlds < 1 or first not in seeds.training or training[-1] not in seeds.training:
        parser.error(
            f"--worlds {arguments.worlds} --seeds-from {first}: seeds to train on at this kind of world are "
            f"{seeds.training.start} to {seeds.training.stop - 1}"
        )
    if not 0 <= arguments.val_worlds <= len(seeds.validation):
        parser.error(f"--val-worlds is {arguments.val_worlds}, expected 0 to {len(seeds.validation)}")
    if not 0.1 <= arguments.seconds <= 120 or not 0.1 <= arguments.rate <= 100:
        parser.error("--seconds must be 0.1 to 120 and --rate 0.1 to 100")
    length = (arguments.seconds, arguments.rate)
    return [
        (split, Recording(_file(arguments.frames, seed, *length, *kind), seed, *length, *kind))
        for split, chosen in (("val", seeds.validation[: arguments.val_worlds]), ("train", training))
        for seed in chosen
    ]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.dataset", description="Render worlds into a data set that `eomt-ros train` takes."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DATA", help="folder of the data set")
    add_world_arguments(parser)
    arguments = parser.parse_args()
    worlds = chosen_worlds(parser, arguments)
    try:
        if not is_there(arguments.out, worlds):
            make_dataset(arguments.out, worlds, arguments.extra)
        found = Dataset.open(arguments.out)
    except (UserError, ImportError, OSError) as error:
        sys.exit(f"python -m demo.dataset: {error}")
    print(f"{arguments.out}: {len(found.train)} worlds to train on, {len(found.val)} to validate on")
    return 0


def _file(folder: Path, seed: int, seconds: float, rate: float, site: str, extra: str | None) -> Path:
    return folder / f"{world_name(seed, seconds, site, extra)}_{rate:g}hz.npz"


if __name__ == "__main__":
    sys.exit(main())
