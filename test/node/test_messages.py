"""Results as messages; test_segment_node.py sees them arrive."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
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
    segment = replace(segment, returned=True, embedding=np.ones(1, np.float32))
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
    assert (instance.returned, list(instance.embedding)) == (True, [])


EMBEDDING = np.array([0.6, 0.0, -0.8], np.float32)
THING = Segment(7, 1, "person", True, 0.5, 12, (1, 2, 4, 3), 9, returned=True, embedding=EMBEDDING)


@pytest.mark.parametrize("wanted", [False, True])
def test_embeddings_are_those_of_the_things_and_only_where_they_are_asked_for(wanted: bool) -> None:
    frame = result(np.zeros((6, 8), np.uint8), THING, replace(THING, id=9, is_thing=False, embedding=None))
    about = {"task": "panoptic", "model": "m", "identity": "query"}
    array = messages.instance_array(frame, Header(), sequence=0, dropped=0, **about, with_embeddings=wanted)
    seen = messages.object_array([located(7)], frame, Header(), with_embeddings=wanted)
    for each in (array.instances[0], seen.objects[0]):
        np.testing.assert_array_equal(each.embedding, EMBEDDING if wanted else [])
    assert len(array.instances[1].embedding) == 0


def test_object_that_is_only_predicted_has_not_returned_and_has_no_embedding() -> None:
    frame = result(np.zeros((6, 8), np.uint8), THING)
    array = messages.object_array([located(7, points=0), located(8)], frame, Header(), with_embeddings=True)
    assert [(each.returned, len(each.embedding)) for each in array.objects] == [(False, 0), (False, 0)]


def test_object_carries_every_field_of_what_was_located() -> None:
    header = Header(frame_id="odom")
    array = messages.object_array([located(7)], result(np.zeros((6, 8), np.uint8), THING), header)
    assert (array.header, array.epoch) == (header, 2)
    (each,) = array.objects
    assert (each.id, each.class_id, each.class_name, each.score) == (7, 1, "person", 0.5)
    assert (each.position, each.size) == (Point(x=1.0, y=2.0, z=3.0), Vector3(x=0.5, y=0.25, z=2.0))
    assert (each.velocity_known, each.velocity) == (True, Vector3(x=3.0, z=4.0))
    covariances = (each.position_covariance, each.size_covariance, each.velocity_covariance)
    np.testing.assert_array_equal(np.concatenate(covariances), range(27))
    assert (each.moving, each.partial, each.points, each.age, each.returned) == (True, True, 70, 4, True)


def test_object_without_a_velocity_says_so() -> None:
    known = located(7, velocity=None, velocity_covariance=None)
    (each,) = messages.object_array([known], result(np.zeros((6, 8), np.uint8)), Header()).objects
    assert (each.velocity_known, each.velocity, each.moving) == (False, Vector3(), False)
    assert not np.any(each.velocity_covariance)


def test_no_message_is_made_for_topics_that_nobody_listens_to(ros: Context, checkpoint: str) -> None:
    node = Node("unheard", context=ros)
    outputs = ResultPublisher(node, Segmenter.load(checkpoint, device="cpu"), qos_depth=1, overrides=QosOverrides(node))
    nothing = object()  # whatever were made of it would fail
    shown = {"overlay_alpha": 0.5, "with_embeddings": True}
    outputs.publish(nothing, nothing, Header(), dropped=0, **shown)  # type: ignore[arg-type]
    node.destroy_node()
