"""The cost of knowing things again: ids of 30 things with 1,000 remembered ones."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice

import numpy as np

from bench.timing import Row, seconds
from eomt_ros.engine.tracking.embedding import CHANNELS
from eomt_ros.engine.tracking.reidentify import Recall
from eomt_ros.engine.tracking.tracker import Identities, Observation
from eomt_ros.stamps import SECOND

THINGS, REMEMBERED, CLASSES, WIDTH = 30, 1000, 5, 640
FRAMES = 50
PERIOD = SECOND // 10


def rows() -> Iterator[Row]:
    """Frames that show what the one before showed, and such with newcomers; the reference remembers nothing."""
    for newcomers, text in ((0, "no newcomer"), (1, "1 newcomer"), (THINGS, f"{THINGS} newcomers")):
        ours, reference = (_frames(newcomers, Recall(seconds, 0.4)) for seconds in (1e4, 0.0))
        yield Row.of(f"ids of {THINGS} things, {REMEMBERED} remembered, {text}", ours, reference)


def _frames(newcomers: int, recall: Recall) -> list[float]:
    """Seconds that each frame's ids take; so many of its things were not in the frame before."""
    generator = np.random.default_rng(0)
    identities = Identities()
    crowd = [_thing(number, generator) for number in range(REMEMBERED + FRAMES * newcomers + THINGS)]
    stamp = 0
    for first in range(0, REMEMBERED, THINGS):
        identities.update(crowd[first : first + THINGS], WIDTH, stamp, None, recall)
        stamp += 3 * SECOND
        identities.update([], WIDTH, stamp, None, recall)
    shown = crowd[-THINGS:]
    identities.update(shown, WIDTH, stamp, None, recall)
    new, oldest = iter(crowd[REMEMBERED:]), cycle(range(THINGS))
    times = []
    for _ in range(FRAMES):
        for index in islice(oldest, newcomers):
            shown[index] = next(new)
        stamp += PERIOD
        times.append(seconds(partial(identities.update, shown, WIDTH, stamp, None, recall)))
    return times


def _thing(number: int, generator: np.random.Generator) -> Observation:
    """A thing of colours and a place of its own, in a slot that no other has."""
    colours = generator.dirichlet(np.full(CHANNELS, 0.05)).astype(np.float32)
    box = (20 * (number % THINGS), 100, 40, 60)
    place = generator.uniform(0, 50, 3)
    return Observation(number, number % CLASSES, True, box, np.sqrt(colours), place)
