"""Why no image comes: what is likely to be wrong, from who publishes what, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eomt_ros.printable import printable

if TYPE_CHECKING:
    from rclpy.node import Node

RAW, COMPRESSED, OURS = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "eomt_ros/msg/InstanceArray"
ENDING = "/compressed"
MOST_TOPICS = 5  # that a hint names
# Images with one of these in their name show no scene.
NO_CAMERA = ("confidence", "depth", "disparity", "ground_truth", "label", "mask", "panoptic", "segment", "semantic")


def why_silent(node: Node, topic: str, *, compressed: bool, reliability: str) -> str:
    """Say what to do, to a user whose node listens to `topic` for raw or compressed images and gets none."""
    wanted = COMPRESSED if compressed else RAW
    offered = {end.topic_type for end in node.get_publishers_info_by_topic(topic)}
    if wanted in offered:
        return (
            f"its publishers are silent, or do not match in quality of service (reliability is '{reliability}');"
            f" see: ros2 topic info -v {topic}"
        )
    if offered == {COMPRESSED} and topic.endswith(ENDING):
        return f"it carries compressed images; {_advice(topic)}"
    if offered:
        return f"it carries {printable(', '.join(sorted(offered)))}, expected {wanted}"
    cameras = _cameras(node)
    twin = topic.removesuffix(ENDING) if compressed else f"{topic}{ENDING}"
    if twin in cameras:
        return f"nobody publishes it, but somebody publishes {twin}; {_advice(twin)}"
    if not cameras:
        return "nobody publishes it, nor any other image of a camera; check ROS_DOMAIN_ID and the network"
    there = "; or ".join(_advice(name) for name in cameras[:MOST_TOPICS])
    return f"nobody publishes it; {there}; or check ROS_DOMAIN_ID and the network"


def _advice(topic: str) -> str:
    topic = printable(topic)
    transport = "compressed" if topic.endswith(ENDING) else "raw"
    return f"for {topic} give image_topic:={topic.removesuffix(ENDING)} (remap 'image') image_transport:={transport}"


def _cameras(node: Node) -> list[str]:
    """Topics with somebody's images of a scene, as far as that can be told."""
    topics = node.get_topic_names_and_types()
    of_ours = {
        (end.node_namespace, end.node_name)
        for name, kinds in topics
        if OURS in kinds
        for end in node.get_publishers_info_by_topic(name)
    }
    cameras = []
    for name, kinds in topics:
        if any(word in name.lower() for word in NO_CAMERA):
            continue
        if RAW not in kinds and not (COMPRESSED in kinds and name.endswith(ENDING)):
            continue
        publishers = {(end.node_namespace, end.node_name) for end in node.get_publishers_info_by_topic(name)}
        if publishers - of_ours:
            cameras.append(name)
    return cameras
