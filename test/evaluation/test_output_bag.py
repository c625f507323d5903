"""A bag of predictions holds what the node would have published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eomt_ros.engine import FrameResult, Labels, Segment, Timings
from eomt_ros.evaluation.bag import Bag
from eomt_ros.evaluation.output_bag import OutputBag, typestore
from test.evaluation import bags

KINDS = {
    "/segment/semantic": "sensor_msgs/msg/Image",
    "/segment/panoptic": "sensor_msgs/msg/Image",
    "/segment/instances": "eomt_ros/msg/InstanceArray",
}
LABELS = Labels("toy", ("floor",), (False,), ((0, 0, 0),), "panoptic")
STAMP = 1_700_000_000 * 10**9 + 123_456_789


def result(classes: int = 5, segments: int = 2) -> FrameResult:
    """As an engine gives it, with a model of so many classes."""
    generator = np.random.default_rng(0)
    shape = 24, 33
    many = classes > 254
    semantic = generator.integers(0, classes, shape).astype(np.uint16 if many else np.uint8)
    semantic[:3] = 65535 if many else 255
    found = [
        Segment(40_000 + number, number, f"class {number}", bool(number % 2), 0.1 + number / 7, 77, (1, 2, 3, 4), 9)
        for number in range(segments)
    ]
    return FrameResult(
        semantic=semantic,
        panoptic=generator.integers(0, 65536, shape).astype(np.uint16),
        confidence=np.zeros(shape, np.uint8),
        segments=found,
        epoch=3,
        timings=Timings(0.0, 0.0, 0.0, 0.0),
        labels=LABELS,
    )


def write(path: Path, found: FrameResult) -> Path:
    with OutputBag(path) as bag:
        bag.write_found(found, STAMP, sequence=12, task="panoptic", model="toy", identity="query")
    return path


def messages(path: Path) -> dict[str, Any]:
    with Bag(path) as bag:
        found = {topic: list(bag.messages(topic)) for topic in bag.topics}
    assert all([message.stamp for message in each] == [STAMP] for each in found.values())
    return {topic: each[0].content for topic, each in found.items()}


@pytest.mark.parametrize(("classes", "encoding"), [(5, "mono8"), (254, "mono8"), (300, "16UC1")])
def test_label_images_are_those_of_the_engine(classes: int, encoding: str, tmp_path: Path) -> None:
    found = result(classes)
    path = write(tmp_path / "bag", found)
    with Bag(path) as bag:
        assert bag.topics == KINDS
        (semantic,), (panoptic,) = bags.labels(bag, "/segment/semantic"), bags.labels(bag, "/segment/panoptic")
    assert np.array_equal(semantic.content, found.semantic)
    assert np.array_equal(panoptic.content, found.panoptic)
    images = messages(path)
    assert (images["/segment/semantic"].encoding, images["/segment/panoptic"].encoding) == (encoding, "16UC1")


def test_each_of_several_cameras_has_topics_of_its_own(tmp_path: Path) -> None:
    both = {"front": result(segments=1), "rear": result(segments=2)}
    with OutputBag(tmp_path / "bag") as bag:
        for camera, found in both.items():
            settings = {"task": "panoptic", "model": "toy", "identity": "query"}
            bag.write_found(found, STAMP, sequence=1, camera=camera, **settings)
    with Bag(tmp_path / "bag") as bag:
        assert bag.topics == {
            topic.replace("/segment", f"/segment/{camera}"): kind for camera in both for topic, kind in KINDS.items()
        }
        assert [len(next(bag.messages(f"/segment/{camera}/instances")).content.instances) for camera in both] == [1, 2]


def test_instances_say_all_about_the_segments(tmp_path: Path) -> None:
    found = result()
    array = messages(write(tmp_path / "bag", found))["/segment/instances"]
    assert (array.epoch, array.sequence, array.dropped, array.task, array.model) == (3, 12, 0, "panoptic", "toy")
    assert (array.height, array.width) == (24, 33)
    for instance, segment in zip(array.instances, found.segments, strict=True):
        box = instance.box
        assert (instance.id, instance.class_id, instance.class_name) == (
            segment.id,
            segment.class_id,
            segment.class_name,
        )
        assert (bool(instance.is_thing), instance.area, instance.age) == (segment.is_thing, segment.area, segment.age)
        assert (box.x_offset, box.y_offset, box.width, box.height) == segment.box
        assert instance.score == pytest.approx(segment.score)


@pytest.mark.parametrize("segments", [0, 1, 5])
def test_everything_is_as_the_node_publishes_it(segments: int, tmp_path: Path) -> None:
    pytest.importorskip("eomt_ros.msg", reason="not built with colcon, or not sourced")
    from builtin_interfaces.msg import Time
    from rclpy.serialization import serialize_message
    from std_msgs.msg import Header

    from eomt_ros.node.cdr import write_image
    from eomt_ros.node.messages import instance_array

    found, store = result(segments=segments), typestore()
    header = Header(stamp=Time(sec=STAMP // 10**9, nanosec=STAMP % 10**9))
    instances = instance_array(found, header, sequence=12, dropped=0, task="panoptic", model="toy", identity="query")
    expected = {
        "/segment/semantic": write_image(found.semantic, header),
        "/segment/panoptic": write_image(found.panoptic, header),
        "/segment/instances": serialize_message(instances),
    }
    with Bag(write(tmp_path / "bag", found)) as bag:
        written = {recorded.topic: recorded.data for recorded in bag.recorded(list(expected))}
    for topic, message in expected.items():
        # Once through the reader, because what a middleware leaves between two fields is not defined.
        kind = KINDS[topic]
        published = store.serialize_cdr(store.deserialize_cdr(message, kind), kind)
        assert bytes(written[topic]) == bytes(published), topic
