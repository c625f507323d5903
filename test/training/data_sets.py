"""Small data sets, written by the writer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from eomt_ros.training.dataset import DatasetClass
from eomt_ros.training.dataset_writer import DatasetWriter

FLOOR, WALL, BOX, BALL = range(4)
CLASSES = (
    DatasetClass("floor", False, (90, 90, 90)),
    DatasetClass("wall", False, (200, 180, 150)),
    DatasetClass("box", True, (220, 120, 20)),
    DatasetClass("ball", True, (20, 120, 220)),
)
HEIGHT, WIDTH = 24, 32
PERIOD = 10**8
"""Nanoseconds from frame to frame."""


class Frame(TypedDict, total=False):
    """The arguments of `DatasetWriter.add`."""

    video: str
    split: str
    stamp: int
    image: npt.NDArray[np.uint8]
    class_ids: npt.NDArray[Any]
    instances: npt.NDArray[Any] | None


def labels(number: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Classes and instance ids of a frame: wall over floor, two boxes (one moves), a ball, nothing at the edge."""
    classes = np.full((HEIGHT, WIDTH), FLOOR, np.uint8)
    classes[: HEIGHT // 2] = WALL
    classes[:, -2:] = 255
    instances = np.zeros((HEIGHT, WIDTH), np.uint16)
    for rows, columns, class_id, instance in (
        (slice(4, 10), slice(2 + number, 8 + number), BOX, 700),
        (slice(14, 20), slice(2, 8), BOX, 3),
        (slice(12, 16), slice(20, 24), BALL, 3),
    ):
        classes[rows, columns] = class_id
        instances[rows, columns] = instance
    return classes, instances


def picture(seed: int) -> npt.NDArray[np.uint8]:
    """(H, W, 3), another one for each seed, smooth enough for JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1))


def write_frames(folder: Path, *frames: Frame) -> None:
    """A data set of these frames."""
    with DatasetWriter(folder, CLASSES) as writer:
        for frame in frames:
            writer.add(**frame)


def frame_of(number: int) -> Frame:
    """A frame of the video `a` in training."""
    classes, instances = labels(number)
    return {
        "video": "a",
        "split": "train",
        "stamp": number * PERIOD,
        "image": picture(number),
        "class_ids": classes,
        "instances": instances,
    }


def write_dataset(
    folder: Path, frames: int = 3, train: tuple[str, ...] = ("a", "b"), val: tuple[str, ...] = ("c",)
) -> Path:
    """A data set of videos with `frames` frames each."""
    with DatasetWriter(folder, CLASSES) as writer:
        for place, video in enumerate((*train, *val)):
            for number in range(frames):
                split = "train" if video in train else "val"
                writer.add(video, split, number * PERIOD, picture(100 * place + number), *labels(number))
    return folder


def change_json(path: Path, change: Any) -> None:
    """Writes a JSON file anew after `change` was called with its content."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
