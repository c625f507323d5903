"""Results as messages; test_segment_node.py sees them arrive."""

from __future__ import annotations

import numpy as np
from rclpy.context import Context
from rclpy.node import Node
from std_msgs.msg import Header

from eomt_ros.engine import FrameResult, Labels, Segment, Segmenter, Timings
from eomt_ros.node import messages
from eomt_ros.node.outputs import ResultPublisher
from eomt_ros.node.qos import QosOverrides

LABELS = Labels("toy", ("floor",), (False,), ((0, 0, 0),), "panoptic")


def result(semantic: np.ndarray, *segments: Segment) -> FrameResult:
    return FrameResult(
        semantic=semantic,
        panoptic=np.zeros(semantic.shape, np.uint16),
        confidence=np.zeros(semantic.shape, np.uint8),
        segments=list(segments),
        epoch=2,
        timings=Timings(0.0, 0.0, 0.0, 0.0),
        labels=LABELS,
    )


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


def test_no_message_is_made_for_topics_that_nobody_listens_to(ros: Context, checkpoint: str) -> None:
    node = Node("unheard", context=ros)
    outputs = ResultPublisher(node, Segmenter.load(checkpoint, device="cpu"), depth=1, overrides=QosOverrides(node))
    nothing = object()  # whatever were made of it would fail
    outputs.publish(nothing, nothing, Header(), dropped=0, overlay_alpha=0.5)  # type: ignore[arg-type]
    node.destroy_node()
