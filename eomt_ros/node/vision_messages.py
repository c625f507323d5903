"""Results as messages of vision_msgs, a package that need not be installed: then its types are None here.

A detection has the `id` of ~/instances, and the name of its class as `class_id`: vision_msgs has text there, and its
displays for RViz choose colours by names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseWithCovariance, Vector3

from eomt_ros.node.messages import vector

try:
    from vision_msgs.msg import (
        BoundingBox2D,
        BoundingBox3D,
        Detection2D,
        Detection2DArray,
        Detection3D,
        Detection3DArray,
        LabelInfo,
        ObjectHypothesis,
        ObjectHypothesisWithPose,
        Point2D,
        Pose2D,
        VisionClass,
    )
except ImportError:  # an optional dependency: Nav2 brings it along
    LabelInfo = Detection2DArray = Detection3DArray = None

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from std_msgs.msg import Header

    from eomt_ros.engine import FrameResult
    from eomt_ros.space.locator import LocatedObject

__all__ = ["MISSING", "Detection2DArray", "Detection3DArray", "LabelInfo", "detections", "detections_3d", "label_info"]

MISSING = "vision_msgs is not installed (ros-$ROS_DISTRO-vision-msgs)"


def label_info(class_names: Sequence[str], header: Header, threshold: float) -> Any:
    """A vision_msgs/LabelInfo of the classes, whose ids are their places."""
    classes = [VisionClass(class_id=number, class_name=name) for number, name in enumerate(class_names)]
    return LabelInfo(header=header, class_map=classes, threshold=threshold)


def detections(result: FrameResult, header: Header) -> Any:
    """A vision_msgs/Detection2DArray of the things in one frame; the semantic task has none."""
    things = [segment for segment in result.segments if segment.is_thing and segment.id]
    array = Detection2DArray(header=header)
    for thing in things:
        x, y, width, height = thing.box
        # From edge to edge: the box of one pixel, at x 0, has its centre at 0.5.
        center = Pose2D(position=Point2D(x=x + width / 2, y=y + height / 2))
        box = BoundingBox2D(center=center, size_x=float(width), size_y=float(height))
        kind = ObjectHypothesis(class_id=thing.class_name, score=float(thing.score))
        array.detections.append(
            Detection2D(header=header, id=str(thing.id), bbox=box, results=[ObjectHypothesisWithPose(hypothesis=kind)])
        )
    return array


def detections_3d(objects: Iterable[LocatedObject], header: Header) -> Any:
    """A vision_msgs/Detection3DArray of the objects that were seen in one frame; those only predicted are left out."""
    array = Detection3DArray(header=header)
    for each in objects:
        if not each.points:
            continue
        center = Pose(position=vector(Point, each.position))
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = each.position_covariance
        pose = PoseWithCovariance(pose=center, covariance=covariance.ravel())
        kind = ObjectHypothesis(class_id=each.class_name, score=float(each.score))
        array.detections.append(
            Detection3D(
                header=header,
                id=str(each.id),
                bbox=BoundingBox3D(center=center, size=vector(Vector3, each.size)),
                results=[ObjectHypothesisWithPose(hypothesis=kind, pose=pose)],
            )
        )
    return array
