"""Things that come back: a bounded memory of a stream's tracks, from which a newcomer may get its old id.

A thing that continues no track (see `eomt_ros.engine.tracking.tracker`) is compared with the tracks of its class that
no segment shows in this frame and that were last seen no longer ago than `remember`. The rule, once per frame that has
such newcomers:

1. **Likeness.** The cosine of the newcomer's embedding and the nearest of those that are kept of the track: one for
   each look that differs from the others (cosine below `SAME_LOOK`), up to `LOOKS`, each a running mean.
2. **Place.** Where both places are known, the newcomer must lie within reach of where the track was last seen: `NEAR`,
   and as far as it can have gone since, which is `HASTE` times the fastest that it was seen to move, at most `FAR`. The
   nearer it lies, the more is added to the likeness, at most `PLACE_CREDIT`.
3. **Pairing.** Newcomers and tracks are paired so that the sum of their scores is the highest (assignment). A pair
   counts if its score reaches `remember_similarity` and is higher by `MARGIN` than any other of its newcomer and any
   other of its track: where two tracks are about equally likely, the newcomer gets a new id. A wrong id is worse than a
   new one.

What is no number is no embedding and no place. `MOST_TRACKS` are remembered, or as many as `MOST_BYTES` hold; beyond
that the one that was last seen the longest ago makes room.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eomt_ros.stamps import SECOND

if TYPE_CHECKING:
    from eomt_ros.engine.tracking.tracker import Observation, Track

MOST_TRACKS = 1024
MOST_BYTES = 1 << 24
LOOKS = 4
SAME_LOOK = 0.9
BLEND = 0.1
"""Share of the newest embedding in the running mean of its look."""
NEAR = 1.0
"""Metres by which the place of a thing that stands still differs from one view of it to another."""
BESIDE = 0.5
"""Metres by which the place of a thing differs from one camera to another that shows it too."""
HASTE = 1.5
FAR = 6.0
"""Metres."""
PLACE_CREDIT = 0.3
MARGIN = 0.05
PACE = 1.0
"""Seconds over which speed is measured."""
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
        self._see_looks(rows, latest[finite])
        self._see_places(rows, _places([seen for _, seen in kept]), now)

    def recall(
        self,
        newcomers: Sequence[Observation],
        shown: Collection[int],
        now: int,
        rule: Recall,
        elsewhere: Collection[int] = (),
    ) -> list[Track | None]:
        """The track that each newcomer is; None where it is none of them.

        shown: ids of the tracks that the frame shows already. elsewhere: of those that another camera shows now.
        """
        found: list[Track | None] = [None] * len(newcomers)
        usable = [
            index
            for index, seen in enumerate(newcomers)
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
        scores, near = self._scores([newcomers[index] for index in usable], rows, now, in_view)
        for index, column in _pairs(scores, rule.similarity):
            # As a rival one in view of another camera counts wherever it is.
            if near[index, column] or not in_view[column]:
                found[usable[index]] = self._tracks[rows[column]]
        return found

    def forget(self, stream: int) -> None:
        """Forgets the tracks that a stream, by its number, was the last to see."""
        rows = [row for row, track in enumerate(self._tracks) if track.stream == stream]
        if rows:
            self._last_seen[rows] = LONG_AGO

    def _allocate(self, channels: int) -> None:
        rows = min(MOST_TRACKS, max(1, MOST_BYTES // (4 * LOOKS * channels)))
        self._looks = np.zeros((rows, LOOKS, channels), np.float32)
        self._class_ids = np.zeros(rows, np.int64)
        self._last_seen = np.zeros(rows, np.int64)
        self._places = np.full((rows, 3), np.nan)
        self._placed = np.zeros(rows, np.int64)
        self._anchors = np.full((rows, 3), np.nan)
        """Where it was when its speed was measured last, `_anchored`."""
        self._anchored = np.zeros(rows, np.int64)
        self._speeds = np.zeros(rows)

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
            del self._row_of[self._tracks[row].id]
            self._tracks[row] = track
        self._row_of[track.id] = row
        self._looks[row] = 0
        self._places[row] = self._anchors[row] = np.nan
        self._speeds[row] = 0
        return row

    def _see_looks(self, rows: np.ndarray, latest: np.ndarray) -> None:
        known = self._looks[rows]
        empty = ~known.any(2)
        likeness = np.where(empty, -1, np.einsum("nkc,nc->nk", known, latest))
        novel = (likeness.max(1) < SAME_LOOK) & empty.any(1)
        column = np.where(novel, empty.argmax(1), likeness.argmax(1))
        look = known[np.arange(len(rows)), column]
        look = np.where(novel[:, None], latest, look + BLEND * (latest - look))
        self._looks[rows, column] = look / np.maximum(np.linalg.norm(look, axis=1, keepdims=True), 1e-9)

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
        self, newcomers: Sequence[Observation], rows: np.ndarray, now: int, in_view: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rules 1 and 2: the score of each newcomer with the track of each row, (newcomers, rows), and True where it is
        known to be beside it. in_view: rows of tracks that another camera shows, which must be."""
        latest = np.stack([seen.embedding for seen in newcomers if seen.embedding is not None])
        # All rows, since to pick some would copy them.
        looks = self._looks[: len(self._tracks)]
        scores = (latest @ looks.reshape(-1, looks.shape[2]).T).reshape(len(latest), -1, LOOKS).max(2)[:, rows]
        distance = np.linalg.norm(_places(newcomers)[:, None] - self._places[rows], axis=2)
        away = (now - self._placed[rows]) / SECOND
        reach = NEAR + np.minimum(HASTE * self._speeds[rows] * away, FAR)
        reach = np.where(in_view, BESIDE, reach)
        scores += PLACE_CREDIT * np.nan_to_num(1 - distance / reach)
        classes = np.array([seen.class_id for seen in newcomers])
        scores[(classes[:, None] != self._class_ids[rows]) | (distance > reach)] = IMPOSSIBLE
        return scores, distance <= reach


def _places(seen: Sequence[Observation]) -> np.ndarray:
    """(n, 3) m; NaN where it is not known."""
    unknown = np.full(3, np.nan)
    found = np.array([unknown if each.place is None else each.place for each in seen], np.float64).reshape(-1, 3)
    found[~np.isfinite(found).all(1)] = np.nan
    return found


def _pairs(scores: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Rule 3: row and column of each pair that counts."""
    from scipy.optimize import linear_sum_assignment  # a second to import, which a stream without newcomers saves

    rows, columns = linear_sum_assignment(scores, maximize=True)
    rest = scores.copy()
    rest[rows, columns] = IMPOSSIBLE
    rivals = np.maximum(rest.max(1)[rows], rest.max(0)[columns])
    paired = scores[rows, columns]
    counts = (paired >= least) & (paired >= rivals + MARGIN)
    return list(zip(rows[counts].tolist(), columns[counts].tolist(), strict=True))
