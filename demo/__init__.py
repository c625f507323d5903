"""The small simulated world that the demo bag and the demo checkpoint come from.

Seeds are shared out so that nothing is ever scored on a world it was trained on: `SEEDS` says which are for what.
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass

# MuJoCo reads it when it is first imported, which is after this.
os.environ.setdefault("MUJOCO_GL", "osmesa")

CLASS_NAMES = ("floor", "wall", "shelf", "box", "ball", "cone", "barrel", "person")
"""Class names; a class's id is its place here. `config/labels/demo.yaml` holds the same names with their colours."""

EXTRA_CLASSES = ("pallet",)
"""Things that a world has only where one of them is asked for; their ids follow the others."""

FIRST_THING = CLASS_NAMES.index("box")
"""Classes from this id on are things (countable objects with an id); those before are stuff."""

SITES = ("day", "night")


@dataclass(frozen=True)
class Seeds:
    """The seeds of one kind of world, by what they are for."""

    evaluation: range
    validation: range
    """Watching a training."""
    training: range


SEEDS: Mapping[tuple[str, str | None], Seeds] = {
    ("day", None): Seeds(range(100, 120), range(200, 206), range(1000, 40_000)),
    ("night", None): Seeds(range(120, 126), range(210, 216), range(40_000, 50_000)),
    ("day", "pallet"): Seeds(range(130, 136), range(220, 226), range(50_000, 60_000)),
    ("night", "pallet"): Seeds(range(140, 146), range(230, 236), range(60_000, 70_000)),
}
"""By the site and the extra class. All are disjoint, because the same seed is the same room at every site."""

EVALUATION_SEEDS = SEEDS["day", None].evaluation
BAG_SEED = 8
RIG_SEEDS = {"front": 8, "rear": 9}
"""By the name of the camera."""


def class_names(extra: str | None = None) -> tuple[str, ...]:
    """The names of the classes of a world with the class `extra` of `EXTRA_CLASSES`, in the order of their ids."""
    return CLASS_NAMES if extra is None else (*CLASS_NAMES, extra)


def world_name(seed: int, seconds: float, site: str, extra: str | None) -> str:
    """The name of a recording of a world's first `seconds`, such as `100_20s` or `night_pallet_140_20s`."""
    kind = [name for name in (site, extra) if name not in ("day", None)]
    return "_".join([*map(str, kind), f"{seed}_{seconds:g}s"])


def add_kind_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --site and --extra, the kind of world."""
    parser.add_argument("--site", choices=SITES, default="day", help="the warehouse by day or at night (default: day)")
    parser.add_argument("--extra", choices=EXTRA_CLASSES, help="a class of things that the demo's model never saw")
