"""Where a thing is in one frame, and how large, from its mask and the organised cloud."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from eomt_ros.space.cloud import Points
from eomt_ros.space.pose import Pose

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measurement:
    """A thing's smallest box along the axes of the target frame: `low`, `high` (3,) m, and each edge's variance."""

    low: Vector
    high: Vector
    low_variance: Vector
    high_variance: Vector
    partial: bool
    points: int


def measure(mask: npt.NDArray[np.bool_], points: Points, pose: Pose, box: Sequence[int]) -> Measurement | None:
    """Measure one thing, or None where it has too few points."""
    x, y, width, height = box
    inside = mask[y : y + height, x : x + width].astype(np.uint8)
    inside = cv2.erode(np.pad(inside, 1), np.ones((3, 3), np.uint8))[1:-1, 1:-1].astype(bool)
    near = points[y : y + height, x : x + width][inside]
    near = near[np.isfinite(near[:, 2])]
    if len(near) < 10:
        return None
    middle = np.median(near[:, 2])
    spread = np.median(np.abs(near[:, 2] - middle))
    near = near[np.abs(near[:, 2] - middle) < 0.3 + 4 * spread]
    found = pose.apply(near)
    low, high = np.quantile(found, [0.01, 0.99], axis=0)
    variance = np.full(3, (0.02 * float(middle)) ** 2 + 0.05**2)
    partial = bool(x == 0 or y == 0 or x + width == mask.shape[1] or y + height == mask.shape[0])
    return Measurement(low, high, variance, variance, partial, len(near))
