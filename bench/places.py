"""How right the places are that things have before their ids: `python -m bench.places RECORDING...`.

The recordings have ground truth with true boxes, depth and odometry. Prints how far the places of the true masks are
from the centres of the true boxes. `python -m bench places` measures the cost.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from bench.timing import Row, compare
from eomt_ros.evaluation.sources.opening import open_sequences
from eomt_ros.evaluation.sources.sequence import SourceFrame
from eomt_ros.evaluation.sources.truth import TruthSource
from eomt_ros.space.glance import glance
from eomt_ros.space.measure import sight
from eomt_ros.space.pinhole import Pinhole
from eomt_ros.space.pose import OPTICAL_IN_BODY

HEIGHT, WIDTH, COLUMNS = 480, 640, 6
SMALLEST = 0.001
"""Share of the image that a thing has at least, as for the figures of objects."""


class Region(NamedTuple):
    """A thing in a picture."""

    box: tuple[int, int, int, int]
    is_thing: bool = True


def rows() -> Iterator[Row]:
    """The places of things that fill a frame, beside the whole measurement that `~/objects` begins with."""
    pinhole = Pinhole(HEIGHT, WIDTH, np.array([[525.0, 0, 319.5], [0, 525.0, 239.5], [0, 0, 1]]), np.zeros(0), "")
    depth = (2 + np.random.default_rng(0).normal(0.0, 0.01, (HEIGHT, WIDTH))).astype(np.float32)
    for things in (12, 30):
        index, regions = np.zeros((HEIGHT, WIDTH), np.uint8), []
        down, across = HEIGHT * COLUMNS // things, WIDTH // COLUMNS
        for number in range(things):
            x, y = number % COLUMNS * across, number // COLUMNS * down
            cv2.ellipse(index, ((x + across / 2, y + down / 2), (across - 4, down - 4), 0.0), number + 1, cv2.FILLED)
            regions.append(Region((x, y, across, down)))
        numbers, boxes = range(1, things + 1), [region.box for region in regions]
        yield compare(
            f"places of {things} things before their ids, {WIDTH}x{HEIGHT}",
            lambda index=index, regions=regions: glance(index, regions, depth, pinhole, OPTICAL_IN_BODY),  # type: ignore[misc]
            lambda index=index, numbers=numbers, boxes=boxes: sight(  # type: ignore[misc]
                index, numbers, boxes, depth, pinhole, OPTICAL_IN_BODY.rotation
            ),
            pairs=15,
            note="reference: the measurement that `~/objects` begins with",
        )


def errors(frame: SourceFrame) -> Iterator[tuple[bool, float]]:
    """Of each true thing: that its mask does not reach the picture's border, and metres from its centre."""
    space, truth = frame.space, frame.truth
    if space is None or space.truth is None or truth is None or truth.instances is None:
        return
    index, keys, regions = np.zeros(truth.instances.shape, np.uint16), [], []
    height, width = index.shape
    for key in space.truth:
        mask = truth.instances == key
        if mask.mean() >= SMALLEST:
            keys.append(key)
            regions.append(Region(tuple(cv2.boundingRect(mask.astype(np.uint8)))))  # type: ignore[arg-type]
            index[mask] = len(keys)
    places = glance(index, regions, space.depth, space.pinhole, space.pose)
    for key, region, place in zip(keys, regions, places, strict=True):
        x, y, across, down = region.box
        whole = x > 0 and y > 0 and x + across < width and y + down < height
        yield whole, float(np.linalg.norm(place - space.truth[key].position))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.places", description=__doc__)
    parser.add_argument("recordings", nargs="+", type=Path, metavar="RECORDING")
    found: dict[bool, list[float]] = {True: [], False: []}
    for sequence in open_sequences(parser.parse_args().recordings, truth=TruthSource()):
        for frame in sequence.frames():
            for whole, error in errors(frame):
                found[whole].append(error)
    print("| things in frames | number | with a place | error p50 | p95 |\n| --- | --- | --- | --- | --- |")
    for name, whole in (("off the picture's border", True), ("cut by it", False)):
        known = np.array(found[whole])[np.isfinite(found[whole])]
        median, most = np.percentile(known, [50, 95]) if len(known) else (np.nan, np.nan)
        share = len(known) / max(len(found[whole]), 1)
        print(f"| {name} | {len(found[whole]):,} | {share:.1%} | {median:.2f} m | {most:.2f} m |")


if __name__ == "__main__":
    main()
