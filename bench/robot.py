"""A robot in a process of its own: sends images to the node as a camera does, receives its results, and notes how long
each took. `python -m bench.robot --help`; `drive` runs it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import psutil
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from bench.messages import to_image
from bench.pictures import picture

ROOT = Path(__file__).parent.parent
PATIENCE = 120.0
"""Seconds after which a node that gives nothing is taken for broken."""
LOST = 2.0
"""Seconds without a result after which the next image is sent all the same."""
WARM_UP = 5
"""Images before those that count."""


@dataclass(frozen=True)
class Drive:
    """The fate of the images of one drive."""

    sent: int
    latencies: list[float]
    """Seconds from an image's stamp to its panoptic image in the robot's hands."""
    seconds: float
    """From the first image to the last result."""
    cpu_seconds: float
    """Of the node's process, over the same time."""
    stages: dict[str, float]
    """Medians in milliseconds of the node's last 300 images, by stage, from /diagnostics."""


def drive(
    environment: dict[str, str],
    node: int,
    *,
    size: tuple[int, int],
    transport: str = "raw",
    in_flight: int = 1,
    pause: float = 0.0,
    seconds: float,
) -> Drive:
    """Sends images to the node with process id `node` for so many seconds.

    size: (height, width). in_flight: so many images are on their way at any time. pause: seconds from a result to the
    next image.
    """
    choices = {
        "node": node,
        "height": size[0],
        "width": size[1],
        "transport": transport,
        "in_flight": in_flight,
        "pause": pause,
        "seconds": seconds,
    }
    command = [sys.executable, "-m", "bench.robot", json.dumps(choices)]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True, timeout=2 * PATIENCE)
    return Drive(**json.loads(done.stdout))


class Robot:
    """Publishes images and receives results, on one thread."""

    def __init__(self, size: tuple[int, int], transport: str) -> None:
        self._node = Node("robot", start_parameter_services=False)
        self._kind = CompressedImage if transport == "compressed" else Image
        topic = "image/compressed" if transport == "compressed" else "image"
        self._publisher = self._node.create_publisher(self._kind, topic, qos_profile_sensor_data)
        self._node.create_subscription(Image, "segment/panoptic", self._result_callback, 10)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics_callback, 10)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._small, self._message = self._image(48, 64), self._image(*size)
        self._under_way: dict[int, float] = {}
        self._awaited: set[int] = set()
        self._sent = 0
        self._latencies: list[float] = []
        self._last_result = 0.0
        self._reports: list[dict[str, str]] = []

    def drive(self, node: int, in_flight: int, pause: float, seconds: float) -> Drive:
        """Meets the node, warms it up, and sends images for so many seconds; waits for its next report."""
        self._meet()
        self._send(in_flight, pause, seconds, most=WARM_UP)
        process = psutil.Process(node)
        self._sent, self._latencies = 0, []
        self._awaited.clear()
        before, start = sum(process.cpu_times()[:2]), time.monotonic()
        self._send(in_flight, pause, seconds)
        cpu = sum(process.cpu_times()[:2]) - before
        self._reports.clear()
        self._spin_until(lambda: self._reports, PATIENCE, "diagnostics")
        return Drive(self._sent, self._latencies, self._last_result - start, cpu, _stages(self._reports[0]))

    def _meet(self) -> None:
        """Sends small images, which come through any transport, until a result comes."""
        deadline = time.monotonic() + PATIENCE
        while not self._latencies:
            self._publish(self._small)
            self._spin(0.5, until=lambda: self._latencies)
            if time.monotonic() > deadline:
                raise TimeoutError(f"no result of the node came within {PATIENCE:.0f} s")
        self._spin(0.5)
        self._under_way.clear()

    def _send(self, in_flight: int, pause: float, seconds: float, most: int | None = None) -> None:
        end = time.monotonic() + seconds
        first = self._sent
        while time.monotonic() < end and (most is None or self._sent - first < most):
            while len(self._under_way) < in_flight:
                self._publish(self._message)
            self._spin(LOST, until=lambda: len(self._under_way) < in_flight)
            self._forget_lost()
            self._spin(pause)
        self._spin(LOST, until=lambda: not self._under_way)
        self._under_way.clear()

    def _publish(self, message: Image | CompressedImage) -> None:
        now = time.time_ns()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, 10**9)
        self._under_way[now] = time.monotonic()
        self._awaited.add(now)
        self._sent += 1
        self._publisher.publish(message)

    def _result_callback(self, message: Image) -> None:
        now = time.time_ns()
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        self._under_way.pop(stamp, None)
        if stamp in self._awaited:  # however late it is
            self._awaited.remove(stamp)
            self._latencies.append((now - stamp) * 1e-9)
            self._last_result = time.monotonic()

    def _diagnostics_callback(self, message: DiagnosticArray) -> None:
        self._reports += [{pair.key: pair.value for pair in status.values} for status in message.status]

    def _forget_lost(self) -> None:
        now = time.monotonic()
        self._under_way = {stamp: sent for stamp, sent in self._under_way.items() if now - sent < LOST}

    def _spin(self, seconds: float, until: Any = lambda: False) -> None:
        end = time.monotonic() + seconds
        while not until() and (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def _spin_until(self, happened: Any, seconds: float, what: str) -> None:
        self._spin(seconds, until=happened)
        if not happened():
            raise TimeoutError(f"no {what} came within {seconds:.0f} s")

    def _image(self, height: int, width: int) -> Image | CompressedImage:
        pixels = picture(height, width)
        if self._kind is Image:
            return to_image(pixels, "rgb8", Header(frame_id="camera"))
        jpeg = cv2.imencode(".jpg", pixels[..., ::-1])[1].tobytes()
        return CompressedImage(header=Header(frame_id="camera"), format="rgb8; jpeg compressed bgr8", data=jpeg)


def _stages(report: dict[str, str]) -> dict[str, float]:
    ending = " p50 (ms)"
    return {key.removesuffix(ending): float(value) for key, value in report.items() if key.endswith(ending)}


def main() -> None:
    """One drive, told as JSON in and out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("choices", type=json.loads, help="the arguments of `drive`, as JSON")
    choices = parser.parse_args().choices
    rclpy.init()
    robot = Robot((choices.pop("height"), choices.pop("width")), choices.pop("transport"))
    print(json.dumps(asdict(robot.drive(**choices))))


if __name__ == "__main__":
    main()
