"""Images that are counted, and frames whose latency is measured, while the node runs."""

from __future__ import annotations

import enum
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from eomt_ros.node.space_frame import Lack

if TYPE_CHECKING:
    from eomt_ros.engine import FrameResult

LATENCY_WINDOW = 300  # frames, or batches


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


class BatchLatency(NamedTuple):
    """Seconds that the frames of one batch spent in each stage, and from its begin to the end of publishing."""

    decode: float
    preprocess: float
    network: float
    postprocess: float
    identity: float
    publish: float
    total: float

    @classmethod
    def of(cls, results: list[FrameResult], *, taken: float, decoded: float, segmented: float) -> BatchLatency:
        """Combine what node and engine measured, at the end of publishing; moments are by time.monotonic.

        results: at least one.
        """
        now, timings = time.monotonic(), [result.timings for result in results]
        return cls(
            decode=decoded - taken,
            preprocess=max(each.preprocess for each in timings),  # the frames of a batch share it, and the network
            network=max(each.network for each in timings),
            postprocess=sum(each.postprocess for each in timings),
            identity=sum(each.identity for each in timings),
            publish=now - segmented,
            total=now - taken,
        )


class SpaceLatency(NamedTuple):
    """Seconds that one frame waited for its depth, in each stage, and from the image's arrival to end of publishing."""

    waiting: float
    decode: float
    publish: float
    total: float


class BatchStatistics:
    """Counts the batches of frames that went through the engine; any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches = 0
        self._recent: deque[tuple[int, BatchLatency]] = deque(maxlen=LATENCY_WINDOW)

    def count(self, frames: int, latency: BatchLatency) -> None:
        """Count a batch with so many results."""
        with self._lock:
            self._batches += 1
            self._recent.append((frames, latency))

    @property
    def batches(self) -> int:
        """Number of batches since the node was configured."""
        return self._batches

    @property
    def recent(self) -> list[tuple[int, BatchLatency]]:
        """Results and latencies of the last batches, oldest first."""
        with self._lock:
            return list(self._recent)


@dataclass
class ImageCounts:
    """Numbers of images of a camera since the node was configured."""

    received: int = 0
    processed: int = 0
    skipped: int = 0
    lost: int = 0
    dropped: Counter[Drop] = field(default_factory=Counter)


@dataclass
class SpaceCounts:
    """Numbers of a camera's frames in metres since the node was configured."""

    depth: int = 0
    """Depth messages that arrived."""
    wanted: int = 0
    """Frames of which somebody wanted something in metres."""
    published: int = 0
    lacking: Counter[Lack] = field(default_factory=Counter)
    places_wanted: int = 0
    """Frames whose things could have had a place before their ids were given."""
    places: int = 0
    """Those of which depth and pose were at hand."""


class SpaceStatistics:
    """Counts frames in metres of a camera and keeps their last latencies; any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = SpaceCounts()
        self._latencies: deque[SpaceLatency] = deque(maxlen=LATENCY_WINDOW)
        self._explanations: dict[Lack, str] = {}
        self.without_places = ""
        """Why the places of the last frame were not at hand; empty where they were."""

    def count_depth(self) -> None:
        """Count a depth message that arrived."""
        with self._lock:
            self._counts.depth += 1

    def count_wanted(self) -> None:
        """Count a frame of which somebody wants something in metres."""
        with self._lock:
            self._counts.wanted += 1

    def count_lacking(self, lack: Lack, explanation: str, count: int = 1) -> None:
        """Count frames that gave nothing in metres, or not all of it."""
        with self._lock:
            self._counts.lacking[lack] += count
            self._explanations[lack] = explanation

    def count_published(self, latency: SpaceLatency) -> None:
        """Count a frame that was published in metres."""
        with self._lock:
            self._counts.published += 1
            self._latencies.append(latency)

    def count_places(self, lacking: str = "") -> None:
        """Count a frame whose places are wanted before its ids are given; lacking: why they are not at hand."""
        with self._lock:
            self._counts.places_wanted += 1
            self._counts.places += not lacking
        self.without_places = lacking

    @property
    def counts(self) -> SpaceCounts:
        """A copy of the counts at this moment."""
        with self._lock:
            return replace(self._counts, lacking=self._counts.lacking.copy())

    @property
    def latencies(self) -> list[SpaceLatency]:
        """The last frames' latencies, oldest first."""
        with self._lock:
            return list(self._latencies)

    def explanation(self, lack: Lack) -> str:
        """What was said of the last frame that lacked something."""
        with self._lock:
            return self._explanations[lack]


class Statistics:
    """Counts images of a camera and keeps the latencies of its last frames; any thread may call any method."""

    def __init__(self) -> None:
        self.failure: str | None = None
        """Why the last frame gave no result, or None if it did."""
        self.space = SpaceStatistics()
        self._lock = threading.Lock()
        self._counts = ImageCounts()
        self._latencies: deque[FrameLatency] = deque(maxlen=LATENCY_WINDOW)
        self._last_result: float | None = None
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
        self._last_result = time.monotonic()
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
    def age(self) -> float | None:
        """Seconds since the last result was published; None before the first."""
        return None if self._last_result is None else time.monotonic() - self._last_result

    @property
    def silence(self) -> float:
        """Seconds since the last image arrived, or one that had waited was done: a busy node misses none."""
        return time.monotonic() - self._last_image
