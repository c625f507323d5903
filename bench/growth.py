"""Growth of the cost with image size, segments, classes and cameras, and of memory with time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from bench import machine, postprocess
from bench.pictures import picture
from bench.timing import Row, compare, repeat
from eomt_ros.engine import Segmenter
from test.engine import reference
from test.engine.checkpoints import random_network, save

FULL_HD = (1080, 1920)
IMAGES = ((240, 424), (480, 640), (720, 1280), (1080, 1920), (2160, 3840))
KEPT = (1, 12, 50, 100, 200)
CLASSES = (5, 40, 124)
CAMERAS = (1, 2, 4)
FRAMES = 10_000
WARM_UP = 500
"""Frames after which all that is made once is there."""


def rows() -> Iterator[Row]:
    """All measurements of this file."""
    yield from images()
    for kept in KEPT:
        name = f"post-processing, panoptic, {kept} of {postprocess.QUERIES} queries kept"
        yield postprocess.row(name, "panoptic", reference.blobs, FULL_HD, 40, kept, pairs=3)
    for classes in CLASSES:
        name = f"post-processing, semantic, {classes} classes"
        yield postprocess.row(name, "semantic", reference.blobs, FULL_HD, classes, pairs=3)
    yield from cameras()
    yield memory()


def images() -> Iterator[Row]:
    """Whole frames of the demo model."""
    segmenter = Segmenter.load("demo", device="cpu")
    for height, width in IMAGES:
        image, stream = picture(height, width), segmenter.open_stream()
        yield repeat(
            f"whole frame, demo, {width}x{height}",
            lambda image=image, stream=stream: segmenter.segment(image, stream),
        )


def cameras() -> Iterator[Row]:
    """A frame of each of several cameras in one pass of the network, beside one after the other."""
    segmenter = Segmenter.load("demo", device="cpu")
    for count in CAMERAS:
        images = [picture(480, 640, seed) for seed in range(count)]
        together, apart = ([segmenter.open_stream() for _ in images] for _ in range(2))
        yield compare(
            f"{count} camera(s) in one batch, demo, 640x480",
            lambda images=images, streams=together: segmenter.segment_batch(images, streams),
            lambda images=images, streams=apart: [
                segmenter.segment(*pair) for pair in zip(images, streams, strict=True)
            ],
            note="reference: one after the other",
        )


def memory() -> Row:
    """Growth of a process over many frames, of a network so small that ten thousand take minutes: the network's own
    memory has nothing to do with how many frames it saw.

    A process of its own, as a node is: this one still gives back, or not, what all the measurements before took.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        grown = process.submit(_growth).result()
    note = f"{grown:+.1f} MiB; 424x240, a small random network, with ids and masks"
    return Row(f"memory over {FRAMES} frames", growth_mib=grown, note=note)


def _growth() -> float:
    """MiB."""
    images = [picture(240, 424, seed) for seed in range(10)]
    network = random_network()
    torch.nn.init.zeros_(network.query_updater.weight)  # random ones grow without end, from frame to frame
    with tempfile.TemporaryDirectory() as folder:
        segmenter = Segmenter.load(save(network, Path(folder)), device="cpu")
    stream = segmenter.open_stream()

    def resident_after(count: int) -> float:
        for index in range(count):
            segmenter.segment(images[index % len(images)], stream, stamp=index / 10, with_masks=True)
        return machine.resident()

    before = resident_after(WARM_UP)
    return resident_after(FRAMES) - before
