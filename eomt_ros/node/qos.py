"""Quality of service that users give for the node's topics in `qos_overrides`.

The parameters are named as ROS 2 names them, `qos_overrides.<topic>.<publisher|subscription>.<policy>`. rclpy's own
`QoSOverridingOptions` declares all of them, read-only, with the values of the first configure, which then win over
later values of `reliability` and `depth`; here only those that somebody gave are declared.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy

from eomt_ros.node.parameters import ParameterError

if TYPE_CHECKING:
    from rclpy.node import Node

PREFIX = "qos_overrides."
_CHOICES = {
    "history": HistoryPolicy,
    "reliability": ReliabilityPolicy,
    "durability": DurabilityPolicy,
    "liveliness": LivelinessPolicy,
}
_DURATIONS = ("deadline", "lifespan", "liveliness_lease_duration")  # ns
_POLICIES = (*_CHOICES, "depth", *_DURATIONS)


class QosOverrides:
    """The overrides that the node was started with."""

    def __init__(self, node: Node) -> None:
        self._node = node
        # rclpy has no public way to ask what was given for parameters that nobody has declared yet.
        self._given = {
            name: parameter.value for name, parameter in node._parameter_overrides.items() if name.startswith(PREFIX)
        }
        self._unused = set(self._given)
        descriptor = ParameterDescriptor(
            description="Looked at when the node starts.", dynamic_typing=True, read_only=True
        )
        for name, value in self._given.items():
            node.declare_parameter(name, value, descriptor)

    def of_publisher(self, topic: str, qos: QoSProfile) -> QoSProfile:
        """`qos` with what is given for the publisher of `topic`. Raises ParameterError."""
        return self._overridden(f"{PREFIX}{self._node.resolve_topic_name(topic)}.publisher.", qos)

    def of_subscription(self, topic: str, qos: QoSProfile) -> QoSProfile:
        """`qos` with what is given for the subscription of `topic`. Raises ParameterError."""
        return self._overridden(f"{PREFIX}{self._node.resolve_topic_name(topic)}.subscription.", qos)

    def warn_of_unused(self) -> None:
        """Say, once, which overrides are of topics that the node does not have."""
        if self._unused:
            names = ", ".join(sorted(self._unused))
            self._node.get_logger().warning(f"parameters without effect, because the node has no such topic: {names}")
            self._unused.clear()

    def _overridden(self, prefix: str, qos: QoSProfile) -> QoSProfile:
        qos = copy(qos)
        for name, value in self._given.items():
            if name.startswith(prefix):
                policy = name.removeprefix(prefix)
                setattr(qos, policy, _policy_value(name, policy, value))
                self._unused.discard(name)
        return qos


def _policy_value(name: str, policy: str, value: Any) -> Any:
    if policy in _CHOICES:
        choices = {choice.name.lower(): choice for choice in _CHOICES[policy] if choice.name != "UNKNOWN"}
        if value not in choices:
            raise ParameterError(f"parameter {name}: got {value!r}, expected one of {', '.join(map(repr, choices))}")
        return choices[value]
    if policy not in _POLICIES or (policy == "lifespan" and ".subscription." in name):
        raise ParameterError(f"parameter {name}: there is no policy {policy}, expected one of {', '.join(_POLICIES)}")
    if type(value) is not int or value < 1:
        expected = "1 or more messages" if policy == "depth" else "1 or more nanoseconds"
        raise ParameterError(f"parameter {name}: got {value!r}, expected {expected}")
    return value if policy == "depth" else Duration(nanoseconds=value)
