"""Percentiles of any number of values, in little memory: a histogram whose bins widen with the value."""

from __future__ import annotations

import math
from collections import Counter

RESOLUTION = 0.02
"""Width of a bin over its lower edge."""
STEP = math.log1p(RESOLUTION)
"""The same of the logarithm."""
LOWEST, HIGHEST = 1e-4, 1e7
"""Smaller and larger values are counted as these."""


class LogHistogram:
    """Counts values from 0 on; percentiles are right to half a bin, 1 %, the highest exactly."""

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()
        self._highest = 0.0
        self.count = 0

    def add(self, value: float) -> None:
        """Counts a value."""
        self._bins[math.floor(math.log(min(max(value, LOWEST), HIGHEST)) / STEP)] += 1
        self._highest = max(self._highest, value)
        self.count += 1

    def merge(self, other: LogHistogram) -> None:
        """Counts the values of another histogram too."""
        self._bins.update(other._bins)
        self._highest = max(self._highest, other._highest)
        self.count += other.count

    @property
    def highest(self) -> float:
        """The highest value; NaN where there was none."""
        return self._highest if self.count else math.nan

    def percentile(self, share: float) -> float:
        """The value that `share` (0..1) of the values did not exceed; NaN where there was none."""
        rank = max(1, math.ceil(share * self.count))
        below = 0
        for number in sorted(self._bins):
            below += self._bins[number]
            if below >= rank:
                return min(math.exp((number + 0.5) * STEP), self._highest)
        return math.nan

    def bars(self, joined: int) -> tuple[tuple[float, int], ...]:
        """(lower edge, values) of bins of which so many are joined; the last one closes the histogram with 0 values."""
        if not self._bins:
            return ()
        wide: Counter[int] = Counter()
        for number, count in self._bins.items():
            wide[number // joined] += count
        return tuple((math.exp(number * joined * STEP), wide[number]) for number in range(min(wide), max(wide) + 2))
