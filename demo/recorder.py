"""What the demo sees of the node: it subscribes to the outputs, writes them down, and keeps what the summary needs."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from eomt_ros.evaluation.output_bag import OutputBag
from eomt_ros.evaluation.sheet import ContactSheet
from eomt_ros.evaluation.video import VideoWriter
from eomt_ros.msg import InstanceArray
from eomt_ros.node.images import decode

IMAGE = "sensor_msgs/msg/Image"
INSTANCES = "/segment/instances"
LABELS = ("/segment/semantic", "/segment/panoptic")
OVERLAY = "/segment/overlay"
DIAGNOSTICS = "segment: segmentation"
TILES = 12


@dataclass
class Thing:
    """An id that the node gave, and when it was seen."""

    class_name: str
    first: int
    """Stamp in nanoseconds, as is `last`."""
    last: int


@dataclass
class Observations:
    """What came from the node."""

    arrivals: dict[int, int] = field(default_factory=dict)
    """Stamp of a frame -> when its result came, in nanoseconds of time.monotonic."""
    dropped: int = 0
    things: dict[tuple[int, int], Thing] = field(default_factory=dict)
    """By epoch and id."""
    class_names: dict[int, str] = field(default_factory=dict)
    diagnostics: dict[str, str] = field(default_factory=dict)


class Recorder:
    """Listens on `node` to the outputs of the segmentation node, and passes them on to bag, video and contact sheet.

    stamps: those of the frames to come, in nanoseconds.
    """

    def __init__(
        self, node: Node, bag: OutputBag, video: VideoWriter, sheet: ContactSheet, stamps: Sequence[int]
    ) -> None:
        self.seen = Observations()
        self._node = node
        self._bag = bag
        self._video = video
        self._sheet = sheet
        self._start = stamps[0]
        self._last = stamps[-1]
        chosen = np.linspace(0, len(stamps) - 1, min(TILES, len(stamps)))
        self._tiles = [stamps[round(number)] for number in chosen]
        self._newest: dict[str, int] = {}
        # All that the node sends may wait here while a picture is being encoded.
        qos = QoSProfile(depth=len(stamps), reliability=ReliabilityPolicy.RELIABLE)
        for topic in LABELS:
            node.create_subscription(Image, topic, lambda data, topic=topic: self._labels(topic, data), qos, raw=True)
        node.create_subscription(InstanceArray, INSTANCES, self._instances, qos, raw=True)
        node.create_subscription(Image, OVERLAY, self._overlay, qos, raw=True)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics, 10)

    @property
    def missing_topics(self) -> list[str]:
        """The outputs that nobody offers yet."""
        return [topic for topic in (*LABELS, INSTANCES, OVERLAY) if not self._node.count_publishers(topic)]

    @property
    def missing_results(self) -> list[str]:
        """The outputs on which the last frame's result has not come yet."""
        return [topic for topic in (*LABELS, INSTANCES, OVERLAY) if self._newest.get(topic, 0) < self._last]

    @property
    def newest(self) -> int:
        """The stamp of the newest result."""
        return self._newest.get(INSTANCES, 0)

    @property
    def accounted(self) -> int:
        """Frames of which the node's diagnostics know what became."""
        values = self.seen.diagnostics
        return int(values.get("processed", 0)) + int(values.get("dropped", 0))

    def _labels(self, topic: str, data: bytes) -> None:
        self._newest[topic] = stamp = _stamp(data)
        self._bag.write(topic, IMAGE, stamp, data)

    def _instances(self, data: bytes) -> None:
        self._newest[INSTANCES] = stamp = _stamp(data)
        self.seen.arrivals[stamp] = time.monotonic_ns()
        self._bag.write(INSTANCES, "eomt_ros/msg/InstanceArray", stamp, data)
        message: Any = deserialize_message(data, InstanceArray)
        self.seen.dropped = message.dropped
        for instance in message.instances:
            self.seen.class_names[instance.class_id] = instance.class_name
            if instance.is_thing:
                identity = message.epoch, instance.id
                thing = self.seen.things.setdefault(identity, Thing(instance.class_name, stamp, stamp))
                thing.class_name, thing.last = instance.class_name, stamp

    def _overlay(self, data: bytes) -> None:
        self._newest[OVERLAY] = stamp = _stamp(data)
        message: Any = deserialize_message(data, Image)
        picture = decode(message)
        self._video.write(picture, stamp)
        self._bag.write_picture(f"{OVERLAY}/compressed", stamp, message.header.frame_id, picture)
        if self._tiles and stamp >= self._tiles[0]:
            self._tiles = [tile for tile in self._tiles if tile > stamp]
            self._sheet.add(picture, f"{(stamp - self._start) * 1e-9:.1f} s")

    def _diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == DIAGNOSTICS:
                self.seen.diagnostics = {pair.key: pair.value for pair in status.values}


def _stamp(data: bytes) -> int:
    """The header's stamp in nanoseconds, of a message in CDR that begins with a header: 4 bytes tell the byte order."""
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(seconds) * 10**9 + int(nanoseconds)
