"""Publishes the messages of a bag, at their own pace or at that of the results."""

from __future__ import annotations

import csv
import importlib
import re
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import rclpy
from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.exceptions import NameValidationException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock as ClockMessage

from eomt_ros.continuity import Continuity
from eomt_ros.evaluation.bag import Bag, Recorded
from eomt_ros.node.cdr import stamp_in, with_stamp
from eomt_ros.node.fast_dds import free_shared_memory_of_the_dead
from eomt_ros.node.log import SparingLog
from eomt_ros.printable import printable
from eomt_ros.replay.pacing import Backlog, PlayError, StoppedError, Timeline
from eomt_ros.replay.spinning import spinning

if TYPE_CHECKING:
    from rclpy.publisher import Publisher

DEPTH = 100
LOOK_EVERY = 0.05  # s between two looks at who listens
SIGNAL_PATIENCE = 2.0  # s
ENCAPSULATION = 4  # bytes that every message in CDR begins with
HEADER = 12  # and those up to the end of its stamp
_KIND = re.compile(r"(\w+)/msg/(\w+)", re.ASCII)
DELIVERY_PATIENCE = 5.0  # s that reliable subscribers get to confirm what was sent last


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    bag: Path
    rate: float
    loop: bool
    clock: float | None
    wait_for: tuple[str, ...]
    hold: bool
    ahead: int | None
    of: str | None
    max_gap: float
    patience: float
    log: Path | None


class Player:
    """Publishes the messages of one bag through `node`, which has to be spun.

    stop: set from outside; whatever it waits for or does then raises StoppedError.
    """

    def __init__(self, node: Node, options: Options, stop: threading.Event) -> None:
        self._node = node
        self._log = SparingLog(node.get_logger())
        self._options = options
        self._stop = stop
        self._publishers: dict[str, Publisher[Any]] = {}
        self._timeline = Timeline(options.rate, stop)
        self._backlog: Backlog | None = None
        self._continuity = {topic: Continuity() for topic in options.wait_for}

    def listen(self) -> None:
        """Take what comes on the topic of the results, once somebody publishes there; raise PlayError if nobody does.

        Before the images are offered: whoever hears of those has heard of this listener.
        """
        if self._options.ahead is None or self._options.of is None:
            return
        topic = self._node.resolve_topic_name(self._options.of)
        self._wait(lambda: "" if self._node.count_publishers(topic) else f"nobody publishes the results on {topic}")
        kind = dict(self._node.get_topic_names_and_types())[topic][0]
        self._backlog = backlog = Backlog(self._options.ahead, self._stop)
        qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        self._node.create_subscription(
            _message_class(kind), topic, lambda data: backlog.settle(stamp_in(data)), qos, raw=True
        )

    def advertise(self, topics: Mapping[str, str]) -> None:
        """Offer the topics (with their types) whose types are installed; the others are named in a warning."""
        qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        for topic, kind in topics.items():
            if topic == "/clock" and self._options.clock is not None:
                continue
            try:
                self._publishers[topic] = self._node.create_publisher(_message_class(kind), topic, qos)
            except (ImportError, AttributeError):
                self._log.warning("not played", f"{topic} is not played: {kind} is not installed")
            except NameValidationException:
                self._log.warning("not played", f"{topic} is not played: ROS 2 has no topics of such names")

    def wait_for_listeners(self) -> None:
        """Return when every topic of `--wait-for` has a subscriber; raise PlayError if one does not get any."""
        topics = self._options.wait_for
        unknown = [topic for topic in topics if topic not in self._publishers]
        if unknown:
            raise PlayError(
                f"--wait-for {unknown[0]}: not played; played are {printable(', '.join(sorted(self._publishers)))}"
            )

        def lonely() -> str:
            names = [topic for topic in topics if not self._publishers[topic].get_subscription_count()]
            return f"nobody subscribed to {', '.join(names)}" if names else ""

        self._wait(lonely)

    def play(self, bag: Bag, log: TextIO | None) -> None:
        """Publish all messages, over and over with `--loop`, and wait until they are delivered.

        Images of a driver that does not stamp get the time of their recording, by which the evaluation knows them.
        log: gets a CSV line per message: topic, time of recording (ns), stamp (ns, of images only), time of publishing
        (ns of time.monotonic, which on Linux is the same clock in all processes).
        Raises PlayError, BagError where reading ends too early, and StoppedError.
        """
        images = set(bag.image_topics)
        lines = None if log is None else csv.writer(log)
        self._offer_clock()
        for topic, recorded, data in self._messages(bag):
            if len(data) < (HEADER if topic in images else ENCAPSULATION):
                self._log.warning(
                    "no message", f"{topic} at {recorded} ns is not played: {len(data)} bytes are no message"
                )
                continue
            stamp = stamp_in(data) if topic in images else None
            if stamp == 0 and not bag.counts_from_zero(topic):
                stamp, data = recorded, with_stamp(data, recorded)
            self._timeline.wait_for(recorded)
            if self._backlog is not None and stamp is not None and self._is_awaited(topic, stamp):
                self._timeline.stand_still(self._wait_for_results(self._backlog))
                self._backlog.add(stamp)
            moment = time.monotonic_ns()
            self._publishers[topic].publish(data)
            if lines is not None:
                lines.writerow((topic, recorded, stamp, moment))
        self._deliver()

    def _is_awaited(self, topic: str, stamp: int) -> bool:
        """Whether an image will have a result: the node gives none for late ones."""
        continuity = self._continuity.get(topic)
        return continuity is not None and continuity.admit(stamp, self._options.max_gap) is not None

    def _deliver(self) -> None:
        """Wait until the reliable subscribers have confirmed what was sent."""
        deadline = time.monotonic() + DELIVERY_PATIENCE
        for publisher in self._publishers.values():
            while not publisher.wait_for_all_acked(Duration(seconds=LOOK_EVERY)) and time.monotonic() < deadline:
                self._look_for_stop()

    def _messages(self, bag: Bag) -> Iterator[Recorded]:
        while any(bag.count(topic) for topic in self._publishers):
            begun = False
            for message in bag.recorded(self._publishers):
                if not begun:
                    self._timeline.begin(message.time)
                    begun = True
                yield message
            if not self._options.loop:
                return

    def _wait_for_results(self, backlog: Backlog) -> float:
        try:
            return backlog.wait_for_room(self._options.patience)
        except PlayError as error:
            raise PlayError(f"{self._options.of}: {error}") from error

    def _offer_clock(self) -> None:
        if self._options.clock is None:
            return
        # As rosbag2's player offers it, and as rclcpp and rclpy listen to it.
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        publisher = self._node.create_publisher(ClockMessage, "/clock", qos)

        def tell() -> None:
            if now := self._timeline.now:  # before the first message there is no time
                sec, nanosec = divmod(now, 10**9)
                publisher.publish(ClockMessage(clock=Time(sec=sec, nanosec=nanosec)))

        self._node.create_timer(1 / self._options.clock, tell, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _wait(self, missing: Callable[[], str]) -> None:
        deadline = time.monotonic() + self._options.patience
        while what := missing():
            if time.monotonic() > deadline:
                raise PlayError(f"{what} within {self._options.patience:g} s")
            self._look_for_stop(LOOK_EVERY)

    def _look_for_stop(self, seconds: float = 0.0) -> None:
        if self._stop.wait(seconds):
            raise StoppedError


def play(options: Options, arguments: list[str], stop: threading.Event) -> None:
    """Play a bag until its end, or until `stop` is set.

    arguments: of the command line, for what is remapped. Raises PlayError, BagError, StoppedError.
    """
    if options.bag.suffix == ".bag":
        raise PlayError(f"{options.bag} is a rosbag1, whose messages ROS 2 does not understand; expected a rosbag2")
    with ExitStack() as stack:
        bag = stack.enter_context(Bag(options.bag))
        log = None if options.log is None else stack.enter_context(options.log.open("w", newline=""))
        free_shared_memory_of_the_dead()
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        stack.callback(rclpy.try_shutdown)
        node = Node("play_bag", start_parameter_services=False)
        stack.callback(node.destroy_node)
        stack.enter_context(spinning(node))
        for problem in bag.problems:
            node.get_logger().warning(problem)
        player = Player(node, options, stop)
        player.listen()
        player.advertise(bag.topics)
        player.wait_for_listeners()
        if options.hold:
            _wait_for_line(stop)
        player.play(bag, log)


def _wait_for_line(stop: threading.Event) -> None:
    """Return when standard input has a line. Raises PlayError, StoppedError."""
    while not stop.is_set():
        if select.select([sys.stdin], [], [], LOOK_EVERY)[0]:
            if sys.stdin.readline():
                return
            # Who stops a process may close its input, too, and that may be seen before the signal.
            if not stop.wait(SIGNAL_PATIENCE):
                raise PlayError("--hold: standard input ended without the line that was waited for")
    raise StoppedError


def _message_class(kind: str) -> type[Any]:
    """The class of a type's messages. Raises ImportError or AttributeError where it is not installed."""
    parts = _KIND.fullmatch(kind)
    if parts is None:
        raise ImportError(f"{kind} is no type of messages")
    message_class: type[Any] = getattr(importlib.import_module(f"{parts[1]}.msg"), parts[2])
    return message_class
