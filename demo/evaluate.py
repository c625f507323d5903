"""Scores a checkpoint on worlds that it was not trained on: `python -m demo.evaluate --out demo_scores`.

The worlds are those of `demo.SEEDS`, always the same, recorded as the demo bag is, so that what is scored has gone
through JPEG; then `eomt-ros evaluate` goes through all of them. Recording needs MuJoCo; recordings are kept.

`--site night` and `--extra pallet` are worlds of another kind, with seeds of their own. A model that does not have the
extra class is scored with `--ignore-extra`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

from demo import CLASS_NAMES, SEEDS, add_kind_arguments, world_name
from eomt_ros.cli.main import main as eomt_ros

RATE = 10.0
LONGEST = 3600.0  # s


def record(path: Path, seed: int, seconds: float, site: str, extra: str | None) -> None:
    """Records the world of `seed`, unless a bag of that name is there."""
    if path.exists():
        return
    from demo.record import write_bag  # MuJoCo: not needed where the bags are kept
    from demo.world import World

    with World(seed, fine=True, site=site, extra=extra) as world:
        frames = tqdm(
            world.frames(seconds, RATE), f"recording world {seed}", round(seconds * RATE), leave=False, unit="frame"
        )
        # Under another name until it is whole, because a recording that was broken off must not be scored.
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as unfinished:
            write_bag(Path(unfinished) / "bag", frames, world.camera_matrix)
            (Path(unfinished) / "bag").rename(path)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.evaluate",
        description="Score a checkpoint on worlds it was not trained on, as `eomt-ros evaluate` scores any recording.",
    )
    parser.add_argument("--model", default="demo", help="folder, hub id or demo (default: %(default)s)")
    parser.add_argument(
        "--worlds",
        type=int,
        metavar="N",
        help="how many, 1 to 20; of the other kinds 1 to 6 (default: all)",
    )
    add_kind_arguments(parser)
    parser.add_argument(
        "--ignore-extra",
        action="store_true",
        help="score the other classes alone, as for a model without that of --extra: its pixels count as unlabelled",
    )
    parser.add_argument(
        "--places",
        choices=["auto", "none"],
        default="auto",
        help="none: ids from the images alone, without depth and odometry (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="length of each; from 120 on also the drift (default: %(default)g)"
    )
    parser.add_argument(
        "--bags", type=Path, default=Path("demo_worlds"), help="where the recordings are kept (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo_scores"), help="for metrics.json and report.html (default: %(default)s)"
    )
    arguments = parser.parse_args()
    if not 1 <= arguments.seconds <= LONGEST:
        parser.error(f"--seconds is {arguments.seconds:g}, expected 1 to {LONGEST:g}")
    kind = (arguments.site, arguments.extra)
    seeds = SEEDS[kind].evaluation
    if arguments.worlds is not None and not 1 <= arguments.worlds <= len(seeds):
        parser.error(f"--worlds is {arguments.worlds}, expected 1 to {len(seeds)}: there are no more of this kind")
    bags = []
    for seed in seeds[: arguments.worlds]:
        bags.append(arguments.bags / world_name(seed, arguments.seconds, *kind))
        record(bags[-1], seed, arguments.seconds, *kind)
    # In float32, the reference, so that figures are the same on every machine.
    words = ["--model", arguments.model, "--task", "panoptic", "--precision", "float32", "--out", str(arguments.out)]
    words += ["--places", arguments.places]
    if arguments.ignore_extra:
        words += ["--truth-map", f"ignore={len(CLASS_NAMES)}"]
    return eomt_ros(["evaluate", *map(str, bags), *words, "--overwrite"])


if __name__ == "__main__":
    sys.exit(main())
