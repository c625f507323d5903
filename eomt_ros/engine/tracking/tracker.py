"""Query slots to lasting ids: which segment of this frame is which object of the frames before.

A query of VidEoMT stays with its object, so the slot that a segment comes from is most of its identity. What the
network does not say is when an object is gone, and when a slot has been taken by another. The rule here, for things,
once per frame:

1. **Continuation.** A segment continues the track of its slot if the object can have got there: the centre of its box
   lies within reach of where the track was last seen, and the class is the same. If the class is another, the boxes
   must overlap by half (IoU >= 0.5): a class that flickers on a thing that stays is no new thing.
2. **Doubt.** A segment that looks other than the track that it continues (cosine of the embeddings below `ALIKE`) may
   be another object that has taken the slot: it counts as one that continues nothing. If 3 and 4 have no other track
   for it, nor another segment for its track, it continues it after all where the boxes overlap. Only where things are
   remembered.
3. **Hand-over.** A segment that continues nothing takes over a track that shows no segment in this frame, if it is of
   the same class and the boxes overlap by half: the object has moved to another slot. The best overlap goes first.
4. **Return.** A segment that is neither may be an object that was lost: see `eomt_ros.engine.tracking.reidentify`. So
   may, for `TRIAL`, one that was a sliver (`SLIVER`) when it got its id: an object that comes into view.
5. **Birth.** Any other segment gets the next id.
6. **Absence.** A track without a segment waits for `MAX_ABSENCE` and can be continued or handed over for as long
   (occlusion). After that it is lost, and so is a track whose slot another object has taken (1 failed) and that nobody
   took over in that time. No other object gets its id within the epoch. A pause of the camera is no absence: what the
   last frame before it showed can be continued in the first one after it.

Reach is what an object and a turning camera can do in the time since the track was last seen: the longer diagonal of
the two boxes, once and then once per second, and `TURNING_SPEED` image widths per second for at most `TURNING` seconds.
Where places in space are known, an object does not jump in them either. Within reach the slot is believed more than the
place in the image: two things of a class that exchange their slots there exchange their ids, unless they look other;
out of it each keeps its own, by rule 3.

Stuff has no individuals: it keeps one id per slot and class for the whole epoch.

Ids run from 1 to 65,535, which is what a 16-bit label image can hold. When they run out, the next epoch begins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from eomt_ros.engine.postprocess.rle import Box
from eomt_ros.engine.tracking.reidentify import NOTHING_REMEMBERED, Recall
from eomt_ros.engine.tracking.shared_ids import SharedIds
from eomt_ros.stamps import SECOND

LARGEST_ID = 65535
MAX_ABSENCE = 2 * SECOND
"""Nanoseconds for which a track that is not seen is remembered."""
SAME_PLACE = 0.5
"""IoU of two boxes from which on they count as one place."""
ALIKE = 0.8
"""Cosine of a thing's embedding and its mean one so far: below it, the thing may be another."""
TURNING = 0.1
"""Seconds for which reach allows for a turning camera: between two frames, not over an absence."""
TURNING_SPEED = 1.5
"""Image widths per second: a usual camera turning by 100 degrees per second."""
SLIVER = 1 / 30
"""Image widths: the edge of a square, and what is first seen no larger is too little to tell who it is."""
TRIAL = SECOND // 2
"""Nanoseconds for which such a track may still turn out to be one that was lost."""
PERIOD_WITHOUT_STAMP = SECOND // 10
"""Nanoseconds from one frame to the next where stamps do not say."""


@dataclass(frozen=True)
class Observation:
    """One segment of a frame, as the network and the post-processing give it."""

    slot: int
    """The query it comes from; for fused stuff, which comes from several, a negative number of its class."""
    class_id: int
    is_thing: bool
    box: Box
    embedding: np.ndarray | None = field(default=None, compare=False, repr=False)
    """(channels,) float32 of unit length: the looks of a thing; None where there is none."""
    place: np.ndarray | None = field(default=None, compare=False, repr=False)
    """(3,) m in a fixed frame; None where it is not known."""


@dataclass(frozen=True)
class Identity:
    """The id of a segment."""

    id: int
    age: int
    """Frames since the id was given, also those without the object; 0 in the first."""
    returned: bool = False
    """This id was lost, and came back in this frame."""


@dataclass
class Track:
    """An object that has been seen."""

    id: int
    slot: int
    class_id: int
    box: Box
    """Where it was last seen."""
    born: int
    """The frame in which it got its id."""
    last_seen: int
    """When it was last seen, in nanoseconds of the stream's clock."""
    settled: int = 0
    """When its id is final, by the same clock: until then it may turn out to be one that was lost."""
    stream: int = 0
    """Number of the stream that saw it last, among those that share their ids."""


class Identities:
    """The ids of one stream.

    shared: those of several streams; None for ids of its own. `epoch` counts the times that they began anew.
    """

    def __init__(self, shared: SharedIds | None = None) -> None:
        self._ids = SharedIds() if shared is None else shared
        self._is_alone = shared is None
        self._number = 0 if shared is None else shared.join(self)
        self._jumps: int | None = None
        self._forget()

    def restart(self) -> None:
        """Forgets all tracks; ids begin at 1 again, in the next epoch. Where other streams share them, they go on."""
        if self._is_alone:
            self._ids.restart()
        else:
            self._ids.known.forget(self._number)
        self._forget()

    def _forget(self) -> None:
        self.epoch = self._ids.epoch
        self._things: list[Track] = []
        self._stuff: dict[tuple[int, int], Track] = {}
        self._frame = -1
        self._width = 0
        self._before = self._now = 0
        self._stamp: int | None = None
        self._advances = False
        self._named: list[Identity] = []
        """The segments of the last frame."""

    def update(
        self,
        observations: Sequence[Observation],
        width: int,
        stamp: int | None = None,
        segment_index: np.ndarray | None = None,
        recall: Recall = NOTHING_REMEMBERED,
        jumps: int | None = None,
    ) -> list[Identity]:
        """Names the segments of the next frame, in their order.

        width: of the image, in pixels. stamp: of the frame, in nanoseconds; a frame without one, or with an older one
        than the frame before, counts `PERIOD_WITHOUT_STAMP`, and so do frames whose stamps never change. segment_index:
        (H, W), i + 1 where segment i is seen; this rule does not look at it. recall: for rules 2 and 4. jumps: how
        often the frame of the places has jumped so far; None where nothing is known of places.
        """
        if self.epoch != self._ids.epoch:  # another stream has begun it
            self._forget()
        if self._frame < 0:
            self._now = self._ids.now
        self._frame += 1
        self._width = width
        self._before, self._now = self._now, self._now + self._elapsed(stamp)
        self._ids.now = max(self._ids.now, self._now)
        self._things = [
            track
            for track in self._things
            if track.last_seen == self._before or self._now - track.last_seen <= MAX_ABSENCE
        ]

        self._doubt_places(observations, jumps)
        tracks: list[Track | None] = [self._stuff_track(seen) if not seen.is_thing else None for seen in observations]
        self._continue(observations, tracks, width, segment_index)
        doubted = self._doubt(observations, tracks) if recall.seconds else {}
        self._hand_over(observations, tracks)
        returned = self._recall(observations, tracks, recall) - self._continue_doubted(observations, tracks, doubted)

        births = sum(track is None for track in tracks)
        if self._ids.last_id + births > LARGEST_ID:
            self._ids.restart()
            return self.update(observations, width, stamp, segment_index, recall, jumps)
        for index, seen in enumerate(observations):
            tracks[index] = self._see(tracks[index] or self._birth(seen), seen)
        if recall.seconds:
            self._ids.known.see(
                [(track, seen) for track, seen in zip(tracks, observations, strict=True) if track and seen.is_thing],
                self._now,
            )
        self._named = [
            Identity(track.id, self._frame - track.born, index in returned)
            for index, track in enumerate(tracks)
            if track is not None
        ]
        return self._named

    def _doubt_places(self, observations: Sequence[Observation], jumps: int | None) -> None:
        """Lets the places from before be forgotten where their frame has jumped; jumps: as in `update`."""
        if jumps is not None and self._jumps not in (None, jumps):
            self._ids.known.forget_places()
        self._jumps = self._jumps if jumps is None else jumps
        before = [track for track in self._things if track.last_seen == self._before]
        placed = [seen for seen in observations if seen.place is not None]
        if not before or not placed:
            return
        # By their boxes, because what is out of reach of its place is not followed.
        same = overlaps([seen.box for seen in placed], [track.box for track in before]) >= SAME_PLACE
        same &= np.equal.outer([seen.class_id for seen in placed], [track.class_id for track in before])
        self._ids.known.doubt_places(placed, before, same, self._now)

    def _elapsed(self, stamp: int | None) -> int:
        """Nanoseconds since the frame before. Never 0: tracks have to die even where all stamps are the same."""
        if stamp is None:
            return PERIOD_WITHOUT_STAMP
        before, self._stamp = self._stamp, stamp
        if before is None or stamp < before or (stamp == before and not self._advances):
            return PERIOD_WITHOUT_STAMP
        self._advances = True
        return max(stamp - before, 1)

    def _stuff_track(self, seen: Observation) -> Track | None:
        return self._stuff.get((seen.slot, seen.class_id))

    def _continue(
        self,
        observations: Sequence[Observation],
        tracks: list[Track | None],
        width: int,
        segment_index: np.ndarray | None,
    ) -> None:
        """Rule 1: gives each thing the track of its slot, where it can be the same object."""
        newest = {track.slot: track for track in sorted(self._things, key=lambda track: track.last_seen)}
        found = [
            (index, seen, newest[seen.slot])
            for index, seen in enumerate(observations)
            if seen.is_thing and seen.slot in newest and self._plausible(newest[seen.slot], seen, width)
        ]
        if not found:
            return
        indices, seen_things, candidates = zip(*found, strict=True)
        apart = self._apart(seen_things, candidates).diagonal()
        for index, track, is_apart in zip(indices, candidates, apart, strict=True):
            if not is_apart:
                tracks[index] = track

    def _plausible(self, track: Track, seen: Observation, width: int) -> bool:
        if track.class_id != seen.class_id:
            return bool(overlaps([track.box], [seen.box])[0, 0] >= SAME_PLACE)
        since = (self._now - track.last_seen) / SECOND
        diagonal = max(math.hypot(*track.box[2:]), math.hypot(*seen.box[2:]))
        reach = diagonal * (1 + since) + TURNING_SPEED * width * min(since, TURNING)
        return math.dist(centre(track.box), centre(seen.box)) <= reach

    def _apart(self, seen: Sequence[Observation], tracks: Sequence[Track]) -> np.ndarray:
        """Where a segment is so far in space from where a track was that it cannot be that, (segments, tracks)."""
        return self._ids.known.apart(seen, tracks, self._now)

    def _doubt(self, observations: Sequence[Observation], tracks: list[Track | None]) -> dict[int, Track]:
        """Rule 2: takes their tracks from things that look other; which track from which segment."""
        continued = {index: track for index, track in enumerate(tracks) if track}
        likeness = self._ids.known.likeness([observations[index] for index in continued], list(continued.values()))
        doubted = {
            index: track for (index, track), alike in zip(continued.items(), likeness, strict=True) if alike < ALIKE
        }
        for index in doubted:
            tracks[index] = None
        return doubted

    def _continue_doubted(
        self, observations: Sequence[Observation], tracks: list[Track | None], doubted: dict[int, Track]
    ) -> set[int]:
        """Rule 2: gives tracks that nothing has taken back to segments that have none; which of them have their own."""
        shown = {track.id for track in tracks if track is not None}
        for index, track in doubted.items():
            is_free = tracks[index] is None and track.id not in shown
            if is_free and overlaps([track.box], [observations[index].box])[0, 0] > 0:
                tracks[index] = track
        return {index for index, track in doubted.items() if tracks[index] is track}

    def _hand_over(self, observations: Sequence[Observation], tracks: list[Track | None]) -> None:
        """Rule 3: gives things that continue none a track in the same place that nothing shows in this frame."""
        shown = {track.id for track in tracks if track is not None}
        free = [index for index, seen in enumerate(observations) if seen.is_thing and tracks[index] is None]
        hidden = sorted((track for track in self._things if track.id not in shown), key=lambda track: -track.last_seen)
        if not free or not hidden:
            return
        seen = [observations[index] for index in free]
        place = overlaps([each.box for each in seen], [track.box for track in hidden])
        other_class = np.not_equal.outer([each.class_id for each in seen], [track.class_id for track in hidden])
        place[other_class | self._apart(seen, hidden)] = 0
        rows, columns = (place >= SAME_PLACE).nonzero()
        for candidate in np.argsort(-place[rows, columns], kind="stable").tolist():
            index, track = free[rows[candidate]], hidden[columns[candidate]]
            if tracks[index] is None and track.id not in shown:
                tracks[index] = track
                shown.add(track.id)

    def _recall(self, observations: Sequence[Observation], tracks: list[Track | None], recall: Recall) -> set[int]:
        """Rule 4: gives a lost track to things that have none, or one that is not settled; which got one."""
        newcomers = [
            index
            for index, (seen, track) in enumerate(zip(observations, tracks, strict=True))
            if seen.is_thing and (track is None or self._now < track.settled)
        ]
        if not newcomers or not recall.seconds:
            return set()
        shown = {track.id for track in tracks if track is not None}
        elsewhere = self._ids.shown_beside(self) - shown
        asked = [(observations[index], tracks[index]) for index in newcomers]
        found = self._ids.known.recall(asked, shown, self._now, recall, elsewhere=elsewhere)
        returned = {index: track for index, track in zip(newcomers, found, strict=True) if track is not None}
        for index, track in returned.items():
            before = tracks[index]
            if before is not None:
                self._things.remove(before)
                self._ids.known.drop(before)
            tracks[index] = self._taken(track)
        return set(returned)

    def _taken(self, track: Track) -> Track:
        """A track that was recalled, as one of this stream's."""
        if track.stream != self._number:
            self._ids.hand_over(track.id, self)
            # One of its own: the other stream may still show the thing, and counts other frames.
            track = replace(track, born=self._frame, stream=self._number)
        self._things = [*(other for other in self._things if other.id != track.id), track]
        return track

    def shown(self) -> set[int]:
        """The ids of the things in the last frame; none where that is long ago."""
        if self.epoch != self._ids.epoch or self._ids.now - self._now > MAX_ABSENCE:
            return set()
        return {track.id for track in self._things if track.last_seen == self._now}

    def lose(self, id_: int) -> None:
        """Gives up a track that is not shown: another stream shows the thing."""
        self._things = [track for track in self._things if track.id != id_ or track.last_seen == self._now]

    def _birth(self, seen: Observation) -> Track:
        self._ids.last_id += 1
        is_sliver = math.sqrt(seen.box[2] * seen.box[3]) <= SLIVER * self._width
        track = Track(
            *(self._ids.last_id, seen.slot, seen.class_id, seen.box),
            born=self._frame,
            last_seen=self._now,
            settled=self._now + TRIAL * is_sliver,
            stream=self._number,
        )
        if seen.is_thing:
            self._things.append(track)
        else:
            self._stuff[seen.slot, seen.class_id] = track
        return track

    def _see(self, track: Track, seen: Observation) -> Track:
        track.slot, track.class_id, track.box, track.last_seen = seen.slot, seen.class_id, seen.box, self._now
        return track


def centre(box: Box) -> tuple[float, float]:
    """The middle of a box, in pixels."""
    x, y, width, height = box
    return x + width / 2, y + height / 2


def overlaps(first: Sequence[Box], second: Sequence[Box]) -> np.ndarray:
    """Intersection over union of each of the first boxes with each of the second, (first, second), 0 to 1."""
    one, two = np.array(first, np.float64)[:, None], np.array(second, np.float64)[None]
    begin = np.maximum(one[..., :2], two[..., :2])
    end = np.minimum(one[..., :2] + one[..., 2:], two[..., :2] + two[..., 2:])
    shared = np.maximum(end - begin, 0).prod(2)
    return shared / (one[..., 2:].prod(2) + two[..., 2:].prod(2) - shared)
