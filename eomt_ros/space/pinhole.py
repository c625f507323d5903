"""Pinhole cameras with distortion: where the ray of each pixel goes, from a CameraInfo."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from eomt_ros.errors import UserError
from eomt_ros.images import MAX_PIXELS
from eomt_ros.printable import printable

# Model -> numbers of coefficients that OpenCV reads as it.
_COEFFICIENTS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (0, 8, 12, 14), "equidistant": (4,)}
_NO_DISTORTION = "plumb_bob"
_KEPT_VIEWS = 16  # of which the rays are kept: as many cameras as a rig may have
_COMES_BACK = 0.5  # pixels; a ray that is further from its pixel when it is projected is none
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-3)


class CameraInfoError(UserError):
    """A CameraInfo that says no view, or not that of the image; the text has the field, its value, and what to do."""


@dataclass(frozen=True, eq=False)
class Pinhole:
    """A view of `height` x `width` pixels.

    `matrix (3, 3) float64`: K, in pixels, the centre of the first pixel at (0, 0). `distortion (N,) float64`:
    coefficients of `model`, which is 'plumb_bob', 'rational_polynomial' or 'equidistant', as OpenCV has them.
    """

    height: int
    width: int
    matrix: npt.NDArray[np.float64]
    distortion: npt.NDArray[np.float64]
    model: str

    @classmethod
    def of(cls, info: Any, *, rectified: bool = False) -> Pinhole:
        """The view of a sensor_msgs/CameraInfo, in the size of its images: binning and region of interest are heeded.

        info: anything with its fields, the arrays' names in upper or lower case. rectified: the images are, so that
        P and no distortion is taken. Raises `CameraInfoError`.
        """
        height, width = int(info.height), int(info.width)
        if not 0 < height * width <= MAX_PIXELS:
            raise CameraInfoError(
                f"camera_info: its size is {width}x{height}, expected 1 to {MAX_PIXELS} pixels; the camera's driver has"
                " to fill in width and height, see its calibration file"
            )
        if rectified:
            matrix, distortion, model = _numbers(info, "p", 12).reshape(3, 4)[:, :3], np.zeros(0), _NO_DISTORTION
        else:
            matrix = _numbers(info, "k", 9).reshape(3, 3)
            distortion, model = _distortion(info)
        field = "P" if rectified else "K"
        if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
            raise CameraInfoError(
                f"camera_info: the focal lengths in {field} are {matrix[0, 0]:g} and {matrix[1, 1]:g}, expected more"
                " than 0: the camera is not calibrated; calibrate it, or give its driver the calibration file"
            )
        if matrix[0, 1] or matrix[1, 0] or tuple(matrix[2]) != (0.0, 0.0, 1.0):
            raise CameraInfoError(
                f"camera_info: {field} is {matrix.ravel().tolist()}, expected fx 0 cx, 0 fy cy, 0 0 1; the camera's"
                " driver has to send it so"
            )
        return cls(height, width, matrix, distortion, model)._cut(info)

    def _cut(self, info: Any) -> Pinhole:
        """The part of the full view that the images show, binned."""
        roi = info.roi
        x, y, width, height = (int(value) for value in (roi.x_offset, roi.y_offset, roi.width, roi.height))
        binning_x, binning_y = max(int(info.binning_x), 1), max(int(info.binning_y), 1)
        if not width and not height and not x and not y:
            width, height = self.width, self.height
        if not 0 < width <= self.width - x or not 0 < height <= self.height - y:
            raise CameraInfoError(
                f"camera_info: the region of interest is {width}x{height} at ({x}, {y}), expected one within"
                f" {self.width}x{self.height}, or all zeros; the camera's driver has to correct roi"
            )
        if width < binning_x or height < binning_y:
            raise CameraInfoError(
                f"camera_info: binning is {binning_x}x{binning_y} for {width}x{height} pixels, expected no more than"
                " these; the camera's driver has to correct binning_x and binning_y"
            )
        matrix = self.matrix.copy()
        matrix[:2, 2] -= x, y
        cut = Pinhole(height, width, matrix, self.distortion, self.model)
        return cut._scaled(height // binning_y, width // binning_x, 1 / binning_x, 1 / binning_y)

    def at(self, height: int, width: int) -> Pinhole:
        """The same view in another size.

        Raises `CameraInfoError` where the two sizes differ in shape, so that it cannot be the same view.
        """
        if (height, width) == (self.height, self.width):
            return self
        if not is_same_view((self.height, self.width), (height, width)):
            raise CameraInfoError(
                f"camera_info is of {self.width}x{self.height} pixels and the image of {width}x{height}: they are not"
                " the same view; remap camera_info to that of the image's camera"
            )
        return self._scaled(height, width, width / self.width, height / self.height)

    def _scaled(self, height: int, width: int, scale_x: float, scale_y: float) -> Pinhole:
        scale = np.array([scale_x, scale_y])
        matrix = self.matrix.copy()
        matrix[[0, 1], [0, 1]] *= scale
        # What is scaled are distances from the image's corner, half a pixel before the first pixel's centre.
        matrix[:2, 2] = (matrix[:2, 2] + 0.5) * scale - 0.5
        return Pinhole(height, width, matrix, self.distortion, self.model)

    def rays(self) -> npt.NDArray[np.float32]:
        """(height, width, 2) float32: x/z and y/z of the ray of each pixel, NaN where the distortion has none.

        The array is kept for the next call, and cannot be written to. Raises `CameraInfoError` for a distortion that
        has no ray for most pixels.
        """
        return _rays(self.height, self.width, self.matrix.tobytes(), self.distortion.tobytes(), self.model)[0]

    def planes(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The same as two arrays (height, width), x/z and y/z."""
        return _rays(self.height, self.width, self.matrix.tobytes(), self.distortion.tobytes(), self.model)[1:]


def is_same_view(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """True if two sizes (height, width) have the same shape, but for less than a pixel that rounding takes."""
    (height, width), (other_height, other_width) = size, other
    if min(*size, *other) <= 0:
        return False
    return abs(width * other_height - other_width * height) < max(size)


def _numbers(info: Any, name: str, count: int | None) -> npt.NDArray[np.float64]:
    """An array of the message; its name is in lower case in ROS 2 and in upper case in ROS 1."""
    value = getattr(info, name) if hasattr(info, name) else getattr(info, name.upper())
    numbers = np.array(value, np.float64).ravel()
    if count is not None and len(numbers) != count:
        raise CameraInfoError(f"camera_info: {name.upper()} has {len(numbers)} numbers, expected {count}")
    if not np.isfinite(numbers).all():
        raise CameraInfoError(
            f"camera_info: {name.upper()} is {numbers.tolist()}, expected finite numbers; the camera's driver has to"
            " send its calibration"
        )
    return numbers


def _distortion(info: Any) -> tuple[npt.NDArray[np.float64], str]:
    numbers = _numbers(info, "d", None)
    model = info.distortion_model.strip().lower()
    if not model and not numbers.any():
        return np.zeros(0), _NO_DISTORTION
    counts = _COEFFICIENTS.get(model)
    if counts is None:
        raise CameraInfoError(
            f"camera_info: the distortion_model is {printable(info.distortion_model, 60)!r}, expected"
            f" {', '.join(_COEFFICIENTS)}; calibrate the camera with one of them, or take its rectified image"
        )
    if len(numbers) not in counts:
        raise CameraInfoError(
            f"camera_info: D has {len(numbers)} numbers, expected {' or '.join(map(str, counts))} for {model}; the"
            " camera's driver has to send all of them"
        )
    return numbers, model


@functools.lru_cache(maxsize=_KEPT_VIEWS)
def _rays(
    height: int, width: int, matrix: bytes, distortion: bytes, model: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The rays together, their x/z, and their y/z."""
    k, d = np.frombuffer(matrix).reshape(3, 3), np.frombuffer(distortion)
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    pixels = np.stack([x.ravel(), y.ravel()], axis=1)
    if model != "equidistant" and not d.any():
        rays = (pixels - k[:2, 2]) / k[[0, 1], [0, 1]]
    else:
        rays = _undistorted(pixels, k, d, model)
        known = np.isfinite(rays).all(axis=1)
        if np.count_nonzero(known) * 2 < len(rays):
            raise CameraInfoError(
                f"camera_info: D of {model} is {d.tolist()}, which leaves {np.count_nonzero(~known)} of {len(rays)}"
                " pixels without a ray; calibrate the camera anew"
            )
    found = rays.reshape(height, width, 2).astype(np.float32)
    x_plane, y_plane = np.ascontiguousarray(found[..., 0]), np.ascontiguousarray(found[..., 1])
    for each in (found, x_plane, y_plane):
        each.flags.writeable = False
    return found, x_plane, y_plane


def _undistorted(
    pixels: npt.NDArray[np.float64], k: npt.NDArray[np.float64], d: npt.NDArray[np.float64], model: str
) -> npt.NDArray[np.float64]:
    """x/z and y/z of pixels (N, 2), NaN where they do not come back to the pixel: the model does not reach there."""
    origin = np.zeros(3)
    points = pixels[:, None]
    if model == "equidistant":
        rays = np.asarray(cv2.fisheye.undistortPoints(points, k, d), np.float64)
        back = cv2.fisheye.projectPoints(_ahead(rays), origin, origin, k, d)[0]
    else:
        # Its five steps of default are too few for a wide lens; older releases have another name for more.
        if hasattr(cv2, "undistortPointsIter"):
            rays = np.asarray(cv2.undistortPointsIter(points, k, d, np.eye(3), np.eye(3), _STEPS), np.float64)
        else:
            rays = np.asarray(cv2.undistortPoints(points, k, d, criteria=_STEPS), np.float64)
        back = cv2.projectPoints(_ahead(rays), origin, origin, k, d)[0]
    with np.errstate(invalid="ignore"):
        lost = ~(np.abs(back.reshape(-1, 2) - pixels).max(axis=1) < _COMES_BACK)
    rays = rays.reshape(-1, 2)
    rays[lost] = np.nan
    return rays


def _ahead(rays: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    flat = rays.reshape(-1, 1, 2)
    return np.concatenate([flat, np.ones_like(flat[..., :1])], axis=2)
