"""Latencies of any number of frames, in little memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from eomt_ros.evaluation.log_histogram import LogHistogram

COARSE = 3
"""Bins that are shown as one."""


@dataclass(frozen=True)
class Percentiles:
    """Milliseconds."""

    p50: float
    p95: float
    p99: float
    highest: float


@dataclass
class LatencyHistogram:
    """Counts times; percentiles are right to 1 %."""

    milliseconds: LogHistogram = field(default_factory=LogHistogram)
    nanoseconds: int = 0
    """Sum of the times."""

    @property
    def count(self) -> int:
        """Number of times."""
        return self.milliseconds.count

    @property
    def seconds(self) -> float:
        """Sum of the times."""
        return self.nanoseconds * 1e-9

    def add(self, seconds: float) -> None:
        """Counts a time."""
        self.milliseconds.add(1e3 * seconds)
        self.nanoseconds += round(seconds * 1e9)

    def merge(self, other: LatencyHistogram) -> None:
        """Counts the times of another histogram too."""
        self.milliseconds.merge(other.milliseconds)
        self.nanoseconds += other.nanoseconds

    def percentile(self, share: float) -> float:
        """Milliseconds that `share` (0..1) of the frames did not exceed; NaN where there were none."""
        return self.milliseconds.percentile(share)

    def figures(self) -> Percentiles:
        """The percentiles; NaN where no time was counted."""
        p50, p95, p99 = map(self.percentile, (0.50, 0.95, 0.99))
        return Percentiles(p50, p95, p99, self.milliseconds.highest)

    def bars(self) -> tuple[tuple[float, int], ...]:
        """(lower edge in ms, frames) of wider bins; the last one closes the histogram with 0 frames."""
        return self.milliseconds.bars(COARSE)
