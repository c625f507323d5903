"""The segmentation of a frame, and the canvas that it is painted on piece by piece."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from eomt_ros.engine.postprocess.rle import Box, encode_mask
from eomt_ros.engine.postprocess.tiled_resize import Piece


class Painted(NamedTuple):
    """The label images of a frame."""

    semantic: np.ndarray
    """(H, W) uint8 class ids, 255 unlabelled; uint16 and 65535 above 254 classes."""
    panoptic: np.ndarray
    """(H, W) uint16 ids, 0 none."""
    confidence: np.ndarray | None
    """(H, W) uint8: the probability, 0..255, of the pixel's segment (semantic task: class); 0 where there is none. None
    where it was not asked for."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Regions(ABC):
    """One frame's segments, before they have ids. Entry i of each tuple is segment i."""

    size: tuple[int, int]
    """Height and width of the image."""
    queries: tuple[int, ...]
    """Query slots; of fused stuff the first; -1 in the semantic task, where no class has a query of its own."""
    class_ids: tuple[int, ...]
    scores: tuple[float, ...]
    """0..1; in the semantic task the mean confidence over the class's pixels."""
    areas: tuple[int, ...]
    """Pixels; in the instance task those of the whole mask, also where a later segment covers it."""
    boxes: tuple[Box, ...]
    """Around the pixels that the area counts."""
    masks: tuple[tuple[int, ...], ...] | None
    """Run lengths of the same pixels over the box, row by row, the first run counting zeros; None unless asked for."""

    @abstractmethod
    def seen(self) -> np.ndarray:
        """(H, W) integers: 0 none, i + 1 where segment i is seen; all 0 in the semantic task."""

    @abstractmethod
    def painted(self, ids: Sequence[int]) -> Painted:
        """The label images, with an id for each segment, or without any in the semantic task."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Segmentation(Regions):
    """One frame's segmentation, on the host."""

    semantic: np.ndarray
    """As `Painted.semantic`."""
    segment_index: np.ndarray
    """(H, W) uint8, 0 none, i + 1 for segment i; uint16 above 254 segments. All 0 in the semantic task."""
    confidence: np.ndarray | None
    """As `Painted.confidence`."""

    def seen(self) -> np.ndarray:
        """`segment_index`."""
        return self.segment_index

    def painted(self, ids: Sequence[int]) -> Painted:
        """The label images, with an id for each segment, or without any in the semantic task."""
        id_of_index = np.array([0, *ids], np.uint16)
        return Painted(self.semantic, id_of_index[self.segment_index], self.confidence)


@dataclass(frozen=True)
class Segment:
    """What some maps became: one map, or several of the same stuff."""

    query: int
    class_id: int
    score: float
    maps: list[int]


@dataclass(frozen=True)
class Extent:
    """Where a piece's maps have pixels: how many in each row, (n, rows), and in each column, (n, columns)."""

    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, masks: Tensor) -> Extent:
        """masks: (n, rows, columns) float32, 0 or 1."""
        return cls(masks.sum(2), masks.sum(1))


class Canvas:
    """An image of `size` (height, width) on which so many maps find their place, and how sure that is if asked for."""

    def __init__(self, maps: int, size: tuple[int, int], device: torch.device, *, with_confidence: bool) -> None:
        self.owner = np.zeros(size, label_type(maps))
        """(H, W): 0 none, else 1 + the map that the pixel belongs to."""
        self.confidence = np.zeros(size, np.uint8) if with_confidence else None
        self._names = torch.arange(1.0, maps + 1, device=device)[:, None, None]
        self._rows = torch.zeros((maps, size[0]), device=device)
        self._columns = torch.zeros((maps, size[1]), device=device)

    def paint(self, piece: Piece, masks: Tensor, probability: Tensor | None) -> None:
        """Gives pixels to the piece's maps.

        masks: (n, rows, columns) float32, 1 for the pixel's map and 0 for the others; overwritten. probability: of the
        pixel's map, (rows, columns) float32; overwritten; without meaning where no map has the pixel; None where nobody
        asks how sure that is.
        """
        owner = masks.mul_(self._names.index_select(0, piece.maps)).amax(0)
        # A quarter of the bytes to copy; on the CPU numpy converts faster than torch.
        self.owner[piece.rows, piece.columns] = to_host(owner.to(torch.int32) if owner.is_cuda else owner)
        if self.confidence is not None and probability is not None:
            levels = probability.mul_(255).add_(0.5)
            levels = levels.to(torch.uint8) if levels.is_cuda else levels
            self.confidence[piece.rows, piece.columns] = to_host(levels)

    def fill(self, owner: Tensor, probability: Tensor, extent: Extent) -> None:
        """Gives all pixels at once.

        owner: (H, W) float32, 0 none, else 1 + the map. probability: (H, W) float32. extent: of all maps.
        """
        self.owner[...] = to_host(owner)
        if self.confidence is not None:
            self.confidence[...] = to_host(probability.mul(255).add_(0.5))
        self._rows += extent.rows
        self._columns += extent.columns

    def measure(self, piece: Piece, extent: Extent) -> None:
        """Takes pixels into the areas and boxes of the piece's maps."""
        self._rows[:, piece.rows].index_add_(0, piece.maps, extent.rows)
        self._columns[:, piece.columns].index_add_(0, piece.maps, extent.columns)

    def areas(self) -> Tensor:
        """The pixels measured of each map, (maps,) float32."""
        return self._rows.sum(1)

    def segmentation(
        self, segments: Sequence[Segment], classes: int, *, with_masks: bool, whole: np.ndarray | None = None
    ) -> Segmentation:
        """These segments, and nothing of the maps that are in none.

        classes: how many there are. whole: (maps, H, W) bool, the masks to encode where they are not what is painted.
        """
        rows, columns = to_host(self._rows), to_host(self._columns)
        numbers = np.zeros(len(rows) + 1, label_type(len(segments)))
        class_ids = np.full(len(rows) + 1, np.iinfo(label_type(classes)).max, label_type(classes))
        boxes: list[Box] = []
        for number, segment in enumerate(segments, start=1):
            names = np.array(segment.maps) + 1
            numbers[names] = number
            class_ids[names] = segment.class_id
            y, height = _extent(rows[segment.maps].sum(0))
            x, width = _extent(columns[segment.maps].sum(0))
            boxes.append((x, y, width, height))
        segment_index = _look_up(numbers, self.owner)
        masks = None
        if with_masks:
            parts = [(slice(y, y + height), slice(x, x + width)) for x, y, width, height in boxes]
            masks = tuple(
                encode_mask(segment_index[part] == number if whole is None else whole[(segment.maps[0], *part)])
                for number, (segment, part) in enumerate(zip(segments, parts, strict=True), start=1)
            )
        return Segmentation(
            size=self.owner.shape[:2],
            semantic=_look_up(class_ids, self.owner),
            segment_index=segment_index,
            confidence=None if self.confidence is None else self.confidence * (segment_index > 0),
            queries=tuple(segment.query for segment in segments),
            class_ids=tuple(segment.class_id for segment in segments),
            scores=tuple(segment.score for segment in segments),
            areas=tuple(int(rows[segment.maps].sum()) for segment in segments),
            boxes=tuple(boxes),
            masks=masks,
        )


def to_host(tensor: Tensor) -> np.ndarray:
    """The tensor as an array, without a copy where it is on the host already."""
    array: np.ndarray = tensor.cpu().numpy()
    return array


def label_type(values: int) -> type[np.uint8] | type[np.uint16]:
    """The type for the numbers 0 to `values`, with its highest number to spare."""
    return np.uint8 if values <= 254 else np.uint16


def _extent(pixels: np.ndarray) -> tuple[int, int]:
    """The first place with pixels, and how many places there are to the last one."""
    (places,) = pixels.nonzero()
    return int(places[0]), int(places[-1] - places[0] + 1)


def _look_up(table: np.ndarray, image: np.ndarray) -> np.ndarray:
    """table[image]."""
    if table.dtype == image.dtype == np.uint8:  # Python's own is four times faster
        padded = np.pad(table, (0, 256 - len(table)))
        return np.frombuffer(bytearray(image).translate(padded.tobytes()), np.uint8).reshape(image.shape)
    return table.take(image)
