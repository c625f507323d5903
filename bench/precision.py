"""Agreement of half precision with float32: the demo bag, each precision with a stream of its own.

Computed on the CPU, where it says nothing about speed. What is rounded, and so what it leads to, is nearly the same on
a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from bench.models import DEMO
from bench.timing import Row
from eomt_ros.engine import Segmenter
from eomt_ros.evaluation.sources import open_sequences

BAG = DEMO.parent / "bag"
HALF = ("float16", "bfloat16")


def rows() -> Iterator[Row]:
    """In how many pixels class and id are those of float32, over the bag and in its worst frame."""
    segmenters = {
        name: Segmenter.load("demo", device="cpu", backend="torch", precision=name) for name in ("float32", *HALF)
    }
    streams = {name: segmenter.open_stream() for name, segmenter in segmenters.items()}
    same: dict[str, list[tuple[float, float]]] = {name: [] for name in HALF}
    (sequence,) = open_sequences([BAG])
    for frame in sequence.frames(segmenters["float32"].labels.class_names):
        stamp = Fraction(frame.stamp, 10**9)
        results = {name: each.segment(frame.image, streams[name], stamp=stamp) for name, each in segmenters.items()}
        expected = results["float32"]
        for name in HALF:
            classes = np.mean(results[name].semantic == expected.semantic)
            ids = np.mean(results[name].panoptic == expected.panoptic)
            same[name].append((float(classes), float(ids)))
    for name, shares in same.items():
        (classes, ids), (worst_classes, worst_ids) = np.mean(shares, axis=0), np.min(shares, axis=0)
        note = (
            f"{len(shares)} frames: classes {classes:.3%}, ids {ids:.3%} of the pixels; in the worst frame "
            f"{worst_classes:.2%}, {worst_ids:.2%}"
        )
        yield Row(f"{name} beside float32, demo bag", note=note)
