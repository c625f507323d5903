"""The node's output topics: a message is made only for topics that somebody subscribes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from eomt_ros import overlay
from eomt_ros.msg import InstanceArray
from eomt_ros.node import messages
from eomt_ros.node.cdr import write_image
from eomt_ros.node.parameters import ParameterError

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:  # an optional dependency: Nav2 brings it along
    LabelInfo = None

if TYPE_CHECKING:
    import numpy.typing as npt
    from rclpy.node import Node
    from rclpy.publisher import Publisher
    from std_msgs.msg import Header

    from eomt_ros.engine import FrameResult, Segmenter
    from eomt_ros.node.qos import QosOverrides


class Outputs:
    """Publishers of one configured node; `publish` may be called from another thread than the executor's."""

    def __init__(self, node: Node, segmenter: Segmenter, depth: int, overrides: QosOverrides) -> None:
        self._node = node
        self._overrides = overrides
        self._segmenter = segmenter
        self._sequence = 0
        self._publishers: list[Publisher[Any]] = []
        # Reliable, because RViz and Nav2 ask for it, and subscribers that want best effort connect as well.
        qos = QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)
        self._semantic = self._publisher(Image, "~/semantic", qos)
        self._panoptic = self._publisher(Image, "~/panoptic", qos)
        self._instances = self._publisher(InstanceArray, "~/instances", qos)
        self._confidence = self._publisher(Image, "~/confidence", qos)
        self._semantic_color = self._publisher(Image, "~/semantic_color", qos)
        self._overlay = self._publisher(Image, "~/overlay", qos)
        self._overlay_jpeg = self._publisher(CompressedImage, "~/overlay/compressed", qos)
        self._label_info: Publisher[Any] | None = None
        self._frame_id = ""
        if LabelInfo is None:
            node.get_logger().info("vision_msgs is not installed (ros-$ROS_DISTRO-vision-msgs): no ~/label_info")
        else:
            latched = QoSProfile(
                depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
            )
            self._label_info = self._publisher(LabelInfo, "~/label_info", latched)

    def wants_masks(self) -> bool:
        """Say whether anybody would receive instance masks."""
        return self._instances.get_subscription_count() > 0

    def wants_confidence(self) -> bool:
        """Say whether anybody would receive confidences."""
        return self._confidence.get_subscription_count() > 0

    def publish_label_info(self) -> None:
        """Tell the class names to present and future subscribers, where vision_msgs is installed."""
        if self._label_info is None:
            return
        info = LabelInfo(threshold=float(self._segmenter.score_threshold))
        info.header.frame_id = self._frame_id
        info.header.stamp = self._node.get_clock().now().to_msg()
        info.class_map = [
            VisionClass(class_id=number, class_name=name)
            for number, name in enumerate(self._segmenter.labels.class_names)
        ]
        self._label_info.publish(info)

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
        if self._label_info is not None and not self._frame_id and header.frame_id:
            self._frame_id = header.frame_id
            self.publish_label_info()  # again: until the first image came, nobody knew the camera's frame
        for publisher, image_message in (
            (self._semantic, messages.semantic_image),
            (self._panoptic, messages.panoptic_image),
        ):
            if publisher.get_subscription_count():
                publisher.publish(image_message(result, header))
        if self.wants_confidence() and result.confidence is not None:
            self._confidence.publish(messages.confidence_image(result.confidence, header))
        if self._instances.get_subscription_count():
            self._instances.publish(
                messages.instance_array(
                    result,
                    header,
                    sequence=self._sequence,
                    dropped=dropped,
                    task=self._segmenter.task,
                    model=self._segmenter.name,
                    identity=self._segmenter.identity,
                )
            )
        if self._semantic_color.get_subscription_count():
            colors = overlay.color_classes(result.semantic, self._segmenter.labels)
            self._semantic_color.publish(write_image(colors, "rgb8", header))
        self._publish_overlay(image, result, header, overlay_alpha)
        self._sequence += 1

    def _publish_overlay(self, image: npt.NDArray[np.uint8], result: FrameResult, header: Header, alpha: float) -> None:
        wants_raw, wants_jpeg = (each.get_subscription_count() > 0 for each in (self._overlay, self._overlay_jpeg))
        if not (wants_raw or wants_jpeg):
            return
        picture = overlay.draw(image, result, self._segmenter.labels, alpha=alpha)
        if wants_raw:
            self._overlay.publish(write_image(picture, "rgb8", header))
        if wants_jpeg:
            self._overlay_jpeg.publish(messages.jpeg_image(picture, header))

    def destroy(self) -> None:
        """Withdraw the topics."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)

    def _publisher(self, kind: type[Any], topic: str, qos: QoSProfile) -> Publisher[Any]:
        try:
            publisher = self._node.create_publisher(kind, topic, self._overrides.of_publisher(topic, qos))
        except ParameterError:
            self.destroy()
            raise
        self._publishers.append(publisher)
        return publisher
