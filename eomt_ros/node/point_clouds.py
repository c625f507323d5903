"""The points of a frame as sensor_msgs/PointCloud2, with class and id of each.

The types are those that consumers read: x, y, z and rgb as RViz's and PCL's points have them, the others as ~/semantic,
~/panoptic and ~/confidence. Every field lies at a multiple of its size, because consumers read it in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from eomt_ros.engine import FrameResult

LABELLED_POINT = np.dtype(
    {
        "names": ("x", "y", "z", "rgb", "id", "class_id", "confidence"),
        "formats": ("f4", "f4", "f4", "f4", "u4", "u2", "u1"),
        "offsets": (0, 4, 8, 12, 16, 20, 22),
        "itemsize": 24,
    }
)
OBSTACLE_POINT = np.dtype(
    {
        "names": ("x", "y", "z", "class_id"),
        "formats": ("f4", "f4", "f4", "u2"),
        "offsets": (0, 4, 8, 12),
        "itemsize": 16,
    }
)
RGB = np.uint32(0xFFFFFF)


def labelled_points(
    points: npt.NDArray[np.float32],
    pixels: npt.NDArray[np.uint8],
    result: FrameResult,
    confidence: npt.NDArray[np.uint8],
) -> npt.NDArray[np.void]:
    """Every pixel's point with its colour, class, id and confidence, (H, W) of `LABELLED_POINT`.

    points: (H, W, 3), m; pixels: (H, W, 3) uint8 RGB; confidence: (H, W).
    """
    cloud = np.zeros(points.shape[:2], LABELLED_POINT)
    cloud["x"], cloud["y"], cloud["z"] = np.moveaxis(points, -1, 0)
    # A float32 whose bits are 0x00RRGGBB, as PCL packs it.
    cloud["rgb"] = (cv2.cvtColor(pixels, cv2.COLOR_RGB2BGRA).view("<u4")[..., 0] & RGB).view("f4")
    cloud["id"] = result.panoptic
    cloud["class_id"] = result.semantic
    cloud["confidence"] = confidence
    return cloud


def obstacle_points(points: npt.NDArray[np.float32], class_ids: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    """Points with their classes, (N,) of `OBSTACLE_POINT`. points: (N, 3), m; class_ids: (N,)."""
    cloud = np.zeros(len(points), OBSTACLE_POINT)
    cloud["x"], cloud["y"], cloud["z"] = points.T
    cloud["class_id"] = class_ids
    return cloud
