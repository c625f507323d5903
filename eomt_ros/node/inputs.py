"""A camera's image subscription: quality of service, what is let through, and what to say when nothing comes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from eomt_ros.continuity import Admitted, LateFrameError
from eomt_ros.node.cdr import stamp_in
from eomt_ros.node.log import SparingLog
from eomt_ros.node.mailbox import Mailbox, Pacer
from eomt_ros.node.parameters import DEFAULTS, ParameterError, Parameters
from eomt_ros.node.silence import COMPRESSED_SUFFIX, why_silent
from eomt_ros.node.statistics import Drop
from eomt_ros.stamps import SECOND

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

if TYPE_CHECKING:
    from rclpy.node import Node

    from eomt_ros.node.camera import Camera


@dataclass(frozen=True)
class Arrival:
    """An image message, in CDR as it came, and the moment it arrived, by time.monotonic."""

    message: bytes
    kind: type[Any]
    """sensor_msgs Image or CompressedImage."""
    time: float
    admitted: Admitted


class Input:
    """Subscribes to a camera's images and puts those that are to be processed into `mailbox`; its callbacks never wait.

    Raises ParameterError for a quality of service that cannot be.
    """

    def __init__(self, camera: Camera, mailbox: Mailbox[Camera, Arrival]) -> None:
        self._camera = camera
        self._node = camera.node
        self._mailbox = mailbox
        self._statistics = camera.statistics
        self._stretch = 0
        self._pacer = Pacer()
        self._last_number: int | None = None
        self._log = SparingLog(camera.logger)

        chosen = camera.parameters
        self.topic = topic_of(self._node, camera.name, chosen)
        self._kind: type[Any] = CompressedImage if chosen.image_transport == "compressed" else Image
        self._wanted = ReliabilityPolicy[chosen.reliability.upper()]
        qos = camera.overrides.of_subscription(self.topic, QoSProfile(depth=chosen.qos_depth, reliability=self._wanted))
        self._reliability = qos.reliability
        if self._wanted != qos.reliability and chosen.reliability != DEFAULTS.reliability:
            raise ParameterError(
                f"parameters reliability and qos_overrides.{self.topic}.subscription.reliability: they are"
                f" '{chosen.reliability}' and '{qos.reliability.name.lower()}'; leave one of them out"
            )
        self._subscription = self._node.create_subscription(
            self._kind,
            self.topic,
            # Up to Humble, rclpy tells nothing about a message but its content.
            self._image_callback if hasattr(Subscription, "CallbackType") else self._content_callback,
            qos,
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=self._incompatible_qos_callback, message_lost=self._message_lost_callback
            ),
            raw=True,  # what is dropped or skipped is never unpacked
        )

    def destroy(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    def why_silent(self) -> str:
        """Say what is likely to be wrong when no image comes, and what to do about it."""
        return why_silent(
            self._node,
            self.topic,
            compressed=self._kind is CompressedImage,
            reliability=self._reliability.name.lower(),
        )

    def _content_callback(self, message: bytes) -> None:
        self._image_callback(message, {})

    def _image_callback(self, message: bytes, info: dict[str, Any]) -> None:
        now = time.monotonic()
        self._statistics.count_received()
        self._count_missing(info.get("publication_sequence_number"))
        parameters = self._camera.parameters
        if not self._camera.enabled:
            self._statistics.count_skipped()
            return
        admitted = self._judge(message)
        if admitted is None:
            return
        if not self._pacer.admits(now, parameters.rate):
            self._statistics.count_skipped()
            return
        pushed_out = self._mailbox.put(self._camera, Arrival(message, self._kind, now, admitted))
        if not pushed_out:
            return
        if parameters.policy == "latest":
            self._statistics.count_dropped(Drop.OVERTAKEN, pushed_out)
            return
        self._statistics.count_dropped(Drop.QUEUE_FULL, pushed_out)
        self._log.warning(
            Drop.QUEUE_FULL.value,
            f"policy every_frame, but images come faster than they are processed and {parameters.queue_size} wait"
            f" (queue_size): {self._statistics.counts.dropped[Drop.QUEUE_FULL]} dropped so far",
        )

    def _judge(self, message: bytes) -> Admitted | None:
        """Judge the time of an image; None where it is late, and counted."""
        try:
            admitted = self._camera.stream.admit(Fraction(stamp_in(message), SECOND))
        except LateFrameError as error:
            self._statistics.count_dropped(Drop.LATE)
            if not self._warn_of_publishers():
                self._log.warning(Drop.LATE.value, f"image dropped as late: {error}; {self._late_so_far}")
            return None
        if admitted.stretch != self._stretch:
            self._stretch = admitted.stretch
            self._warn_of_publishers()
        return admitted

    def _warn_of_publishers(self) -> bool:
        """Warn where the topic has several publishers, and return whether it has."""
        publishers = self._node.count_publishers(self.topic)
        if publishers > 1:
            self._log.warning(
                "publishers",
                f"{self.topic} has {publishers} publishers, whose stamps do not go together: {self._late_so_far}; give"
                " each camera a topic of its own (cameras)",
            )
        return publishers > 1

    @property
    def _late_so_far(self) -> str:
        return f"{self._statistics.counts.dropped[Drop.LATE]} images dropped as late so far"

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
        policy = QoSPolicyKind(event.last_policy_kind).name.lower()
        if policy == "reliability" and self._wanted == self._reliability:
            mend = "set the parameter reliability to 'best_effort' (it is 'reliable', and the publisher offers less)"
        else:
            mend = f"ask for less in the parameter qos_overrides.{self.topic}.subscription.{policy}"
        self._log.error(
            "qos", f"no images from a publisher of {self.topic}: its quality of service does not match; {mend}"
        )


def topic_of(node: Node, camera: str, parameters: Parameters) -> str:
    """Full name of the topic that images of a camera are expected on."""
    base = node.resolve_topic_name(f"{camera}/image" if camera else "image")
    return f"{base}{COMPRESSED_SUFFIX}" if parameters.image_transport == "compressed" else base
