"""Images that are counted, and frames whose latency is measured, while the node runs."""

from __future__ import annotations

import enum
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from eomt_ros.engine import FrameResult

LATENCY_WINDOW = 300  # frames


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


class FrameLatency(NamedTuple):
    """Seconds that one frame spent in each stage, in the engine as a whole, and from arrival to end of publishing."""

    waiting: float
    decode: float
    preprocess: float
    network: float
    postprocess: float
    identity: float
    engine: float
    publish: float
    total: float

    @classmethod
    def of(cls, result: FrameResult, *, arrived: float, taken: float, decoded: float, segmented: float) -> FrameLatency:
        """Combine what node and engine measured, at the end of publishing; moments are by time.monotonic."""
        now, timings = time.monotonic(), vars(result.timings)
        return cls(
            waiting=taken - arrived,
            decode=decoded - taken,
            **timings,
            engine=sum(timings.values()),
            publish=now - segmented,
            total=now - arrived,
        )


@dataclass
class ImageCounts:
    """Numbers of images since the node was configured."""

    received: int = 0
    processed: int = 0
    skipped: int = 0
    lost: int = 0
    dropped: Counter[Drop] = field(default_factory=Counter)


class Statistics:
    """Counts images and keeps the latencies of the last frames; any thread may call any method."""

    def __init__(self) -> None:
        self.failure: str | None = None
        """Why the last frame gave no result, or None if it did."""
        self._lock = threading.Lock()
        self._counts = ImageCounts()
        self._latencies: deque[FrameLatency] = deque(maxlen=LATENCY_WINDOW)
        self.restart_silence()

    def count_received(self) -> None:
        """Count an image that arrived."""
        with self._lock:
            self._counts.received += 1
        self.restart_silence()

    def count_skipped(self) -> None:
        """Count an image left out on purpose: beyond `rate`, or while disabled."""
        with self._lock:
            self._counts.skipped += 1

    def count_lost(self, count: int) -> None:
        """Count images that the middleware lost on the way."""
        with self._lock:
            self._counts.lost += count

    def count_dropped(self, reason: Drop, count: int = 1) -> None:
        """Count images that gave no result although they should have."""
        with self._lock:
            self._counts.dropped[reason] += count

    def count_failed(self, reason: Drop, message: str) -> None:
        """Count an image that could not be processed; `message` is told until the next one succeeds."""
        self.count_dropped(reason)
        self.failure = message

    def count_processed(self, latency: FrameLatency) -> None:
        """Count a published result."""
        with self._lock:
            self._counts.processed += 1
            self._latencies.append(latency)
        self.failure = None
        self.restart_silence()

    def restart_silence(self) -> None:
        """Begin to wait for images at this moment."""
        self._last_image = time.monotonic()

    @property
    def counts(self) -> ImageCounts:
        """A copy of the counts at this moment."""
        with self._lock:
            return replace(self._counts, dropped=self._counts.dropped.copy())

    @property
    def latencies(self) -> list[FrameLatency]:
        """The last frames' latencies, oldest first."""
        with self._lock:
            return list(self._latencies)

    @property
    def silence(self) -> float:
        """Seconds since the last image arrived, or one that had waited was done: a busy node misses none."""
        return time.monotonic() - self._last_image
