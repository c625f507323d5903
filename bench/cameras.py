"""Several cameras in one node beside a node for each: images per second, memory, shares, and what silent ones cost."""

from __future__ import annotations

import statistics
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice

import numpy as np
import psutil

from bench.evaluation import BAG
from bench.robot import Drive, Robot
from bench.segment_node import isolated_with, segment_node
from bench.timing import Row
from eomt_ros.engine import Segmenter
from eomt_ros.evaluation.sources import TruthSource, open_sequences

CAMERAS = ("front", "rear", "left", "right")
SIZE = (480, 640)
COMPARED = 15
"""Frames of each camera whose results are held to those of the camera alone."""
TURNS = 5
SECONDS = 2.5
"""Of images, in each turn."""
OVERLOAD = 2.0
"""Times what the node can do."""
RATE = 10.0
"""Hz of the camera whose latency is measured."""


def rows() -> Iterator[Row]:
    """All measurements of this file, with the demo model."""
    yield equality()
    environment = isolated_with(profile=True)
    together = {f"rig/{name}/image": f"rig/segment/{name}/panoptic" for name in CAMERAS}
    apart = {f"{name}/image": f"{name}/segment/panoptic" for name in CAMERAS}
    with ExitStack() as stack:
        # Every frame, so that none is lost when one is waiting for each camera at any time.
        policy = "every_frame"
        node = stack.enter_context(segment_node(environment, "/rig", cameras=listed(CAMERAS), policy=policy))
        nodes = [stack.enter_context(segment_node(environment, f"/{name}", policy=policy)) for name in CAMERAS]
        rate = yield from throughput(
            stack.enter_context(Robot(environment, together)),
            [node],
            stack.enter_context(Robot(environment, apart)),
            nodes,
        )
    with (
        segment_node(environment, "/rig", cameras=listed(CAMERAS)) as node,
        segment_node(environment, "/front") as alone,
    ):
        with Robot(environment, together) as robot:
            yield shares(robot.drive([node], size=SIZE, rate=OVERLOAD * rate / len(CAMERAS), seconds=2 * SECONDS))
        one_of_many, only_one = dict(islice(together.items(), 1)), dict(islice(apart.items(), 1))
        with Robot(environment, one_of_many) as robot, Robot(environment, only_one) as reference:
            yield latency(robot, node, reference, alone)


def listed(names: tuple[str, ...]) -> str:
    """A list as ROS takes it on the command line."""
    return f"[{', '.join(names)}]"


def equality() -> Row:
    """Pixels whose class or id differs between cameras in one batch and each camera alone, in float32.

    The cameras see the demo bag, each from another frame on.
    """
    segmenter = Segmenter.load("demo", device="cpu", precision="float32")
    (sequence,) = open_sequences([BAG], truth=TruthSource())
    frames = [frame.image for frame in islice(sequence.frames(), COMPARED * len(CAMERAS))]
    together, apart = ([segmenter.open_stream() for _ in CAMERAS] for _ in range(2))
    differing = pixels = 0
    for number in range(COMPARED):
        images = frames[number::COMPARED]
        for image, stream, ours in zip(images, apart, segmenter.segment_batch(images, together), strict=True):
            alone = segmenter.segment(image, stream)
            differing += int(np.count_nonzero((ours.semantic != alone.semantic) | (ours.panoptic != alone.panoptic)))
            pixels += alone.semantic.size
    note = f"{differing:,} of {pixels:,} pixels differ in class or id; {segmenter.backend} {segmenter.precision}"
    return Row(f"{len(CAMERAS)} cameras in a batch, each beside itself alone", differing=differing, note=note)


def throughput(ours: Robot, node: Sequence[int], theirs: Robot, nodes: Sequence[int]) -> Generator[Row, None, float]:
    """Time per image of all cameras together in one node and in a node for each, in turn; then the memory of a node.

    Gives back the images per second of the one node.
    """
    times, their_times, memory, their_memory = [], [], [], []
    for _ in range(TURNS):
        driven = ours.drive(node, size=SIZE, in_flight=2, seconds=SECONDS)
        memory.append(resident(node))
        beside = theirs.drive(nodes, size=SIZE, in_flight=2, seconds=SECONDS)
        their_memory.append(resident(nodes) / len(nodes))
        times.append(driven.seconds / len(driven.results))
        their_times.append(beside.seconds / len(beside.results))
    rate, their_rate = 1 / statistics.median(times), 1 / statistics.median(their_times)
    batch = driven.reports["rig/segment: engine"]["frames per batch"]
    yield Row.of(
        f"{len(CAMERAS)} cameras in one node, demo, 640x480, beside a node each",
        times,
        their_times,
        note=f"{rate:.1f} frames/s in all, {batch} a batch; reference: {their_rate:.1f} in {len(nodes)} nodes",
    )
    mib, their_mib = statistics.median(memory), statistics.median(their_memory)
    yield replace(
        ratios(f"memory of a node with {len(CAMERAS)} cameras beside one with 1", memory, their_memory),
        growth_mib=mib - their_mib,
        note=f"resident: {mib:.0f} MiB, with 1 camera {their_mib:.0f} MiB",
    )
    return rate


def resident(nodes: Sequence[int]) -> float:
    """MiB of all together."""
    return sum(psutil.Process(node).memory_info().rss for node in nodes) / 2**20


def shares(driven: Drive) -> Row:
    """What every camera gets of the node, in shares of an equal part, when all send more than it can do."""
    counts = [len(latencies) for latencies in driven.latencies.values()]
    fair = sum(counts) / len(counts)
    rate = sum(counts) / driven.seconds
    return replace(
        ratios(f"shares of {len(counts)} cameras in an overloaded node", [fair] * len(counts), counts),
        note=f"results: {', '.join(map(str, counts))}, of {driven.sent} images; {rate:.1f} frames/s in all",
    )


def ratios(name: str, ours: Sequence[float], reference: Sequence[float]) -> Row:
    """A row of what is no time."""
    row = Row.of(name, ours, reference)
    return replace(row, ours_ms=None, reference_ms=None, ours_low_ms=None, ours_high_ms=None)


def latency(ours: Robot, node: int, theirs: Robot, alone: int) -> Row:
    """From an image's stamp to its panoptic image received, of one camera whose fellows are silent, in turn with a node
    that has that camera alone.
    """
    pairs = [
        (
            statistics.median(ours.drive([node], size=SIZE, rate=RATE, seconds=SECONDS).results),
            statistics.median(theirs.drive([alone], size=SIZE, rate=RATE, seconds=SECONDS).results),
        )
        for _ in range(TURNS)
    ]
    difference = statistics.median(our - their for our, their in pairs)
    return Row.of(
        f"latency of a {RATE:.0f} Hz camera beside {len(CAMERAS) - 1} silent ones",
        *zip(*pairs, strict=True),
        note=f"{1e3 * difference:+.1f} ms; reference: a node with that camera alone",
    )
