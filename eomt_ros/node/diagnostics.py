"""The status that the node publishes on /diagnostics, made of its statistics."""

from __future__ import annotations

import dataclasses
import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from eomt_ros.node.statistics import Drop, FrameLatency, ImageCounts, Statistics

RATE_WINDOW = 5  # reports
SILENCE = 3.0  # s without an image that are worth a warning
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}


@dataclass(frozen=True)
class Activity:
    """State of the node, as far as the statistics do not know it; each field is a value of the status."""

    state: str
    topic: str
    publishers: int
    enabled: bool = True
    model: str = ""
    task: str = ""
    device: str = ""
    score_threshold: float = 0.0
    epoch: int = 0

    @property
    def listens(self) -> bool:
        """True if images should be arriving and be processed."""
        return self.state == "active" and self.enabled


class Reporter:
    """Turns statistics into a DiagnosticStatus, and successive counts into rates."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._history: deque[tuple[float, ImageCounts]] = deque(maxlen=RATE_WINDOW + 1)

    def observe(self, statistics: Statistics) -> None:
        """Note the counts of this moment; meant to be called about once a second."""
        counts = statistics.counts
        if self._history and self._history[-1][1].received > counts.received:
            self._history.clear()  # the node was configured anew
        self._history.append((time.monotonic(), counts))

    def report(self, statistics: Statistics, activity: Activity) -> DiagnosticStatus:
        """Return the state of the node at the last `observe`."""
        level, message = self._judge(statistics, activity)
        values = {
            **{name.replace("_", " "): value for name, value in dataclasses.asdict(activity).items()},
            **self._rates(),
            **_totals(self._history[-1][1]),
            **_percentiles(statistics.latencies),
            **_memory(activity.device),
        }
        return DiagnosticStatus(
            level=level,
            name=self._name,
            message=message,
            hardware_id=activity.device,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )

    def _judge(self, statistics: Statistics, activity: Activity) -> tuple[bytes, str]:
        if (failure := statistics.failure) is not None:
            return DiagnosticStatus.ERROR, f"last image failed: {failure}"
        if not activity.listens:
            return DiagnosticStatus.OK, activity.state if activity.enabled else "disabled by ~/enable"
        if statistics.silence > SILENCE:
            return DiagnosticStatus.WARN, f"no image on {activity.topic} for {statistics.silence:.0f} s"
        oldest, newest = self._history[0][1], self._history[-1][1]
        dropped, arrived = newest.dropped - oldest.dropped, newest.received - oldest.received
        if overload := dropped[Drop.OVERTAKEN] + dropped[Drop.QUEUE_FULL]:
            message = f"{overload} of the last {arrived} images dropped: they come faster than they are processed"
            return DiagnosticStatus.WARN, message
        if late := dropped[Drop.LATE]:
            several = f": {activity.publishers} publishers on {activity.topic}" if activity.publishers > 1 else ""
            message = f"{late} of the last {arrived} images dropped: older than those before them{several}"
            return DiagnosticStatus.WARN, message
        if lost := newest.lost - oldest.lost:
            message = f"{lost} images lost before they arrived: see depth, and docs/troubleshooting.md, Large images"
            return DiagnosticStatus.WARN, message
        return DiagnosticStatus.OK, "processing images"

    def _rates(self) -> dict[str, str]:
        (begin, first), (end, last) = self._history[0], self._history[-1]
        elapsed = max(end - begin, 1e-9)
        return {
            "rate in (Hz)": f"{(last.received - first.received) / elapsed:.2f}",
            "rate out (Hz)": f"{(last.processed - first.processed) / elapsed:.2f}",
        }


def _totals(counts: ImageCounts) -> dict[str, int]:
    return {
        "received": counts.received,
        "processed": counts.processed,
        "skipped": counts.skipped,
        "lost in transport": counts.lost,
        "dropped": counts.dropped.total(),
        **{f"dropped: {reason.value}": counts.dropped[reason] for reason in Drop},
    }


def _percentiles(latencies: list[FrameLatency]) -> dict[str, str]:
    if not latencies:
        return {}
    table = 1e3 * np.percentile(latencies, list(PERCENTILES.values()), axis=0).T
    return {
        f"{stage} {name} (ms)": f"{value:.2f}"
        for stage, row in zip(FrameLatency._fields, table, strict=True)
        for name, value in zip(PERCENTILES, row, strict=True)
    }


def _memory(device: str) -> dict[str, str]:
    resident_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    memory = {"memory (MiB)": f"{resident_pages * os.sysconf('SC_PAGE_SIZE') / 2**20:.0f}"}
    if device.startswith("cuda"):
        import torch  # here, where it is loaded already

        memory["device memory (MiB)"] = f"{torch.cuda.memory_reserved(device) / 2**20:.0f}"
    return memory
