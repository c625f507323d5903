"""A robot with several cameras that one node serves, each with a clock, a frame and pictures of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger

from eomt_ros import overlay
from eomt_ros.engine import FrameResult, Labels, Segmenter, Stream
from eomt_ros.msg import InstanceArray
from test.node.robot import Inbox, Pixels, Robot, picture, pixels_of, stamped

NAMES = ("front", "rear", "left", "right")
PARAMETERS = {"cameras": list(NAMES), "policy": "every_frame", "reliability": "reliable", "qos_depth": 100}
OUTPUTS = {
    "semantic": Image,
    "panoptic": Image,
    "confidence": Image,
    "semantic_color": Image,
    "overlay": Image,
    "overlay/compressed": CompressedImage,
    "instances": InstanceArray,
}


class Status(NamedTuple):
    """A status on /diagnostics."""

    level: bytes
    message: str
    values: dict[str, str]

    def count(self, key: str) -> int:
        """A number among its values."""
        return int(self.values[key])


Report = dict[str, Status]
"""By the name of the camera, and `engine`."""


class RigCamera:
    """One camera: what it sends, and what the node tells of it."""

    def __init__(self, robot: Robot, name: str, number: int) -> None:
        self.name = name
        self.frame_id = f"{name}_optical"
        self.robot = robot
        self.number = number
        self.images = robot.camera(topic=f"{name}/image")
        self.outputs = {topic: robot.listen(kind, f"~/{name}/{topic}") for topic, kind in OUTPUTS.items()}
        self._stamp = 1000.0 * (1 + number)

    @property
    def instances(self) -> Inbox:
        """What the node finds."""
        return self.outputs["instances"]

    def connect(self, pixels: Pixels | None = None) -> None:
        """Publish until every output had a result, then empty them all."""
        pixels = self.picture() if pixels is None else pixels
        self.robot.connect(self.images, *self.outputs.values(), image=lambda _: self.message(pixels))

    def replug(self) -> None:
        """Publish again, after `images` was closed."""
        self.images = self.robot.camera(topic=f"{self.name}/image")
        self.connect()

    def clear(self) -> None:
        """Forget what was received."""
        for inbox in self.outputs.values():
            inbox.clear()

    def picture(self, number: int = 0) -> Pixels:
        """A picture that no other camera sees."""
        return picture(100 * self.number + number)

    def message(self, pixels: Pixels, *, encoding: str = "rgb8", step: float = 0.1) -> Image:
        """An image of this camera, `step` seconds after the one before."""
        self._stamp += step
        return stamped(pixels, self._stamp, encoding, self.frame_id)

    def send(self, pixels: Pixels, *, encoding: str = "rgb8", step: float = 0.1) -> Image:
        """Publish an image, see `message`."""
        return self.images.publish(self.message(pixels, encoding=encoding, step=step))

    def segment(self, pixels: Pixels, *, step: float = 0.1) -> InstanceArray:
        """Publish an image and return the instances found in it."""
        return self.instances.wait_for_stamp(self.send(pixels, step=step))

    def epoch(self) -> int:
        """That of one image more."""
        return int(self.segment(self.picture()).epoch)

    def reset(self) -> Trigger.Response:
        """Call the reset of this camera."""
        return self.robot.call(Trigger, f"{self.name}/reset", Trigger.Request())

    def assert_outputs(self, message: Image, pixels: Pixels, result: FrameResult, labels: Labels) -> None:
        """All that the node tells of an image is what the engine found in those pixels, (H, W, 3) uint8 RGB."""
        told = {topic: inbox.wait_for_stamp(message) for topic, inbox in self.outputs.items()}
        assert {topic: output.header for topic, output in told.items()} == dict.fromkeys(OUTPUTS, message.header)
        np.testing.assert_array_equal(pixels_of(told["semantic"]), result.semantic)
        np.testing.assert_array_equal(pixels_of(told["panoptic"]), result.panoptic)
        drawn = overlay.draw(pixels, result, labels, alpha=0.5)
        np.testing.assert_array_equal(pixels_of(told["overlay"]), drawn)
        instances = [(each.id, each.class_id, each.area, each.age) for each in told["instances"].instances]
        assert instances == [(each.id, each.class_id, each.area, each.age) for each in result.segments]

    def assert_nothing_of_others(self) -> None:
        """Every output that came is of an image of this camera."""
        for topic, inbox in self.outputs.items():
            frames = {message.header.frame_id for message in inbox.all()}
            assert frames <= {self.frame_id}, f"{self.name}/{topic} has results of {frames}"


class Rig:
    """All cameras of a node, connected; first: what they see until then, in place of their own pictures."""

    def __init__(self, robot: Robot, names: tuple[str, ...] = NAMES, *, first: Pixels | None = None) -> None:
        self.robot = robot
        self.cameras = [RigCamera(robot, name, number) for number, name in enumerate(names)]
        self._diagnostics = robot.listen(DiagnosticArray, "/diagnostics")
        for camera in self.cameras:
            camera.connect(first)

    def start_over(self) -> None:
        """Begin a new epoch of every camera, and forget what was received."""
        assert self.robot.reset().success
        for camera in self.cameras:
            camera.epoch()
            camera.clear()

    def epochs(self) -> list[int]:
        """Those of one image more of every camera."""
        return [camera.epoch() for camera in self.cameras]

    def report(self, wanted: Callable[[Report], bool] = lambda _: True, what: str = "a report") -> Report:
        """The next report on /diagnostics for which `wanted` is true, of what has happened until now."""
        for _ in range(2):  # the first may have been made before the last result was counted
            self._diagnostics.clear()
            self._diagnostics.wait_for(self._own, what)
        return self._own(self._diagnostics.wait_for(lambda message: (own := self._own(message)) and wanted(own), what))

    def reported(self) -> Report:
        """The last report so far, which may have nothing in it."""
        return next(filter(None, map(self._own, reversed(self._diagnostics.all()))), {})

    def _own(self, message: DiagnosticArray) -> Report:
        node = f"{self.robot.process.namespace}/segment: ".lstrip("/")
        return {
            status.name.removeprefix(node): Status(
                status.level, status.message, {pair.key: pair.value for pair in status.values}
            )
            for status in message.status
            if status.name.startswith(node)
        }


class Alone:
    """The engine, which sees each camera alone."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.labels = segmenter.labels
        self._segmenter = segmenter
        self._streams: dict[str, Stream] = {}

    def find(self, camera: RigCamera, message: Image, pixels: Pixels) -> FrameResult:
        """What the next image of the camera shows."""
        stream = self._streams.setdefault(camera.name, self._segmenter.open_stream())
        stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        return self._segmenter.segment(pixels, stream, stamp=stamp)
