"""Looks of the stuff classes: floor, walls with the ceiling, shelving."""

import numpy as np
from numpy.typing import NDArray

from demo import CLASS_NAMES, textures
from demo.builder import BOX, ModelBuilder
from demo.layout import Layout, Shelf
from demo.sites import Site

FLOOR, WALL, SHELF = (CLASS_NAMES.index(name) for name in ("floor", "wall", "shelf"))

Array = NDArray[np.float64]


def add_room(builder: ModelBuilder, layout: Layout, site: Site) -> None:
    """Floor with or without painted lines, four walls with what hangs on them, and a ceiling with lamps."""
    rng, length, width, height = builder.rng, layout.length, layout.width, layout.height
    middle, up = np.array([length / 2, width / 2, 0.0]), np.array([0.0, 0.0, 1.0])
    floor = builder.surface(site.floor(rng), repeat=(length / 2.4, width / 2.4))
    wall = site.wall(rng)
    builder.label = (FLOOR, 0)
    builder.plane(middle, (1, 0, 0), (0, 1, 0), (length / 2, width / 2), material=floor)
    if rng.random() < 0.6:
        paint = textures.shade(rng.choice([0.14, 0.33, 0.0]), rng.choice([0.0, 0.75]), rng.uniform(0.7, 0.9))
        for offset in rng.uniform(0.2, 0.8) * width + np.array([-0.9, 0.9]):
            builder.shape(BOX, (length / 2, np.clip(offset, 0.1, width - 0.1), 0.0), (length / 2, 0.04, 0.002), paint)
    builder.label = (WALL, 0)
    gray = rng.uniform(*site.ceiling)
    builder.plane(middle + up * height, (1, 0, 0), (0, -1, 0), (length / 2, width / 2), (gray, gray, gray * 0.98))
    for normal, half, offset in (((1, 0, 0), width / 2, length / 2), ((0, 1, 0), length / 2, width / 2)):
        material = builder.surface(wall, repeat=(2 * half / height, 1.0))
        for sign in (1, -1):
            inward = sign * np.array(normal, dtype=float)
            right = np.cross((0, 0, 1), inward)
            foot = middle - inward * offset
            builder.plane(foot + up * height / 2, right, (0, 0, 1), (half, height / 2), material=material)
            _add_fixture(builder, foot + rng.uniform(-0.75, 0.75) * half * right, right, inward)
    places = [(x, y) for x in np.arange(1.5, length - 0.5, 3.0) for y in np.arange(1.8, width - 0.5, 3.2)]
    site.add_lamps(builder, places, height)


def add_shelves(builder: ModelBuilder, layout: Layout) -> None:
    """Posts of one steel, planks of one wood, and gray goods on the planks."""
    rng = builder.rng
    steel = textures.shade(rng.choice([0.6, 0.08, 0.38, 0.0]), rng.choice([0.1, 0.75]), rng.uniform(0.35, 0.7))
    plank = textures.shade(rng.uniform(0.06, 0.1), rng.uniform(0.0, 0.3), rng.uniform(0.45, 0.7))
    builder.label = (SHELF, 0)
    for shelf in layout.shelves:
        _add_shelf(builder, shelf, steel, plank)


def _add_shelf(builder: ModelBuilder, shelf: Shelf, steel: textures.Color, plank: textures.Color) -> None:
    for x in (-1, 1):
        for y in (-1, 1):
            place = (shelf.x + x * (shelf.half_x - 0.025), shelf.y + y * (shelf.half_y - 0.025), shelf.height / 2)
            builder.shape(BOX, place, (0.03, 0.03, shelf.height / 2), steel)
    # A sheet in the middle: what shows between the goods is shelf, not slivers of wall that no small network can draw.
    half_x, half_y = (shelf.half_x, 0.01) if shelf.half_x > shelf.half_y else (0.01, shelf.half_y)
    middle = shelf.height / 2
    builder.shape(BOX, (shelf.x, shelf.y, middle + 0.04), (half_x, half_y, middle - 0.06), 0.45 * plank)
    levels = int(np.clip(round(shelf.height / 0.5), 3, 5))
    distance = (shelf.height - 0.16) / (levels - 1)
    for level in range(levels):
        z = 0.12 + level * distance
        builder.shape(BOX, (shelf.x, shelf.y, z), (shelf.half_x, shelf.half_y, 0.02), plank)
        if level < levels - 1:
            _add_goods(builder, shelf, z + 0.02, distance - 0.06)


def _add_goods(builder: ModelBuilder, shelf: Shelf, bottom: float, room: float) -> None:
    rng = builder.rng
    along_x = shelf.half_x > shelf.half_y
    half_long, half_deep = (shelf.half_x, shelf.half_y) if along_x else (shelf.half_y, shelf.half_x)
    place = -half_long + 0.06
    while place < half_long - 0.2:
        long, tall = rng.uniform(0.18, 0.42), room * rng.uniform(0.45, 0.95)
        long = min(long, half_long - 0.05 - place)
        if rng.random() < 0.85:
            tone = textures.shade(rng.uniform(0.5, 0.62), rng.uniform(0.0, 0.14), rng.uniform(0.3, 0.85))
            middle, half, deep = place + long / 2, long / 2 - 0.012, rng.uniform(0.6, 0.9) * half_deep
            x, y, half_x, half_y = (middle, 0.0, half, deep) if along_x else (0.0, middle, deep, half)
            builder.shape(BOX, (shelf.x + x, shelf.y + y, bottom + tall / 2), (half_x, half_y, tall / 2), tone)
        place += long


def _add_fixture(builder: ModelBuilder, foot: Array, right: Array, inward: Array) -> None:
    """A door, a notice board, a cable duct, or nothing, on the wall above `foot`."""
    rng = builder.rng

    def slab(
        along: float,
        up: float,
        half_along: float,
        half_thick: float,
        half_up: float,
        color: textures.Color | tuple[float, ...],
    ) -> None:
        half = np.abs(right) * half_along + np.abs(inward) * half_thick + [0, 0, half_up]
        builder.shape(BOX, foot + right * along + [0, 0, up], half, color)

    kind = rng.integers(4)
    if kind == 0:
        tone = textures.shade(rng.random(), rng.uniform(0.05, 0.45), rng.uniform(0.35, 0.75))
        slab(0.0, 1.05, 0.5, 0.03, 1.05, tone * 0.7)
        slab(0.0, 1.02, 0.45, 0.04, 1.0, tone)
        slab(0.37, 1.0, 0.06, 0.07, 0.015, (0.8, 0.8, 0.8))
    elif kind == 1:
        slab(0.0, 1.6, 0.5, 0.02, 0.35, textures.shade(rng.random(), 0.3, 0.8))
        for along in (-0.25, 0.1, 0.3):
            slab(along, rng.uniform(1.5, 1.7), 0.09, 0.025, 0.13, (0.95, 0.95, 0.92))
    elif kind == 2:
        slab(0.0, 2.2, 1.2, 0.05, 0.06, (0.7, 0.71, 0.72))
