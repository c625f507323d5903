"""The truth about things in metres: the box of each, its motion, and how much of it is in sight.

A thing's box is the smallest one along the axes of `odom` that holds all of it, also what is hidden.
"""

from dataclasses import dataclass

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from demo.builder import BOX, CAPSULE, CYLINDER, ELLIPSOID, MESH

WHOLE = 0.7
"""A thing of whose outline less than this share is in sight is partial."""
NEAREST = 0.05  # m ahead of the camera: what is closer has no place in a picture

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ThingInView:
    """A thing that is at least partly in view.

    `id` as in the frame's `instances`. `position (3,)`: centre of its box, `size (3,)`: the box's edges, in metres.
    `velocity (3,)`: m/s, that of the thing's own motion, which is that of the box's centre but for what a walking
    person's limbs add to it. `partial`: the picture's border cuts it, or less than `WHOLE` of its outline is in sight.
    `points`: the number of its pixels.
    """

    id: int
    class_id: int
    position: Array
    size: Array
    velocity: Array
    partial: bool
    points: int


class Shapes:
    """The shapes of things, placed as `data` says; `instances (ngeom,)` are those of the model's geoms."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, instances: NDArray[np.uint16]) -> None:
        self._model = model
        self._data = data
        self._geoms = {int(number): np.flatnonzero(instances == number) for number in np.unique(instances) if number}
        self._surfaces = {int(geom): _surface(model, geom) for geom in np.flatnonzero(instances)}

    def box(self, instance: int) -> tuple[Array, Array]:
        """The lower and the upper corner `(3,)` of the box around all geoms of an instance, exact."""
        lows, highs = zip(*(self._span(geom) for geom in self._geoms[instance]), strict=True)
        return np.min(lows, axis=0), np.max(highs, axis=0)

    def outline(self, instance: int, projection: Array, height: int, width: int) -> int:
        """The number of pixels that an instance would have if nothing hid it and the picture went on at its borders.

        projection: `(3, 4)`, from the world's metres to pixels. Beyond a picture's size outside nothing counts.
        """
        canvas = np.zeros((3 * height, 3 * width), np.uint8)
        for geom in self._geoms[instance]:
            x, y, ahead = projection[:, :3] @ self._placed(geom).T + projection[:, 3:]
            seen = ahead > NEAREST
            if seen.any():
                pixels = np.stack([x, y], axis=1)[seen] / ahead[seen, None] + [width, height]
                corners = np.clip(pixels.round(), -1, [3 * width, 3 * height]).astype(np.int32)
                cv2.fillConvexPoly(canvas, cv2.convexHull(corners), 1)  # every kind of geom is convex
        # The edge of what OpenCV fills lies half outside.
        inside = cv2.erode(canvas, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
        return (cv2.countNonZero(canvas) + cv2.countNonZero(inside)) // 2

    def _span(self, geom: int) -> tuple[Array, Array]:
        kind, size = mujoco.mjtGeom(self._model.geom_type[geom]), self._model.geom_size[geom]
        if kind in (BOX, MESH):
            corners = self._placed(geom)
            return corners.min(axis=0), corners.max(axis=0)
        rotation = self._data.geom_xmat[geom].reshape(3, 3)
        upright = np.abs(rotation[:, 2])
        if kind == ELLIPSOID:
            reach = np.linalg.norm(rotation * size, axis=1)
        elif kind == CYLINDER:
            reach = size[0] * np.sqrt(np.maximum(0.0, 1.0 - upright**2)) + size[1] * upright
        else:  # a capsule, or a sphere
            reach = size[0] + (size[1] * upright if kind == CAPSULE else np.zeros(3))
        return self._data.geom_xpos[geom] - reach, self._data.geom_xpos[geom] + reach

    def _placed(self, geom: int) -> Array:
        """Points `(N, 3)` of a geom's surface, in the world."""
        return self._surfaces[geom] @ self._data.geom_xmat[geom].reshape(3, 3).T + self._data.geom_xpos[geom]


def _surface(model: mujoco.MjModel, geom: int) -> Array:
    """Points `(N, 3)` about a geom's own centre whose hull is the geom: a box and a mesh exactly, others nearly."""
    kind, size = mujoco.mjtGeom(model.geom_type[geom]), model.geom_size[geom]
    if kind == MESH:
        mesh = model.geom_dataid[geom]
        first = model.mesh_vertadr[mesh]
        return np.asarray(model.mesh_vert[first : first + model.mesh_vertnum[mesh]], np.float64)
    if kind == BOX:
        return size * np.stack(np.meshgrid(*3 * [(-1.0, 1.0)]), axis=-1).reshape(-1, 3)
    around, up = np.meshgrid(np.arange(24) * np.pi / 12, np.linspace(-np.pi / 2, np.pi / 2, 12))
    ball = np.stack([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)], axis=-1).reshape(-1, 3)
    if kind == CYLINDER:
        ball[:, :2] /= np.maximum(np.linalg.norm(ball[:, :2], axis=1, keepdims=True), 1e-9)
        return np.stack([size[0] * ball[:, 0], size[0] * ball[:, 1], size[1] * np.sign(ball[:, 2])], axis=1)
    if kind == CAPSULE:
        return size[0] * ball + np.sign(ball[:, 2:]) * [0.0, 0.0, size[1]]
    return ball * (size if kind == ELLIPSOID else size[0])
