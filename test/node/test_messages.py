"""Results as messages; test_segment_node.py sees them arrive."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, Vector3
from rclpy.context import Context
from rclpy.node import Node
from std_msgs.msg import Header

from eomt_ros.engine import Segment, Segmenter
from eomt_ros.node import messages
from eomt_ros.node.outputs import ResultPublisher
from eomt_ros.node.qos import QosOverrides
from test.node.results import located, result


def test_instance_carries_every_field_of_its_segment() -> None:
    segment = Segment(
        id=70, class_id=3, class_name="box", is_thing=True, score=0.5, area=12, box=(1, 2, 4, 3), age=9, mask=(0, 12)
    )
    array = messages.instance_array(
        result(np.zeros((6, 8), np.uint8), segment),
        Header(frame_id="camera"),
        sequence=5,
        dropped=6,
        task="panoptic",
        model="m",
        identity="overlap",
    )
    assert array.identity == "overlap"
    assert (array.header.frame_id, array.epoch, array.sequence, array.dropped) == ("camera", 2, 5, 6)
    assert (array.task, array.model, array.height, array.width) == ("panoptic", "m", 6, 8)
    (instance,) = array.instances
    assert (instance.id, instance.class_id, instance.class_name, instance.is_thing) == (70, 3, "box", True)
    assert (instance.score, instance.area, instance.age) == (0.5, 12, 9)
    box = instance.box
    assert (box.x_offset, box.y_offset, box.width, box.height, box.do_rectify) == (1, 2, 4, 3, False)
    assert list(instance.mask_rle) == [0, 12]


def test_object_carries_every_field_of_what_was_located() -> None:
    header = Header(frame_id="odom")
    array = messages.object_array([located(7)], header, epoch=3)
    assert (array.header, array.epoch) == (header, 3)
    (each,) = array.objects
    assert (each.id, each.class_id, each.class_name, each.score) == (7, 1, "person", 0.5)
    assert (each.position, each.size) == (Point(x=1.0, y=2.0, z=3.0), Vector3(x=0.5, y=0.25, z=2.0))
    assert (each.velocity_known, each.velocity) == (True, Vector3(x=3.0, z=4.0))
    covariances = (each.position_covariance, each.size_covariance, each.velocity_covariance)
    np.testing.assert_array_equal(np.concatenate(covariances), range(27))
    assert (each.moving, each.partial, each.points, each.age) == (True, True, 70, 4)


def test_object_without_a_velocity_says_so() -> None:
    known = located(7, velocity=None, velocity_covariance=None)
    (each,) = messages.object_array([known], Header(), epoch=3).objects
    assert (each.velocity_known, each.velocity, each.moving) == (False, Vector3(), False)
    assert not np.any(each.velocity_covariance)


def test_no_message_is_made_for_topics_that_nobody_listens_to(ros: Context, checkpoint: str) -> None:
    node = Node("unheard", context=ros)
    outputs = ResultPublisher(node, Segmenter.load(checkpoint, device="cpu"), qos_depth=1, overrides=QosOverrides(node))
    nothing = object()  # whatever were made of it would fail
    outputs.publish(nothing, nothing, Header(), dropped=0, overlay_alpha=0.5)  # type: ignore[arg-type]
    node.destroy_node()
