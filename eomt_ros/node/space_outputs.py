"""A camera's output topics in metres: made of one frame's points and objects, which are computed once, if wanted."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from eomt_ros.msg import ObjectArray
from eomt_ros.node import markers, vision_messages
from eomt_ros.node.cdr import write_cloud
from eomt_ros.node.messages import object_array
from eomt_ros.node.point_clouds import labelled_points, obstacle_points
from eomt_ros.node.topics import Topics
from eomt_ros.space.cloud import obstacles, organised
from eomt_ros.space.locator import Locator

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from rclpy.node import Node

    from eomt_ros.engine import Segmenter
    from eomt_ros.node.parameters import Parameters
    from eomt_ros.node.qos import QosOverrides
    from eomt_ros.node.space_frame import SpaceFrame
    from eomt_ros.space.locator import LocatedObject

POINTS, OBSTACLES, OBJECTS, DETECTIONS_3D, MARKERS = "points", "obstacles", "objects", "detections_3d", "markers"


class SpacePublisher:
    """Publishes the results of one camera in metres, and follows its objects.

    parameters: those of the node at this moment. camera: its name, which is a step of the topics' names; "" for none.
    Raises ParameterError for an override of the quality of service that cannot be.
    """

    def __init__(
        self,
        node: Node,
        segmenter: Segmenter,
        parameters: Callable[[], Parameters],
        overrides: QosOverrides,
        camera: str = "",
    ) -> None:
        self._parameters = parameters
        labels = segmenter.labels
        self._is_obstacle = np.array([role == "obstacle" for role in labels.roles])
        self._locator = Locator()
        self._jumps = 0
        self._markers = markers.ObjectMarkers(labels.colors)
        kinds: dict[str, type[Any]] = {POINTS: PointCloud2, OBSTACLES: PointCloud2, OBJECTS: ObjectArray}
        for topic, kind, missing in (
            (DETECTIONS_3D, vision_messages.Detection3DArray, vision_messages.MISSING),
            (MARKERS, markers.MarkerArray, markers.MISSING),
        ):
            if kind is None:
                node.get_logger().info(f"{missing}: no ~/{topic}", once=True)
            else:
                kinds[topic] = kind
        self._topics = Topics(node, kinds, parameters().qos_depth, overrides, camera)
        self._kinds = tuple(kinds)

    def wanted(self) -> bool:
        """Say whether anybody subscribes to one of the topics."""
        return any(map(self._topics.is_wanted, self._kinds))

    def wants_confidence(self) -> bool:
        """Say whether anybody would receive confidences, which are in ~/points."""
        return self._topics.is_wanted(POINTS)

    def publish(self, frame: SpaceFrame) -> None:
        """Publish one frame's points, and its objects where it is known where the camera was."""
        points = functools.cache(lambda: organised(frame.depth, frame.pinhole))
        messages: dict[str, Callable[[], Any]] = {
            POINTS: lambda: _labelled_cloud(frame, points()),
            OBSTACLES: lambda: self._obstacle_cloud(frame, points()),
        }
        if frame.located:
            header = Header(stamp=frame.header.stamp, frame_id=frame.frame_id)
            objects = functools.cache(lambda: self._locate(frame))
            messages |= {
                OBJECTS: lambda: object_array(
                    objects(), frame.result, header, with_embeddings=self._parameters().publish_embeddings
                ),
                DETECTIONS_3D: lambda: vision_messages.detections_3d(objects(), header),
                MARKERS: lambda: self._markers.array(objects(), header, frame.pose),
            }
        self._topics.publish(messages)

    def destroy(self) -> None:
        """Withdraw the topics."""
        self._topics.destroy()

    def _obstacle_cloud(self, frame: SpaceFrame, points: npt.NDArray[np.float32]) -> bytes:
        voxel = self._parameters().obstacle_voxel
        return write_cloud(
            obstacle_points(*obstacles(points, frame.result.semantic, self._is_obstacle, voxel)), frame.header
        )

    def _locate(self, frame: SpaceFrame) -> list[LocatedObject]:
        if frame.jumps != self._jumps:
            self._jumps = frame.jumps
            self._locator = Locator()
        stamp = frame.header.stamp.sec + frame.header.stamp.nanosec * 1e-9
        return self._locator.locate(frame.result, frame.depth, frame.pinhole, frame.pose, stamp, fixed=frame.fixed)


def _labelled_cloud(frame: SpaceFrame, points: npt.NDArray[np.float32]) -> bytes | None:
    if frame.result.confidence is None:
        return None  # somebody has subscribed while the frame was in work
    return write_cloud(labelled_points(points, frame.pixels, frame.result, frame.result.confidence), frame.header)
