"""Camera messages and small scenes for the tests of space."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from eomt_ros.space.pinhole import Pinhole

FOCAL, SIZE = 250.0, (240, 320)
DISTORTIONS = {
    "plumb_bob": (-0.28, 0.09, 0.0008, -0.0003, -0.01),
    "rational_polynomial": (0.55, -2.6, 0.0004, -0.0003, 1.5, 0.43, -2.4, 1.4),
    "equidistant": (0.01, -0.02, 0.003, -0.001),
}


def camera_info(**changes: Any) -> SimpleNamespace:
    """A CameraInfo of 320x240 pixels without distortion, in ROS 2's names."""
    region = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    k = [FOCAL, 0.0, 160.0, 0.0, 1.1 * FOCAL, 118.0, 0.0, 0.0, 1.0]
    fields = {
        "height": SIZE[0],
        "width": SIZE[1],
        "distortion_model": "plumb_bob",
        "d": [0.0] * 5,
        "k": k,
        "r": np.eye(3).ravel(),
        "p": [200.0, 0.0, 150.0, 0.0, 0.0, 210.0, 110.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "binning_x": 0,
        "binning_y": 0,
        "roi": region,
    }
    return SimpleNamespace(**{**fields, **changes})


def pinhole() -> Pinhole:
    """The same view, with square pixels and its axis in the middle."""
    matrix = np.array([[FOCAL, 0, 159.5], [0, FOCAL, 119.5], [0, 0, 1]])
    return Pinhole(*SIZE, matrix, np.zeros(0), "plumb_bob")


@dataclass(frozen=True)
class Segment:
    id: int
    box: tuple[int, int, int, int]
    class_id: int = 1
    is_thing: bool = True
    score: float = 0.9

    @property
    def class_name(self) -> str:
        return f"class {self.class_id}"


@dataclass(frozen=True)
class Scene:
    """Boxes on a floor 0.8 m below a level camera, ray by ray: `panoptic (H, W)`, `segments`, `depth (H, W)`."""

    panoptic: np.ndarray
    segments: list[Segment]
    depth: np.ndarray
    epoch: int = 1


def scene(boxes: dict[int, tuple[tuple[float, ...], tuple[float, ...]]], eye: tuple[float, ...], **kind: Any) -> Scene:
    """See `Scene`. boxes: id -> low and high corner in a world with z up; eye: the camera, which looks along x."""
    view = pinhole()
    rays = view.rays().astype(np.float64)
    ways = np.stack([np.ones(SIZE), -rays[..., 0], -rays[..., 1]], axis=-1)
    origin = np.array(eye)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(ways[..., 2] < 0, -origin[2] / ways[..., 2], np.inf)
        depth = np.minimum(depth, 12.0)
        panoptic = np.zeros(SIZE, np.uint16)
        for number, (low, high) in boxes.items():
            ends = np.stack([(np.array(low) - origin) / ways, (np.array(high) - origin) / ways])
            enters, leaves = ends.min(axis=0).max(axis=-1), ends.max(axis=0).min(axis=-1)
            hit = (enters < leaves) & (enters > 0) & (enters < depth)
            depth[hit], panoptic[hit] = enters[hit], number
    segments = []
    for number in np.unique(panoptic[panoptic > 0]):
        y, x = np.nonzero(panoptic == number)
        box = (int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1)
        segments.append(Segment(int(number), box, **kind))
    return Scene(panoptic, segments, depth.astype(np.float32))
