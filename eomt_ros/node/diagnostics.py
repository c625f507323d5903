"""The statuses that the node publishes on /diagnostics, made of its statistics."""

from __future__ import annotations

import dataclasses
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from eomt_ros.node.space_frame import Lack
from eomt_ros.node.statistics import (
    BatchLatency,
    BatchStatistics,
    Drop,
    FrameLatency,
    ImageCounts,
    SpaceCounts,
    SpaceLatency,
    SpaceStatistics,
    Statistics,
)

RATE_WINDOW = 5  # reports
SILENCE = 3.0  # s without an image that are worth a warning
NOT_ALL = {Lack.NO_POSE: "objects", Lack.DEPTH_UNKNOWN: "points", Lack.POSE_JUMPED: "the velocities from before"}
"""What a frame is published without."""
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}


@dataclass(frozen=True)
class Activity:
    """State of a camera, as far as the statistics do not know it; each field is a value of the status."""

    state: str
    topic: str
    publishers: int
    enabled: bool = True
    model: str = ""
    task: str = ""
    device: str = ""
    backend: str = ""
    precision: str = ""
    score_threshold: float = 0.0
    epoch: int = 0
    depth_topic: str = ""
    """Empty, and no value, without depth."""

    @property
    def listens(self) -> bool:
        """True if images should be arriving and be processed."""
        return self.state == "active" and self.enabled


class Reporter:
    """Turns the statistics of a camera into a DiagnosticStatus, and successive counts into rates."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._history: deque[tuple[float, ImageCounts, SpaceCounts]] = deque(maxlen=RATE_WINDOW + 1)

    def observe(self, statistics: Statistics) -> None:
        """Note the counts of this moment; meant to be called about once a second."""
        self._history.append((time.monotonic(), statistics.counts, statistics.space.counts))

    def report(
        self, statistics: Statistics, activity: Activity, more: Mapping[str, str] | None = None
    ) -> DiagnosticStatus:
        """Return the state of the camera at the last `observe`, with `more` values."""
        values = {
            **{name.replace("_", " "): str(value) for name, value in _told(activity).items()},
            **self._rates(),
            **({} if statistics.age is None else {"age of the last result (s)": f"{statistics.age:.2f}"}),
            **_totals(self._history[-1][1]),
            **_percentiles(statistics.latencies),
            **(_in_metres(self._history[-1][2], statistics.space) if activity.depth_topic else {}),
            **(more or {}),
        }
        return _status(*self._judge(statistics, activity), self._name, activity.device, values)

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
            message = f"{lost} images lost before they arrived: qos_depth, and docs/troubleshooting.md, Large images"
            return DiagnosticStatus.WARN, message
        if lacking := self._lacking(statistics.space):
            return DiagnosticStatus.WARN, lacking
        return DiagnosticStatus.OK, "processing images"

    def _lacking(self, space: SpaceStatistics) -> str:
        """What most of the last frames lacked in metres; empty where they lacked nothing."""
        oldest, newest = self._history[0][2], self._history[-1][2]
        if not (lacking := newest.lacking - oldest.lacking):
            return ""
        lack = max(lacking, key=lambda each: (each not in NOT_ALL, lacking[each]))
        result, wanted = NOT_ALL.get(lack, "results in metres"), newest.wanted - oldest.wanted
        return f"{lacking[lack]} of the last {wanted} frames without {result}: {space.explanation(lack)}"

    def _rates(self) -> dict[str, str]:
        (begin, first, _), (end, last, _) = self._history[0], self._history[-1]
        elapsed = max(end - begin, 1e-9)
        return {
            "rate in (Hz)": f"{(last.received - first.received) / elapsed:.2f}",
            "rate out (Hz)": f"{(last.processed - first.processed) / elapsed:.2f}",
        }


def engine_status(name: str, statistics: BatchStatistics, device: str) -> DiagnosticStatus:
    """The status of what the cameras share: the batches that their frames go through the engine in, and memory."""
    sizes = [frames for frames, _ in statistics.recent]
    values = {
        "batches": str(statistics.batches),
        **({"frames per batch": f"{np.mean(sizes):.2f}", "largest batch": str(max(sizes))} if sizes else {}),
        **_percentiles([latency for _, latency in statistics.recent]),
        **memory(device),
    }
    return _status(DiagnosticStatus.OK, f"{statistics.batches} batches", name, device, values)


def _status(level: bytes, message: str, name: str, device: str, values: Mapping[str, str]) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=level,
        name=name,
        message=message,
        hardware_id=device,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def _totals(counts: ImageCounts) -> dict[str, str]:
    numbers = {
        "received": counts.received,
        "processed": counts.processed,
        "skipped": counts.skipped,
        "lost in transport": counts.lost,
        "dropped": counts.dropped.total(),
        **{f"dropped: {reason.value}": counts.dropped[reason] for reason in Drop},
    }
    return {name: str(number) for name, number in numbers.items()}


def _told(activity: Activity) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(activity).items() if name != "depth_topic" or value}


def _in_metres(counts: SpaceCounts, statistics: SpaceStatistics) -> dict[str, str]:
    numbers = {
        "depth received": counts.depth,
        "space wanted": counts.wanted,
        "space published": counts.published,
        **{f"space lacking: {lack.value}": counts.lacking[lack] for lack in Lack},
        **({"places wanted": counts.places_wanted, "places at hand": counts.places} if counts.places_wanted else {}),
    }
    lacking = statistics.without_places
    return {
        **{name: str(number) for name, number in numbers.items()},
        **({"places lacking": lacking} if lacking else {}),
        **{f"space {name}": value for name, value in _percentiles(statistics.latencies).items()},
    }


def _percentiles(
    latencies: Sequence[FrameLatency] | Sequence[BatchLatency] | Sequence[SpaceLatency],
) -> dict[str, str]:
    if not latencies:
        return {}
    table = 1e3 * np.percentile(latencies, list(PERCENTILES.values()), axis=0).T
    return {
        f"{stage} {name} (ms)": f"{value:.2f}"
        for stage, row in zip(latencies[0]._fields, table, strict=True)
        for name, value in zip(PERCENTILES, row, strict=True)
    }


def memory(device: str) -> dict[str, str]:
    """Memory of this process, and of its part of the device, by name (MiB)."""
    resident_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    used = {"memory (MiB)": f"{resident_pages * os.sysconf('SC_PAGE_SIZE') / 2**20:.0f}"}
    if device.startswith("cuda"):
        import torch  # here, where it is loaded already

        used["device memory (MiB)"] = f"{torch.cuda.memory_reserved(device) / 2**20:.0f}"
    return used
