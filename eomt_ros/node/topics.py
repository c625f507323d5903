"""Output topics: a message is made only for topics that somebody subscribes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from rclpy.node import Node
    from rclpy.publisher import Publisher

    from eomt_ros.node.qos import QosOverrides


class Topics:
    """Topics of one camera; `publish` may be called from another thread than the executor's.

    kinds: types by name of the topic. qos_depth: length of the queues. camera: a step of the topics' names; "" for
    none. latched: those whose last message also later subscribers get. Raises ParameterError for an override of the
    quality of service that cannot be.
    """

    def __init__(
        self,
        node: Node,
        kinds: Mapping[str, type[Any]],
        qos_depth: int,
        overrides: QosOverrides,
        camera: str,
        *,
        latched: Collection[str] = (),
    ) -> None:
        self._node = node
        # Reliable, because RViz and Nav2 ask for it, and subscribers that want best effort connect as well.
        reliable = QoSProfile(depth=qos_depth, reliability=ReliabilityPolicy.RELIABLE)
        once = QoSProfile(depth=1, reliability=reliable.reliability, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        root = f"~/{camera}/" if camera else "~/"
        qualities = {
            topic: overrides.of_publisher(root + topic, once if topic in latched else reliable) for topic in kinds
        }
        self._publishers: dict[str, Publisher[Any]] = {
            topic: node.create_publisher(kind, root + topic, qualities[topic]) for topic, kind in kinds.items()
        }

    def __contains__(self, topic: str) -> bool:
        return topic in self._publishers

    def is_wanted(self, topic: str) -> bool:
        """Say whether there is such a topic and anybody subscribes to it."""
        return topic in self and self._publishers[topic].get_subscription_count() > 0

    def publish(self, messages: Mapping[str, Callable[[], Any]]) -> None:
        """Make and send the messages of those topics that are wanted, in order; None is not sent."""
        for topic, make in messages.items():
            if self.is_wanted(topic) and (message := make()) is not None:
                self.send(topic, message)

    def send(self, topic: str, message: Any) -> None:
        """Send a message, wanted or not."""
        self._publishers[topic].publish(message)

    def destroy(self) -> None:
        """Withdraw them."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
