"""Pictures and label images in files of their own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import LabelImage
from eomt_ros.evaluation.label_image import LabelImageError, decode_png
from eomt_ros.regular_file import read_bytes

LARGEST_PICTURE = 1 << 29
"""Bytes."""
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def read_picture(path: Path) -> npt.NDArray[np.uint8]:
    """The picture in a file, (H, W, 3) uint8 RGB. Raises `SourceError` that names it."""
    data = np.frombuffer(_read(path), np.uint8)
    try:
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:
        picture = None
    if picture is None:
        raise SourceError(f"{path} is not a picture that can be read")
    return np.asarray(picture[..., ::-1], np.uint8)


def read_png(path: Path, *, colours: bool = False) -> LabelImage:
    """The values in a PNG file, (H, W), see `decode_png`. Raises `SourceError` that names it."""
    try:
        return decode_png(_read(path), colours=colours)
    except LabelImageError as error:
        raise SourceError(f"{path} is {error}") from error


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, LARGEST_PICTURE)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
