"""Looks of pallets: a class of things that a world has only where `extra` asks for it."""

from collections.abc import Iterator
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from demo import textures
from demo.builder import BOX, ModelBuilder
from demo.layout import PALLET_LEAN, PALLET_THICKNESS, Thing

BLOCK = 0.05
"""Half the width of the blocks between the decks, in metres."""
BOTTOM, TOP, DECK = 0.022, 0.1, 0.122
"""Heights of the bottom boards' upper side, of the blocks' and of the boards that lie on them, in metres."""

Array = NDArray[np.float64]
Part = tuple[Array, tuple[float, float, float], textures.Color]


@dataclass(frozen=True)
class PalletLook:
    """The colour of a pallet's boards and of its blocks, and the number of boards of its deck; 1 is closed."""

    boards: textures.Color
    blocks: textures.Color
    count: int


def add_pallet(builder: ModelBuilder, thing: Thing) -> None:
    """A pallet that leans, or one or several on top of one another."""
    rng, deep, high = builder.rng, thing.size[1], thing.size[2]
    look = _look(rng)
    if high <= deep:
        for level in range(round(2 * high / PALLET_THICKNESS)):
            turn = rng.normal(0.0, 0.02) if level else 0.0
            axes = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1.0]])
            _add_one(builder, look, (thing.size[0], deep), axes, np.array([0, 0, level * PALLET_THICKNESS]))
            look = look if rng.random() < 0.6 else _look(rng)
        return
    cos, sin = np.cos(PALLET_LEAN), np.sin(PALLET_LEAN)
    half_up = (high - PALLET_THICKNESS / 2 * sin) / cos
    # Its columns are where the pallet's own axes point: its width up the wall, its deck into the room or to the wall.
    axes = np.array([[-1.0, 0, 0], [0, -sin, cos], [0, cos, sin]]).T
    foot = np.array([0, half_up * sin - PALLET_THICKNESS / 2 * cos, 0]) + half_up * axes[:, 1]
    if rng.random() < 0.5:
        foot, axes = foot + PALLET_THICKNESS * axes[:, 2], axes * [-1.0, 1.0, -1.0]
    _add_one(builder, look, (thing.size[0], half_up), axes, foot)


def _look(rng: np.random.Generator) -> PalletLook:
    """Fresh or weathered wood, wood with painted blocks, all painted, or plastic."""
    kind, count = rng.integers(5), int(rng.integers(5, 8))
    wood = textures.shade(rng.uniform(0.075, 0.115), rng.uniform(0.3, 0.5), rng.uniform(0.6, 0.9))
    paint = textures.shade(rng.choice([0.6, 0.0, 0.35]), rng.uniform(0.65, 0.9), rng.uniform(0.4, 0.7))
    if kind == 1:
        wood = textures.shade(rng.uniform(0.07, 0.12), rng.uniform(0.05, 0.15), rng.uniform(0.45, 0.65))
    elif kind == 2:
        return PalletLook(wood, paint, count)
    elif kind == 3:
        return PalletLook(paint, paint * 0.8, count)
    elif kind == 4:
        plastic = textures.shade(0.6, rng.choice([0.0, 0.8]), rng.choice([0.13, 0.45]))
        return PalletLook(plastic, plastic, 1)
    return PalletLook(wood, wood * 0.8, count)


def _add_one(builder: ModelBuilder, look: PalletLook, half: tuple[float, float], axes: Array, foot: Array) -> None:
    """One pallet whose own axes, as columns, and lowest middle point are given in the body's."""
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, axes.ravel())
    for centre, size, color in _parts(builder.rng, look, *half):
        builder.shape(BOX, foot + axes @ centre, size, color).quat = quat


def _parts(rng: np.random.Generator, look: PalletLook, half_x: float, half_y: float) -> Iterator[Part]:
    """Centre, half extents and colour of each board and block, x along the deck's boards, z up from the floor."""

    def bar(
        x: float, y: float, low: float, high: float, half_long: float, half_wide: float, color: textures.Color
    ) -> Part:
        tone = np.clip(color * rng.uniform(0.9, 1.1), 0.0, 1.0)
        return np.array([x, y, (low + high) / 2]), (half_long, half_wide, (high - low) / 2), tone

    rows, columns = (half_y - BLOCK) * np.array([-1, 0, 1]), (half_x - BLOCK) * np.array([-1, 0, 1])
    for y in rows:
        yield bar(0.0, y, 0.0, BOTTOM, half_x, BLOCK, look.boards)
        for x in columns:
            yield bar(x, y, BOTTOM, TOP, BLOCK, BLOCK, look.blocks)
    # The dark between the decks: what shows in the openings is pallet, not slivers of floor.
    yield bar(0.0, 0.0, 0.01, TOP, half_x - 1.6 * BLOCK, half_y - 1.6 * BLOCK, 0.12 * look.boards)
    for x in columns:
        yield bar(x, 0.0, TOP, DECK, BLOCK, half_y, look.boards)
    yield bar(0.0, 0.0, TOP, DECK - 0.006, half_x - BLOCK, half_y - 0.01, 0.25 * look.boards)
    pitch = 2 * half_y / look.count
    half_wide = half_y if look.count == 1 else 0.39 * pitch
    first = -half_y + half_wide
    step = 0.0 if look.count == 1 else (2 * half_y - 2 * half_wide) / (look.count - 1)
    for number in range(look.count):
        yield bar(0.0, first + number * step, DECK, PALLET_THICKNESS, half_x, half_wide, look.boards)
