"""A contact sheet: some frames of a video on one page."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from eomt_ros.replay.tiles import captioned, page_of


class ContactSheet:
    """Collects pictures and lays them out row by row, each with a caption above it."""

    def __init__(self, *, columns: int = 3, tile_width: int = 480) -> None:
        self._columns = columns
        self._tile_width = tile_width
        self._tiles: list[npt.NDArray[np.uint8]] = []

    def add(self, picture: npt.NDArray[np.uint8], caption: str) -> None:
        """Adds a picture, (H, W, 3) uint8 RGB; one wider than a tile is shrunk to it."""
        height, width = picture.shape[:2]
        if width > self._tile_width:
            size = self._tile_width, max(1, round(height * self._tile_width / width))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        self._tiles.append(captioned(picture, caption))

    def write(self, path: Path) -> None:
        """Writes the sheet as PNG. Raises `OSError` where that fails, `ValueError` without any picture."""
        if not self._tiles:
            raise ValueError("the contact sheet has no pictures")
        if not cv2.imwrite(str(path), page_of(self._tiles, self._columns)[..., ::-1]):
            raise OSError(f"{path} cannot be written")
