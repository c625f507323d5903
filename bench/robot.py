"""A robot in a process of its own: sends images to nodes as its cameras do, receives the results, and notes how long
each took. `Robot` runs it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
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
"""Images of each camera before those that count."""
DEPTH = np.full((480, 640), 2000, np.uint16)
"""Millimetres, in every pixel."""
ONE_CAMERA = {"image": "segment/panoptic"}


@dataclass(frozen=True)
class Drive:
    """The fate of the images of one drive."""

    sent: int
    latencies: dict[str, list[float]]
    """Seconds from an image's stamp to its panoptic image in the robot's hands, by the topic of the images."""
    seconds: float
    """From the first image to the last result."""
    cpu_seconds: float
    """Of the nodes' processes, over the same time."""
    reports: dict[str, dict[str, str]]
    """The values of every status on /diagnostics afterwards, by its name."""

    @property
    def results(self) -> list[float]:
        """The latencies of all cameras."""
        return [seconds for each in self.latencies.values() for seconds in each]

    @property
    def stages(self) -> dict[str, float]:
        """Medians in milliseconds of the only node's last 300 images, by stage."""
        ending = " p50 (ms)"
        (report,) = self.reports.values()
        return {key.removesuffix(ending): float(value) for key, value in report.items() if key.endswith(ending)}


class Robot:
    """The robot's process, which drives as often as it is told to, in a `with` block.

    topics: those of the images, of each camera one, with that of their panoptic images. depth: each camera gives depth
    too, on the topic `depth` beside that of its images.
    """

    def __init__(
        self,
        environment: dict[str, str],
        topics: dict[str, str] = ONE_CAMERA,
        *,
        transport: str = "raw",
        depth: bool = False,
    ) -> None:
        command = [sys.executable, "-m", "bench.robot"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._fixed = {"topics": topics, "transport": transport, "depth": depth}

    def __enter__(self) -> Robot:
        self._process.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._process.__exit__(*error)

    def drive(
        self,
        nodes: Sequence[int],
        *,
        size: tuple[int, int],
        seconds: float,
        in_flight: int = 1,
        pause: float = 0.0,
        rate: float = 0.0,
    ) -> Drive:
        """Sends images to the nodes with these process ids for so many seconds.

        size: (height, width). in_flight: so many images of each camera are on their way at any time. pause: seconds
        from a result to the next image. rate: in place of both, so many images of each camera a second, whatever
        becomes of them; the cameras take turns. Raises `RuntimeError` where the robot failed.
        """
        choices = {
            "nodes": list(nodes),
            "size": size,
            "seconds": seconds,
            "in_flight": in_flight,
            "pause": pause,
            "rate": rate,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(self._fixed | choices), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the robot ended with {self._process.wait()}; its error stands above")
        return Drive(**json.loads(answer))


class Camera:
    """Publishes images of one camera, and depth if it has any, and receives their results."""

    def __init__(self, node: Node, topic: str, results: str, transport: str, *, depth: bool) -> None:
        self.under_way: dict[int, float] = {}
        """Moment of sending, by stamp, of images without a result so far."""
        self.latencies: list[float] = []
        self.sent = 0
        self.last_result = 0.0
        self._awaited: set[int] = set()
        self._kind = CompressedImage if transport == "compressed" else Image
        beside = f"{topic.rpartition('/')[0]}/depth".lstrip("/")
        self._depth = node.create_publisher(Image, beside, qos_profile_sensor_data) if depth else None
        topic = f"{topic}/compressed" if transport == "compressed" else topic
        self._publisher = node.create_publisher(self._kind, topic, qos_profile_sensor_data)
        node.create_subscription(Image, results, self._result_callback, 10)

    def image(self, height: int, width: int, seed: int) -> Image | CompressedImage:
        """A message of a random picture."""
        pixels = picture(height, width, seed)
        if self._kind is Image:
            return to_image(pixels, "rgb8", Header(frame_id="camera"))
        jpeg = cv2.imencode(".jpg", pixels[..., ::-1])[1].tobytes()
        return CompressedImage(header=Header(frame_id="camera"), format="rgb8; jpeg compressed bgr8", data=jpeg)

    def start_over(self) -> None:
        """Counts from here on."""
        self.sent, self.latencies = 0, []
        self.under_way.clear()
        self._awaited.clear()

    def publish(self, message: Image | CompressedImage) -> None:
        """Sends an image, with the time."""
        now = time.time_ns()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, 10**9)
        self.under_way[now] = time.monotonic()
        self._awaited.add(now)
        self.sent += 1
        if self._depth is not None:
            self._depth.publish(to_image(DEPTH, "16UC1", message.header))
        self._publisher.publish(message)

    def forget_lost(self) -> None:
        """Waits no longer for images without a result for LOST seconds."""
        now = time.monotonic()
        self.under_way = {stamp: sent for stamp, sent in self.under_way.items() if now - sent < LOST}

    def _result_callback(self, message: Image) -> None:
        now = time.time_ns()
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        # Results come in order: older images were dropped.
        self.under_way = {other: sent for other, sent in self.under_way.items() if other > stamp}
        if stamp in self._awaited:  # however late it is
            self._awaited.remove(stamp)
            self.latencies.append((now - stamp) * 1e-9)
            self.last_result = time.monotonic()


class Cameras:
    """All cameras of one drive, on one thread."""

    def __init__(self, topics: dict[str, str], transport: str, size: tuple[int, int], *, depth: bool) -> None:
        self._node = Node("robot", start_parameter_services=False)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics_callback, 10)
        self._reports: dict[str, dict[str, str]] = {}
        self._cameras = {
            topic: Camera(self._node, topic, results, transport, depth=depth) for topic, results in topics.items()
        }
        numbered = list(enumerate(self._cameras.values()))
        self._small = [(camera, camera.image(48, 64, number)) for number, camera in numbered]
        self._images = [(camera, camera.image(*size, number)) for number, camera in numbered]
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)

    def drive(self, nodes: Sequence[int], seconds: float, in_flight: int, pause: float, rate: float) -> Drive:
        """Meets the nodes, warms them up, and sends images for so many seconds; waits for their next report."""
        self._meet()
        self._warm_up()
        processes = [psutil.Process(node) for node in nodes]
        self._start_over()
        before, start = _cpu(processes), time.monotonic()
        if rate:
            self._send_at(rate, seconds)
        else:
            self._send(in_flight, pause, seconds)
        cpu = _cpu(processes) - before
        last = max(camera.last_result for camera in self._cameras.values())
        reporting, self._reports = self._reports.keys(), {}
        self._spin_until(lambda: self._reports and reporting <= self._reports.keys(), PATIENCE, "diagnostics")
        sent = sum(camera.sent for camera in self._cameras.values())
        latencies = {topic: camera.latencies for topic, camera in self._cameras.items()}
        return Drive(sent, latencies, last - start, cpu, self._reports)

    def close(self) -> None:
        """Leaves the network."""
        self._executor.shutdown()
        self._node.destroy_node()

    def _meet(self) -> None:
        """Sends small images, which come through any transport, until each camera has had a result."""
        deadline = time.monotonic() + PATIENCE
        while strangers := [pair for pair in self._small if not pair[0].latencies]:
            for camera, message in strangers:
                camera.publish(message)
            self._spin(0.5, until=lambda strangers=strangers: all(camera.latencies for camera, _ in strangers))
            if time.monotonic() > deadline:
                raise TimeoutError(f"no result of the node came within {PATIENCE:.0f} s")
        self._spin(0.5)
        self._start_over()

    def _start_over(self) -> None:
        for camera in self._cameras.values():
            camera.start_over()

    def _warm_up(self) -> None:
        for _ in range(WARM_UP):
            for camera, message in self._images:
                camera.publish(message)
            self._wait_for_results()

    def _send(self, in_flight: int, pause: float, seconds: float) -> None:
        def ready() -> list[tuple[Camera, Image | CompressedImage]]:
            return [pair for pair in self._images if len(pair[0].under_way) < in_flight]

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._spin(LOST, until=ready)
            for camera, _ in self._images:
                camera.forget_lost()
            self._spin(pause)
            for camera, message in ready():
                camera.publish(message)
        self._wait_for_results()

    def _send_at(self, rate: float, seconds: float) -> None:
        start, number = time.monotonic(), 0
        while (due := number / (rate * len(self._images))) < seconds:
            self._spin(start + due - time.monotonic())
            camera, message = self._images[number % len(self._images)]
            camera.publish(message)
            number += 1
        self._wait_for_results()

    def _wait_for_results(self) -> None:
        self._spin(LOST, until=lambda: not any(camera.under_way for camera, _ in self._images))
        for camera, _ in self._images:
            camera.under_way.clear()

    def _diagnostics_callback(self, message: DiagnosticArray) -> None:
        self._reports |= {status.name: {pair.key: pair.value for pair in status.values} for status in message.status}

    def _spin(self, seconds: float, until: Callable[[], Any] = lambda: False) -> None:
        """Serves callbacks for so long, and at least for a moment."""
        end = time.monotonic() + seconds
        while not until():
            left = end - time.monotonic()
            self._executor.spin_once(timeout_sec=max(0.0, left))
            if left <= 0:
                return

    def _spin_until(self, happened: Callable[[], Any], seconds: float, what: str) -> None:
        self._spin(seconds, until=happened)
        if not happened():
            raise TimeoutError(f"no {what} came within {seconds:.0f} s")


def _cpu(processes: Sequence[psutil.Process]) -> float:
    """Seconds of processor time so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def main() -> None:
    """One drive for each line, told as JSON in and out."""
    rclpy.init()
    for line in sys.stdin:
        choices = json.loads(line)
        fixed = [choices.pop(name) for name in ("topics", "transport", "size")]
        cameras = Cameras(*fixed, depth=choices.pop("depth"))
        print(json.dumps(asdict(cameras.drive(**choices))), flush=True)
        cameras.close()


if __name__ == "__main__":
    main()
