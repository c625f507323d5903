"""The node's image subscription: quality of service, what is let through, and what to say when nothing comes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from eomt_ros.node.continuity import UNTIMED, Admitted, Continuity
from eomt_ros.node.diagnostics import Drop, Statistics
from eomt_ros.node.mailbox import Mailbox, Pacer
from eomt_ros.node.parameters import ParameterError, Parameters
from eomt_ros.node.stamps import stamp_in

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

WARNING_PERIOD = 5.0  # s between warnings about the same thing
MOST_TOPICS = 5  # that a hint names


@dataclass(frozen=True)
class Arrival:
    """An image message, in CDR as it came, and the moment it arrived, by time.monotonic."""

    message: bytes
    kind: type[Any]
    """sensor_msgs Image or CompressedImage."""
    time: float
    admitted: Admitted = UNTIMED


class Input:
    """Subscribes to the images and puts those that are to be processed into `mailbox`; its callbacks never wait."""

    def __init__(
        self,
        node: Node,
        mailbox: Mailbox[Arrival],
        statistics: Statistics,
        parameters: Callable[[], Parameters],
        enabled: Callable[[], bool],
    ) -> None:
        self._node = node
        self._mailbox = mailbox
        self._statistics = statistics
        self._parameters = parameters
        self._enabled = enabled
        self._continuity = Continuity()
        self._stretch = 0
        self._pacer = Pacer()
        self._last_number: int | None = None
        self._logger = node.get_logger()

        chosen = parameters()
        self.topic = topic_of(node, chosen)
        self._kind: type[Any] = CompressedImage if chosen.image_transport == "compressed" else Image
        qos = QoSProfile(depth=chosen.depth, reliability=ReliabilityPolicy[chosen.reliability.upper()])
        try:
            self._subscription = node.create_subscription(
                self._kind,
                self.topic,
                # Up to Humble, rclpy tells nothing about a message but its content.
                self._image_callback if hasattr(Subscription, "CallbackType") else self._content_callback,
                qos,
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
                event_callbacks=SubscriptionEventCallbacks(
                    incompatible_qos=self._incompatible_qos_callback, message_lost=self._message_lost_callback
                ),
                raw=True,  # what is dropped or skipped is never unpacked
            )
        except RuntimeError as error:  # how rclpy refuses a value in qos_overrides
            raise ParameterError(f"parameters qos_overrides.{self.topic}.subscription: {error}") from error

    def destroy(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    def why_silent(self) -> str:
        """Say what is likely to be wrong when no image comes, and what to do about it."""
        publishers = self._node.count_publishers(self.topic)
        if publishers:
            return (
                f"its {publishers} publisher(s) are silent, or do not match in type ({self._kind.__name__}) or quality"
                f" of service (parameter reliability is '{self._parameters().reliability}');"
                f" see: ros2 topic info -v {self.topic}"
            )
        wanted = f"sensor_msgs/msg/{self._kind.__name__}"
        own = f"{self._node.get_fully_qualified_name()}/"
        topics = [
            name
            for name, kinds in self._node.get_topic_names_and_types()
            if wanted in kinds and not name.startswith(own)
        ]
        sources = [name for name in topics if self._node.count_publishers(name)]
        there = f"there is {', '.join(sources[:MOST_TOPICS])}" if sources else f"nor any other {wanted} topic"
        return f"nobody publishes it ({there}); remap 'image', or check ROS_DOMAIN_ID and the network"

    def _content_callback(self, message: bytes) -> None:
        self._image_callback(message, {})

    def _image_callback(self, message: bytes, info: dict[str, Any]) -> None:
        now = time.monotonic()
        self._statistics.count_received()
        self._count_missing(info.get("publication_sequence_number"))
        parameters = self._parameters()
        if not self._enabled():
            self._statistics.count_skipped()
            return
        admitted = self._admit(message, parameters.max_gap)
        if admitted is None:
            return
        if not self._pacer.admits(now, parameters.rate):
            self._statistics.count_skipped()
            return
        pushed_out = self._mailbox.put(Arrival(message, self._kind, now, admitted))
        if not pushed_out:
            return
        if parameters.policy == "latest":
            self._statistics.count_dropped(Drop.OVERTAKEN, pushed_out)
            return
        self._statistics.count_dropped(Drop.QUEUE_FULL, pushed_out)
        self._logger.warning(
            f"policy every_frame, but images come faster than they are processed and {parameters.queue_size} wait"
            f" (queue_size): {self._statistics.counts.dropped[Drop.QUEUE_FULL]} dropped so far",
            throttle_duration_sec=WARNING_PERIOD,
        )

    def _admit(self, message: bytes, max_gap: float) -> Admitted | None:
        """Judge the time of an image; None where it is late, and counted."""
        admitted = self._continuity.admit(stamp_in(message), max_gap)
        if admitted is not None and admitted.stretch == self._stretch:
            return admitted
        if admitted is None:
            self._statistics.count_dropped(Drop.LATE)
        else:
            self._stretch = admitted.stretch
        late = f"{self._statistics.counts.dropped[Drop.LATE]} images dropped as late so far"
        publishers = self._node.count_publishers(self.topic)
        if publishers > 1:
            self._logger.warning(
                f"{self.topic} has {publishers} publishers, whose stamps do not go together: {late}; give each camera"
                " a topic, and a node, of its own",
                throttle_duration_sec=WARNING_PERIOD,
            )
        elif admitted is None:
            self._logger.warning(
                f"image dropped as late: {self._continuity.why_late()}; {late}", throttle_duration_sec=WARNING_PERIOD
            )
        return admitted

    def _count_missing(self, number: int | None) -> None:
        """Count the images between this one and the last: lost on the way, or pushed out of the subscription's queue,
        of which no middleware tells.

        number: the publisher's own count; None where the middleware has none (and up to ROS 2 Humble).
        """
        last, self._last_number = self._last_number, number
        if last is None or number is None or number <= last + 1:
            return
        if self._node.count_publishers(self.topic) == 1:  # several count each for itself
            self._statistics.count_lost(number - last - 1)

    def _message_lost_callback(self, event: Any) -> None:
        if self._last_number is None:  # else they are missing in the count
            self._statistics.count_lost(event.total_count_change)

    def _incompatible_qos_callback(self, event: Any) -> None:
        if event.last_policy_kind == QoSPolicyKind.RELIABILITY:
            mend = "set the parameter reliability to 'best_effort' (it is 'reliable', and the publisher offers less)"
        else:
            policy = QoSPolicyKind(event.last_policy_kind).name.lower()
            mend = f"ask for less in the parameter qos_overrides.{self.topic}.subscription.{policy}"
        self._logger.error(f"no images from a publisher of {self.topic}: its quality of service does not match; {mend}")


def topic_of(node: Node, parameters: Parameters) -> str:
    """Full name of the topic that images are expected on."""
    base = node.resolve_topic_name("image")
    return f"{base}/compressed" if parameters.image_transport == "compressed" else base
