"""Listens to a segmentation node: reads what it reports of its cameras, and writes their results into a bag."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image, PointCloud2

from eomt_ros.evaluation.latency import Percentiles
from eomt_ros.evaluation.output_bag import IMAGE, INSTANCE_ARRAY, NODE, OutputBag, ResultTopics
from eomt_ros.msg import InstanceArray, ObjectArray
from eomt_ros.node.cdr import stamp_in
from eomt_ros.node.diagnostics import PERCENTILES
from eomt_ros.node.parameters import ALONE
from eomt_ros.node.statistics import Drop

_KINDS: tuple[tuple[type[Any], str], ...] = ((Image, IMAGE), (Image, IMAGE), (InstanceArray, INSTANCE_ARRAY))
"""Class and type of the messages on each of `ResultTopics`."""
_SPACE_KINDS = ((ObjectArray, "eomt_ros/msg/ObjectArray"), (PointCloud2, "sensor_msgs/msg/PointCloud2"))
"""The same of `MetreTopics`."""
_STATUS = f"{NODE.lstrip('/')}: "
"""Beginning of the names of the node's statuses; the name of the camera follows, or `ALONE`."""
_DEPTH = 1000
"""Results that may wait here while others are written: all that an evaluation could be behind by."""


class MetreTopics(NamedTuple):
    """The topics of a node's results in metres: frames without depth have none."""

    objects: str
    obstacles: str

    @classmethod
    def of_camera(cls, name: str = "") -> MetreTopics:
        """Those of one of several cameras; of the only camera where it has no name."""
        space = f"{NODE}/{name}" if name else NODE
        return cls(f"{space}/objects", f"{space}/obstacles")


@dataclass(frozen=True)
class Report:
    """The node's own report on a camera on /diagnostics; the counts are of images, since it was configured."""

    arrived: float = 0.0
    """Moment by time.monotonic."""
    state: str = ""
    """State of the lifecycle, such as active; empty before the first report."""
    topic: str = ""
    """Full name of the topic that it expects images on."""
    device: str = ""
    backend: str = ""
    precision: str = ""
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
    """Keeps the segmentation node's newest reports; from `record` on it passes its results on to `bag`."""

    def __init__(self, node: Node, bag: OutputBag) -> None:
        self.reports: dict[str, Report] = {}
        """The newest report on each camera by its name, which is empty for the only one; none before the first."""
        self.arrivals: dict[str, dict[int, int]] = {}
        """By camera: the stamp of a frame -> when its instances came, in nanoseconds of time.monotonic."""
        self.counts: Counter[str] = Counter()
        """Messages by topic."""
        self.failure: OSError | None = None
        """The error that ended the recording, if one did."""
        self._node = node
        self._bag = bag
        self._subscription = self._subscribe()

    @property
    def state(self) -> str:
        """State of the node's lifecycle, such as active; empty before the first report."""
        return next((report.state for report in self.reports.values()), "")

    @property
    def results(self) -> int:
        """Number of results that came, of all cameras."""
        return sum(self.counts[ResultTopics.of_camera(camera).instances] for camera in self.arrivals)

    def record(self, cameras: Iterable[str], *, in_metres: bool = False) -> None:
        """Begin to record the results of these cameras, and forget the reports so far.

        in_metres: those of `MetreTopics` too.
        """
        qos = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        for camera in cameras:
            self.arrivals[camera] = {}
            topics = ResultTopics.of_camera(camera)
            kinds = dict(zip(topics, _KINDS, strict=True))
            if in_metres:
                kinds |= dict(zip(MetreTopics.of_camera(camera), _SPACE_KINDS, strict=True))
            for topic, (kind, name) in kinds.items():
                arrivals = self.arrivals[camera] if topic == topics.instances else {}
                self._node.create_subscription(kind, topic, self._writer(topic, name, arrivals), qos, raw=True)
        # Anew and last, because middleware tells of subscriptions in their order: a node whose report comes here knows
        # the others too, and the first result will not be lost.
        self._node.destroy_subscription(self._subscription)
        self.reports.clear()
        self._subscription = self._subscribe()

    def _subscribe(self) -> Subscription[DiagnosticArray]:
        return self._node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics, 10)

    def _writer(self, topic: str, kind: str, arrivals: dict[int, int]) -> Callable[[bytes], None]:
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
            arrivals[stamp] = arrived
            self.counts[topic] += 1

        return write

    def _diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(_STATUS):
                camera = status.name.removeprefix(_STATUS)
                # Of the engine that cameras share, of another program, or of another version.
                with contextlib.suppress(KeyError, ValueError):
                    self.reports["" if camera == ALONE else camera] = _report(status)


def _report(status: DiagnosticStatus) -> Report:
    values = {pair.key: pair.value for pair in status.values}
    stages = [key.removesuffix(" p50 (ms)") for key in values if key.endswith(" p50 (ms)")]
    return Report(
        arrived=time.monotonic(),
        state=values["state"],
        topic=values["topic"],
        device=values["device"],
        backend=values["backend"],
        precision=values["precision"],
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
