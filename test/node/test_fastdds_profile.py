"""`config/fastdds.xml` does what it is for: large images and clouds arrive with best effort."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from rclpy.utilities import get_rmw_implementation_identifier

from test.patience import PATIENCE

pytestmark = pytest.mark.slow

PROFILE = Path(__file__).resolve().parents[2] / "config" / "fastdds.xml"

SETUP = """
    import array, sys
    import numpy as np
    import rclpy
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image, PointCloud2
    from std_msgs.msg import Header
    from eomt_ros.node.cdr import write_cloud
    from eomt_ros.node.point_clouds import LABELLED_POINT
    from test.node.spinning import spinning

    best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    matched = lambda event: print("matched", flush=True)
    received = lambda message: print(len(message.data), flush=True)
    rclpy.init()
    KIND = {kind}
"""
LISTENER = """
    node = rclpy.create_node("listener")
    callbacks = SubscriptionEventCallbacks(matched=matched)
    node.create_subscription(KIND, KIND.__name__, received, best_effort, event_callbacks=callbacks)
    with spinning(node):
        sys.stdin.read()
"""
TALKER = """
    node = rclpy.create_node("talker")
    callbacks = PublisherEventCallbacks(matched=matched)
    publisher = node.create_publisher(KIND, KIND.__name__, best_effort, event_callbacks=callbacks)
    if KIND is Image:
        pixels = array.array("B", bytes(1080 * 5760))
        message = Image(height=1080, width=1920, step=5760, encoding="rgb8", data=pixels)
    else:
        message = write_cloud(np.zeros((480, 640), LABELLED_POINT), Header())
    with spinning(node):
        for _ in sys.stdin:
            publisher.publish(message)
"""
END = """
    node.destroy_node()
    rclpy.shutdown()
"""


@pytest.mark.skipif(get_rmw_implementation_identifier() != "rmw_fastrtps_cpp", reason="the profile is for Fast DDS")
@pytest.mark.parametrize(("kind", "size"), [("Image", 1920 * 1080 * 3), ("PointCloud2", 640 * 480 * 24)])
def test_best_effort_images_of_1920x1080_and_clouds_of_640x480_arrive(
    kind: str, size: int, domain: dict[str, str]
) -> None:
    # Fast DDS renamed the variable with version 3.
    profile = {"FASTDDS_DEFAULT_PROFILES_FILE": str(PROFILE), "FASTRTPS_DEFAULT_PROFILES_FILE": str(PROFILE)}
    listener = _start(LISTENER, kind, profile)
    talker = _start(TALKER, kind, profile)
    try:
        assert _line(talker) == _line(listener) == "matched\n"
        for _ in range(10):
            print("send one", file=talker.stdin, flush=True)
            assert _line(listener) == f"{size}\n"
    finally:
        for process in (talker, listener):
            process.communicate(timeout=PATIENCE)  # ends its input, and so it


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
    assert ready, f"{process.args[-1][-200:]} did not print anything for {PATIENCE} s"
    return process.stdout.readline()


def _start(script: str, kind: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", dedent(SETUP + script + END).replace("{kind}", kind)],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
