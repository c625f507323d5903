"""Pictures on one page: each below its caption, row by row."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby

import cv2
import numpy as np

from eomt_ros.evaluation.video import Picture
from eomt_ros.overlay import FONT
from eomt_ros.video import TimedImage

CAPTION_HEIGHT = 22
MARGIN = 4
BACKGROUND = 32


def captioned(picture: Picture, caption: str) -> Picture:
    """The picture below a line that has its caption."""
    tile = np.pad(picture, ((CAPTION_HEIGHT, 0), (0, 0), (0, 0)))
    cv2.putText(tile, caption, (4, CAPTION_HEIGHT - 7), FONT, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


def page_of(tiles: Sequence[Picture], columns: int) -> Picture:
    """The tiles, at least one, row by row; each has the place that the largest of them needs."""
    height = max(tile.shape[0] for tile in tiles) + MARGIN
    width = max(tile.shape[1] for tile in tiles) + MARGIN
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    page = np.full((rows * height + MARGIN, columns * width + MARGIN, 3), BACKGROUND, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = (number // columns) * height + MARGIN, (number % columns) * width + MARGIN
        page[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return page


def side_by_side(videos: Mapping[str, Iterator[TimedImage]]) -> Iterator[TimedImage]:
    """Videos as one: a page for every stamp of any of them, with the pictures of all below their names.

    One that has no picture of that stamp keeps its last, and is black before its first.
    """
    begun = {name: (first, frames) for name, frames in videos.items() if (first := next(frames, None)) is not None}
    shown = {name: np.zeros_like(first.image) for name, (first, _) in begun.items()}
    merged = heapq.merge(*(_named(name, chain([first], rest)) for name, (first, rest) in begun.items()), key=_stamp)
    for stamp, frames in groupby(merged, key=_stamp):
        shown.update((name, frame.image) for name, frame in frames)
        tiles = [captioned(picture, name) for name, picture in shown.items()]
        yield TimedImage(stamp, page_of(tiles, math.ceil(math.sqrt(len(tiles)))))


def _named(name: str, frames: Iterator[TimedImage]) -> Iterator[tuple[str, TimedImage]]:
    return ((name, frame) for frame in frames)


def _stamp(named: tuple[str, TimedImage]) -> int:
    return named[1].stamp
