"""A camera's driver in a process of its own, which can be killed: publishes one picture over and over."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from test import ROOT
from test.node.robot import picture, stamped
from test.patience import PATIENCE


@contextmanager
def driver(topic: str, rate: float, frame_id: str) -> Iterator[subprocess.Popen[bytes]]:
    """Runs one, with the time of day in its stamps, until the end of the block; rate: Hz."""
    process = subprocess.Popen([sys.executable, "-m", "test.node.driver", topic, str(rate), frame_id], cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


def main() -> None:
    topic, rate, frame_id = sys.argv[1:]
    rclpy.init()
    node = Node("driver", start_parameter_services=False)
    publisher = node.create_publisher(Image, topic, QoSProfile(depth=10))
    node.create_timer(1 / float(rate), lambda: publisher.publish(stamped(picture(7), time.time(), frame_id=frame_id)))
    rclpy.spin(node)


if __name__ == "__main__":
    main()
