"""The likely reason why no image comes, by the publishers that are there, and what to do about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from eomt_ros.printable import printable

if TYPE_CHECKING:
    from rclpy.node import Node

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
COMPRESSED_SUFFIX = "/compressed"
MOST_TOPICS = 5  # that a hint names
# Images with one of these in their name are no camera's: labels, depth, results of a node like this one.
NO_CAMERA = re.compile("confidence|depth|disparity|ground_truth|label|mask|overlay|panoptic|segment|semantic", re.I)


def why_silent(node: Node, topic: str, *, compressed: bool, reliability: str) -> str:
    """Say what to do, to a user whose node listens to `topic` for raw or compressed images and gets none."""
    wanted = COMPRESSED if compressed else RAW
    offered = {end.topic_type for end in node.get_publishers_info_by_topic(topic)}
    if wanted in offered:
        return (
            f"its publishers are silent, or do not match in quality of service (reliability is '{reliability}');"
            f" see: ros2 topic info -v {topic}"
        )
    if offered == {COMPRESSED} and topic.endswith(COMPRESSED_SUFFIX):
        return f"it carries compressed images; {_advice(topic)}"
    if offered:
        return f"it carries {printable(', '.join(sorted(offered)))}, expected {wanted}"
    cameras = _cameras(node)
    twin = topic.removesuffix(COMPRESSED_SUFFIX) if compressed else f"{topic}{COMPRESSED_SUFFIX}"
    if twin in cameras:
        return f"nobody publishes it, but somebody publishes {twin}; {_advice(twin)}"
    if not cameras:
        return "nobody publishes it, nor any other image of a camera; check ROS_DOMAIN_ID and the network"
    there = "; or ".join(_advice(name) for name in cameras[:MOST_TOPICS])
    return f"nobody publishes it; {there}; or check ROS_DOMAIN_ID and the network"


def why_no_depth(node: Node, topic: str, *, compressed: bool) -> str:
    """Say what to do, to a user whose node listens to `topic` for raw or compressed depth and gets none."""
    wanted = COMPRESSED if compressed else RAW
    offered = {end.topic_type for end in node.get_publishers_info_by_topic(topic)}
    if wanted in offered:
        return f"its publishers are silent, or do not match in quality of service; see: ros2 topic info -v {topic}"
    if offered:
        there, other = printable(", ".join(sorted(offered))), "raw" if compressed else "compressed"
        return f"it carries {there}, expected {wanted}; remap depth, or set the parameter depth to '{other}'"
    return "nobody publishes it; remap depth (depth_topic:=...) to the depth that is aligned to the colour image"


def _advice(topic: str) -> str:
    topic = printable(topic)
    base = topic.removesuffix(COMPRESSED_SUFFIX)
    transport = "raw" if base == topic else "compressed"
    return f"for {topic} give image_topic:={base} (remap 'image') image_transport:={transport}"


def _cameras(node: Node) -> list[str]:
    """Topics on which somebody publishes images of a scene, as far as names tell."""
    return [
        name
        for name, kinds in node.get_topic_names_and_types()
        if (RAW in kinds or (COMPRESSED in kinds and name.endswith(COMPRESSED_SUFFIX)))
        and not NO_CAMERA.search(name)
        and node.count_publishers(name)
    ]
