"""What a node does whatever is wrong with depth: it says so, gives all 2-D results, and no wrong metre."""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image, PointCloud2

from eomt_ros.msg import InstanceArray, ObjectArray
from test.node.depth_camera import DepthCamera, raw, some_depth
from test.node.robot import Robot
from test.patience import PATIENCE

PARAMETERS = {
    "precision": "float32",
    "depth": "raw",
    "policy": "every_frame",
    "reliability": "reliable",
    "qos_depth": 100,
}
FRAMES = 3
"""That each trouble lasts at least."""
PERIOD = 0.2
"""s between images, while a status is waited for."""


class DepthStation:
    """A robot with one depth camera that listens to what its node tells in pixels and in metres."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self.camera = DepthCamera(robot)
        self.instances = robot.listen(InstanceArray, "~/instances")
        self.obstacles = robot.listen(PointCloud2, "~/obstacles")
        self.objects = robot.listen(ObjectArray, "~/objects")
        self.diagnostics = robot.diagnostics()

    def connect(self) -> None:
        """Publish all that a depth camera does until results came in pixels and in metres."""
        self.camera.connect(raw(some_depth()), self.instances, self.obstacles)

    def assert_told(
        self, send: Callable[[], Image], *texts: str, level: bytes = DiagnosticStatus.WARN
    ) -> tuple[list[Image], str]:
        """Every image that `send` publishes gets its 2-D results, and a status has all `texts`.

        Gives the images and the status's message.
        """
        self.diagnostics.clear()
        sent: list[Image] = []

        def told() -> str:
            last = self.diagnostics.last()
            fits = last is not None and last.level == level and all(text in last.message for text in texts)
            return last.message if fits and len(sent) >= FRAMES else ""

        for _ in range(round(PATIENCE / PERIOD)):
            sent.append(send())
            self.instances.wait_for_stamp(sent[-1])
            with self.robot.process.changed:
                if self.robot.process.changed.wait_for(told, PERIOD):
                    return sent, told()
        last = self.diagnostics.last()
        raise AssertionError(f"no status at level {level!r} said {texts}; the last: {last and last.message}")

    def assert_no_metres(self, send: Callable[[], Image], *texts: str) -> str:
        """As `assert_told`, and nothing in metres comes of these images; gives the status's message."""
        sent, message = self.assert_told(send, *texts)
        self.assert_recovers()
        stamps = [(image.header.stamp.sec, image.header.stamp.nanosec) for image in sent]
        for inbox in (self.camera.points, self.obstacles, self.objects):
            wrong = [m for m in inbox.all() if (m.header.stamp.sec, m.header.stamp.nanosec) in stamps]
            assert not wrong, f"{inbox.topic} came of an image without usable depth"
        return message

    def assert_recovers(self) -> None:
        """The next good image has the right points; as they come in order, nothing else is under way then."""
        depth = some_depth(7)
        self.camera.send_info()
        image = self.camera.send(raw(depth))
        self.camera.assert_seen(image, depth)
        self.obstacles.wait_for_stamp(image)
