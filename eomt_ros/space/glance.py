"""Where things are, at a glance: from some pixels of each in one frame, before they have ids.

It is the middle of what is seen of a thing, not of the thing as `measure` has it: that goes by edges, and a mask that
covers a little of what stands before or behind moves them by metres from one frame to the next. Medians stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from eomt_ros.space.measure import FEWEST, Box, Floats
from eomt_ros.space.pinhole import Pinhole
from eomt_ros.space.pose import Pose

_LOOKED_AT = 1024  # pixels of a thing's box, spread over it
_SAMPLES = 64  # of those, that are used
_SPREAD = np.linspace(0, 1, _SAMPLES)
_DEEPEST = 1.0  # m before and behind the middle, that a thing reaches


class VisibleRegion(Protocol):
    """A part of a segmented frame, as the engine's are."""

    @property
    def is_thing(self) -> bool: ...
    @property
    def box(self) -> Box: ...


def glance(
    index: npt.NDArray[Any],
    regions: Sequence[VisibleRegion],
    depth: npt.NDArray[np.float32],
    pinhole: Pinhole,
    pose: Pose,
) -> Floats:
    """The middle of what is seen of each thing, (N, 3) m in the frame of `pose`.

    NaN for stuff, and with too few pixels with depth.

    index: (H, W), i + 1 where region i is seen. depth: (H, W) m, NaN unknown. pose: of the optical frame in one whose
    z is up.
    """
    found = np.full((len(regions), 3), np.nan)
    samples = {
        place: pixels
        for place, region in enumerate(regions)
        if region.is_thing and (pixels := _samples(index, place + 1, region.box, depth)) is not None
    }
    if not samples:
        return found
    places, flat = list(samples), np.array(list(samples.values()))
    z = depth.ravel()[flat].astype(np.float64)
    optical = np.concatenate([pinhole.rays().reshape(-1, 2)[flat] * z[..., None], z[..., None]], axis=2)
    is_its = np.abs(z - np.median(z, axis=1, keepdims=True)) < _DEEPEST
    ordered = np.sort(np.where(is_its[..., None], optical @ pose.rotation.T, np.inf), axis=1)
    middle = (np.count_nonzero(is_its, axis=1) - 1) // 2
    found[places] = ordered[np.arange(len(places)), middle] + pose.translation
    return found


def _samples(
    index: npt.NDArray[Any], number: int, box: Box, depth: npt.NDArray[np.float32]
) -> npt.NDArray[np.intp] | None:
    """Flat indices (_SAMPLES,) of a thing's pixels that have depth, off its outline; None where there are too few."""
    height, width = index.shape
    left, top = max(box[0], 0), max(box[1], 0)
    right, bottom = min(box[0] + box[2], width), min(box[1] + box[3], height)
    if left >= right or top >= bottom:
        return None
    step = max(1, math.isqrt((right - left) * (bottom - top) // _LOOKED_AT))
    part = np.s_[top:bottom:step, left:right:step]
    mask = index[part] == number
    inner = mask.copy()
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[[0, -1]] = inner[:, [0, -1]] = False
    known = np.isfinite(depth[part])
    pixels = np.flatnonzero(inner & known)
    if len(pixels) < FEWEST:
        pixels = np.flatnonzero(mask & known)
    if len(pixels) < FEWEST:
        return None
    rows, columns = np.divmod(pixels[(_SPREAD * (len(pixels) - 1)).astype(np.intp)], mask.shape[1])
    return (top + rows * step) * width + left + columns * step
