"""Returns: true things that are found again after a while, and the ids that they get then.

1. A true thing is away from the first frame in which no prediction matches it until one does again, whatever its size.
2. If that took `LEAST_AWAY` or longer, it returns in the first frame in which it is matched and in view.
3. Its id is right where it is the one that it had before it was away, and no other true thing had it since; else wrong
   where another true thing had it in an earlier frame, so that a robot takes one for the other; and else new. No id is
   that of another epoch.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from eomt_ros.evaluation.ids import OUTCOMES, ReturnFigures, ReturnNumbers, ThingReturn
from eomt_ros.evaluation.metrics.identities import PredictedId
from eomt_ros.evaluation.metrics.overlap import Counts, Key, Overlap

LEAST_AWAY = 2.0
"""Seconds."""
TIMES_AWAY = {"2_to_5": 5.0, "5_to_10": 10.0, "10_to_30": 30.0, "30_to_60": 60.0, "over_60": math.inf}
"""Names of times away, and the longest of each in seconds."""
REMEMBERED = len(TIMES_AWAY) - 1
"""So many of them, the shortest, are those of which the shares `returns_right` and `returns_wrong` are."""


@dataclass(eq=False)
class ReturnCounts:
    """The returns of any number of sequences."""

    returns: Counts
    """(times away, outcomes), in the order of `TIMES_AWAY` and `OUTCOMES`."""

    @classmethod
    def of(cls, returns: Iterable[ThingReturn]) -> ReturnCounts:
        """Counts some."""
        counts = np.zeros((len(TIMES_AWAY), len(OUTCOMES)), np.int64)
        ends = list(TIMES_AWAY.values())
        for each in returns:
            counts[bisect_left(ends, each.away), OUTCOMES.index(each.outcome)] += 1
        return cls(counts)

    def add(self, other: ReturnCounts) -> None:
        """Adds the returns of other sequences."""
        self.returns += other.returns

    def figures(self) -> ReturnFigures:
        """Their numbers."""
        by_time = {name: _numbers(row) for name, row in zip(TIMES_AWAY, self.returns, strict=True)}
        return ReturnFigures(**vars(_numbers(self.returns.sum(axis=0))), by_time_away=by_time)

    def share(self, outcome: str) -> float | None:
        """Share of the returns after 60 s at most that have this outcome; None where there is none."""
        numbers = _numbers(self.returns[:REMEMBERED].sum(axis=0))
        return getattr(numbers, outcome) / numbers.returned if numbers.returned else None


class Owners:
    """The true things that each id matched, and when it last did."""

    def __init__(self) -> None:
        self._had: defaultdict[PredictedId, dict[Key, float]] = defaultdict(dict)

    def see(self, thing: Key, by: PredictedId, begin: float) -> None:
        """Takes in a match of the frame at `begin`."""
        self._had[by][thing] = begin

    def outcome(self, thing: Key, by: PredictedId, before: PredictedId, left: float) -> str:
        """Rule 3. by: the id of the thing now. before: its id until it was away, since `left`."""
        others = [last for other, last in self._had.get(by, {}).items() if other != thing]
        kept = by == before and max(others, default=-math.inf) < left
        return "right" if kept else "wrong" if others else "new"


class ReturnScore:
    """Follows the true things of one sequence through the times in which they are away; keeps a few numbers per id."""

    def __init__(self) -> None:
        self._matched: dict[Key, PredictedId] = {}
        """In the last frame."""
        self._away: dict[Key, tuple[float, PredictedId]] = {}
        """Since when, and the id before."""
        self._small: dict[Key, tuple[float, float, PredictedId]] = {}
        """Things that are matched again and not yet in view: since when and how long they were away, the id before."""
        self._owners = Owners()
        self._returns: defaultdict[Key, dict[float, ThingReturn]] = defaultdict(dict)

    def update(self, overlap: Overlap, in_view: Collection[Key], begin: float) -> None:
        """Counts one frame. in_view: the true things that are. begin: seconds from the start of the sequence."""
        matched = {true: (by.epoch, by.id) for true, by in overlap.matches.items() if true.id}
        self._away.update((thing, (begin, by)) for thing, by in self._matched.items() if thing not in matched)
        for thing in self._away.keys() & matched.keys():
            left, before = self._away.pop(thing)
            away = round((begin - left) * 1e9) / 1e9
            if away >= LEAST_AWAY:
                self._small[thing] = left, away, before
        for thing in self._small.keys() & matched.keys() & set(in_view):
            left, away, before = self._small.pop(thing)
            outcome = self._owners.outcome(thing, matched[thing], before, left)
            self._returns[thing][begin] = ThingReturn(outcome, away)
        for thing, by in matched.items():
            self._owners.see(thing, by, begin)
        self._matched = matched

    def counts(self, things: Iterable[Key]) -> ReturnCounts:
        """The returns so far. things: the true things that count."""
        return ReturnCounts.of(each for thing in things for each in self.of(thing).values())

    def of(self, thing: Key) -> dict[float, ThingReturn]:
        """Those of one thing so far, by the time of the frame."""
        return self._returns.get(thing, {})


def _numbers(counts: Counts) -> ReturnNumbers:
    right, wrong, new = counts.tolist()
    return ReturnNumbers(right + wrong + new, right, wrong, new)
