"""The node over real topics, each side a process of its own: what it adds to the engine in time and in work."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from bench.pictures import picture
from bench.robot import Drive, Robot
from bench.segment_node import isolated_with, segment_node
from bench.timing import Row
from eomt_ros.engine import Segmenter

SIZES = {"640x480": (480, 640), "1920x1080": (1080, 1920)}
SECONDS = 8.0
"""Of images, for a row."""
PAUSE = 0.05
"""Seconds between a result and the next image where latency is measured: nothing waits for anything else."""
TURNS = 3
"""Of node and engine where throughput is."""
OUTSIDE = ("waiting", "decode", "publish")
"""Stages of the node that are not the engine's."""


def rows() -> Iterator[Row]:
    """All measurements of this file, with the demo model."""
    segmenter = Segmenter.load("demo")
    for transport in ("raw", "compressed"):
        for profile in (True, False):
            for size, shape in SIZES.items():
                environment = isolated_with(profile=profile)
                with (
                    segment_node(environment, image_transport=transport) as node,
                    Robot(environment, transport=transport) as robot,
                ):
                    driven = robot.drive([node], size=shape, pause=PAUSE, seconds=SECONDS)
                what = f"{size}, {transport}, {'profile' if profile else 'no profile'}"
                yield latency(f"node beyond the engine, {what}", driven)
                if profile and driven.results:
                    yield cpu(f"CPU of the node beyond the engine, {what}", driven, segmenter, shape)
    yield throughput("node beside the engine's own loop, demo, 640x480", segmenter, (480, 640))
    yield throughput("node, demo, 424x240", segmenter, (240, 424))


def latency(name: str, driven: Drive) -> Row:
    """From an image's stamp to its panoptic image received, less the engine's time."""
    arrived = f"{len(driven.results)} of {driven.sent} arrive"
    if not driven.results:
        return Row(name, note=arrived)
    engine = driven.stages["engine"]
    stages = ", ".join(f"{stage} {driven.stages[stage]:.1f}" for stage in OUTSIDE)
    whole = 1e3 * statistics.median(driven.results)
    note = f"{arrived}; stamp to received {whole:.1f} ms, engine {engine:.1f}, {stages}"
    return Row.of(name, [seconds - engine / 1e3 for seconds in driven.results], note=note)


def cpu(name: str, driven: Drive, segmenter: Segmenter, shape: tuple[int, int]) -> Row:
    """Processor time of the node's process for an image, less what the engine takes for it in a process without ROS."""
    node = driven.cpu_seconds / len(driven.results)
    engine = _loop(segmenter, shape, SECONDS / 2, PAUSE)
    note = f"on all cores: node {1e3 * node:.1f} ms, engine alone {1e3 * engine.cpu_seconds:.1f} ms"
    return Row(name, ours_ms=1e3 * (node - engine.cpu_seconds), pairs=len(driven.results), note=note)


def throughput(name: str, segmenter: Segmenter, shape: tuple[int, int]) -> Row:
    """Time per image where one always waits, in the node and in a loop around the engine, in turn."""
    environment = isolated_with(profile=True)
    node_times, engine_times = [], []
    with segment_node(environment) as node, Robot(environment) as robot:
        for _ in range(TURNS):
            driven = robot.drive([node], size=shape, in_flight=2, seconds=SECONDS / 2)
            if not driven.results:
                return Row(name, note=f"0 of {driven.sent} arrive")
            node_times.append(driven.seconds / len(driven.results))
            engine_times.append(_loop(segmenter, shape, SECONDS / 2).seconds)
    note = f"{1 / statistics.median(node_times):.1f} frames/s; reference: the engine alone"
    return Row.of(name, node_times, engine_times, note=note)


class PerImage(NamedTuple):
    """Costs of an image."""

    seconds: float
    cpu_seconds: float


def _loop(segmenter: Segmenter, shape: tuple[int, int], seconds: float, pause: float = 0.0) -> PerImage:
    """The engine alone. On a thread of its own, as in the node: OpenMP's threads wait for work in another way there."""

    def run() -> PerImage:
        image, stream = picture(*shape), segmenter.open_stream()
        segmenter.segment(image, stream)
        spent, cpu, frames = 0.0, time.process_time(), 0
        while spent < seconds:
            start = time.perf_counter()
            segmenter.segment(image, stream)
            spent += time.perf_counter() - start
            frames += 1
            time.sleep(pause)
        return PerImage(spent / frames, (time.process_time() - cpu) / frames)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()
