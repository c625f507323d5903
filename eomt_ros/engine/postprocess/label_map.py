"""A frame before its segments have ids: the winner of every pixel, and the regions that the winners make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from eomt_ros.engine.postprocess.rle import Box, encode_mask
from eomt_ros.engine.postprocess.select import Candidates


class Extent(NamedTuple):
    """The pixels of maps: their number in each row, (n, H), and above 0 in each column that has any, (n, W)."""

    rows: Tensor
    columns: Tensor

    def areas(self) -> Tensor:
        """The pixels of each map, (n,)."""
        return self.rows.sum(1)


class Winners(NamedTuple):
    """A frame on the device that computed it: the map that wins each pixel, and a table of the maps."""

    winner: Tensor
    """(H, W): 0 none, else 1 + the map; uint8, or 16 bits above 254 maps."""
    confidence: Tensor | None
    """(H, W) uint8: the winner's probability, 0..255; no meaning without a winner. None unless asked for."""
    table: Tensor
    """(maps, 9) float64: query, class, score, 1 for a region or 0, area, x, y, width, height."""
    whole: np.ndarray | None = None
    """(maps, H, W) bool: the whole masks, where they cover each other; None unless asked for."""


def table_of(found: Candidates, extent: Extent) -> Tensor:
    """One row of each map, as in `Winners`, (n, 9) float64; those present are regions. Does not wait for the device."""
    x, width = _reach(extent.columns > 0)
    y, height = _reach(extent.rows > 0)
    columns = *found, extent.areas(), x, y, width, height
    return torch.stack([column.double() for column in columns], 1)


def _reach(used: Tensor) -> tuple[Tensor, Tensor]:
    """The first place that is used, and the number of places to the last one. used: (n, places) bool."""
    places = torch.arange(used.shape[1], device=used.device)
    first = torch.where(used, places, used.shape[1]).amin(1)
    return first, torch.where(used, places, -1).amax(1) + 1 - first


@dataclass(frozen=True)
class ResultClasses:
    """The classes of results, by those of the network: the same ones, or a robot's."""

    class_ids: tuple[int, ...]
    """For each of the network's classes, the one of results that it is in; -1: none, its pixels are unlabelled."""
    is_thing: tuple[bool, ...]
    """For each of the network's classes."""
    number: int
    """Of the classes of results."""

    @classmethod
    def same(cls, is_thing: Sequence[bool]) -> ResultClasses:
        """The network's own classes."""
        return cls(tuple(range(len(is_thing))), tuple(is_thing), len(is_thing))


@dataclass(frozen=True)
class Region:
    """A segment before it has an id."""

    query: int
    """Of fused stuff, the first map's; -1 in the semantic task, where no class has a query of its own."""
    class_id: int
    """One of the result's classes."""
    is_thing: bool
    score: float
    """0..1; of fused stuff, the first map's; in the semantic task, the mean confidence over the class's pixels."""
    area: int
    """Pixels; in the instance task those of the whole mask, also where a later region covers it."""
    box: Box
    """Around the pixels that the area counts."""
    maps: tuple[int, ...]
    """The maps whose pixels are the region's."""
    mask: tuple[int, ...] | None = None
    """Run lengths over the box of the pixels that the area counts; None unless asked for. See `rle`."""


def regions_in(table: np.ndarray, classes: ResultClasses) -> list[Region]:
    """The maps that are regions of one of the result's classes. table: of `Winners`, on the host."""
    regions = []
    for row in table[:, 3].nonzero()[0].tolist():
        query, of_network, score, _, area, x, y, width, height = table[row].tolist()
        class_id, is_thing = classes.class_ids[int(of_network)], classes.is_thing[int(of_network)]
        if class_id >= 0:
            box = int(x), int(y), int(width), int(height)
            regions.append(Region(int(query), class_id, is_thing, score, int(area), box, (row,)))
    return regions


def seen_parts(
    regions: Iterable[Region], winner: np.ndarray, seen: np.ndarray, whole: np.ndarray | None
) -> list[Region]:
    """The regions, of one map each, without the pixels where the robot sees itself; those of which none is left go.

    winner, whole: as in `Winners`, without those pixels. seen: (H, W) uint8, 0 where the robot sees itself, else 1.
    """
    found = []
    for region in regions:
        x, y, width, height = region.box
        part = slice(y, y + height), slice(x, x + width)
        if seen[part].all():
            found.append(region)
            continue
        (row,) = region.maps
        pixels = (winner[part] == 1 + row if whole is None else whole[(row, *part)]).view(np.uint8)
        if area := cv2.countNonZero(pixels):
            left, top, width, height = cv2.boundingRect(pixels)
            found.append(replace(region, area=area, box=(x + left, y + top, width, height)))
    return found


def fuse(regions: Iterable[Region], *, things: bool = False) -> list[Region]:
    """Joins the regions of stuff of each class, with query and score of the first.

    things: True in the semantic task, where all regions of a class are joined and the score is that of all pixels.
    """
    found: list[Region] = []
    places: dict[int, int] = {}
    for region in regions:
        joins = things or not region.is_thing
        place = places.setdefault(region.class_id, len(found)) if joins else len(found)
        if place == len(found):
            found.append(region)
        else:
            found[place] = _joined(found[place], region, things)
    return found


def _joined(first: Region, other: Region, things: bool) -> Region:
    (x, y, width, height), box = first.box, other.box
    left, top = min(x, box[0]), min(y, box[1])
    right, bottom = max(x + width, box[0] + box[2]), max(y + height, box[1] + box[3])
    area = first.area + other.area
    return replace(
        first,
        is_thing=first.is_thing or other.is_thing,
        score=(first.score * first.area + other.score * other.area) / area if things else first.score,
        area=area,
        box=(left, top, right - left, bottom - top),
        maps=first.maps + other.maps,
    )


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A frame on the host; the same from every device."""

    winner: np.ndarray
    """(H, W) uint8: 0 none, else 1 + the map that the pixel belongs to; uint16 above 254 maps."""
    confidence: np.ndarray | None
    """As in `Winners`."""
    regions: tuple[Region, ...]
    classes: int
    """Number of the result's classes."""

    @classmethod
    def of(
        cls,
        winners: Winners,
        classes: ResultClasses,
        *,
        task: str,
        fuse_stuff: bool,
        seen: np.ndarray | None = None,
        with_masks: bool = False,
    ) -> LabelMap:
        """Copies a frame to the host.

        fuse_stuff: whether all regions of stuff of a class are one in the panoptic task. seen: as in `seen_parts`; None
        for all. with_masks: regions get run lengths.
        """
        winner = to_host(winners.winner)
        winner, whole = winner.view(np.uint16) if winner.dtype == np.int16 else winner, winners.whole
        confidence = None if winners.confidence is None else to_host(winners.confidence)
        regions = regions_in(to_host(winners.table), classes)
        if seen is not None:
            winner, whole = winner * seen, None if whole is None else whole & seen.view(np.bool_)
            regions = seen_parts(regions, winner, seen, whole)
        if task == "semantic" or (task == "panoptic" and fuse_stuff):
            regions = fuse(regions, things=task == "semantic")
        found = cls(winner, confidence, tuple(regions), classes.number)
        return found._with_masks(whole) if with_masks else found

    def semantic(self) -> np.ndarray:
        """(H, W) uint8 class ids, 255 unlabelled; uint16 and 65535 above 254 classes."""
        kind = label_type(self.classes)
        return self._painted([region.class_id for region in self.regions], kind, np.iinfo(kind).max)

    def painted(self, ids: Sequence[int]) -> np.ndarray:
        """(H, W) uint16, 0 none. ids: one for each region."""
        return self._painted(ids, np.uint16, 0)

    @cached_property
    def index(self) -> np.ndarray:
        """(H, W) uint8: 0 none, i + 1 for region i; uint16 above 254 regions. Whoever gets it leaves it as it is."""
        return self._painted(range(1, len(self.regions) + 1), label_type(len(self.regions)), 0)

    def shown_confidence(self) -> np.ndarray | None:
        """(H, W) uint8: the confidence, 0 where there is no region; None unless asked for."""
        if self.confidence is None:
            return None
        return cv2.bitwise_and(self.confidence, self._painted([255] * len(self.regions), np.uint8, 0))

    def _painted(self, values: Iterable[int], kind: type[np.uint8] | type[np.uint16], none: int) -> np.ndarray:
        table = np.full(1 << 8 * self.winner.itemsize, none, kind)
        for region, value in zip(self.regions, values, strict=True):
            for place in region.maps:
                table[1 + place] = value
        # OpenCV's look-up is ten times as fast as numpy's, and limited to 256 values.
        return cv2.LUT(self.winner, table) if self.winner.dtype == np.uint8 else table.take(self.winner)

    def _with_masks(self, whole: np.ndarray | None) -> LabelMap:
        index = self.index
        regions = []
        for number, region in enumerate(self.regions, start=1):
            x, y, width, height = region.box
            part = slice(y, y + height), slice(x, x + width)
            pixels = index[part] == number if whole is None else whole[(region.maps[0], *part)]
            regions.append(replace(region, mask=encode_mask(pixels)))
        return replace(self, regions=tuple(regions))


def to_host(tensor: Tensor) -> np.ndarray:
    """The tensor as an array, without a copy where it is on the host already."""
    array: np.ndarray = tensor.cpu().numpy()
    return array


def label_type(values: int) -> type[np.uint8] | type[np.uint16]:
    """The smallest type for the numbers 0 to `values` and one more, the highest of the type."""
    return np.uint8 if values <= 254 else np.uint16
