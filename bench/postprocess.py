"""Post-processing at full HD beside Hugging Face's, of blobs, as a trained network gives them, and of noise, the
hardest there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from torch import Tensor

from bench.timing import Row, compare
from eomt_ros.engine.postprocess import Segmentation, postprocess
from test.engine import reference

QUERIES = 200
KEPT = 12
SAMPLES = (160, 160)
SIZE = (1080, 1920)
CLASSES = {"panoptic": 40, "instance": 40, "semantic": 124}
"""As YouTube-VIS 2019 and VSPW have."""


def rows() -> Iterator[Row]:
    """Each task on each kind of logits."""
    for structure in (reference.blobs, reference.noise):
        for task, classes in CLASSES.items():
            logits = structure(QUERIES, SAMPLES), reference.confident(QUERIES, classes, KEPT)
            yield row(task, structure.__name__, *logits)


def row(task: str, structure: str, mask_logits: Tensor, class_logits: Tensor) -> Row:
    """One task; the note says in how many pixels the results differ."""
    ours: Callable[[], Segmentation] = partial(
        postprocess,
        mask_logits,
        class_logits,
        SIZE,
        task=task,
        is_thing=(True,) * (class_logits.shape[1] - 1),
        score_threshold=None,
        mask_threshold=0.5,
        overlap_threshold=0.8,
        fuse_stuff=True,
    )
    theirs: Callable[[], reference.Reference] = partial(getattr(reference, task), mask_logits, class_logits, SIZE)
    found, expected = ours(), theirs().index
    pixels = found.semantic if task == "semantic" else found.segment_index.astype(int) - 1
    kept = f"{CLASSES[task]} classes" if task == "semantic" else f"{KEPT} of {QUERIES} queries kept"
    return compare(
        f"post-processing, 1920x1080, {task}, {structure}",
        ours,
        theirs,
        pairs=5,
        note=f"{kept}, {np.count_nonzero(pixels != expected)} pixels differ",
    )
