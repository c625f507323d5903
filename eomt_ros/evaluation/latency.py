"""Latencies of any number of frames, in little memory: a histogram whose bins widen with the time."""

from __future__ import annotations

import math
from collections import Counter

from eomt_ros.evaluation.results import Percentiles

RESOLUTION = 0.02
"""Width of a bin over its lower edge."""
SHORTEST, LONGEST = 1e-3, 1e7
"""ms: shorter and longer times are counted as these, a microsecond and three hours."""
COARSE = 3
"""Bins that are shown as one."""

_STEP = math.log1p(RESOLUTION)


class LatencyHistogram:
    """Counts times; percentiles are right to half a bin, 1 %, the highest exactly."""

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()
        self._highest = 0.0
        self.count = 0
        self.seconds = 0.0
        """Sum of the times."""

    def add(self, seconds: float) -> None:
        """Counts a time."""
        milliseconds = 1e3 * seconds
        bounded = min(max(milliseconds, SHORTEST), LONGEST)
        self._bins[math.floor(math.log(bounded) / _STEP)] += 1
        self._highest = max(self._highest, milliseconds)
        self.count += 1
        self.seconds += seconds

    def merge(self, other: LatencyHistogram) -> None:
        """Counts the times of another histogram too."""
        self._bins.update(other._bins)
        self._highest = max(self._highest, other._highest)
        self.count += other.count
        self.seconds += other.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds that `share` (0..1) of the frames did not exceed; NaN where there were none."""
        rank = max(1, math.ceil(share * self.count))
        below = 0
        for number in sorted(self._bins):
            below += self._bins[number]
            if below >= rank:
                middle = math.exp((number + 0.5) * _STEP)
                return min(middle, self._highest)
        return math.nan

    def figures(self) -> Percentiles:
        """The percentiles; NaN where no time was counted."""
        highest = self._highest if self.count else math.nan
        return Percentiles(self.percentile(0.50), self.percentile(0.95), self.percentile(0.99), highest)

    def bars(self) -> tuple[tuple[float, int], ...]:
        """(lower edge in ms, frames) of wider bins; the last one closes the histogram with 0 frames."""
        if not self._bins:
            return ()
        wide: Counter[int] = Counter()
        for number, count in self._bins.items():
            wide[number // COARSE] += count
        return tuple((math.exp(number * COARSE * _STEP), wide[number]) for number in range(min(wide), max(wide) + 2))
