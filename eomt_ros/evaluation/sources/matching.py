"""Finds the ground truth of each frame by stamps, and reads it in the order of the frames."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from eomt_ros.evaluation.counting import Tally, counted

FLOAT_ERROR = 1000
"""Nanoseconds by which a stamp may change that goes through a float of seconds."""
MOST_HELD = 128 << 20
"""Bytes of ground truth that may be held because it was recorded in another order than the frames."""


class Moment(NamedTuple):
    """When a message was made, and when it was recorded, in nanoseconds."""

    stamp: int
    recorded: int


def nearest(stamps: Sequence[int], stamp: int, tolerance: int | None = None) -> int | None:
    """The frame that `stamp` means, of the ascending, different `stamps` of frames; None where it means none of them.

    The two stamps may differ, but not by more than half of the way to the next frame, nor by more than `tolerance`.
    """
    at = bisect_left(stamps, stamp)
    around = stamps[max(at - 2, 0) : at + 2]
    if not around:
        return None
    best = min(around, key=lambda each: abs(each - stamp))
    distance = abs(best - stamp)
    next_frame = min((abs(each - best) for each in around if each != best), default=0)
    if 2 * distance > next_frame or (tolerance is not None and distance > tolerance):
        return None
    return best


def match(frames: Sequence[Moment], truth: Sequence[Moment], tolerance: int | None = None) -> list[int | None]:
    """The place in `truth` of the ground truth of every frame, by `nearest`; None where it has none.

    Both are in the order of the recording. Frames of one stamp, as of a simulation that began again, each have their
    own: in the order of the recording, or where some are missing by the time of recording.
    """
    stamps = sorted({frame.stamp for frame in frames})
    alike, near = defaultdict(list), defaultdict(list)
    for place, frame in enumerate(frames):
        alike[frame.stamp].append(place)
    for place, moment in enumerate(truth):
        stamp = nearest(stamps, moment.stamp, tolerance)
        if stamp is not None:
            near[stamp].append(place)
    found: list[int | None] = [None] * len(frames)
    for stamp, places in near.items():
        if len(places) == len(alike[stamp]):
            for frame_place, place in zip(alike[stamp], places, strict=True):
                found[frame_place] = place
        else:
            _by_recording(frames, truth, alike[stamp], places, found)
    return found


def _by_recording(
    frames: Sequence[Moment], truth: Sequence[Moment], alike: list[int], places: list[int], found: list[int | None]
) -> None:
    """Finds for frames of one stamp the nearest in stamp, then in time of recording; of equal ones the last."""
    recorded = [frames[each].recorded for each in alike]

    def distance(frame: int, place: int) -> tuple[int, int]:
        one, other = frames[frame], truth[place]
        return abs(one.stamp - other.stamp), abs(one.recorded - other.recorded)

    for place in places:
        at = bisect_left(recorded, truth[place].recorded)
        frame = min(alike[max(at - 1, 0) : at + 1], key=lambda each: distance(each, place))
        before = found[frame]
        if before is None or distance(frame, place) <= distance(frame, before):
            found[frame] = place


def unmatched(topic: str, frames: Sequence[Moment], truth: Sequence[Moment], places: Sequence[int | None]) -> list[str]:
    """Says what did not match, in a sentence each."""
    stamps = sorted(moment.stamp for moment in truth)
    without, left_over, used = Tally(), Tally(), set(places)
    for frame, place in zip(frames, places, strict=True):
        if place is None:
            without.add(f"{frame.stamp} ns{_told_nearest(frame.stamp, stamps)}")
    for place, moment in enumerate(truth):
        if place not in used:
            left_over.add(f"{moment.stamp} ns")
    of = f"of {counted(len(frames), 'frame')}"
    of_truth = f"of {counted(len(truth), 'message')} in {topic}"
    return [
        *without.sentence(f"{of} has no ground truth in {topic}", f"{of} have no ground truth in {topic}"),
        *left_over.sentence(f"{of_truth} belongs to no frame", f"{of_truth} belong to no frame"),
    ]


def matched_beside(
    topic: str, frames: Sequence[Moment], truth: Sequence[Moment], places: Sequence[int | None]
) -> list[str]:
    """Says what matched although its stamp is another one, in a sentence."""
    matched = [
        (frame.stamp, truth[place].stamp) for frame, place in zip(frames, places, strict=True) if place is not None
    ]
    others = [(one, other) for one, other in matched if abs(other - one) > FLOAT_ERROR]
    if not others:
        return []
    stamp, farthest = max(others, key=lambda pair: abs(pair[1] - pair[0]))
    of = counted(len(others), "frame is", "frames are")
    return [
        f"{of} scored by ground truth in {topic} with another stamp, at most {_milliseconds(farthest - stamp)} "
        f"(that of {stamp} ns); --truth-tolerance 0 leaves them out"
    ]


def _told_nearest(stamp: int, others: Sequence[int]) -> str:
    at = bisect_left(others, stamp)
    around = others[max(at - 1, 0) : at + 1]
    if not around:
        return ""
    nearest_one = min(around, key=lambda each: abs(each - stamp))
    return f", the nearest has {nearest_one} ns ({_milliseconds(nearest_one - stamp)})"


def _milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds * 1e-6:+.3f} ms"


def in_order(read: Callable[[], Iterator[Any]], wanted: Sequence[int]) -> Iterator[Any]:
    """The messages at these places of a stream, all different, in the order in which they are wanted.

    read: begins the stream, and begins it again where more than `MOST_HELD` would have to be held. None stands for what
    is beyond its end.
    """
    turns = {place: turn for turn, place in enumerate(wanted)}
    held: dict[int, Any] = {}
    last_wanted: list[tuple[int, int]] = []
    memory, at, stream = 0, 0, read()
    for turn, place in enumerate(wanted):
        if place not in held and place < at:
            at, stream = 0, read()
        while place not in held:
            message = next(stream, None)
            if turns.get(at, -1) >= turn and at not in held:
                held[at] = message
                memory += _size(message)
                heapq.heappush(last_wanted, (-turns[at], at))
            at += 1
            while memory > MOST_HELD and last_wanted[0][1] != place:
                memory -= _size(held.pop(heapq.heappop(last_wanted)[1], None))
        message = held.pop(place)
        memory -= _size(message)
        yield message


def _size(message: Any) -> int:
    return len(getattr(message, "data", ()))
