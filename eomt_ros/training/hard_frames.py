"""The frames of recordings that teach a model most, by what it finds in them.

Every frame is measured by

    wrong       share of the labelled pixels whose class is another one than the model's, where there is ground truth
    unsure      1 - mean confidence of the pixels that have a class
    unlabelled  share of the pixels without a class
    flicker     share of the pixels whose class is there for this frame only
    ids         things whose id changes, vanishes for a moment, or lives for a frame or two
    rare        how rare the rarest class in it is, 0 (in all frames) to 1 (in this frame alone)

All but the last count by how far they are above the usual (the median) of all frames, 0 to 1, and their sum is the
frame's hardness. Each frame that is picked for a rare class halves what this class is worth for the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from eomt_ros.engine import FrameResult
from eomt_ros.evaluation.frame import LabelImage, Truth
from eomt_ros.stamps import SECOND

Entry = TypeVar("Entry")

MEASURES = {"wrong": 0.05, "unsure": 0.05, "unlabelled": 0.05, "flicker": 0.01, "ids": 1.0}
"""Each with the least distance from the usual that counts as 1."""
RARE, SPREAD = "rare", "spread"
"""Reasons beside the measures: a class that is seldom seen; nothing, but that the frame is far from the others."""
APART = (2.0, 1.0, 0.5, 0.25, 0.0)
"""s between two frames of a recording that are picked: the next value only where the one before leaves too few."""
FAR = 1e9
"""s; farther than any two frames of a recording."""
SHORT_LIFE = 2
"""Frames; a thing that is seen in so few is taken for one that is not there, or for another."""
SHORT_ABSENCE = 3
"""Frames; a thing that is back after so many was overlooked."""
CEILING = 0.99
"""Quantile of a measure that counts as 1: one odd frame does not make all others easy."""


class FramePlace(NamedTuple):
    """A frame of recordings: the number of its recording, and its place among the frames of that."""

    recording: int
    number: int


@dataclass(frozen=True)
class HardFrame:
    """A frame that is worth labelling."""

    place: FramePlace
    reason: str
    """The measure that says so most, with the class where it is `RARE`."""
    hardness: float
    measures: dict[str, float]
    """The values of `MEASURES`."""


class HardFrames:
    """Collects what a model finds in the frames of recordings, one after the other.

    class_names: those of the ground truth. mapped: brings (H, W) class ids of results to those.
    """

    def __init__(self, class_names: Sequence[str], mapped: Callable[[LabelImage], LabelImage]) -> None:
        self._class_names = class_names
        self._mapped = mapped
        self._places: list[FramePlace] = []
        self._stamps: list[int] = []
        self._values: list[dict[str, float]] = []
        self._classes: list[tuple[str, ...]] = []
        self._ids = _Ids(self._values)
        self._before: list[LabelImage] = []

    def start_video(self) -> None:
        """The next frame does not continue those before."""
        self._ids.end()
        self._ids = _Ids(self._values)
        self._before = []

    def add(self, place: FramePlace, stamp: int, found: FrameResult, truth: Truth | None) -> None:
        """Measures the next frame; truth: None where there is none."""
        values = dict.fromkeys(MEASURES, 0.0)
        self._places.append(place)
        self._stamps.append(stamp)
        self._values.append(values)
        has_class = found.semantic != np.iinfo(found.semantic.dtype).max
        values["unlabelled"] = 1.0 - float(has_class.mean())
        if found.confidence is not None and has_class.any():
            values["unsure"] = 1.0 - float(found.confidence.mean(where=has_class)) / 255
        names = {segment.class_name for segment in found.segments}
        is_labelled = None if truth is None else truth.classes != np.iinfo(truth.classes.dtype).max
        if truth is not None and is_labelled is not None and is_labelled.any():
            values["wrong"] = float((self._mapped(found.semantic) != truth.classes).mean(where=is_labelled))
            there = np.flatnonzero(np.bincount(truth.classes[is_labelled]))
            names = {self._class_names[each] for each in there.tolist()}
        self._classes.append(tuple(sorted(names)))
        self._flickered(found)
        self._ids.add(found)

    def picked(self, count: int, among: Collection[FramePlace]) -> list[HardFrame]:
        """The `count` frames that teach most, the hardest first; fewer where `among` has fewer.

        No two of a recording are within 2 s, unless the count demands it.
        """
        self._ids.end()
        wanted = set(among)
        rows = [row for row, place in enumerate(self._places) if place in wanted]
        return _Picking(
            [self._places[row] for row in rows],
            np.array([self._stamps[row] for row in rows], np.int64),
            [self._values[row] for row in rows],
            [self._classes[row] for row in rows],
        ).picked(count)

    def _flickered(self, found: FrameResult) -> None:
        """Counts for the frame before, which lies between two others only now."""
        self._before = [each for each in self._before if each.shape == found.semantic.shape]
        if len(self._before) == 2:
            first, middle = self._before
            self._values[-2]["flicker"] = float(((middle != first) & (first == found.semantic)).mean())
        self._before = [*self._before[-1:], found.semantic]


class _Ids:
    """Follows the ids of one recording; adds to the `ids` of its frames in `values`, the last of which is added now."""

    def __init__(self, values: list[dict[str, float]]) -> None:
        self._values = values
        self._first = len(values)
        self._epoch: int | None = None
        self._seen: dict[int, list[int]] = {}
        """The rows of each thing, by its id."""
        self._before: tuple[LabelImage, dict[int, int]] | None = None

    def add(self, found: FrameResult) -> None:
        row = len(self._values) - 1
        if found.epoch != self._epoch:
            self.end()
            self._epoch, self._first = found.epoch, row
        things = {segment.id: segment.class_id for segment in found.segments if segment.is_thing and segment.id}
        for number in things:
            rows = self._seen.setdefault(number, [])
            if rows and 1 < row - rows[-1] <= SHORT_ABSENCE + 1:
                self._count(range(rows[-1] + 1, row))
            rows.append(row)
        if self._before is not None and self._before[0].shape == found.panoptic.shape:
            for _ in range(_switches(*self._before, found.panoptic, things)):
                self._count([row])
        self._before = found.panoptic, things

    def end(self) -> None:
        """Counts what was seen for a frame or two, but not at the border of the time in which it could be seen."""
        last = len(self._values) - 1
        for rows in self._seen.values():
            if len(rows) <= SHORT_LIFE and rows[0] > self._first and rows[-1] < last:
                self._count(rows)
        self._seen = {}
        self._before = None

    def _count(self, rows: Collection[int]) -> None:
        for row in rows:
            self._values[row]["ids"] += 1


def _switches(before: LabelImage, classes_before: dict[int, int], now: LabelImage, classes: dict[int, int]) -> int:
    """The things most of whose pixels are another thing's of the same class a frame later."""
    areas = np.bincount(before.ravel())
    has_changed = before != now
    changes = np.stack([before[has_changed], now[has_changed]], axis=1)
    pairs, counts = np.unique(changes, axis=0, return_counts=True)
    return sum(
        old in classes_before and classes_before[old] == classes.get(new) and 2 * count > areas[old]
        for (old, new), count in zip(pairs.tolist(), counts.tolist(), strict=True)
    )


class _Picking:
    """Picks the hardest frame of those that are left, again and again."""

    def __init__(
        self,
        places: Sequence[FramePlace],
        stamps: npt.NDArray[np.int64],
        values: Sequence[dict[str, float]],
        classes: Sequence[tuple[str, ...]],
    ) -> None:
        self._places, self._stamps, self._values = places, stamps, values
        self._recordings = np.array([place.recording for place in places])
        self._above = {name: _above_usual([each[name] for each in values], floor) for name, floor in MEASURES.items()}
        seen = Counter(name for names in classes for name in names)
        rarity = {name: 1 - np.log(number) / np.log(max(len(places), 2)) for name, number in seen.items()}
        rarest = [max(names, key=lambda name: rarity[name], default="") for names in classes]
        self._rarest = np.array(rarest, object)
        self._rare = np.array([rarity.get(name, 0.0) for name in rarest])
        self._is_left = np.ones(len(places), bool)
        self._distance = np.full(len(places), FAR)
        """s to the nearest frame of the recording that is picked already."""

    def picked(self, count: int) -> list[HardFrame]:
        found: list[HardFrame] = []
        for apart in APART:
            is_free = self._is_left & (self._distance >= apart)
            while len(found) < count and is_free.any():
                hardness = sum(self._above.values()) + self._rare
                # Of equally hard ones that which is farthest from the others.
                row = int(np.where(is_free, hardness + self._distance / FAR * 1e-6, -1.0).argmax())
                found.append(self._take(row, float(hardness[row])))
                is_free &= self._is_left & (self._distance >= apart)
        return found

    def _take(self, row: int, hardness: float) -> HardFrame:
        parts = {**{name: float(above[row]) for name, above in self._above.items()}, RARE: float(self._rare[row])}
        reason = max(parts, key=lambda name: parts[name]) if hardness > 0 else SPREAD
        if reason == RARE:
            reason = f"{RARE}: {self._rarest[row]}"
            self._rare[self._rarest == self._rarest[row]] /= 2
        self._is_left[row] = False
        distance = np.where(self._recordings == self._recordings[row], np.abs(self._stamps - self._stamps[row]), np.inf)
        self._distance = np.minimum(self._distance, distance / SECOND)
        return HardFrame(self._places[row], reason, hardness, self._values[row])


def _above_usual(values: Sequence[float], floor: float) -> npt.NDArray[np.float64]:
    """How far values are above their median, 0 to 1; floor: the least distance that counts as 1."""
    array = np.array(values, np.float64)
    if not array.size:
        return array
    usual = np.median(array)
    return np.clip((array - usual) / max(np.quantile(array, CEILING) - usual, floor), 0.0, 1.0)


def spread(entries: Sequence[Entry], count: int) -> list[Entry]:
    """So many of the entries, evenly spread, each in the middle of its share; all where there are no more."""
    if count >= len(entries):
        return list(entries)
    return [entries[int((place + 0.5) * len(entries) / count)] for place in range(count)]
