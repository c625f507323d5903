"""Initial places: the room, the shelving along its walls, and the things on its floor."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from demo import class_names

_NAMES = class_names("pallet")
BOX, BALL, CONE, BARREL, PERSON, PALLET = (
    _NAMES.index(name) for name in ("box", "ball", "cone", "barrel", "person", "pallet")
)

PALLET_THICKNESS = 0.144
PALLET_LEAN = np.radians(12.0)
"""From the upright, of a pallet that leans against a wall."""


@dataclass(frozen=True)
class Shelf:
    """A shelving unit: centre `x, y`, half extents along x and y, `height`, all in metres."""

    x: float
    y: float
    half_x: float
    half_y: float
    height: float


@dataclass(frozen=True)
class Thing:
    """One countable object: its class, its place and its size.

    `position` is `(x, y)` of its centre at the start, `elevation` the height of what it stands on, `radius` that of the
    circle it needs on the floor, `size` its half extents (a ball's: its radius thrice; a person's third: the full
    height), all in metres. `speed` is in m/s; 0 stands still for ever. A pallet that is higher than deep (y) leans
    against what is behind it; of others, several in a stack are one thing.
    """

    class_id: int
    position: tuple[float, float]
    elevation: float
    radius: float
    size: tuple[float, float, float]
    heading: float
    speed: float


@dataclass(frozen=True)
class Layout:
    """A room from (0, 0) to (length, width) with what stands in it, and the robot's first pose `(x, y, yaw)`."""

    length: float
    width: float
    height: float
    shelves: tuple[Shelf, ...]
    things: tuple[Thing, ...]
    start: tuple[float, float, float]

    def shelf_array(self) -> NDArray[np.float64]:
        """The shelves' `x, y, half_x, half_y` as `(S, 4)`."""
        return _shelf_array(self.shelves)


def make_layout(rng: np.random.Generator, pallet_rng: np.random.Generator | None = None) -> Layout:
    """Draw a room of 8-12 m by 7-9.5 m with about 13 to 25 things, none touching another unless it stands on it.

    Pallets are drawn from `pallet_rng`, after all other things and without moving any; none where it is None.
    """
    length, width, height = rng.uniform(8.0, 12.0), rng.uniform(7.0, 9.5), rng.uniform(2.8, 4.0)
    shelves = _shelves(rng, length, width, height)
    start = (length / 2 + rng.uniform(-1, 1), width / 2 + rng.uniform(-0.5, 0.5), rng.uniform(-np.pi, np.pi))
    taken = [(start[0], start[1], 0.9)]
    things: list[Thing] = []
    counts = {BOX: (3, 5, 1), BALL: (3, 4, 2), CONE: (3, 4, 0), BARREL: (2, 4, 1), PERSON: (2, 4, 4)}
    numbers = {class_id: int(rng.integers(least, most + 1)) for class_id, (least, most, _) in counts.items()}
    for class_id, (_, _, movers) in counts.items():
        for number in range(numbers[class_id]):
            thing = _thing(rng, class_id, number < movers)
            position = _free_place(rng, thing, np.array([length, width]), _shelf_array(shelves), taken)
            if position is None:
                continue
            taken.append((*position, thing.radius))
            things.append(replace(thing, position=position))
            if class_id == BOX and not thing.speed and rng.random() < 0.5:
                things.append(_on_top(rng, things[-1]))
    if pallet_rng is not None:
        things += _pallets(pallet_rng, np.array([length, width]), _shelf_array(shelves), taken)
    return Layout(length, width, height, tuple(shelves), tuple(things), start)


def clearance(
    points: NDArray[np.float64], room: NDArray[np.float64], shelves: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance in metres from each of `points (K, 2)` to the nearest wall or shelf; negative inside one.

    `room (2,)`: length and width. `shelves (S, 4)`: centre and half extents, as `Layout.shelf_array` gives them.
    """
    outside = np.abs(points[:, None, :] - shelves[:, :2]) - shelves[:, 2:]
    beside = np.maximum(outside, 0.0)
    distance = np.sqrt(np.einsum("ksd,ksd->ks", beside, beside)) + np.minimum(outside.max(axis=2), 0.0)
    return np.minimum(np.minimum(points, room - points).min(axis=1), distance.min(axis=1))


def _shelves(rng: np.random.Generator, length: float, width: float, height: float) -> list[Shelf]:
    depth, tall = rng.uniform(0.4, 0.6), min(rng.uniform(1.7, 2.6), height - 0.3)
    shelves = []
    for side in rng.permutation(4)[: rng.integers(2, 4)]:
        along = length if side < 2 else width
        bay = rng.uniform(1.2, 2.0)
        bays = int(rng.integers(1, max(2, int((along - 1.4) / bay))))
        first = rng.uniform(0.7, along - 0.7 - bays * bay) + bay / 2
        for number in range(min(bays, 4)):
            middle, inset = first + number * bay, depth / 2 + 0.03
            if side < 2:
                shelves.append(Shelf(middle, inset if side == 0 else width - inset, bay / 2, depth / 2, tall))
            else:
                shelves.append(Shelf(inset if side == 2 else length - inset, middle, depth / 2, bay / 2, tall))
    if rng.random() < 0.5:
        x, y = rng.choice([0.27, 0.73]) * length, rng.choice([0.33, 0.67]) * width
        half = (rng.uniform(0.6, 0.9), depth / 2)
        half_x, half_y = half if rng.random() < 0.5 else half[::-1]
        shelves.append(Shelf(x, y, half_x, half_y, tall * 0.8))
    return shelves


def _thing(rng: np.random.Generator, class_id: int, moves: bool) -> Thing:
    heading = rng.uniform(-np.pi, np.pi)
    if class_id == BOX:
        size = tuple(rng.uniform([0.17, 0.15, 0.14], [0.36, 0.3, 0.34]))
        radius, speed = float(np.hypot(size[0], size[1])), rng.uniform(0.15, 0.35)
    elif class_id == BALL:
        radius, speed = rng.uniform(0.16, 0.34), rng.uniform(0.25, 0.8)
        size = (radius,) * 3
    elif class_id == CONE:
        tall = rng.uniform(0.6, 1.0)
        size = (0.22 * tall, 0.22 * tall, tall / 2)
        radius, speed = 0.32 * tall, 0.0
    elif class_id == BARREL:
        radius = rng.uniform(0.24, 0.32)
        size, speed = (radius, radius, rng.uniform(0.38, 0.5)), rng.uniform(0.1, 0.3)
    else:
        size = (0.2, 0.2, rng.uniform(1.6, 1.9))
        radius, speed = 0.33, rng.uniform(0.6, 1.2)
    return Thing(class_id, (0.0, 0.0), 0.0, radius, size, heading, float(speed) if moves else 0.0)


def _on_top(rng: np.random.Generator, lower: Thing) -> Thing:
    shrink = rng.uniform(0.65, 0.95)
    size = (lower.size[0] * shrink, lower.size[1] * shrink, rng.uniform(0.12, 0.25))
    return Thing(
        BOX, lower.position, 2 * lower.size[2], lower.radius * shrink, size, lower.heading + rng.uniform(-0.3, 0.3), 0.0
    )


def _pallets(
    rng: np.random.Generator,
    room: NDArray[np.float64],
    shelves: NDArray[np.float64],
    taken: list[tuple[float, float, float]],
) -> list[Thing]:
    """Pallets on the floor, alone, with boxes on them or in stacks, and pallets that lean against walls."""
    things: list[Thing] = []
    for number in range(rng.integers(4, 8)):
        sizes = [(0.6, 0.4), (0.5, 0.4), (0.4, 0.3)][rng.integers(3) :]
        for half in sizes:  # where a large one finds no place, a smaller one may
            leans = number > 0 and rng.random() < 0.4
            pallet = _leaning_pallet(rng, half, room) if leans else _lying_pallet(rng, half)
            position = pallet.position if leans else _free_place(rng, pallet, room, shelves, taken)
            if position is None or (leans and not _is_free(pallet, shelves, taken)):
                continue
            taken.append((*position, pallet.radius))
            things.append(replace(pallet, position=position))
            if not leans and rng.random() < 0.45:
                size = (half[0] * rng.uniform(0.45, 0.85), half[1] * rng.uniform(0.5, 0.9), rng.uniform(0.14, 0.3))
                heading = pallet.heading + rng.uniform(-0.15, 0.15)
                things.append(Thing(BOX, position, 2 * pallet.size[2], pallet.radius, size, heading, 0.0))
            break
    return things


def _lying_pallet(rng: np.random.Generator, half: tuple[float, float]) -> Thing:
    count = rng.choice([1, 2, 3, 4], p=[0.5, 0.2, 0.15, 0.15])
    heading = rng.integers(4) * np.pi / 2 + rng.normal(0.0, 0.2)
    size = (*half, float(count * PALLET_THICKNESS / 2))
    return Thing(PALLET, (0.0, 0.0), 0.0, float(np.hypot(*half)), size, float(heading), 0.0)


def _leaning_pallet(rng: np.random.Generator, half: tuple[float, float], room: NDArray[np.float64]) -> Thing:
    """A pallet on one of its edges, anywhere along one of the walls; its y axis points into the room."""
    half_long, half_up = half if rng.random() < 0.5 else half[::-1]
    cos, sin = np.cos(PALLET_LEAN), np.sin(PALLET_LEAN)
    deep = float(half_up * sin + PALLET_THICKNESS / 2 * cos)
    high = float(half_up * cos + PALLET_THICKNESS / 2 * sin)
    side, off = int(rng.integers(4)), deep + 0.06  # clear of what hangs on the wall
    along = rng.uniform(half_long + 0.1, room[side // 2] - half_long - 0.1)
    x, y = [(along, off), (along, room[1] - off), (off, along), (room[0] - off, along)][side]
    heading = (0.0, np.pi, -np.pi / 2, np.pi / 2)[side]
    radius = float(np.hypot(half_long, deep))
    return Thing(PALLET, (float(x), float(y)), 0.0, radius, (half_long, deep, high), heading, 0.0)


def _is_free(thing: Thing, shelves: NDArray[np.float64], taken: list[tuple[float, float, float]]) -> bool:
    """True if a thing by a wall touches no shelf and no other thing."""
    others, place = np.array(taken), np.array(thing.position)
    outside = np.maximum(np.abs(place - shelves[:, :2]) - shelves[:, 2:], 0.0)
    gaps = np.linalg.norm(place - others[:, :2], axis=1) - others[:, 2]
    return bool(np.linalg.norm(outside, axis=1).min() > thing.radius and gaps.min() > thing.radius + 0.05)


def _free_place(
    rng: np.random.Generator,
    thing: Thing,
    room: NDArray[np.float64],
    shelves: NDArray[np.float64],
    taken: list[tuple[float, float, float]],
) -> tuple[float, float] | None:
    """A free place; what stands still goes mostly by a wall or a shelf, so that the middle stays open to drive in."""
    others = np.array(taken)
    points = rng.uniform(thing.radius + 0.1, room - thing.radius - 0.1, (60, 2))
    gaps = np.linalg.norm(points[:, None] - others[:, :2], axis=2) - others[:, 2] - thing.radius
    borders = clearance(points, room, shelves) - thing.radius
    free = np.flatnonzero((gaps.min(axis=1) > 0.08) & (borders > 0.05))
    if not len(free):
        return None
    best = free[0] if thing.speed or rng.random() < 0.25 else free[:6][np.argmin(borders[free[:6]])]
    return float(points[best, 0]), float(points[best, 1])


def _shelf_array(shelves: Sequence[Shelf]) -> NDArray[np.float64]:
    return np.array([(shelf.x, shelf.y, shelf.half_x, shelf.half_y) for shelf in shelves])
