"""What a user is told when no image comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from eomt_ros.msg import InstanceArray
from eomt_ros.node.silence import why_silent
from test.patience import PATIENCE

Publish = Callable[..., None]


@pytest.fixture
def listener(ros: Context) -> Iterator[Node]:
    """The node that gets no image."""
    node = Node("listener", context=ros, namespace="/silence")
    yield node
    node.destroy_node()


@pytest.fixture
def publish(ros: Context, listener: Node) -> Iterator[Publish]:
    """A function that makes a node with publishers, and waits until the listener knows of them."""
    nodes = []

    def make(name: str, **kinds: type) -> None:
        nodes.append(Node(name, context=ros, namespace="/silence"))
        for topic, kind in kinds.items():
            nodes[-1].create_publisher(kind, topic.replace("__", "/"), 1)
            for _ in range(round(PATIENCE / 0.05)):
                if listener.get_publishers_info_by_topic(f"/silence/{topic.replace('__', '/')}"):
                    break
                threading.Event().wait(0.05)  # the graph has no event for a single topic

    yield make
    for node in nodes:
        node.destroy_node()


def hint(listener: Node, topic: str, *, compressed: bool = False) -> str:
    return why_silent(listener, f"/silence/{topic}", compressed=compressed, reliability="reliable")


def test_a_camera_that_publishes_compressed_only_is_offered(listener: Node, publish: Publish) -> None:
    publish("driver", camera__compressed=CompressedImage)
    expected = (
        "nobody publishes it, but somebody publishes /silence/camera/compressed; for /silence/camera/compressed give"
        " image_topic:=/silence/camera (remap 'image') image_transport:=compressed"
    )
    assert hint(listener, "camera") == expected


def test_a_camera_that_publishes_raw_only_is_offered(listener: Node, publish: Publish) -> None:
    publish("driver", camera=Image)
    told = hint(listener, "camera/compressed", compressed=True)
    assert "for /silence/camera give image_topic:=/silence/camera (remap 'image') image_transport:=raw" in told


def test_the_ending_compressed_in_image_topic_is_explained(listener: Node, publish: Publish) -> None:
    publish("driver", camera__compressed=CompressedImage)
    told = hint(listener, "camera/compressed")
    assert told.startswith("it carries compressed images; for /silence/camera/compressed give")


def test_a_topic_of_another_type_is_told(listener: Node, publish: Publish) -> None:
    publish("driver", camera=CameraInfo)
    assert hint(listener, "camera") == "it carries sensor_msgs/msg/CameraInfo, expected sensor_msgs/msg/Image"


def test_other_cameras_are_offered_but_no_labels_depth_or_results_of_ours(listener: Node, publish: Publish) -> None:
    publish("driver", left=Image, right__compressed=CompressedImage, depth__image=Image, depth__compressedDepth=Image)
    publish("simulator", ground_truth__semantic=Image, labels=Image)
    publish("other_camera", instances=InstanceArray, overlay=Image)
    told = hint(listener, "camera")
    assert "for /silence/left give image_topic:=/silence/left (remap 'image') image_transport:=raw" in told
    assert "give image_topic:=/silence/right (remap 'image') image_transport:=compressed" in told
    for name in ("depth", "ground_truth", "labels", "overlay"):
        assert name not in told


def test_silent_publishers_are_told_with_the_quality_of_service(listener: Node, publish: Publish) -> None:
    publish("driver", camera=Image)
    assert "its publishers are silent, or do not match in quality of service (reliability is 'reliable')" in hint(
        listener, "camera"
    )
