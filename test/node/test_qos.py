"""What users set of a topic's quality of service acts, or is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from eomt_ros.engine import Segmenter
from eomt_ros.node.camera import Camera
from eomt_ros.node.mailbox import Mailbox
from eomt_ros.node.outputs import ResultPublisher
from eomt_ros.node.parameters import DEFAULTS, ParameterError, changed
from eomt_ros.node.qos import QosOverrides
from test.node.conftest import StartRobot
from test.node.robot import NodeProcess

CONFIG = Path(__file__).resolve().parents[2] / "config" / "segment.yaml"
StartNode = Callable[..., Node]


@pytest.fixture
def start_node(ros: Context) -> Iterator[StartNode]:
    """A function that makes a node that was started with the given parameters."""
    nodes = []

    def start(**given: Any) -> Node:
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        nodes.append(Node("qos", context=ros, parameter_overrides=overrides))
        return nodes[-1]

    yield start
    for node in nodes:
        node.destroy_node()


@pytest.fixture(scope="module")
def segmenter(checkpoint: Path) -> Segmenter:
    """Any model: nothing is segmented."""
    return Segmenter.load(checkpoint, device="cpu")


Subscribed = Callable[..., QoSProfile]


@pytest.fixture
def subscribed(segmenter: Segmenter) -> Subscribed:
    """A function that returns the quality of service of a camera's subscription with parameters of the node."""

    def subscribe(node: Node, overrides: QosOverrides, name: str = "", **chosen: Any) -> QoSProfile:
        parameters = changed(DEFAULTS, [Parameter(name, value=value) for name, value in chosen.items()])
        camera = Camera(node, name, segmenter, lambda: parameters, overrides)
        try:
            topic = camera.open(Mailbox([camera], 1)).topic
            return next(one.qos_profile for one in node.subscriptions if one.topic_name == topic)
        finally:
            camera.close()
            camera.destroy()

    return subscribe


def test_what_is_set_after_the_first_configure_acts_at_the_next(start_node: StartNode, subscribed: Subscribed) -> None:
    node = start_node()
    overrides = QosOverrides(node)
    first = subscribed(node, overrides)
    assert (first.reliability, first.depth) == (ReliabilityPolicy.BEST_EFFORT, 5)
    second = subscribed(node, overrides, reliability="reliable", qos_depth=20)
    assert (second.reliability, second.depth) == (ReliabilityPolicy.RELIABLE, 20)
    assert not node.get_parameters_by_prefix("qos_overrides")


def test_every_policy_of_a_subscription_can_be_overridden(start_node: StartNode, subscribed: Subscribed) -> None:
    given = {"reliability": "reliable", "durability": "transient_local", "history": "keep_last", "depth": 7}
    given["deadline"] = 10**9
    node = start_node(**{f"qos_overrides./image.subscription.{policy}": value for policy, value in given.items()})
    quality = subscribed(node, QosOverrides(node), qos_depth=20)
    assert quality.reliability == ReliabilityPolicy.RELIABLE
    assert quality.durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert (quality.history, quality.depth) == (HistoryPolicy.KEEP_LAST, 7)
    assert quality.deadline.nanoseconds == 10**9


def test_reliability_that_an_override_contradicts_is_refused(start_node: StartNode, subscribed: Subscribed) -> None:
    node = start_node(**{"qos_overrides./image.subscription.reliability": "best_effort"})
    overrides = QosOverrides(node)
    assert subscribed(node, overrides).reliability == ReliabilityPolicy.BEST_EFFORT
    with pytest.raises(ParameterError, match="they are 'reliable' and 'best_effort'; leave one of them out"):
        subscribed(node, overrides, reliability="reliable")


@pytest.mark.parametrize(
    ("policy", "value", "complaint"),
    [
        ("reliability", "always", "got 'always', expected one of 'system_default', 'reliable', 'best_effort'"),
        ("depth", "many", "got 'many', expected 1 or more messages"),
        ("depth", 0, "got 0, expected 1 or more messages"),
        ("deadline", 0.5, "got 0.5, expected 1 or more nanoseconds"),
        ("reliabilty", "reliable", "there is no policy reliabilty, expected one of history, reliability, durability"),
        ("lifespan", 10, "there is no policy lifespan"),
    ],
)
def test_an_override_of_no_use_is_refused(
    start_node: StartNode, subscribed: Subscribed, policy: str, value: Any, complaint: str
) -> None:
    node = start_node(**{f"qos_overrides./image.subscription.{policy}": value})
    with pytest.raises(ParameterError, match=f"parameter qos_overrides./image.subscription.{policy}: {complaint}"):
        subscribed(node, QosOverrides(node))


def test_an_override_is_for_its_topic_alone(start_node: StartNode, segmenter: Segmenter) -> None:
    node = start_node(**{"qos_overrides./qos/semantic.publisher.reliability": "best_effort"})
    outputs = ResultPublisher(node, segmenter, 5, QosOverrides(node))
    quality = {one.topic_name: one.qos_profile.reliability for one in node.publishers}
    assert quality["/qos/semantic"] == ReliabilityPolicy.BEST_EFFORT
    assert quality["/qos/panoptic"] == quality["/qos/overlay"] == ReliabilityPolicy.RELIABLE
    outputs.destroy()


def test_label_info_takes_overrides_too(start_node: StartNode, segmenter: Segmenter) -> None:
    pytest.importorskip("vision_msgs")
    node = start_node(**{"qos_overrides./qos/label_info.publisher.durability": "volatile"})
    outputs = ResultPublisher(node, segmenter, 5, QosOverrides(node))
    quality = {one.topic_name: one.qos_profile.durability for one in node.publishers}
    assert quality["/qos/label_info"] == DurabilityPolicy.VOLATILE
    outputs.destroy()


def test_the_node_heeds_reliability_and_overrides_of_every_topic(start_robot: StartRobot, checkpoint: Path) -> None:
    given = {
        "qos_overrides./diagnostics.publisher.reliability": "best_effort",
        "qos_overrides./nobody.subscription.depth": 3,
        "raet": 5.0,
    }
    with start_robot({"model": str(checkpoint), **given}) as robot:
        robot.process.wait_for_output("without effect, because the node has no such topic: qos_overrides./nobody")
        assert "parameter raet has no effect: there is none of this name, but there is rate" in robot.process.output
        assert robot.quality("/diagnostics") == ReliabilityPolicy.BEST_EFFORT
        images = f"{robot.process.namespace}/camera/image_raw"
        assert robot.quality(images) == ReliabilityPolicy.BEST_EFFORT
        assert robot.transition("deactivate")
        assert robot.transition("cleanup")
        assert not robot.set(reliability="reliable")
        assert robot.transition("configure")
        assert robot.transition("activate")
        assert robot.quality(images) == ReliabilityPolicy.RELIABLE
        assert "read-only" in robot.set(**{"qos_overrides./nobody.subscription.depth": 4})


def test_the_config_file_can_be_loaded_into_a_node_that_runs(start_robot: StartRobot, checkpoint: Path) -> None:
    values = yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"]
    with start_robot({"model": str(checkpoint)}) as robot:
        robot.process.wait_for_output("waiting for images")
        assert not robot.set(**{**values, "model": str(checkpoint)})
        assert "autostart: cannot become False, it is looked at when the node starts" in robot.set(autostart=False)


@pytest.mark.slow
def test_a_bad_override_of_the_diagnostics_ends_the_node_with_one_message(domain: dict[str, str]) -> None:
    process = NodeProcess("/bad", {"qos_overrides./diagnostics.publisher.depth": "many"}, {}, name="segment")
    assert process.wait_for_end() == 1
    assert "segment_node: parameter qos_overrides./diagnostics.publisher.depth: got 'many'" in process.output
    assert "Traceback" not in process.output
