"""Things that come back: a bounded memory of a stream's tracks, from which a newcomer may get its old id.

A thing that continues no track (see `eomt_ros.engine.tracking.tracker`) is compared with the tracks of its class that
no segment shows in this frame and that were last seen no longer ago than `remember`. The rule, once per frame that has
such newcomers:

1. **Likeness.** The cosine of the newcomer's embedding and the track's mean one, both less the mean of their class:
   what all things of a class have in common says nothing. That mean is over all tracks of the class, the newcomer and,
   for a class of few, the mean of all things and of one that has a little of everything. Where the embeddings
   themselves have a cosine below `UNLIKE`, they are two things, wherever they are.
2. **Place.** Where both places are known, the newcomer must lie within reach of where the track was last seen: `NEAR`,
   and as far as it can have gone since at the fastest that it was seen to move, at most `FARTHEST`. The nearer it lies,
   the more is added to the likeness: up to `PLACE_CREDIT`, nothing from `PLACE_EXTENT` on.
3. **Pairing.** A newcomer is a track if their score reaches `remember_similarity` and is higher by `MARGIN` than any
   other of the newcomer and any other of the track: where two tracks are about equally likely, the newcomer gets a new
   id. A wrong id is worse than a new one.

Places are of a frame that stands still. When it has jumped, those that are known are forgotten, and likeness alone
decides. Whoever gives the places says that it has, or `TOGETHER` of the things that are where they were in the image
lie farther from there in space than they can have gone (`STEP`, `FASTEST`). What is no number is no embedding and no
place. `MOST_TRACKS` are remembered, or as many as `MOST_BYTES` hold; beyond that the one that was last seen the longest
ago makes room.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eomt_ros.stamps import SECOND

if TYPE_CHECKING:
    from eomt_ros.engine.tracking.tracker import Observation, Track

MOST_TRACKS = 1024
MOST_BYTES = 1 << 22
NEWEST = 0.1
"""Least share of a thing's newest embedding in its mean one."""
UNLIKE = 0.3
"""Cosine of two embeddings below which they are not of one thing, wherever it is."""
NEAR = 0.7
"""Metres by which the place of a thing that stands still may differ from one view of it to another."""
JUMP = 0.5
"""Metres, the same from one frame to the next."""
BESIDE = 0.5
"""Metres by which the place of a thing differs from one camera to another that shows it too."""
FARTHEST = 6.0
"""Metres."""
STEP = 0.5
"""Metres by which the place of a thing that stands still may differ from one frame to the next."""
FASTEST = 5.0
"""Metres per second."""
TOGETHER = 0.75
"""Share of the things seen again, of which there must be two: one alone may be measured wrongly."""
PACE = 1.0
"""Seconds over which speed is measured."""
PLACE_CREDIT = 2.0
PLACE_EXTENT = 2.5
"""Metres."""
MARGIN = 0.1
LONG_AGO = -(1 << 62)
IMPOSSIBLE = -9.0
"""A score below all others."""


class Recall(NamedTuple):
    """How long tracks are remembered, in seconds, and how like one of them a newcomer must be, 0 to 1."""

    seconds: float
    similarity: float


NOTHING_REMEMBERED = Recall(0.0, 1.0)


class KnownTracks:
    """The tracks of things in a stream, shown or lost."""

    def __init__(self) -> None:
        self._row_of: dict[int, int] = {}
        """By id; rows are taken in their order."""
        self._tracks: list[Track] = []

    def see(self, shown: Sequence[tuple[Track, Observation]], now: int) -> None:
        """Takes in the things of a frame, with their tracks. now: in nanoseconds of the stream's clock."""
        described = [(track, seen) for track, seen in shown if seen.embedding is not None]
        if not described:
            return
        latest = np.stack([seen.embedding for _, seen in described if seen.embedding is not None])
        finite = np.isfinite(latest).all(1)
        if not self._tracks:
            self._allocate(latest.shape[1])
        kept = [pair for pair, usable in zip(described, finite, strict=True) if usable]
        rows = np.array([self._row(track) for track, _ in kept], np.int64)
        self._last_seen[rows] = now
        self._class_ids[rows] = [seen.class_id for _, seen in kept]
        self._views[rows] += 1
        share = np.maximum(1 / self._views[rows], NEWEST).astype(np.float32)
        looks = self._looks[rows]
        looks += share[:, None] * (latest[finite] - looks)
        self._looks[rows] = looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-9)
        self._see_places(rows, _places([seen for _, seen in kept]), now)

    def forget_places(self) -> None:
        """Forgets where the tracks were seen: the frame of their places has jumped."""
        if self._tracks:
            self._places[:] = self._anchors[:] = np.nan

    def doubt_places(self, seen: Sequence[Observation], tracks: Sequence[Track], same: np.ndarray, now: int) -> None:
        """Forgets all places where those of things that are seen again say that the frame of places has jumped.

        same: (segments, tracks) bool, whether a segment can be the thing of a track by image and class. A segment that
        can be several counts as the nearest: one that has not moved is no sign of a jump.
        """
        rows = np.array([self._row_of.get(track.id, -1) for track in tracks], np.int64)
        if not (rows >= 0).any():
            return
        rows, same = rows[rows >= 0], same[:, rows >= 0]
        since = np.maximum(now - self._placed[rows], 0) / SECOND  # another camera of the node may be ahead
        beyond = self._distances(seen, rows, now, JUMP)[0] - (STEP + FASTEST * since)
        beyond[~same | (since > PACE)] = np.nan
        nearest = np.fmin.reduce(beyond, axis=1)
        nearest = nearest[np.isfinite(nearest)]
        if len(nearest) >= 2 and np.mean(nearest > 0) >= TOGETHER:
            self.forget_places()

    def apart(self, seen: Sequence[Observation], tracks: Sequence[Track], now: int) -> np.ndarray:
        """Where a segment lies so far from where a track was last seen that it cannot be that, (segments, tracks).

        The reach is that of rule 2, but for `JUMP` in place of `NEAR`.
        """
        rows = [self._row_of.get(track.id) for track in tracks]
        found = np.zeros((len(seen), len(tracks)), bool)
        known = np.array([row is not None for row in rows], bool)
        if known.any() and any(each.place is not None for each in seen):
            found[:, known] = self._distances(seen, np.array([row for row in rows if row is not None]), now, JUMP)[1]
        return found

    def likeness(self, seen: Sequence[Observation], tracks: Sequence[Track]) -> np.ndarray:
        """The cosine of each segment's embedding and its track's mean one, (segments,); NaN where one is not known."""
        found = np.full(len(seen), np.nan)
        known = [
            (place, self._row_of[track.id], each.embedding)
            for place, (each, track) in enumerate(zip(seen, tracks, strict=True))
            if each.embedding is not None and track.id in self._row_of
        ]
        if known:
            places, rows, latest = zip(*known, strict=True)
            found[list(places)] = np.einsum("nc,nc->n", self._looks[list(rows)], np.stack(latest))
        return found

    def drop(self, track: Track) -> None:
        """Forgets a track, as one that turned out to be another."""
        row = self._row_of.pop(track.id, None)
        if row is not None:
            self._looks[row], self._class_ids[row], self._last_seen[row] = 0, -1, LONG_AGO

    def forget(self, stream: int) -> None:
        """Forgets the tracks that a stream, by its number, was the last to see."""
        rows = [row for row, track in enumerate(self._tracks) if track.stream == stream]
        if rows:
            self._last_seen[rows] = LONG_AGO

    def recall(
        self,
        newcomers: Sequence[tuple[Observation, Track | None]],
        shown: Collection[int],
        now: int,
        rule: Recall,
        elsewhere: Collection[int] = (),
    ) -> list[Track | None]:
        """The lost track that each newcomer is; None where it is none of them.

        newcomers: with the tracks that they have had so far, where they have. shown: ids of the tracks that the frame
        shows already. elsewhere: of those that another camera shows now.
        """
        found: list[Track | None] = [None] * len(newcomers)
        usable = [
            index
            for index, (seen, _) in enumerate(newcomers)
            if seen.embedding is not None and np.isfinite(seen.embedding).all()
        ]
        if not usable or not self._tracks:
            return found
        lost = now - self._last_seen[: len(self._tracks)] <= rule.seconds * SECOND
        lost[[self._row_of[id_] for id_ in shown if id_ in self._row_of]] = False
        rows = lost.nonzero()[0]
        if not len(rows):
            return found
        in_view = np.isin(rows, [self._row_of[id_] for id_ in elsewhere if id_ in self._row_of])
        scores, near = self._scores([newcomers[index] for index in usable], rows, now)
        for index, column in _pairs(scores, rule.similarity):
            # As a rival, one in view of another camera counts also where it is not known to be near.
            if near[index, column] or not in_view[column]:
                found[usable[index]] = self._tracks[rows[column]]
        return found

    def _allocate(self, channels: int) -> None:
        rows = min(MOST_TRACKS, max(1, MOST_BYTES // (4 * channels)))
        self._looks = np.zeros((rows, channels), np.float32)
        """The mean embeddings, of unit length."""
        self._views = np.zeros(rows, np.int64)
        self._class_ids = np.zeros(rows, np.int64)
        self._last_seen = np.zeros(rows, np.int64)
        self._places = np.full((rows, 3), np.nan)
        self._placed = np.zeros(rows, np.int64)
        self._anchors = np.full((rows, 3), np.nan)
        """Where it was when its speed was measured last, `_anchored`."""
        self._anchored = np.zeros(rows, np.int64)
        self._speeds = np.zeros(rows)
        """Metres per second; the highest so far."""

    def _row(self, track: Track) -> int:
        """The row of a track; one that is not known takes the next, or that of the one that was seen least lately."""
        if track.id in self._row_of:
            row = self._row_of[track.id]
            self._tracks[row] = track  # of the stream that sees it now
            return row
        row = len(self._tracks)
        if row < len(self._looks):
            self._tracks.append(track)
        else:
            row = int(self._last_seen.argmin())
            self._row_of.pop(self._tracks[row].id, None)
            self._tracks[row] = track
        self._row_of[track.id] = row
        self._looks[row] = self._views[row] = self._speeds[row] = 0
        self._places[row] = self._anchors[row] = np.nan
        return row

    def _see_places(self, rows: np.ndarray, places: np.ndarray, now: int) -> None:
        known = np.isfinite(places).all(1)
        rows, places = rows[known], places[known]
        self._places[rows], self._placed[rows] = places, now
        first = np.isnan(self._anchors[rows, 0])
        since = (now - self._anchored[rows]) / SECOND
        due = first | (since >= PACE)
        speed = np.linalg.norm(places - self._anchors[rows], axis=1) / np.maximum(since, PACE)
        self._speeds[rows] = np.where(due & ~first, np.maximum(self._speeds[rows], speed), self._speeds[rows])
        self._anchors[rows[due]], self._anchored[rows[due]] = places[due], now

    def _scores(
        self, newcomers: Sequence[tuple[Observation, Track | None]], rows: np.ndarray, now: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rules 1 and 2: the score of each newcomer with the track of each row, (newcomers, rows), and True where it is
        known to be within `BESIDE` of it.
        """
        known = len(self._tracks)
        latest = np.stack([seen.embedding for seen, _ in newcomers if seen.embedding is not None])
        same = np.array([seen.class_id for seen, _ in newcomers])[:, None] == self._class_ids[:known]
        for index, (_, track) in enumerate(newcomers):
            row = None if track is None else self._row_of.get(track.id)
            if row is not None:
                latest[index] = self._looks[row]
                same[index, row] = False
        # All rows, since to pick some would copy them, and the mean is over all.
        scores = _likeness(latest, self._looks[:known], same)[:, rows]
        distance, apart = self._distances([seen for seen, _ in newcomers], rows, now, NEAR)
        scores += PLACE_CREDIT * np.maximum(np.nan_to_num(1 - distance / PLACE_EXTENT), 0)
        scores[~same[:, rows] | apart] = IMPOSSIBLE
        return scores, distance <= BESIDE

    def _distances(
        self, seen: Sequence[Observation], rows: np.ndarray, now: int, still: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Metres from each segment to where the track of each row was last seen, NaN where that is not known, and
        whether it is out of reach; (segments, rows). still: reach of what stands still, in metres.
        """
        distance = np.linalg.norm(_places(seen)[:, None] - self._places[rows], axis=2)
        gone = self._speeds[rows] * (now - self._placed[rows]) / SECOND
        return distance, distance > still + np.minimum(gone, FARTHEST)


def _likeness(latest: np.ndarray, looks: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Rule 1: the cosine of each newcomer and each track, less the mean of the newcomer's class; `IMPOSSIBLE` where
    they have nothing in common.

    latest: (n, channels) and looks: (tracks, channels), of unit length. same: (n, tracks) bool, whether the class is.
    """
    of_all = (looks.sum(0) + looks.shape[1] ** -0.5) / (len(looks) + 1)
    means = (same.astype(np.float32) @ looks + latest + of_all) / (same.sum(1, keepdims=True) + 2)
    offsets = latest - means
    # Products with all looks, since their differences from each mean would be as many as pairs.
    in_common, of_means = latest @ looks.T, means @ looks.T
    lengths = np.sqrt(np.maximum(1 - 2 * of_means + (means**2).sum(1, keepdims=True), 1e-9))
    lengths *= np.maximum(np.linalg.norm(offsets, axis=1, keepdims=True), 1e-9)
    found = (in_common - of_means - (offsets * means).sum(1, keepdims=True)) / lengths
    return np.where(in_common < UNLIKE, IMPOSSIBLE, found)


def _places(seen: Sequence[Observation]) -> np.ndarray:
    """(n, 3) m; NaN where it is not known."""
    unknown = np.full(3, np.nan)
    found = np.array([unknown if each.place is None else each.place for each in seen], np.float64).reshape(-1, 3)
    found[~np.isfinite(found).all(1)] = np.nan
    return found


def _pairs(scores: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Rule 3: row and column of each pair that counts."""
    rows, columns = np.arange(len(scores)), scores.argmax(1)
    paired = scores[rows, columns]
    of_newcomer, of_track = scores.copy(), scores[:, columns]
    of_newcomer[rows, columns] = of_track[rows, rows] = IMPOSSIBLE
    rivals = np.maximum(of_newcomer.max(1), of_track.max(0))
    counts = (paired >= least) & (paired >= rivals + MARGIN)
    return list(zip(rows[counts].tolist(), columns[counts].tolist(), strict=True))
