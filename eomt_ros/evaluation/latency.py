"""Latencies of any number of frames, in little memory."""

from __future__ import annotations

from eomt_ros.evaluation.log_histogram import LogHistogram
from eomt_ros.evaluation.results import Percentiles

COARSE = 3
"""Bins that are shown as one."""


class LatencyHistogram:
    """Counts times; percentiles are right to 1 %."""

    def __init__(self) -> None:
        self._milliseconds = LogHistogram()
        self.seconds = 0.0
        """Sum of the times."""

    @property
    def count(self) -> int:
        """Number of times."""
        return self._milliseconds.count

    def add(self, seconds: float) -> None:
        """Counts a time."""
        self._milliseconds.add(1e3 * seconds)
        self.seconds += seconds

    def merge(self, other: LatencyHistogram) -> None:
        """Counts the times of another histogram too."""
        self._milliseconds.merge(other._milliseconds)
        self.seconds += other.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds that `share` (0..1) of the frames did not exceed; NaN where there were none."""
        return self._milliseconds.percentile(share)

    def figures(self) -> Percentiles:
        """The percentiles; NaN where no time was counted."""
        p50, p95, p99 = map(self.percentile, (0.50, 0.95, 0.99))
        return Percentiles(p50, p95, p99, self._milliseconds.highest)

    def bars(self) -> tuple[tuple[float, int], ...]:
        """(lower edge in ms, frames) of wider bins; the last one closes the histogram with 0 frames."""
        return self._milliseconds.bars(COARSE)
