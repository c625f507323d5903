"""A contact sheet: some frames of a video on one page."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

CAPTION_HEIGHT = 22
MARGIN = 4
FONT = cv2.FONT_HERSHEY_SIMPLEX


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
        tile = np.pad(picture, ((CAPTION_HEIGHT, 0), (0, 0), (0, 0)))
        cv2.putText(tile, caption, (4, CAPTION_HEIGHT - 7), FONT, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        self._tiles.append(tile)

    def write(self, path: Path) -> None:
        """Writes the sheet as PNG. Raises `OSError` where that fails, `ValueError` without any picture."""
        if not self._tiles:
            raise ValueError("the contact sheet has no pictures")
        height = max(tile.shape[0] for tile in self._tiles) + MARGIN
        width = max(tile.shape[1] for tile in self._tiles) + MARGIN
        columns = min(self._columns, len(self._tiles))
        rows = -(-len(self._tiles) // columns)
        page = np.full((rows * height + MARGIN, columns * width + MARGIN, 3), 32, np.uint8)
        for number, tile in enumerate(self._tiles):
            top, left = (number // columns) * height + MARGIN, (number % columns) * width + MARGIN
            page[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        if not cv2.imwrite(str(path), page[..., ::-1]):
            raise OSError(f"{path} cannot be written")
