"""`ros2 launch` of our files as a user runs it, and a ROS node beside it; skips the tests where it is not installed."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch_ros")
pytest.importorskip("ros2launch")

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rcl_interfaces.srv import GetParameters
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.task import Future
from sensor_msgs.msg import Image

from test import ROOT
from test.patience import PATIENCE

try:
    from eomt_ros.msg import InstanceArray

    SHARE = Path(get_package_share_directory("eomt_ros"))
except (PackageNotFoundError, ModuleNotFoundError):
    pytest.skip("eomt_ros is not installed: colcon build, then source install/setup.bash", allow_module_level=True)

# Not ignored, as where a shell has started the tests in the background: all that is launched would ignore it too.
signal.signal(signal.SIGINT, signal.default_int_handler)

SEGMENT, EVALUATE, DEMO = (ROOT / "launch" / f"{name}.launch.py" for name in ("segment", "evaluate", "demo"))
ASK_AGAIN = 5.0  # s
PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


class Launched:
    """`ros2 launch` of a file: what it prints, and its end."""

    def __init__(self, file: Path, arguments: dict[str, str], environment: dict[str, str]) -> None:
        command = ["ros2", "launch", str(file), *(f"{name}:={value}" for name, value in arguments.items())]
        inherited = {name: value for name, value in os.environ.items() if name not in PROFILES}
        self._process = subprocess.Popen(
            command,
            env={**inherited, "RCUTILS_COLORIZED_OUTPUT": "0", "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for_output(self, pattern: str) -> re.Match[str]:
        """Wait for a line that matches."""
        with self._changed:
            self._changed.wait_for(lambda: re.search(pattern, self.output) or not self._reader.is_alive(), PATIENCE)
            match = re.search(pattern, self.output)
        assert match, f"ros2 launch did not print {pattern!r}; it printed:\n{self.output}"
        return match

    def press_ctrl_c(self) -> None:
        """Interrupt the launch and all it started, as a terminal does."""
        os.killpg(self._process.pid, signal.SIGINT)

    def wait_for_end(self) -> int:
        """Wait for the end and return the exit code."""
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            pytest.fail(f"ros2 launch did not end within {PATIENCE} s; it printed:\n{self.output}")
        self._reader.join(PATIENCE)
        return code

    def environment_of_node(self) -> dict[str, str]:
        """The node's environment variables, once it is there."""
        parameters_of("/segment", ["qos_depth"])  # launch loses track of a process that is interrupted while it starts
        started = self.wait_for_output(r"\[segment_node-1\]: process started with pid \[(\d+)\]")
        pairs = Path(f"/proc/{started[1]}/environ").read_text().split("\0")
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def remappings(self) -> list[str]:
        """The remappings that the node was started with, but for those of its own name."""
        started = self.wait_for_output(r"\[segment_node-1\]: process started with pid \[(\d+)\]")
        parameters_of("/segment", ["qos_depth"])  # the process is launch's own until it begins
        words = Path(f"/proc/{started[1]}/cmdline").read_text().split("\0")
        given = [word for option, word in pairwise(words) if option == "-r"]
        return [word for word in given if not word.startswith("__")]

    def running(self) -> dict[str, int]:
        """Names and process ids of what it has started and what still runs."""
        started = re.findall(r"\[(\S+)\]: process started with pid \[(\d+)\]", self.output)
        return {name: int(pid) for name, pid in started if Path(f"/proc/{pid}/cmdline").exists()}

    def left_behind(self) -> dict[str, int]:
        """What still runs although the launch has ended; ends that too."""
        left = self.running()
        for pid in left.values():
            os.kill(pid, signal.SIGKILL)
        return left

    def kill(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one of the processes."""
        os.kill(self.running()[name], number)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.output += line
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


@contextlib.contextmanager
def launched(
    arguments: dict[str, str], environment: dict[str, str] | None = None, *, file: Path = SEGMENT
) -> Iterator[Launched]:
    """A launch that is over at the end of the block."""
    launch = Launched(file, arguments, environment or {})
    try:
        yield launch
    finally:
        with contextlib.suppress(ProcessLookupError):
            launch.press_ctrl_c()
        launch.wait_for_end()


class Beside:
    """A ROS node of the test's own."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor) -> None:
        self.node = node
        self._executor = executor

    def ask(self, client: Client, request: Any) -> Any:
        """Ask a service until it answers: on a busy machine an answer is lost if its reader is not known yet."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            answer = client.call_async(request)
            self._executor.spin_until_future_complete(answer, ASK_AGAIN)
            if answer.done():
                return answer.result()
        raise AssertionError(f"{client.srv_name} did not answer")

    def publish_images(self, topic: str, frame_id: str) -> None:
        """Publish a black image five times a second, while the node is served."""
        publisher = self.node.create_publisher(Image, topic, 5)
        image = Image(height=48, width=64, encoding="rgb8", step=64 * 3, data=bytes(48 * 64 * 3))
        image.header.frame_id = frame_id
        self.node.create_timer(0.2, partial(publisher.publish, image))

    def wait_for_message(self, topic: str) -> InstanceArray:
        """Wait until an InstanceArray comes on a topic."""
        came = Future()
        subscription = self.node.create_subscription(
            InstanceArray, topic, lambda message: came.done() or came.set_result(message), 1
        )
        try:
            self._executor.spin_until_future_complete(came, PATIENCE)
            assert came.done(), f"nothing came on {topic}"
            return came.result()
        finally:
            self.node.destroy_subscription(subscription)


@contextlib.contextmanager
def beside() -> Iterator[Beside]:
    """A ROS node of the test's own, until the end of the block."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("beside_the_launch", context=context)
    executor = SingleThreadedExecutor(context=context)
    try:
        executor.add_node(node)
        yield Beside(node, executor)
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def parameters_of(node: str, names: list[str]) -> dict[str, object]:
    """Ask a running node for its parameters."""
    with beside() as robot:
        client = robot.node.create_client(GetParameters, f"{node}/get_parameters")
        assert client.wait_for_service(PATIENCE), f"the node {node} did not appear"
        answer = robot.ask(client, GetParameters.Request(names=names))
        return {name: parameter_value_to_python(value) for name, value in zip(names, answer.values, strict=True)}
