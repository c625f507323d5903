"""What a frame becomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Segment:
    """One thing, or one region of stuff, in one frame."""

    id: int
    """Lasts while the object is followed and is never used again in the epoch; 0 in the semantic task."""
    class_id: int
    class_name: str
    is_thing: bool
    score: float
    """0..1."""
    area: int
    """Pixels; in the instance task those of the whole mask, also where a later instance covers it."""
    box: tuple[int, int, int, int]
    """x, y, width, height in pixels, around what the area counts."""
    age: int
    """Frames since the id was given; 0 in the first."""
    mask: tuple[int, ...] | None = None
    """Run lengths over the box, row by row, the first run outside; None unless asked for. See `decode_mask`."""


@dataclass(frozen=True)
class Timings:
    """Seconds spent on one frame. On CUDA, where the host runs ahead, the network's share appears under `postprocess`.

    The frames of a batch share the time of their preprocessing and network.
    """

    preprocess: float
    network: float
    postprocess: float
    identity: float


@dataclass(frozen=True, eq=False)
class Logits:
    """What the network said, before any threshold."""

    masks: np.ndarray
    """(queries, h, w) float32, at the network's own size."""
    classes: np.ndarray
    """(queries, classes + 1) float32, the last column for "no object"."""


@dataclass(frozen=True, eq=False)
class FrameResult:
    """One frame, segmented at its own size."""

    semantic: np.ndarray
    """(H, W) uint8 class ids, 255 unlabelled (uint16 and 65535 above 254 classes)."""
    panoptic: np.ndarray
    """(H, W) uint16 segment ids, 0 none; all 0 in the semantic task."""
    confidence: np.ndarray | None
    """(H, W) uint8, the probability of the pixel's class or segment times 255; None where it was not asked for."""
    segments: list[Segment]
    epoch: int
    """Ids are comparable within one epoch of the stream only."""
    timings: Timings
    logits: Logits | None = None
