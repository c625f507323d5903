"""The real node in its own process, and a robot beside it that publishes and listens, over real Fast DDS topics."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.context import Context
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from bench.messages import to_image
from eomt_ros.msg import InstanceArray
from test import ROOT
from test.node.spinning import spinning
from test.patience import PATIENCE

Pixels = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 48, 64


class NodeProcess:
    """`segment_node` as a user starts it, its output line by line, and its end."""

    def __init__(
        self,
        namespace: str,
        parameters: dict[str, Any],
        environment: dict[str, str],
        *,
        name: str,
        start: Callable[[list[str], dict[str, str]], Any] | None = None,
    ) -> None:
        self.namespace = namespace
        arguments = [f"__ns:={namespace}", "image:=camera/image_raw", f"__node:={name}"]
        command = [sys.executable, "-m", "eomt_ros.node.segment_node", "--ros-args"]
        for argument in arguments:
            command += ["-r", argument]
        for key, value in parameters.items():
            command += ["-p", f"{key}:={_yaml(value)}"]
        environment = {**os.environ, "RCUTILS_COLORIZED_OUTPUT": "0", "OMP_NUM_THREADS": "1", **environment}
        self._process = (start or _popen)(command, environment)
        self.changed = threading.Condition()
        self._lines: list[str] = []
        self._has_ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return int(self._process.pid)

    @property
    def output(self) -> str:
        """Everything printed so far."""
        with self.changed:
            return "".join(self._lines)

    def wait(self, happened: Callable[[], Any], what: str) -> Any:
        """Wait until `happened` returns something, which it can from when `changed` is notified, and return that."""
        with self.changed:
            self.changed.wait_for(lambda: happened() or self._has_ended, PATIENCE)
            value = happened()
        assert value, (
            f"{what} did not come; the node {'ended and had' if self._has_ended else ''} printed:\n{self.output}"
        )
        return value

    def wait_for_output(self, pattern: str, *, after: int = 0) -> str:
        """Wait for output that matches `pattern`, ignoring the first `after` characters, and return the match."""
        wanted = re.compile(pattern)
        match = self.wait(lambda: wanted.search("".join(self._lines), after), f"output that matches {pattern!r}")
        return str(match.group())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    def wait_for_end(self, timeout: float = PATIENCE) -> int:
        """Wait for the process to end and return its exit code."""
        try:
            code = int(self._process.wait(timeout))
        except subprocess.TimeoutExpired:
            self._process.kill()
            pytest.fail(f"the node did not end within {timeout} s; it printed:\n{self.output}")
        self._reader.join(PATIENCE)
        return code

    def end(self) -> None:
        """Stop the process, if it still runs, and check that it went quietly."""
        if self._process.poll() is None:
            self.signal(signal.SIGINT)
            assert self.wait_for_end() == 0, f"the node did not end cleanly; it printed:\n{self.output}"
        assert "Traceback" not in self.output, self.output

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self.changed:
                self._lines.append(line)
                self.changed.notify_all()
        with self.changed:
            self._has_ended = True
            self.changed.notify_all()


def _popen(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


class Inbox:
    """The messages that arrived on one topic."""

    def __init__(self, topic: str, process: NodeProcess) -> None:
        self.topic = topic
        self._messages: list[Any] = []
        self._process = process

    def put(self, message: Any) -> None:
        """Add a message that arrived."""
        with self._process.changed:
            self._messages.append(message)
            self._process.changed.notify_all()

    def clear(self) -> None:
        """Forget the messages."""
        with self._process.changed:
            self._messages.clear()

    def all(self) -> list[Any]:
        """What arrived, in order."""
        with self._process.changed:
            return list(self._messages)

    def wait_for(self, wanted: Callable[[Any], bool], what: str) -> Any:
        """Wait for a message for which `wanted` is true, and return the first."""
        return self._process.wait(lambda: [m for m in self._messages if wanted(m)], f"on {self.topic} {what}")[0]

    def wait_for_stamp(self, message: Any) -> Any:
        """Wait for the result that carries the stamp of `message`."""
        stamp = message.header.stamp
        return self.wait_for(lambda m: m.header.stamp == stamp, f"the result for {stamp}")


class Robot:
    """Publishes images, listens to results and calls services, in the namespace of one node."""

    def __init__(self, process: NodeProcess, context: Context, *, name: str) -> None:
        self.process = process
        self._name = name
        self._node = Node("robot", context=context, namespace=process.namespace, start_parameter_services=False)
        self._stamp = 1000.0
        self._clients: dict[str, Any] = {}
        self._stack = ExitStack()
        self._stack.callback(self._node.destroy_node)
        self._stack.enter_context(spinning(self._node))

    def close(self) -> None:
        """Leave the network."""
        self._stack.close()

    def listen(self, kind: type[Any], topic: str, qos: QoSProfile | int = 100) -> Inbox:
        """Subscribe to a topic; `~` stands for the node's name."""
        topic = topic.replace("~", self._name)
        inbox = Inbox(topic, self.process)
        self._node.create_subscription(kind, topic, inbox.put, qos)
        return inbox

    def camera(self, kind: type[Any] = Image, topic: str = "camera/image_raw", *, reliable: bool = True) -> Camera:
        """Publish on the image topic, once somebody listens there."""
        return Camera(self._node, self.process, kind, topic, reliable=reliable)

    def connect(self, camera: Camera, *inboxes: Inbox, image: Callable[[float], Any] | None = None) -> None:
        """Publish images until every inbox had a result, then empty them all.

        Both ends of a topic learn at different moments that they found each other; only a message shows that both did.
        """
        image = image or (lambda stamp: stamped(picture(), stamp))
        camera.connect()
        for _ in range(round(PATIENCE / 0.5)):
            camera.publish(image(self.next_stamp()))
            with self.process.changed:
                if self.process.changed.wait_for(lambda: all(inbox.all() for inbox in inboxes), 0.5):
                    break
        last = camera.publish(image(self.next_stamp()))
        for inbox in inboxes:
            inbox.wait_for_stamp(last)
            inbox.clear()

    def call(self, kind: type[Any], service: str, request: Any, *, attempts: int = 1) -> Any:
        """Call a service of the node and return its answer.

        attempts: more than one for questions that change nothing: on a busy machine the answer to a client that is new
        gets lost, because the service has not heard of it yet ("client will not receive response").
        """
        for _ in range(attempts):
            answered = threading.Event()
            future = self.ask(kind, service, request)
            future.add_done_callback(lambda _, answered=answered: answered.set())
            if answered.wait(PATIENCE / attempts):
                return future.result()
        raise AssertionError(f"the service {service} did not answer; {self.process.output}")

    def ask(self, kind: type[Any], service: str, request: Any) -> Any:
        """Call a service of the node without waiting for its answer; returns the future."""
        if service not in self._clients:
            self._clients[service] = self._node.create_client(kind, f"{self._name}/{service}")
        client = self._clients[service]
        assert client.wait_for_service(PATIENCE), f"the service {service} did not appear; {self.process.output}"
        return client.call_async(request)

    def set(self, **values: Any) -> str:
        """Set parameters of the node; returns why it refused, or nothing."""
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        results = self.call(SetParameters, "set_parameters", SetParameters.Request(parameters=parameters)).results
        return "; ".join(result.reason for result in results if not result.successful)

    def get(self, name: str) -> Any:
        """The value of a parameter of the node."""
        answer = self.call(GetParameters, "get_parameters", GetParameters.Request(names=[name]), attempts=10)
        return parameter_value_to_python(answer.values[0])

    def describe(self, *names: str) -> list[Any]:
        """The descriptors of parameters of the node."""
        request = DescribeParameters.Request(names=list(names))
        return list(self.call(DescribeParameters, "describe_parameters", request).descriptors)

    def quality(self, topic: str) -> Any:
        """The reliability of the segmentation node's end of a topic, once it is there."""
        for _ in range(round(PATIENCE / 0.1)):
            ends = self._node.get_publishers_info_by_topic(topic) + self._node.get_subscriptions_info_by_topic(topic)
            own = [end.qos_profile.reliability for end in ends if end.node_namespace == self.process.namespace]
            if own:
                return own[0]
            threading.Event().wait(0.1)  # the graph has no event for a single topic
        pytest.fail(f"the node has no end of {topic}; it printed:\n{self.process.output}")

    def topics(self) -> set[str]:
        """The topics that somebody publishes in the node's namespace."""
        names = {topic for topic, _ in self._node.get_topic_names_and_types()}
        return {topic for topic in names if self._node.count_publishers(topic)}

    def transition(self, label: str) -> bool:
        """Ask for a lifecycle transition, and say whether it succeeded."""
        request = ChangeState.Request()
        request.transition.label = label
        return bool(self.call(ChangeState, "change_state", request).success)

    def state(self) -> str:
        """The node's lifecycle state."""
        return str(self.call(GetState, "get_state", GetState.Request(), attempts=10).current_state.label)

    def reset(self) -> Any:
        """Call ~/reset."""
        return self.call(Trigger, "reset", Trigger.Request())

    def enable(self, on: bool) -> Any:
        """Call ~/enable."""
        return self.call(SetBool, "enable", SetBool.Request(data=on))

    def diagnostics(self, of: str = "segmentation") -> Diagnostics:
        """Listen to the node's diagnostics; of: the name of a camera, or `engine`, where the node has several."""
        return Diagnostics(self.listen(DiagnosticArray, "/diagnostics"), f"{self.process.namespace}/{self._name}: {of}")

    def next_stamp(self, step: float = 0.1) -> float:
        """The stamp of the next image, in seconds."""
        self._stamp += step
        return self._stamp


class Camera:
    """A publisher of images with stamps."""

    def __init__(self, node: Node, process: NodeProcess, kind: type[Any], topic: str, *, reliable: bool) -> None:
        self._node = node
        self._process = process
        self._matched = 0
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        self._publisher = node.create_publisher(
            kind,
            topic,
            QoSProfile(depth=200, reliability=reliability),
            event_callbacks=PublisherEventCallbacks(matched=self._matched_callback),
        )

    def connect(self) -> Camera:
        """Wait until the node listens."""
        self._process.wait(lambda: self._matched, "a subscription to the images")
        return self

    def publish(self, message: Any) -> Any:
        """Send a message and return it."""
        self._publisher.publish(message)
        return message

    def close(self) -> None:
        """Take the camera away."""
        self._node.destroy_publisher(self._publisher)

    def _matched_callback(self, event: Any) -> None:
        with self._process.changed:
            self._matched = event.current_count
            self._process.changed.notify_all()


class Diagnostics:
    """The node's own entries among all diagnostics."""

    def __init__(self, inbox: Inbox, name: str) -> None:
        self._inbox = inbox
        self._name = name.lstrip("/")

    def wait_for(self, wanted: Callable[[Any, dict[str, str]], bool], what: str) -> tuple[Any, dict[str, str]]:
        """Wait for a status for which `wanted(status, values)` is true, and return both."""
        message = self._inbox.wait_for(lambda m: any(wanted(*pair) for pair in self._own(m)), what)
        return next(pair for pair in self._own(message) if wanted(*pair))

    def messages(self) -> list[str]:
        """What the statuses said so far."""
        return [status.message for message in self._inbox.all() for status, _ in self._own(message)]

    def last(self) -> Any:
        """The last status so far; None where there is none."""
        return next((status for m in reversed(self._inbox.all()) for status, _ in self._own(m)), None)

    def clear(self) -> None:
        """Forget what was reported."""
        self._inbox.clear()

    def _own(self, message: DiagnosticArray) -> list[tuple[Any, dict[str, str]]]:
        own = [status for status in message.status if status.name == self._name]
        return [(status, {pair.key: pair.value for pair in status.values}) for status in own]


class Station:
    """A robot with one camera that listens to everything its node tells."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self.camera = robot.camera()
        self.semantic = robot.listen(Image, "~/semantic")
        self.panoptic = robot.listen(Image, "~/panoptic")
        self.confidence = robot.listen(Image, "~/confidence")
        self.semantic_color = robot.listen(Image, "~/semantic_color")
        self.overlay = robot.listen(Image, "~/overlay")
        self.overlay_jpeg = robot.listen(CompressedImage, "~/overlay/compressed")
        self.instances = robot.listen(InstanceArray, "~/instances")
        self.diagnostics = robot.diagnostics()
        robot.connect(self.camera, *self._inboxes)

    @property
    def _inboxes(self) -> list[Inbox]:
        images = [self.semantic, self.panoptic, self.confidence, self.semantic_color, self.overlay]
        return [*images, self.overlay_jpeg, self.instances]

    def start_over(self) -> None:
        """Begin a new epoch, and forget what was received."""
        assert self.robot.reset().success
        self.segment(picture())
        for inbox in self._inboxes:
            inbox.clear()
        self.diagnostics.clear()

    def send(self, pixels: Pixels, *, stamp: float | None = None) -> Image:
        """Publish an rgb8 image; without a stamp 0.1 s after the last."""
        return self.camera.publish(stamped(pixels, self.robot.next_stamp() if stamp is None else stamp))

    def segment(self, pixels: Pixels, *, stamp: float | None = None) -> InstanceArray:
        """Publish an image and return the instances found in it."""
        return self.instances.wait_for_stamp(self.send(pixels, stamp=stamp))


def picture(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Pixels:
    """(H, W, 3) uint8 RGB of soft random colours, the same for the same seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))


def stamped(pixels: Pixels, stamp: float, encoding: str = "rgb8", frame_id: str = "camera") -> Image:
    """An Image message of an array, taken at `stamp` seconds."""
    message = to_image(pixels, encoding, Image().header)
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(round(stamp * 1e9), 10**9)
    return message


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def pixels_of(message: Image) -> npt.NDArray[Any]:
    """The array in a mono8, 16UC1 or rgb8 message, without the node's own code."""
    dtype, channels = {"mono8": (np.uint8, 1), "16UC1": (np.uint16, 1), "rgb8": (np.uint8, 3)}[message.encoding]
    assert message.step == message.width * channels * np.dtype(dtype).itemsize
    assert not message.is_bigendian
    pixels = np.frombuffer(message.data, dtype).reshape(message.height, message.width, channels)
    return pixels if channels == 3 else pixels[..., 0]
