"""Which frames of recordings are for training and which for validation, and the videos that they become."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eomt_ros.continuity import MAX_GAP, Continuity, LateFrameError
from eomt_ros.evaluation.sources.sequence import FrameSequence, Problems, SourceFrame
from eomt_ros.stamps import SECOND
from eomt_ros.training.annotation_files import TRAIN, VAL
from eomt_ros.training.errors import DatasetError

VALIDATION_SHARE = 0.2
GAP = 2 * SECOND
"""Nanoseconds that are left out between training and validation where both are parts of one recording."""
LONGEST_VIDEO_NAME = 100
"""Characters."""
_NO_NAME = re.compile(r"[^\w.-]+")


class SeenFrame(NamedTuple):
    """A frame of a recording."""

    number: int
    """Place among those that continue the recording."""
    stretch: int
    """The frames of a stretch are one video: of one size, and without a gap."""
    stamp: int
    """Nanoseconds."""
    has_labels: bool


def in_stretches(frames: Iterable[SourceFrame], problems: Problems) -> Iterator[tuple[int, int, SourceFrame]]:
    """The frames in the order of time, each with its place among them and the number of its stretch.

    problems: gets the frames that are left out because they are late or have the stamp of the frame before.
    """
    continuity = Continuity()
    stretch = index = 0
    before: tuple[int, tuple[int, ...]] | None = None
    last = -1
    for frame in frames:
        try:
            admitted = continuity.admit(frame.stamp, MAX_GAP)
        except LateFrameError as error:
            problems.tally("frame came late and was left out", "frames came late and were left out", str(error))
            continue
        now = admitted.stretch, frame.image.shape
        if before is not None and now != before:
            stretch += 1
        elif frame.stamp == last:
            same = "the stamp of the frame before and was left out", "the stamp of the frame before and were left out"
            problems.tally(f"frame has {same[0]}", f"frames have {same[1]}", f"{frame.stamp} ns")
            continue
        before, last = now, frame.stamp
        yield index, stretch, frame
        index += 1


@dataclass(frozen=True)
class Part:
    """Frames of a recording that are for the same."""

    recording: int
    split: str
    name: str
    """Of its first video."""
    first: int = 0
    """The first frame that belongs to it, and the one after the last; None for all."""
    end: int | None = None

    def has(self, index: int) -> bool:
        """True if the frame at that place belongs to it."""
        return self.first <= index and (self.end is None or index < self.end)


class VideoNames:
    """Names of videos that can be those of folders, each once."""

    def __init__(self) -> None:
        self._given: dict[tuple[Part, int], str] = {}

    def of(self, part: Part, stretch: int) -> str:
        """The name of the video that a stretch of a part becomes."""
        key = part, stretch
        if key not in self._given:
            name, number = part.name, 1
            while name in self._given.values():
                number += 1
                name = f"{part.name}_{number}"
            self._given[key] = name
        return self._given[key]


def whole_parts(sequences: Sequence[FrameSequence], val: float | Sequence[str]) -> list[Part] | None:
    """Each recording as a whole for one of the two; None where the only one has to be parted.

    val: share of the recordings that is for validation, spread evenly; the cameras of one bag go together, because they
    see the same. Or the names of those recordings. Raises `DatasetError` for a name that is none.
    """
    bags = list(dict.fromkeys(each.bag or each.name for each in sequences))
    if not isinstance(val, float):
        chosen = {_bag_named(name, sequences) for name in val}
    elif len(bags) == 1 and 0 < val < 1:
        return None
    else:
        count = round(val * len(bags)) if val in (0, 1) else min(max(round(val * len(bags)), 1), len(bags) - 1)
        chosen = {bags[int((place + 1) * len(bags) / count) - 1] for place in range(count)}
    return [
        Part(number, VAL if (each.bag or each.name) in chosen else TRAIN, video_name(each.name))
        for number, each in enumerate(sequences)
    ]


def parted(recording: int, name: str, frames: Sequence[SeenFrame], share: float) -> list[Part]:
    """A recording whose end is for validation, with a gap before that; a single frame is for training.

    share: of its frames, with 0 < share < 1. The gap is `GAP`, but at most a quarter of the validation's frames.
    """
    if len(frames) < 2:
        return [Part(recording, TRAIN, video_name(name))]
    count = min(max(round(share * len(frames)), 1), len(frames) - 1)
    cut = first = len(frames) - count
    while first < cut + count // 4 and frames[first].stamp - frames[cut - 1].stamp < GAP:
        first += 1
    return [
        Part(recording, TRAIN, video_name(name), 0, frames[cut].number),
        Part(recording, VAL, f"{video_name(name)}_val", frames[first].number),
    ]


def video_name(name: str) -> str:
    """A recording's name as one of a folder."""
    return _NO_NAME.sub("_", name).strip("._")[:LONGEST_VIDEO_NAME] or "video"


def _bag_named(name: str, sequences: Sequence[FrameSequence]) -> str:
    """The recording, or the bag, of that name."""
    known = {known: each.bag or each.name for each in sequences for known in (each.name, each.bag) if known}
    if name in known:
        return known[name]
    like = difflib.get_close_matches(name, known, 1)
    hint = f"; the nearest is {like[0]!r}" if like else f"; they are {', '.join(list(known)[:8])}"
    raise DatasetError(f"--val has {name!r}, which is none of the recordings{hint}, or give a share such as 0.2")
