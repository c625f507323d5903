"""Listens to a segmentation node: writes its results into a bag as they come, and reads what it reports of itself."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from eomt_ros.evaluation.output_bag import (
    IMAGE,
    INSTANCE_ARRAY,
    INSTANCES,
    NODE,
    PANOPTIC,
    SEMANTIC,
    OutputBag,
)
from eomt_ros.evaluation.results import Percentiles
from eomt_ros.msg import InstanceArray
from eomt_ros.node.cdr import stamp_in
from eomt_ros.node.diagnostics import PERCENTILES
from eomt_ros.node.statistics import Drop

RECORDED: Mapping[str, tuple[type[Any], str]] = {
    SEMANTIC: (Image, IMAGE),
    PANOPTIC: (Image, IMAGE),
    INSTANCES: (InstanceArray, INSTANCE_ARRAY),
}
"""The topics, with the class of their messages and the name of their type."""
DIAGNOSTICS = f"{NODE.lstrip('/')}: segmentation"

_DEPTH = 1000
"""Results that may wait here while others are written: all that an evaluation could be behind by."""


@dataclass(frozen=True)
class Report:
    """The node's own report on /diagnostics; the counts are of images, since it was configured."""

    arrived: float = 0.0
    """Moment by time.monotonic."""
    state: str = ""
    """State of the lifecycle, such as active; empty before the first report."""
    device: str = ""
    score_threshold: float = math.nan
    publishers: int = 0
    """Publishers of the images that the node listens to, as far as it knows of them."""
    received: int = 0
    processed: int = 0
    skipped: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Images by reason."""
    stages_ms: Mapping[str, Percentiles] = field(default_factory=dict)
    """Times of the last frames; empty before the first."""

    @property
    def settled(self) -> bool:
        """True if no image is in work or waits for it."""
        return self.received == self.processed + self.skipped + sum(self.dropped.values())


class Recorder:
    """Subscribes on `node` to the results of the segmentation node, and passes them on to `bag`."""

    def __init__(self, node: Node, bag: OutputBag) -> None:
        self.arrivals: dict[int, int] = {}
        """Stamp of a frame -> when its instances came, in nanoseconds of time.monotonic."""
        self.counts: Counter[str] = Counter()
        """Messages by topic."""
        self.report = Report()
        """The newest report; an empty one before the first."""
        self.failure: OSError | None = None
        """The error that ended the recording, if one did."""
        self._bag = bag
        qos = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        for topic, (kind, name) in RECORDED.items():
            node.create_subscription(kind, topic, self._writer(topic, name), qos, raw=True)
        # The last, because middleware tells of subscriptions in their order: a node whose report came here knows the
        # others too, and the first result will not be lost.
        node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics, 10)

    def _writer(self, topic: str, kind: str) -> Callable[[bytes], None]:
        def write(data: bytes) -> None:
            arrived = time.monotonic_ns()
            stamp = stamp_in(data)
            if self.failure is not None:
                return
            try:
                self._bag.write(topic, kind, stamp, data)
            except OSError as error:
                self.failure = error
                return
            if topic == INSTANCES:
                self.arrivals[stamp] = arrived
            self.counts[topic] += 1

        return write

    def _diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == DIAGNOSTICS:
                with contextlib.suppress(KeyError, ValueError):  # another program's, or another version's
                    self.report = _report(status)


def _report(status: DiagnosticStatus) -> Report:
    values = {pair.key: pair.value for pair in status.values}
    stages = [key.removesuffix(" p50 (ms)") for key in values if key.endswith(" p50 (ms)")]
    return Report(
        arrived=time.monotonic(),
        state=values["state"],
        device=values["device"],
        score_threshold=float(values["score threshold"]),
        publishers=int(values["publishers"]),
        received=int(values["received"]),
        processed=int(values["processed"]),
        skipped=int(values["skipped"]),
        dropped={reason.value: int(values[f"dropped: {reason.value}"]) for reason in Drop},
        stages_ms={
            stage: Percentiles(*(float(values[f"{stage} {name} (ms)"]) for name in PERCENTILES)) for stage in stages
        },
    )
