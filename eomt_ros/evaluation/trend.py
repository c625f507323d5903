"""Figures over the time of a run, in bounded memory: intervals that widen with its length, and drift."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from eomt_ros.evaluation.counts import Minutes
from eomt_ros.evaluation.latency import LatencyHistogram
from eomt_ros.evaluation.metrics import PartialScores
from eomt_ros.evaluation.pace import FrameTime
from eomt_ros.evaluation.results import Interval

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
        self._parts: dict[tuple[str, int], _Part] = {}
        """By the name of the sequence, and the number of the interval in it."""

    def add(self, sequence: str, moment: FrameTime, seconds: float | None, score: PartialScores | None) -> None:
        """Counts a frame. seconds: time that the engine took, None where not known. score: None without truth."""
        key = sequence, int(moment.begin // self._length)
        if key not in self._parts:
            self._parts[key] = _Part(self._classes)
        part = self._parts[key]
        part.end = moment.begin + moment.seconds
        if seconds is not None:
            part.latency.add(seconds)
        if score is not None:
            part.scores.add(score)
        while len(self._parts) > max(INTERVALS, len({name for name, _ in self._parts})):
            self._widen()

    def intervals(self, id_switches: Callable[[str, float, float], int] | None) -> tuple[Interval, ...]:
        """The intervals so far. id_switches: counts those of a sequence from a second to before another."""
        found = []
        for (sequence, number), part in self._parts.items():
            begin, end = number * self._length, (number + 1) * self._length
            switches = None if id_switches is None else id_switches(sequence, begin, end)
            scores, latency = part.scores, part.latency.percentile(0.5)
            found.append(Interval(sequence, begin, part.end, scores.miou, scores.vpq, switches, latency))
        return tuple(found)

    def _widen(self) -> None:
        self._length *= 2
        parts, self._parts = self._parts, {}
        for (sequence, number), part in parts.items():
            wide = self._parts.setdefault((sequence, number // 2), part)
            if wide is not part:
                wide.merge(part)


class DriftWatch:
    """Scores the first and the last minute of sequences of at least two minutes."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._ended = Minutes.empty(classes)
        self._begin()

    def start_sequence(self) -> None:
        """Begins another sequence."""
        self._ended = self.minutes()
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

    def minutes(self) -> Minutes:
        """Those of all sequences so far that are long enough."""
        found = Minutes.empty(self._classes)
        found.add(self._ended)
        if self._end >= 2 * MINUTE:
            found.first.add(self._beginning)
            for begin, scores in self._blocks:
                if begin >= self._end - MINUTE:
                    found.last.add(scores)
        return found

    def _begin(self) -> None:
        self._beginning = PartialScores.empty(self._classes)
        self._blocks: deque[tuple[float, PartialScores]] = deque()
        self._end = 0.0


class _Part:
    def __init__(self, classes: int) -> None:
        self.end = 0.0
        self.scores = PartialScores.empty(classes)
        self.latency = LatencyHistogram()

    def merge(self, other: _Part) -> None:
        self.end = other.end
        self.scores.add(other.scores)
        self.latency.merge(other.latency)
