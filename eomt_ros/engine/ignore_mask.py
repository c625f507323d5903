"""Where a camera sees the robot itself: a picture of the image's size that is black there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eomt_ros.engine.errors import IgnoreMaskError
from eomt_ros.picture_files import PNG_START, ImageError, decode_colour_png, png_size
from eomt_ros.regular_file import read_bytes

CAMERA = "{camera}"
"""Stands for a camera's name in the option `ignore_mask`."""
LARGEST_FILE = 1 << 26
"""Bytes."""
LARGEST_SIDE = 1 << 14
"""Pixels."""


@dataclass(frozen=True, eq=False)
class IgnoreMask:
    """The pixels in which a camera sees the robot itself."""

    path: Path
    seen: np.ndarray
    """(H, W) uint8, 0 where the robot sees itself, else 1."""

    def of_size(self, size: tuple[int, int]) -> np.ndarray:
        """`seen`, for images of a height and width. Raises `IgnoreMaskError` where they have another one."""
        if self.seen.shape != size:
            (height, width), (own_height, own_width) = size, self.seen.shape
            raise IgnoreMaskError(
                f"ignore_mask {self.path} is {own_width}x{own_height}, but the image is {width}x{height}: give a mask "
                "of the images' size, or none"
            )
        return self.seen


def load_ignore_mask(option: str, camera: str = "") -> IgnoreMask | None:
    """The mask of a camera; None where there is none. Black is every pixel without red, green and blue.

    option: `ModelOptions.ignore_mask`. Raises `IgnoreMaskError` for a file that is missing or no such mask, and where
    the option has one for each camera, but this has no name.
    """
    if not option:
        return None
    if CAMERA in option and not camera:
        raise IgnoreMaskError(
            f"ignore_mask is {option!r}, a mask for each camera, but this camera has no name: give the path of its mask"
        )
    path = Path(option.replace(CAMERA, camera)).expanduser()
    what = f"ignore_mask {path}"
    try:
        data = read_bytes(path, LARGEST_FILE)
    except OSError as error:
        raise IgnoreMaskError(f"{what} cannot be read: {error.strerror}") from error
    if not data.startswith(PNG_START):
        raise IgnoreMaskError(f"{what} is no PNG, expected one of the images' size, black where the robot sees itself")
    try:
        if max(png_size(what, data)) > LARGEST_SIDE:
            raise IgnoreMaskError(f"{what} has more than {LARGEST_SIDE} pixels along a side")
        seen = np.asarray(decode_colour_png(what, data).any(2), np.uint8)
    except ImageError as error:
        raise IgnoreMaskError(str(error)) from error
    if not seen.any():
        raise IgnoreMaskError(
            f"{what} is black everywhere, so nothing would be seen: paint white what is not the robot"
        )
    return IgnoreMask(path, seen)
