"""Figures over the time of a run, in bounded memory: intervals that widen with its length, and drift."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from eomt_ros.evaluation.latency import LatencyHistogram
from eomt_ros.evaluation.metrics import PartialScores
from eomt_ros.evaluation.pace import FrameTime
from eomt_ros.evaluation.results import Drift, Interval

INTERVALS = 120
"""Most intervals of a run, unless it has more sequences: each has at least one."""
SHORTEST = 1.0
"""s that an interval lasts; doubled whenever there are too many intervals."""
MINUTE = 60.0
BLOCK = 1.0
"""s: resolution of the beginning of the last minute."""


class Trend:
    """Divides a run into intervals, equally long but for the last of each sequence."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._length = SHORTEST
        self._parts: list[_Part] = []

    def add(self, sequence: str, moment: FrameTime, seconds: float | None, score: PartialScores | None) -> None:
        """Counts a frame. seconds: time that the engine took, None where not known. score: None without truth."""
        number = int(moment.begin // self._length)
        last = self._parts[-1] if self._parts else None
        if last is None or (last.sequence, last.number) != (sequence, number):
            last = _Part(sequence, number, self._classes)
            self._parts.append(last)
        last.end = moment.begin + moment.seconds
        if seconds is not None:
            last.latency.add(seconds)
        if score is not None:
            last.scores.add(score)
        while len(self._parts) > INTERVALS and self._can_merge():
            self._widen()

    def intervals(self, id_switches: Callable[[str, float, float], int] | None) -> tuple[Interval, ...]:
        """The intervals so far. id_switches: counts those of a sequence from a second to before another."""
        return tuple(
            Interval(
                sequence=part.sequence,
                begin=part.number * self._length,
                end=part.end,
                miou=part.scores.miou,
                vpq=part.scores.vpq,
                id_switches=id_switches(part.sequence, part.number * self._length, (part.number + 1) * self._length)
                if id_switches is not None
                else None,
                latency_ms=part.latency.percentile(0.5),
            )
            for part in self._parts
        )

    def _can_merge(self) -> bool:
        return len({part.sequence for part in self._parts}) < len(self._parts)

    def _widen(self) -> None:
        self._length *= 2
        merged: list[_Part] = []
        for part in self._parts:
            part.number //= 2
            if merged and (merged[-1].sequence, merged[-1].number) == (part.sequence, part.number):
                merged[-1].merge(part)
            else:
                merged.append(part)
        self._parts = merged


class DriftWatch:
    """Scores the first and the last minute of sequences of at least two minutes."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._first, self._last = PartialScores.empty(classes), PartialScores.empty(classes)
        self._begin()

    def start_sequence(self) -> None:
        """Begins another sequence."""
        self._first, self._last = self._minutes()
        self._begin()

    def add(self, moment: FrameTime, score: PartialScores | None) -> None:
        """Counts a frame; score: None without truth."""
        self._end = moment.begin + moment.seconds
        if score is None:
            return
        if moment.begin < MINUTE:
            self._beginning.add(score)
        begin = moment.begin // BLOCK * BLOCK
        if not self._blocks or self._blocks[-1][0] != begin:
            self._blocks.append((begin, PartialScores.empty(self._classes)))
        self._blocks[-1][1].add(score)
        while self._blocks[0][0] < begin - MINUTE:
            self._blocks.popleft()

    def drift(self) -> Drift | None:
        """Of all sequences so far that are long enough; None where none is, or has no ground truth."""
        first, last = self._minutes()
        if first.miou is None and last.miou is None:
            return None
        return Drift(first.miou, last.miou, first.vpq, last.vpq)

    def _begin(self) -> None:
        self._beginning = PartialScores.empty(self._classes)
        self._blocks: deque[tuple[float, PartialScores]] = deque()
        self._end = 0.0

    def _minutes(self) -> tuple[PartialScores, PartialScores]:
        """The first and the last minutes of all sequences so far that are long enough."""
        first, last = PartialScores.empty(self._classes), PartialScores.empty(self._classes)
        first.add(self._first)
        last.add(self._last)
        if self._end >= 2 * MINUTE:
            first.add(self._beginning)
            for begin, scores in self._blocks:
                if begin >= self._end - MINUTE:
                    last.add(scores)
        return first, last


class _Part:
    def __init__(self, sequence: str, number: int, classes: int) -> None:
        self.sequence = sequence
        self.number = number
        self.end = 0.0
        self.scores = PartialScores.empty(classes)
        self.latency = LatencyHistogram()

    def merge(self, other: _Part) -> None:
        self.end = other.end
        self.scores.add(other.scores)
        self.latency.merge(other.latency)
