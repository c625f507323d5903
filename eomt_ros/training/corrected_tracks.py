"""Identities of corrected things: which segment of the video each annotation is.

1. A track that the file gives is kept.
2. An annotation without one that covers a segment of the data set (IoU above 0.5) is that segment's thing, whatever
   class it has now.
3. A new thing that covers one in the frame before is that one; else it begins a track.
4. A track has one class. What has another than most of it begins a track of its own.

Numbers that a tool gave by itself may be those of other things in the data set. A given number means the data set's
track only if one of its annotations covers that; else things of rule 2 with that number get another.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count

import numpy as np

from eomt_ros.training.annotation_files import SegmentEntry
from eomt_ros.training.corrections_file import CorrectedSegment
from eomt_ros.training.frame_labels import SegmentImage

SAME_IOU = 0.5

_Key = tuple[str, int]
"""A thing before it has a number: `given`, `known` with the number, `new` with a count."""


@dataclass(frozen=True)
class PaintedFrame:
    """One picture of a video: what it had, and what it has now."""

    segments: SegmentImage | None
    """(H, W) ids as they were; None for a picture that stays as it is and comes before no other that changes."""
    listed: Sequence[SegmentEntry]
    painted: SegmentImage | None = None
    """(H, W) 1 + the place of the annotation on top, 0 none; None where the picture stays as it is."""
    drawn: Sequence[CorrectedSegment] = ()


class VideoTracks:
    """The identities of one video. `add` every frame in order, then ask for the `entries` of those that change."""

    def __init__(self, is_thing: Sequence[bool], listed: Iterable[SegmentEntry]) -> None:
        """is_thing: of each class. listed: the segments of all frames of the video as they were."""
        self._is_thing = is_thing
        self._ids = {(each.category_id, each.track_id): each.id for each in listed}
        self._kept: dict[int, int] = {}
        """Category ids of the tracks in frames that stay as they are."""
        self._confirmed: set[int] = set()
        """Given numbers that are tracks of the data set."""
        self._new = 0
        self._keys: list[list[_Key | None]] = []
        self._crowds: list[list[bool]] = []
        self._drawn: list[Sequence[CorrectedSegment]] = []
        self._before: PaintedFrame | None = None

    def add(self, frame: PaintedFrame) -> None:
        """The next frame of the video."""
        keys: list[_Key | None] = []
        crowds: list[bool] = []
        if frame.painted is None or frame.segments is None:
            self._kept.update((each.track_id, each.category_id) for each in frame.listed if each.track_id is not None)
        else:
            known = {each.id: each for each in frame.listed}
            covers = _covered(frame.painted, frame.segments)
            followed = self._followed(frame.painted)
            given: list[_Key | None] = [("given", each.track) for each in frame.drawn if each.track is not None]
            for place, drawn in enumerate(frame.drawn, 1):
                covered = known.get(covers.get(place, 0))
                crowds.append(self._is_crowd(drawn, covered))
                keys.append(None if crowds[-1] else self._key(drawn, covered, followed.get(place), given + keys))
        self._keys.append(keys)
        self._crowds.append(crowds)
        self._drawn.append(frame.drawn)
        self._before = frame

    def entries(self, frame: int) -> list[SegmentEntry]:
        """The segment of each annotation of a frame, in their order; some may be parts of one."""
        entries = []
        for drawn, key, crowd in zip(self._drawn[frame], self._keys[frame], self._crowds[frame], strict=True):
            category_id = drawn.class_id + 1
            track = None if key is None else self._tracks[self._merged(key), category_id]
            entries.append(SegmentEntry(self._segment_id(category_id, track), category_id, int(crowd), track))
        return entries

    def _is_crowd(self, drawn: CorrectedSegment, covered: SegmentEntry | None) -> bool:
        kept = covered is not None and covered.iscrowd == 1 and covered.category_id == drawn.class_id + 1
        return self._is_thing[drawn.class_id] and (drawn.crowd or kept)

    def _key(
        self,
        drawn: CorrectedSegment,
        covered: SegmentEntry | None,
        followed: _Key | None,
        taken: Collection[_Key | None],
    ) -> _Key | None:
        if not self._is_thing[drawn.class_id]:
            return None
        if drawn.track is not None:
            if covered is not None and covered.track_id == drawn.track:
                self._confirmed.add(drawn.track)
            return "given", drawn.track
        if covered is not None and covered.track_id is not None and ("given", covered.track_id) not in taken:
            return "known", covered.track_id
        if covered is not None and covered.track_id is None and covered.category_id == drawn.class_id + 1:
            return None  # things that nobody told apart
        if followed is not None and not {followed, ("given", followed[1])} & set(taken):
            return followed
        self._new += 1
        return "new", self._new

    def _followed(self, painted: SegmentImage) -> dict[int, _Key]:
        """For each annotation that covers a thing in the frame before, that thing."""
        before = self._before
        if before is None or before.segments is None:
            return {}
        things: dict[int, _Key] = {}
        if before.painted is None:
            things = {each.id: ("known", each.track_id) for each in before.listed if each.track_id is not None}
        else:
            things = {place: key for place, key in enumerate(self._keys[-1], 1) if key is not None}
        covers = _covered(painted, before.segments if before.painted is None else before.painted)
        return {place: things[other] for place, other in covers.items() if other in things}

    def _merged(self, key: _Key) -> _Key:
        """The data set's track where a given number means it."""
        kind, number = key
        return ("known", number) if kind == "given" and number in self._confirmed | set(self._kept) else key

    @cached_property
    def _tracks(self) -> dict[tuple[_Key, int], int]:
        """The track of each thing and category id, once all frames are there."""
        votes: dict[_Key, Counter[int]] = defaultdict(Counter)
        for drawn, keys in zip(self._drawn, self._keys, strict=True):
            for each, key in zip(drawn, keys, strict=True):
                if key is not None:
                    votes[self._merged(key)][each.class_id + 1] += 1
        given = {number for kind, number in votes if kind == "given"}
        known = {track for _, track in self._ids if track is not None}
        fresh = count(max([0, *given, *known]) + 1)
        tracks: dict[tuple[_Key, int], int] = {}
        for (kind, number), categories in votes.items():
            is_taken = kind == "new" or (kind == "known" and number in given)
            owner = self._kept.get(number) if kind == "known" else None
            owner = owner or categories.most_common(1)[0][0]
            for category_id in categories:
                keeps = category_id == owner and not is_taken
                tracks[(kind, number), category_id] = number if keeps else next(fresh)
        return tracks

    def _segment_id(self, category_id: int, track: int | None) -> int:
        key = category_id, track
        if key not in self._ids:
            self._ids[key] = max([len(self._is_thing), *self._ids.values()]) + 1
        return self._ids[key]


def _covered(painted: SegmentImage, others: SegmentImage) -> dict[int, int]:
    """For each value above 0 in `painted` the one above 0 in `others` that it shares more than half of both with."""
    base = int(others.max()) + 1
    pairs, counts = np.unique(painted.astype(np.int64) * base + others, return_counts=True)
    areas: Counter[int] = Counter()
    other_areas: Counter[int] = Counter()
    shared: dict[tuple[int, int], int] = {}
    for pair, pixels in zip(pairs.tolist(), counts.tolist(), strict=True):
        one, other = divmod(pair, base)
        areas[one] += pixels
        other_areas[other] += pixels
        if one and other:
            shared[one, other] = pixels
    return {
        one: other
        for (one, other), pixels in shared.items()
        if pixels > SAME_IOU * (areas[one] + other_areas[other] - pixels)
    }
