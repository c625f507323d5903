"""Results as vision_msgs has them, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import Header

pytest.importorskip("vision_msgs")

from eomt_ros.engine import Segment
from eomt_ros.node.vision_messages import detections, detections_3d, label_info
from test.node.results import located, result

HEADER = Header(frame_id="camera_optical")


def segment(number: int, *, is_thing: bool = True) -> Segment:
    return Segment(
        id=number, class_id=3, class_name="box", is_thing=is_thing, score=0.5, area=12, box=(1, 2, 4, 3), age=9
    )


def test_detection_is_a_thing_with_its_id_class_and_box() -> None:
    array = detections(result(np.zeros((6, 8), np.uint8), segment(70)), HEADER)
    (detection,) = array.detections
    assert (array.header, detection.header, detection.id) == (HEADER, HEADER, "70")
    (found,) = detection.results
    assert (found.hypothesis.class_id, found.hypothesis.score) == ("box", 0.5)
    box = detection.bbox
    assert (box.center.position.x, box.center.position.y, box.center.theta) == (3.0, 3.5, 0.0)
    assert (box.size_x, box.size_y) == (4.0, 3.0)


def test_stuff_and_what_has_no_id_are_no_detections() -> None:
    frame = result(np.zeros((6, 8), np.uint8), segment(70, is_thing=False), segment(0))
    assert not detections(frame, HEADER).detections


def test_detection_in_metres_is_an_object_with_its_covariance() -> None:
    array = detections_3d([located(7)], HEADER)
    (detection,) = array.detections
    assert (array.header, detection.header, detection.id) == (HEADER, HEADER, "7")
    assert detection.bbox.center.position == Point(x=1.0, y=2.0, z=3.0)
    assert detection.bbox.center.orientation.w == 1.0
    assert detection.bbox.size == Vector3(x=0.5, y=0.25, z=2.0)
    (found,) = detection.results
    assert (found.hypothesis.class_id, found.hypothesis.score) == ("person", 0.5)
    assert found.pose.pose == detection.bbox.center
    covariance = np.reshape(found.pose.covariance, (6, 6))
    np.testing.assert_array_equal(covariance[:3, :3], located(7).position_covariance)
    assert not covariance[3:].any()
    assert not covariance[:, 3:].any()


def test_object_that_is_only_predicted_is_no_detection() -> None:
    assert not detections_3d([located(7, points=0)], HEADER).detections


def test_label_info_numbers_the_classes_in_order() -> None:
    info = label_info(["floor", "person"], HEADER, 0.8)
    assert [(each.class_id, each.class_name) for each in info.class_map] == [(0, "floor"), (1, "person")]
    assert (info.header, info.threshold) == (HEADER, pytest.approx(0.8))
