"""Clouds of points from depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from eomt_ros.space.pinhole import Pinhole

Points = npt.NDArray[np.float32]

_CELLS = 1 << 20  # voxels to each side of the camera, along an axis


def organised(depth: npt.NDArray[np.float32], pinhole: Pinhole) -> Points:
    """The point of each pixel in the camera's optical frame, (H, W, 3) float32 in metres, NaN where depth is unknown.

    depth: (H, W) float32 of the pinhole's size.
    """
    points = np.empty((*depth.shape, 3), np.float32)
    np.multiply(pinhole.rays(), depth[..., None], out=points[..., :2])
    points[..., 2] = depth
    return points


def obstacles(
    points: Points, class_ids: npt.NDArray[Any], is_obstacle: npt.NDArray[np.bool_], voxel: float
) -> tuple[Points, npt.NDArray[Any]]:
    """The points of classes that are obstacles, one for each cube of `voxel` metres: (N, 3) float32, and classes (N,).

    points: as `organised` gives them. class_ids: (H, W) of an unsigned type. is_obstacle: (classes,); ids beyond it,
    as unlabelled has, are none.
    """
    table = np.zeros(np.iinfo(class_ids.dtype).max + 1, bool)
    table[: len(is_obstacle)] = is_obstacle
    wanted = table[class_ids] & np.isfinite(points[..., 2])
    cells = np.full((*wanted.shape, 3), 0, np.int64)
    cells[wanted] = np.clip(np.floor(points[wanted] / voxel), -_CELLS, _CELLS - 1) + _CELLS
    keys = (cells[..., 0] << 42) | (cells[..., 1] << 21) | cells[..., 2]
    _, first = np.unique(keys[wanted], return_index=True)
    return points[wanted][first], class_ids[wanted][first]
