"""The node as a process on real topics: from its start to the first label image, and how long its callbacks are kept
waiting.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from bench.messages import to_image
from bench.pictures import picture
from bench.segment_node import isolated, segment_node
from bench.timing import Row
from eomt_ros.replay.participant import Participant

ROOT = Path(__file__).parent.parent
STARTS = 5
PERIOD = 0.005
"""Seconds between two looks at the clock from within the node's executor."""
LOOKS = 2000
PATIENCE = 120.0
"""Seconds after which a node that gives nothing is taken for broken."""


def rows() -> Iterator[Row]:
    """All measurements of this file, with the demo model, in a domain of their own."""
    os.environ.update(isolated())
    yield start_up()
    yield waiting()


def start_up() -> Row:
    """From the start of the node's process, imports and all, to the first class image."""
    times = [_time_to_first_map() for _ in range(STARTS)]
    return Row.of(
        "node start-up, demo, 424x240", times, note="process start, imports and all, to the first label image"
    )


def _time_to_first_map() -> float:
    arrived: list[float] = []
    with Participant("camera") as participant:
        Camera(participant.node, "/image")
        participant.node.create_subscription(
            Image, "/segment/semantic", lambda _: arrived.append(time.perf_counter()), 1
        )
        start = time.perf_counter()
        with segment_node(dict(os.environ)):
            if not participant.serve(lambda: bool(arrived), PATIENCE):
                raise TimeoutError(f"no class image came within {PATIENCE:.0f} s of the node's start")
            return arrived[0] - start


class Camera:
    """Publishes a random picture on a topic, 30 times a second."""

    def __init__(self, node: Node, topic: str) -> None:
        self._node = node
        self._picture = picture(240, 424)
        self._publisher = node.create_publisher(Image, topic, qos_profile_sensor_data)
        node.create_timer(1 / 30, self._timer_callback)

    def _timer_callback(self) -> None:
        header = Header(stamp=self._node.get_clock().now().to_msg(), frame_id="camera")
        self._publisher.publish(to_image(self._picture, "rgb8", header))


def waiting() -> Row:
    """Lateness of a timer in the node's own executor while every frame of a 30 Hz camera is segmented.

    Whatever holds up callbacks, another callback or the worker through Python's lock, makes it late.
    """
    from eomt_ros.node.lifecycle import SegmentNode

    camera_command = [sys.executable, "-c", "from bench.node import run_camera; run_camera()"]
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = SegmentNode()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    if not node.autostart():
        raise RuntimeError("the node does not start; its log says why")
    camera = subprocess.Popen(camera_command, cwd=ROOT)
    listener = Node("listener")
    maps: list[Image] = []
    listener.create_subscription(Image, "/segment/panoptic", maps.append, 1)
    executor.add_node(listener)
    try:
        deadline = time.monotonic() + PATIENCE
        while not maps:
            executor.spin_once(timeout_sec=1.0)
            if time.monotonic() > deadline:
                raise TimeoutError(f"no label image came within {PATIENCE:.0f} s")
        looks: list[float] = []
        node.create_timer(PERIOD, lambda: looks.append(time.perf_counter()))
        while len(looks) <= LOOKS:
            executor.spin_once(timeout_sec=1.0)
    finally:
        camera.terminate()
        camera.wait(PATIENCE)
        listener.destroy_node()
        node.destroy_node()
        node.leave()
        rclpy.shutdown()
    late = sorted(max(0.0, after - before - PERIOD) for before, after in pairwise(looks))
    note = f"a timer is late by; p99 {1e3 * late[len(late) * 99 // 100]:.1f} ms; {len(maps)} frames"
    return Row.of("node callbacks kept waiting, demo, 30 Hz", late, note=note)


def run_camera() -> None:
    """A camera in a process of its own, until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with Participant("camera") as participant:
        Camera(participant.node, "/image")
        participant.serve(stop.is_set)
