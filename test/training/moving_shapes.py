"""A data set that a tiny network learns in seconds: squares and discs that move over a floor."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eomt_ros.training.dataset import DatasetClass
from eomt_ros.training.dataset_writer import DatasetWriter

SIDE = 64
CLASSES = (
    DatasetClass("floor", False, (90, 90, 90)),
    DatasetClass("square", True, (220, 120, 20)),
    DatasetClass("disc", True, (20, 120, 220)),
)
PERIOD = 10**8
"""Nanoseconds from frame to frame."""


def write_moving_shapes(folder: Path, train: int = 6, val: int = 2, frames: int = 8) -> Path:
    """A data set of videos with a square and a disc each."""
    with DatasetWriter(folder, CLASSES) as writer:
        for number in range(train + val):
            generator = np.random.default_rng(number)
            places, ways = generator.uniform(14, SIDE - 14, (2, 2)), generator.uniform(-1.5, 1.5, (2, 2))
            for frame in range(frames):
                image, classes, instances = drawn_shapes(places + frame * ways, generator)
                split = "train" if number < train else "val"
                writer.add(f"video{number}", split, frame * PERIOD, image, classes, instances)
    return folder


def drawn_shapes(places: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture, its classes and its instances; places: of square and disc, (2, 2)."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    distance = [np.stack((rows - row, columns - column)) for row, column in places]
    shown = (np.abs(distance[0]).max(0) < 9, np.hypot(*distance[1]) < 10)
    classes, instances = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint16)
    image = np.full((SIDE, SIDE, 3), 100, np.float64)
    for number, (mask, color) in enumerate(zip(shown, ((220, 60, 40), (40, 80, 220)), strict=True), start=1):
        classes[mask], instances[mask], image[mask] = number, number, color
    image += generator.normal(0, 4, image.shape)
    return image.clip(0, 255).astype(np.uint8), classes, instances
