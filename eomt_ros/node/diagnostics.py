"""Rates, drops and latencies of the node, counted while it runs and told on /diagnostics."""

from __future__ import annotations

import dataclasses
import enum
import os
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

if TYPE_CHECKING:
    from eomt_ros.engine import FrameResult

LATENCY_WINDOW = 300  # frames
RATE_WINDOW = 5  # reports
SILENCE = 3.0  # s without an image that are worth a warning
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}


class Drop(enum.Enum):
    """Why an image that arrived gave no result."""

    OVERTAKEN = "overtaken"  # policy latest: a newer one came before the worker was free
    QUEUE_FULL = "queue_full"  # policy every_frame: more than queue_size waited
    LATE = "late"  # older than the one before: see continuity
    BAD_IMAGE = "bad_image"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    NOT_FINITE = "not_finite"
    OUT_OF_MEMORY = "out_of_memory"
    DEVICE_LOST = "device_lost"
    ENGINE_ERROR = "engine_error"
    INTERNAL_ERROR = "internal_error"


OVERLOAD = {Drop.OVERTAKEN, Drop.QUEUE_FULL}


@dataclass(frozen=True)
class Latency:
    """Seconds that one frame spent in each stage, and from its arrival to the end of publishing."""

    waiting: float
    decode: float
    preprocess: float
    network: float
    postprocess: float
    identity: float
    publish: float
    total: float

    @property
    def engine(self) -> float:
        """Pixels in, result out."""
        return self.preprocess + self.network + self.postprocess + self.identity

    @classmethod
    def of(cls, result: FrameResult, *, arrived: float, taken: float, decoded: float, segmented: float) -> Latency:
        """Put together what node and engine measured, at the end of publishing; moments are by time.monotonic."""
        now = time.monotonic()
        return cls(
            waiting=taken - arrived,
            decode=decoded - taken,
            preprocess=result.timings.preprocess,
            network=result.timings.network,
            postprocess=result.timings.postprocess,
            identity=result.timings.identity,
            publish=now - segmented,
            total=now - arrived,
        )


_STAGES = dataclasses.fields(Latency)


@dataclass(frozen=True)
class Counts:
    """Images since the node was configured."""

    received: int
    skipped: int
    processed: int
    lost: int
    dropped: Counter[Drop]

    @property
    def overload(self) -> int:
        """Images dropped because they came faster than they could be processed."""
        return sum(self.dropped[reason] for reason in OVERLOAD)


class Statistics:
    """Counts images and keeps the latencies of the last frames; any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = self._skipped = self._processed = self._lost = 0
        self._dropped: Counter[Drop] = Counter()
        self._latencies: deque[Latency] = deque(maxlen=LATENCY_WINDOW)
        self._last_image = time.monotonic()
        self._failure: str | None = None

    def count_received(self) -> None:
        """Count an image that arrived."""
        with self._lock:
            self._received += 1
            self._last_image = time.monotonic()

    def count_skipped(self) -> None:
        """Count an image left out on purpose: beyond `rate`, or while disabled."""
        with self._lock:
            self._skipped += 1

    def count_lost(self, count: int) -> None:
        """Count images that the middleware lost on the way."""
        with self._lock:
            self._lost += count

    def count_dropped(self, reason: Drop, count: int = 1) -> None:
        """Count images that gave no result although they should have."""
        with self._lock:
            self._dropped[reason] += count

    def count_failed(self, reason: Drop, message: str) -> None:
        """Count an image that could not be processed; `message` is told until the next one succeeds."""
        with self._lock:
            self._dropped[reason] += 1
            self._failure = message

    def count_processed(self, latency: Latency) -> None:
        """Count a published result."""
        with self._lock:
            self._processed += 1
            self._latencies.append(latency)
            self._failure = None
            self._last_image = time.monotonic()

    def restart_silence(self) -> None:
        """Begin to wait for images only now: the node was not listening before."""
        with self._lock:
            self._last_image = time.monotonic()

    @property
    def counts(self) -> Counts:
        """The counts at this moment."""
        with self._lock:
            return Counts(self._received, self._skipped, self._processed, self._lost, Counter(self._dropped))

    @property
    def latencies(self) -> list[Latency]:
        """The last frames' latencies, oldest first."""
        with self._lock:
            return list(self._latencies)

    @property
    def silence(self) -> float:
        """Seconds since the last image arrived, or one that had waited was done: a busy node misses none."""
        with self._lock:
            return time.monotonic() - self._last_image

    @property
    def failure(self) -> str | None:
        """Why the last frame gave no result, or None if it did."""
        with self._lock:
            return self._failure


@dataclass(frozen=True)
class Activity:
    """What the node is doing, as far as the statistics do not know it."""

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
        self._history: deque[tuple[float, Counts]] = deque(maxlen=RATE_WINDOW + 1)

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
            "state": activity.state,
            "enabled": str(activity.enabled),
            "topic": activity.topic,
            "publishers": str(activity.publishers),
            "model": activity.model,
            "task": activity.task,
            "device": activity.device,
            "score threshold": f"{activity.score_threshold:g}",
            "epoch": str(activity.epoch),
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
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _judge(self, statistics: Statistics, activity: Activity) -> tuple[bytes, str]:
        if statistics.failure is not None:
            return DiagnosticStatus.ERROR, f"last image failed: {statistics.failure}"
        if not activity.listens:
            return DiagnosticStatus.OK, activity.state if activity.enabled else "disabled by ~/enable"
        if statistics.silence > SILENCE:
            return DiagnosticStatus.WARN, f"no image on {activity.topic} for {statistics.silence:.0f} s"
        oldest, newest = self._history[0][1], self._history[-1][1]
        overload, arrived = newest.overload - oldest.overload, newest.received - oldest.received
        if overload:
            message = f"{overload} of the last {arrived} images dropped: they come faster than they are processed"
            return DiagnosticStatus.WARN, message
        late = newest.dropped[Drop.LATE] - oldest.dropped[Drop.LATE]
        if late:
            several = f": {activity.publishers} publishers on {activity.topic}" if activity.publishers > 1 else ""
            message = f"{late} of the last {arrived} images dropped: older than those before them{several}"
            return DiagnosticStatus.WARN, message
        lost = newest.lost - oldest.lost
        if lost:
            return DiagnosticStatus.WARN, f"{lost} images lost before they arrived: see depth, and README, Large images"
        return DiagnosticStatus.OK, "processing images"

    def _rates(self) -> dict[str, str]:
        (begin, first), (end, last) = self._history[0], self._history[-1]
        elapsed = max(end - begin, 1e-9)
        return {
            "rate in (Hz)": f"{(last.received - first.received) / elapsed:.2f}",
            "rate out (Hz)": f"{(last.processed - first.processed) / elapsed:.2f}",
        }


def _totals(counts: Counts) -> dict[str, str]:
    totals = {
        "received": counts.received,
        "processed": counts.processed,
        "skipped": counts.skipped,
        "lost in transport": counts.lost,
        "dropped": counts.dropped.total(),
        **{f"dropped: {reason.value}": counts.dropped[reason] for reason in Drop},
    }
    return {key: str(value) for key, value in totals.items()}


def _percentiles(latencies: list[Latency]) -> dict[str, str]:
    if not latencies:
        return {}
    stages = {stage.name: [getattr(latency, stage.name) for latency in latencies] for stage in _STAGES}
    stages["engine"] = [latency.engine for latency in latencies]
    return {
        f"{stage} {name} (ms)": f"{value * 1e3:.2f}"
        for stage, seconds in stages.items()
        for name, value in zip(PERCENTILES, np.percentile(seconds, list(PERCENTILES.values())), strict=True)
    }


def _memory(device: str) -> dict[str, str]:
    resident_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    memory = {"memory (MiB)": f"{resident_pages * os.sysconf('SC_PAGE_SIZE') / 2**20:.0f}"}
    if device.startswith("cuda"):
        import torch  # here, where it is loaded already

        memory["device memory (MiB)"] = f"{torch.cuda.memory_reserved(device) / 2**20:.0f}"
    return memory
