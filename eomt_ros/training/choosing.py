"""Which frames of recordings are taken: one every few seconds, the hardest, and those around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eomt_ros.stamps import SECOND
from eomt_ros.training.annotation_files import VAL
from eomt_ros.training.hard_frames import FramePlace, HardFrame, HardFrames, spread
from eomt_ros.training.splitting import VALIDATION_SHARE, Part, SeenFrame

EVERY, NEIGHBOUR, VALIDATION = "every", "neighbour", "validation"
"""Reasons that have nothing to do with what is in a frame."""


@dataclass(frozen=True)
class PickOptions:
    """Which frames are taken; all where neither `every` nor `hard` says otherwise."""

    every: float | None = None
    """s from one frame to the next."""
    hard: int | None = None
    """Number of frames: for validation its share of them, evenly spread, and else those that teach most."""
    around: int = 0
    """Frames before and after each of these, which come with it."""
    val: float | tuple[str, ...] = VALIDATION_SHARE
    """Share for validation, or the names of those recordings, see `whole_parts`."""

    @property
    def picks(self) -> bool:
        """Whether not all frames are taken."""
        return self.every is not None or self.hard is not None


class FramePick(NamedTuple):
    """The reason why a frame is taken."""

    reason: str = ""
    hard: HardFrame | None = None


def chosen(
    parts: Sequence[Part], seen: Sequence[Sequence[SeenFrame]], options: PickOptions, measured: HardFrames | None
) -> dict[FramePlace, FramePick]:
    """The frames that are taken, of those with labels. seen: all frames of each recording. measured: for `hard`."""
    frames = {part: [each for each in seen[part.recording] if part.has(each.number)] for part in parts}
    usable = {part: [each for each in own if each.has_labels] for part, own in frames.items()}
    if options.hard is not None and measured is not None:
        picks = _hard(usable, options.hard, measured)
    else:
        picks = {
            FramePlace(part.recording, each.number): FramePick(EVERY if options.picks else "")
            for part, own in usable.items()
            for each in (own if options.every is None else one_every(own, options.every))
        }
    if options.around:
        for part, own in usable.items():
            for each in around(own, picks, part, options.around):
                picks.setdefault(each, FramePick(NEIGHBOUR))
    return picks


def _hard(usable: dict[Part, list[SeenFrame]], count: int, measured: HardFrames) -> dict[FramePlace, FramePick]:
    places: dict[bool, list[FramePlace]] = {True: [], False: []}
    for part, own in usable.items():
        places[part.split == VAL] += [FramePlace(part.recording, each.number) for each in own]
    total = len(places[True]) + len(places[False])
    # What the model finds hard is no measure of how good it is.
    for_validation = min(max(round(count * len(places[True]) / max(total, 1)), 1), len(places[True]))
    picks = {place: FramePick(VALIDATION) for place in spread(places[True], for_validation)}
    hardest = measured.picked(max(count - for_validation, 0), places[False])
    return {**picks, **{each.place: FramePick(each.reason, each) for each in hardest}}


def one_every(frames: Iterable[SeenFrame], seconds: float) -> Iterator[SeenFrame]:
    """The first frame of each stretch, and the first at or after every `seconds` from there."""
    step = round(seconds * SECOND)
    stretch, due = -1, 0
    for frame in frames:
        if frame.stretch != stretch:
            stretch, due = frame.stretch, frame.stamp
        if frame.stamp >= due:
            yield frame
            due += ((frame.stamp - due) // step + 1) * step


def around(frames: Sequence[SeenFrame], picks: Iterable[FramePlace], part: Part, count: int) -> Iterator[FramePlace]:
    """So many frames before and after each pick of the part, as far as its stretch goes."""
    by_number = {frame.number: frame for frame in frames}
    for place in list(picks):
        centre = by_number.get(place.number) if place.recording == part.recording else None
        if centre is None:
            continue
        for index in range(place.number - count, place.number + count + 1):
            near = by_number.get(index)
            if near is not None and near.stretch == centre.stretch:
                yield FramePlace(place.recording, index)
