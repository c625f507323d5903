"""From pixels to metres at 640x480 with 12 things: ours beside a plain NumPy loop over the things."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import median

import cv2
import numpy as np

from bench.robot import Robot
from bench.segment_node import isolated_with, segment_node
from bench.timing import Row, compare
from eomt_ros.space.cloud import obstacles, organised
from eomt_ros.space.locator import Locator
from eomt_ros.space.pinhole import Pinhole
from eomt_ros.space.pose import OPTICAL_IN_BODY

SIZE = (480, 640)
THINGS = 12
VOXEL = 0.05
TURNS, SECONDS, RATE = 7, 2.5, 10.0  # Hz
IS_OBSTACLE = np.array([False, True, True])  # ground, wall, thing
NAME = f"points, obstacles and objects, 640x480, {THINGS} things"


@dataclass(frozen=True)
class _Thing:
    id: int
    class_id: int
    class_name: str
    is_thing: bool
    score: float
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class _Frame:
    panoptic: np.ndarray
    semantic: np.ndarray
    segments: list[_Thing]
    epoch: int = 1


def rows() -> Iterator[Row]:
    """The three of them for a frame, without making messages of them."""
    frame, depth = scene()
    pinhole = Pinhole(*SIZE, np.array([[525.0, 0, 319.5], [0, 525.0, 239.5], [0, 0, 1]]), np.zeros(0), "plumb_bob")
    locator, clock = Locator(), iter(range(10**6))

    def ours() -> None:
        points = organised(depth, pinhole)
        obstacles(points, frame.semantic, IS_OBSTACLE, VOXEL)
        locator.locate(frame, depth, pinhole, OPTICAL_IN_BODY, 0.1 * next(clock), fixed=True)

    note = "reference: masks of the whole image, thing by thing and quantity by quantity, in NumPy"
    row = compare(NAME, ours, lambda: plain(frame, depth, pinhole), pairs=15, note=note)
    yield row
    yield replace(row, name=f"{NAME}, beside a plain loop")
    yield unwanted()


def unwanted() -> Row:
    """From an image's stamp to its panoptic image received, of a node with depth of which nobody wants anything, in
    turn with a node without; the camera sends depth to both.
    """
    environment = isolated_with(profile=True)
    topics = {name: {f"{name}/image": f"{name}/segment/panoptic"} for name in ("with", "without")}
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(segment_node(environment, "/with", depth="raw")),
            stack.enter_context(segment_node(environment, "/without")),
        ]
        robots = [stack.enter_context(Robot(environment, topics[name], depth=True)) for name in topics]
        pairs = [
            [
                median(robot.drive([node], size=SIZE, rate=RATE, seconds=SECONDS).results)
                for robot, node in zip(robots, nodes, strict=True)
            ]
            for _ in range(TURNS)
        ]
    difference = 1e3 * median(ours - theirs for ours, theirs in pairs)
    note = f"{difference:+.1f} ms; reference: a node without depth"
    return Row.of("node with depth that nobody wants, demo, 640x480", *zip(*pairs, strict=True), note=note)


def scene() -> tuple[_Frame, np.ndarray]:
    """A floor before a wall at 6 m, and boxes of 90x140 pixels from 2 m on, with a noise that grows with the square."""
    height, width = SIZE
    rng = np.random.default_rng(0)
    below = np.maximum(np.arange(height) - 239.5, 1e-3)[:, None]
    depth = np.broadcast_to(np.minimum(525.0 * 1.0 / below, 6.0), SIZE).copy()
    semantic, panoptic = (depth >= 6.0).astype(np.uint8), np.zeros(SIZE, np.uint16)
    things = []
    for number in range(THINGS):
        x, y = 10 + 105 * (number % 6), 60 + 200 * (number // 6)
        part = np.s_[y : y + 140, x : x + 90]
        depth[part], semantic[part], panoptic[part] = 2.0 + 0.2 * number, 2, number + 1
        things.append(_Thing(number + 1, 2, "thing", True, 1.0, (x, y, 90, 140)))
    # A stereo camera errs alike over some pixels.
    depth += cv2.resize(rng.normal(0.0, 0.002, (height // 8, width // 8)), (width, height)) * depth**2
    return _Frame(panoptic, semantic, things), depth.astype(np.float32)


def plain(frame: _Frame, depth: np.ndarray, pinhole: Pinhole) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same quantities the obvious way: points, one per voxel, and each thing's middle and extents."""
    rays = pinhole.rays()
    points = np.stack([rays[..., 0] * depth, rays[..., 1] * depth, depth], axis=-1)
    wanted = IS_OBSTACLE[np.minimum(frame.semantic, len(IS_OBSTACLE) - 1)] & np.isfinite(depth)
    np.unique(np.floor(points[wanted] / VOXEL).astype(np.int64), axis=0, return_index=True)
    found = []
    for thing in frame.segments:
        mask = (frame.panoptic == thing.id) & np.isfinite(depth)
        inner = mask.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                inner &= np.roll(mask, step, axis)
        middle = np.median(depth[inner])
        spread = np.median(np.abs(depth[inner] - middle))
        kept = inner & (np.abs(depth - middle) < 4 * spread + 0.1)
        low = np.array([np.quantile(points[..., axis][kept], 0.005) for axis in range(3)])
        high = np.array([np.quantile(points[..., axis][kept], 0.995) for axis in range(3)])
        found.append(((low + high) / 2, high - low))
    return found
