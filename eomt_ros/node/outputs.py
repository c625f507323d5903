"""A camera's output topics: a message is made only for topics that somebody subscribes to."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from eomt_ros import overlay
from eomt_ros.msg import InstanceArray
from eomt_ros.node.cdr import write_image
from eomt_ros.node.messages import instance_array, jpeg_image

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:  # an optional dependency: Nav2 brings it along
    LabelInfo = None

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt
    from rclpy.node import Node
    from rclpy.publisher import Publisher
    from std_msgs.msg import Header

    from eomt_ros.engine import FrameResult, Segmenter
    from eomt_ros.node.qos import QosOverrides

RESULTS = {
    "semantic": Image,
    "panoptic": Image,
    "instances": InstanceArray,
    "confidence": Image,
    "semantic_color": Image,
    "overlay": Image,
    "overlay/compressed": CompressedImage,
}
LABEL_INFO = "label_info"


class ResultPublisher:
    """Publishes the results of one camera; `publish` may be called from another thread than the executor's.

    camera: its name, which is a step of the topics' names; "" for none. Raises ParameterError for an override of the
    quality of service that cannot be.
    """

    def __init__(self, node: Node, segmenter: Segmenter, depth: int, overrides: QosOverrides, camera: str = "") -> None:
        self._node = node
        self._segmenter = segmenter
        self._sequence = 0
        self._frame_id = ""
        # Reliable, because RViz and Nav2 ask for it, and subscribers that want best effort connect as well.
        qos = QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)
        latched = QoSProfile(depth=1, reliability=qos.reliability, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        root = f"~/{camera}/" if camera else "~/"
        topics = {topic: (kind, overrides.of_publisher(root + topic, qos)) for topic, kind in RESULTS.items()}
        if LabelInfo is None:
            told = "vision_msgs is not installed (ros-$ROS_DISTRO-vision-msgs): no ~/label_info"
            node.get_logger().info(told, once=True)
        else:
            topics[LABEL_INFO] = LabelInfo, overrides.of_publisher(root + LABEL_INFO, latched)
        self._publishers: dict[str, Publisher[Any]] = {
            topic: node.create_publisher(kind, root + topic, quality) for topic, (kind, quality) in topics.items()
        }

    def wants_masks(self) -> bool:
        """Say whether anybody would receive instance masks."""
        return self._is_wanted("instances")

    def wants_confidence(self) -> bool:
        """Say whether anybody would receive confidences."""
        return self._is_wanted("confidence")

    def publish_label_info(self) -> None:
        """Tell the class names to present and future subscribers, where vision_msgs is installed."""
        if LABEL_INFO not in self._publishers:
            return
        info = LabelInfo(threshold=float(self._segmenter.score_threshold))
        info.header.frame_id = self._frame_id
        info.header.stamp = self._node.get_clock().now().to_msg()
        info.class_map = [
            VisionClass(class_id=number, class_name=name)
            for number, name in enumerate(self._segmenter.labels.class_names)
        ]
        self._publishers[LABEL_INFO].publish(info)

    def publish(
        self,
        image: npt.NDArray[np.uint8],
        result: FrameResult,
        header: Header,
        *,
        dropped: int,
        overlay_alpha: float,
    ) -> None:
        """Publish one frame's result.

        image: (H, W, 3) uint8 RGB, the input; header: the input's; dropped: images dropped so far.
        """
        if not self._frame_id and header.frame_id:
            self._frame_id = header.frame_id
            self.publish_label_info()  # again: until the first image came, nobody knew the camera's frame
        segmenter = self._segmenter
        drawn = functools.cache(lambda: overlay.draw(image, result, segmenter.labels, alpha=overlay_alpha))
        messages: dict[str, Callable[[], Any]] = {
            "semantic": lambda: write_image(result.semantic, header),
            "panoptic": lambda: write_image(result.panoptic, header),
            "instances": lambda: instance_array(
                result,
                header,
                sequence=self._sequence,
                dropped=dropped,
                task=segmenter.task,
                model=segmenter.name,
                identity=segmenter.identity,
            ),
            # None for somebody who subscribed while the frame was in work.
            "confidence": lambda: None if result.confidence is None else write_image(result.confidence, header),
            "semantic_color": lambda: write_image(overlay.color_classes(result.semantic, segmenter.labels), header),
            "overlay": lambda: write_image(drawn(), header),
            "overlay/compressed": lambda: jpeg_image(drawn(), header),
        }
        for topic, make in messages.items():
            if self._is_wanted(topic) and (message := make()) is not None:
                self._publishers[topic].publish(message)
        self._sequence += 1

    def destroy(self) -> None:
        """Withdraw the topics."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def _is_wanted(self, topic: str) -> bool:
        return self._publishers[topic].get_subscription_count() > 0
