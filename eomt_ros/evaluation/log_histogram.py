"""Percentiles of any number of values, in little memory: a histogram whose bins widen with the value."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

RESOLUTION = 0.02
"""Width of a bin over its lower edge."""
STEP = math.log1p(RESOLUTION)
"""The same of the logarithm."""
LOWEST, HIGHEST = 1e-4, 1e7
"""Smaller and larger values are counted as these."""


@dataclass
class LogHistogram:
    """Counts values from 0 on; percentiles are right to half a bin, 1 %, the highest exactly."""

    bins: Counter[int] = field(default_factory=Counter)
    """Values by the number of their bin."""
    highest: float = math.nan
    """The highest value; NaN where there was none."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for bins that no value is in."""
        for number in self.bins:
            if not _bin(LOWEST) <= number <= _bin(HIGHEST):
                raise ValueError(f"bin {number}, expected {_bin(LOWEST)} to {_bin(HIGHEST)}")

    def add(self, value: float) -> None:
        """Counts a value."""
        self.bins[_bin(value)] += 1
        self.highest = value if math.isnan(self.highest) else max(self.highest, value)

    def merge(self, other: LogHistogram) -> None:
        """Counts the values of another histogram too."""
        self.bins.update(other.bins)
        known = [each for each in (self.highest, other.highest) if not math.isnan(each)]
        self.highest = max(known, default=math.nan)

    @property
    def count(self) -> int:
        """Number of values."""
        return self.bins.total()

    def percentile(self, share: float) -> float:
        """The value that `share` (0..1) of the values did not exceed; NaN where there was none."""
        rank = max(1, math.ceil(share * self.count))
        below = 0
        for number in sorted(self.bins):
            below += self.bins[number]
            if below >= rank:
                return min(math.exp((number + 0.5) * STEP), self.highest)
        return math.nan

    def bars(self, joined: int) -> tuple[tuple[float, int], ...]:
        """(lower edge, values) of bins of which so many are joined; the last one closes the histogram with 0 values."""
        if not self.bins:
            return ()
        wide: Counter[int] = Counter()
        for number, count in self.bins.items():
            wide[number // joined] += count
        return tuple((math.exp(number * joined * STEP), wide[number]) for number in range(min(wide), max(wide) + 2))


def _bin(value: float) -> int:
    return math.floor(math.log(min(max(value, LOWEST), HIGHEST)) / STEP)
