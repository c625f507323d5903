"""A camera's output topics: a message is made only for topics that somebody subscribes to."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from eomt_ros import overlay
from eomt_ros.msg import InstanceArray
from eomt_ros.node.cdr import write_image
from eomt_ros.node.messages import instance_array, jpeg_image
from eomt_ros.node.topics import Topics
from eomt_ros.node.vision_messages import MISSING, Detection2DArray, LabelInfo, detections, label_info

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from rclpy.node import Node

    from eomt_ros.engine import FrameResult, Labels, Segmenter
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
DETECTIONS = "detections"
MASKS = "masks/"
"""In front of the name of a group of classes."""


class ResultPublisher:
    """Publishes the results of one camera; `publish` may be called from another thread than the executor's.

    camera: its name, which is a step of the topics' names; "" for none. Raises ParameterError for an override of the
    quality of service that cannot be.
    """

    def __init__(
        self, node: Node, segmenter: Segmenter, qos_depth: int, overrides: QosOverrides, camera: str = ""
    ) -> None:
        self._node = node
        self._segmenter = segmenter
        self._sequence = 0
        self._frame_id = ""
        self._groups = _groups_of(segmenter.labels)
        kinds: dict[str, type[Any]] = RESULTS | {MASKS + group: Image for group in self._groups}
        if LabelInfo is None:
            node.get_logger().info(f"{MISSING}: no ~/{LABEL_INFO}, no ~/{DETECTIONS}", once=True)
        else:
            kinds |= {DETECTIONS: Detection2DArray, LABEL_INFO: LabelInfo}
        self._topics = Topics(node, kinds, qos_depth, overrides, camera, latched=[LABEL_INFO])

    def wants_masks(self) -> bool:
        """Say whether anybody would receive instance masks."""
        return self._topics.is_wanted("instances")

    def wants_confidence(self) -> bool:
        """Say whether anybody would receive confidences."""
        return self._topics.is_wanted("confidence")

    def publish_label_info(self) -> None:
        """Tell the class names to present and future subscribers, where vision_msgs is installed."""
        if LABEL_INFO not in self._topics:
            return
        header = Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame_id)
        threshold = float(self._segmenter.score_threshold)
        info = label_info(self._segmenter.labels.class_names, header, threshold)
        self._topics.send(LABEL_INFO, info)

    def publish(
        self,
        image: npt.NDArray[np.uint8],
        result: FrameResult,
        header: Header,
        *,
        dropped: int,
        overlay_alpha: float,
        with_embeddings: bool,
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
                with_embeddings=with_embeddings,
            ),
            # None for somebody who subscribed while the frame was in work.
            "confidence": lambda: None if result.confidence is None else write_image(result.confidence, header),
            "semantic_color": lambda: write_image(overlay.color_classes(result.semantic, segmenter.labels), header),
            "overlay": lambda: write_image(drawn(), header),
            "overlay/compressed": lambda: jpeg_image(drawn(), header),
            DETECTIONS: lambda: detections(result, header),
        }
        for group, members in self._groups.items():
            messages[MASKS + group] = functools.partial(_mask, result, members, header)
        self._topics.publish(messages)
        self._sequence += 1

    def destroy(self) -> None:
        """Withdraw the topics."""
        self._topics.destroy()


def _groups_of(labels: Labels) -> dict[str, npt.NDArray[np.uint8]]:
    """By name of each group: 255 for a class of it, 0 for another, one for each class."""
    names = sorted({name for groups in labels.groups for name in groups})
    return {name: np.array([255 * (name in groups) for groups in labels.groups], np.uint8) for name in names}


def _mask(result: FrameResult, members: npt.NDArray[np.uint8], header: Header) -> bytes:
    table = np.zeros(np.iinfo(result.semantic.dtype).max + 1, np.uint8)
    table[: len(members)] = members
    return write_image(table.take(result.semantic), header)
