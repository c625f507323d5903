"""Post-processing beside Hugging Face's, of blobs, as a trained network gives them, and of noise, the
hardest there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from bench.timing import Row, compare
from eomt_ros.engine.model.families import VIDEOMT
from eomt_ros.engine.postprocess.frame import check_finite, postprocess
from eomt_ros.engine.postprocess.label_map import LabelMap, ResultClasses
from eomt_ros.engine.preprocess.geometry import Placement, stretch
from test.engine import reference

QUERIES = 200
KEPT = 12
SAMPLES = (160, 160)
SIZES = {"1920x1080": (1080, 1920), "640x480": (480, 640)}
CLASSES = {"panoptic": 40, "instance": 40, "semantic": 124}
"""As YouTube-VIS 2019 and VSPW have."""


def rows() -> Iterator[Row]:
    """Each task on each kind of logits, at each size; then where no query is sure of a class."""
    for size in SIZES:
        for structure in (reference.blobs, reference.noise):
            for task, classes in CLASSES.items():
                yield row(
                    f"post-processing, {size}, {task}, {structure.__name__}", task, structure, SIZES[size], classes
                )
    for structure in (reference.blobs, reference.noise):
        name = f"post-processing, 1920x1080, semantic, {structure.__name__}, no class sure"
        yield row(name, "semantic", structure, SIZES["1920x1080"], CLASSES["semantic"], kept=0)


def row(
    name: str,
    task: str,
    structure: Callable[[int, tuple[int, int]], Tensor],
    size: tuple[int, int],
    classes: int,
    kept: int = KEPT,
    *,
    pairs: int = 5,
) -> Row:
    """One task; the note says in how many pixels the results differ."""
    mask_logits, class_logits = structure(QUERIES, SAMPLES), reference.confident(QUERIES, classes, kept)
    found: Callable[[], LabelMap] = partial(
        checked,
        mask_logits[None],
        class_logits[None],
        stretch(SAMPLES)(size),
        task=task,
        classes=ResultClasses.same((True,) * classes),
        score_threshold=VIDEOMT.score_thresholds.get(task, 0.0),
        mask_threshold=0.5,
        overlap_threshold=0.8,
        fuse_stuff=True,
    )
    theirs: Callable[[], reference.Reference] = partial(getattr(reference, task), mask_logits, class_logits, size)
    pixels, expected = numbered(found(), task), theirs().index
    what = f"{classes} classes" if task == "semantic" else f"{kept} of {QUERIES} queries kept"
    note = f"{what}, {np.count_nonzero(pixels != expected)} pixels differ"
    return compare(name, lambda: painted(found()), theirs, pairs=pairs, note=note)


def checked(mask_logits: Tensor, class_logits: Tensor, *placement: Placement, **settings: Any) -> LabelMap:
    """The post-processing with the look for logits that are not finite, which comes before it."""
    check_finite("mask", mask_logits)
    check_finite("class", class_logits)
    return postprocess(mask_logits, class_logits, *placement, **settings)


def painted(found: LabelMap) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """All label images of a frame."""
    return found.semantic(), found.index, found.shown_confidence()


def numbered(found: LabelMap, task: str) -> np.ndarray:
    """The task's label image as Hugging Face numbers it: segments from 0, -1 none."""
    return found.semantic() if task == "semantic" else found.index.astype(int) - 1
