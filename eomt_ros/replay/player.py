"""Publishes the messages of a bag, at their own pace or at that of the results."""

from __future__ import annotations

import csv
import importlib
import re
import select
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.exceptions import NameValidationException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from eomt_ros.cli.stopping import StoppedError
from eomt_ros.continuity import Continuity, LateFrameError
from eomt_ros.errors import UserError
from eomt_ros.evaluation.bag import Bag, Recorded
from eomt_ros.evaluation.counting import counted
from eomt_ros.node.cdr import stamp_in, with_stamp
from eomt_ros.node.log import SparingLog
from eomt_ros.printable import printable
from eomt_ros.replay.participant import LOOK_EVERY, Participant
from eomt_ros.stamps import SECOND

if TYPE_CHECKING:
    from rclpy.publisher import Publisher

_DEPTH = 100
_SIGNAL_PATIENCE = 2.0  # s
_DELIVERY_PATIENCE = 5.0  # s that reliable subscribers get to confirm what was sent last
_ENCAPSULATION = 4  # bytes that every message in CDR begins with
_HEADER = 12  # and those up to the end of its stamp
_KIND = re.compile(r"(\w+)/msg/(\w+)", re.ASCII)


class PlayError(UserError):
    """The bag cannot be played, nobody listens, or no results come; the message says which."""


@dataclass(frozen=True)
class PlayOptions:
    """The arguments of the command line, see `play_bag`."""

    bag: Path
    rate: float
    loop: bool
    clock: float | None
    wait_for: Sequence[str]
    hold: bool
    ahead: int | None
    of: Sequence[str]
    max_gap: float
    patience: float
    log: Path | None


class Player:
    """Publishes the messages of one bag.

    stop: set from outside; whatever the player waits for or does then raises StoppedError.
    """

    def __init__(self, participant: Participant, options: PlayOptions, stop: threading.Event) -> None:
        self._participant = participant
        self._node = participant.node
        self._log = SparingLog(self._node.get_logger())
        self._options = options
        self._stop = stop
        self._publishers: dict[str, Publisher[Any]] = {}
        self._clock = None if options.clock is None else _Clock(self._node, options.clock)
        self._continuity = {topic: Continuity() for topic in options.wait_for}
        self._of: dict[str, str] = {}
        """Topic of the results by that of the images."""
        self._awaited: defaultdict[str, deque[int]] = defaultdict(deque)
        """By topic, the stamps of the images that went out and have no result yet, oldest first."""
        self._origin, self._start, self._next = 0.0, 0, 0
        """A moment of time.monotonic, the bag's time at that moment, and at the next message, in nanoseconds."""

    def listen(self, images: Collection[str]) -> None:
        """Subscribe to the results, once somebody publishes them; raise PlayError if nobody does.

        Before the images are offered: whoever hears of those has heard of this listener. images: all topics of images.
        """
        awaited = [topic for topic in self._options.wait_for if topic in images]
        if self._options.of and len(self._options.of) != len(awaited):
            raise PlayError(
                f"--of {' '.join(self._options.of)}: expected a topic for each one of --wait-for that has images, "
                f"{' '.join(awaited) or 'and none has'}"
            )
        self._of = dict(zip(awaited, self._options.of, strict=False))
        for topic, results in self._of.items():
            self._listen(self._node.resolve_topic_name(results), self._awaited[topic])

    def _listen(self, topic: str, awaited: deque[int]) -> None:
        self._wait(lambda: "" if self._node.count_publishers(topic) else f"nobody publishes the results on {topic}")
        kind = dict(self._node.get_topic_names_and_types())[topic][0]
        qos = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        settle = partial(_settle, awaited)
        self._node.create_subscription(_message_class(kind), topic, settle, qos, raw=True)

    def advertise(self, bag: Bag) -> None:
        """Offer the topics of a bag whose types are installed; the others are named in a warning."""
        qos = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        for topic, kind in bag.topics.items():
            if topic == "/clock" and self._clock is not None:
                continue
            if bag.is_older(topic):  # a subscriber could not read them
                self._log.warning("not played", f"{topic} is not played: its messages are of an older {kind}")
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

    def wait_for_line(self) -> None:
        """Return when standard input has a line. Raises PlayError, StoppedError."""
        while not select.select([sys.stdin], [], [], LOOK_EVERY)[0]:
            self._pause(0.0)
        if not sys.stdin.readline():
            # Who stops a process may close its input, too, and that may be seen before the signal.
            self._pause(_SIGNAL_PATIENCE)
            raise PlayError("--hold: standard input ended without the line that was waited for")

    def play(self, bag: Bag, log: TextIO | None) -> None:
        """Publish all messages, over and over with `--loop`, and wait until they are delivered.

        Images of a driver that does not stamp get the time of their recording, by which the evaluation knows them.
        log: gets a CSV line per message: topic, time of recording (ns), stamp (ns, of images only), time of publishing
        (ns of time.monotonic, which on Linux is the same clock in all processes).
        Raises PlayError, BagError where reading ends too early, and StoppedError.
        """
        images = set(bag.image_topics)
        lines = None if log is None else csv.writer(log)
        for topic, recorded, data in self._messages(bag):
            if len(data) < (_HEADER if topic in images else _ENCAPSULATION):
                self._log.warning(
                    "no message", f"{topic} at {recorded} ns is not played: {len(data)} bytes are no message"
                )
                continue
            stamp = stamp_in(data) if topic in images else None
            if stamp == 0 and not bag.counts_from_zero(topic):
                stamp, data = recorded, with_stamp(data, recorded)
            self._wait_until(recorded)
            if self._options.ahead is not None and stamp is not None and self._is_awaited(topic, stamp):
                self._wait_for_results(topic, self._options.ahead)
                self._awaited[topic].append(stamp)
            moment = time.monotonic_ns()
            self._publishers[topic].publish(data)
            if lines is not None:
                lines.writerow((topic, recorded, stamp, moment))
        self._deliver()

    def _messages(self, bag: Bag) -> Iterator[Recorded]:
        while any(bag.count(topic) for topic in self._publishers):
            begun = False
            for message in bag.recorded(self._publishers):
                if not begun:
                    self._origin, self._start = time.monotonic(), message.time
                    begun = True
                yield message
            if not self._options.loop:
                return

    def _wait_until(self, recorded: int) -> None:
        """Return when it is `recorded` in the bag; `--rate 0` has no time."""
        rate = self._options.rate
        due = self._origin + (recorded - self._start) / SECOND / rate if rate else 0.0
        self._next = recorded
        while True:
            self._tell_time()
            left = due - time.monotonic()
            self._pause(max(0.0, left if self._clock is None else min(left, self._clock.due - time.monotonic())))
            if time.monotonic() >= due:
                return

    def _tell_time(self) -> None:
        if self._clock is not None:
            elapsed = (time.monotonic() - self._origin) * self._options.rate
            # Never past the message that goes out next.
            self._clock.tell(min(self._start + round(elapsed * SECOND), self._next) if elapsed else self._next)

    def _is_awaited(self, topic: str, stamp: int) -> bool:
        """True if an image will have a result: the node gives none for late ones."""
        if topic not in self._continuity:
            return False
        try:
            self._continuity[topic].admit(stamp, self._options.max_gap)
        except LateFrameError:
            return False
        return True

    def _wait_for_results(self, topic: str, ahead: int) -> None:
        """Return when one more image of a topic may go out; the bag's time stands still meanwhile.

        Raises PlayError where no result comes, StoppedError.
        """
        begin, patience, awaited = time.monotonic(), self._options.patience, self._awaited[topic]

        def has_room() -> bool:
            self._tell_time()
            return len(awaited) < ahead or self._stop.is_set()

        if not self._participant.serve(has_room, patience):
            raise PlayError(
                f"{self._of[topic]}: no result came for {patience:g} s, while "
                f"{counted(len(awaited), 'image waits', 'images wait')}, "
                f"the oldest of stamp {awaited[0] / SECOND:.3f} s"
            )
        self._origin += time.monotonic() - begin
        self._pause(0.0)

    def _deliver(self) -> None:
        """Wait until the reliable subscribers have confirmed what was sent."""
        deadline = time.monotonic() + _DELIVERY_PATIENCE
        for publisher in self._publishers.values():
            while not publisher.wait_for_all_acked(Duration(seconds=LOOK_EVERY)) and time.monotonic() < deadline:
                self._pause(0.0)

    def _wait(self, missing: Callable[[], str]) -> None:
        deadline = time.monotonic() + self._options.patience
        while what := missing():
            if time.monotonic() > deadline:
                raise PlayError(f"{what} within {self._options.patience:g} s")
            self._pause(LOOK_EVERY)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise StoppedError


class _Clock:
    """Publishes the time on /clock, `rate` times a second, as rosbag2's player does, and rclcpp and rclpy expect."""

    def __init__(self, node: Node, rate: float) -> None:
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._publisher = node.create_publisher(Clock, "/clock", qos)
        self._period = 1 / rate
        self.due = 0.0
        """The moment of the next message, by time.monotonic."""

    def tell(self, now: int) -> None:
        """Publish the time, in nanoseconds, if it is due."""
        if time.monotonic() >= self.due:
            sec, nanosec = divmod(now, SECOND)
            self._publisher.publish(Clock(clock=Time(sec=sec, nanosec=nanosec)))
            self.due = time.monotonic() + self._period


def play(options: PlayOptions, arguments: list[str], stop: threading.Event) -> None:
    """Play a bag until its end, or until `stop` is set.

    arguments: of the command line, for what is remapped. Raises PlayError, BagError, StoppedError.
    """
    if options.bag.suffix == ".bag":
        raise PlayError(f"{options.bag} is a rosbag1, whose messages ROS 2 does not understand; expected a rosbag2")
    with (
        Bag(options.bag) as bag,
        nullcontext() if options.log is None else options.log.open("w", newline="") as log,
        Participant("play_bag", arguments) as participant,
    ):
        for problem in bag.problems:
            participant.node.get_logger().warning(problem)
        player = Player(participant, options, stop)
        player.listen(bag.image_topics)
        player.advertise(bag)
        player.wait_for_listeners()
        if options.hold:
            player.wait_for_line()
        player.play(bag, log)


def _settle(awaited: deque[int], result: bytes) -> None:
    """A result settles its image and all before it, so that an image that gives none does not count for ever."""
    stamp = stamp_in(result)
    if stamp in awaited:
        while awaited.popleft() != stamp:
            pass


def _message_class(kind: str) -> type[Any]:
    """The class of a type's messages. Raises ImportError or AttributeError where it is not installed."""
    parts = _KIND.fullmatch(kind)
    if parts is None:
        raise ImportError(f"{kind} is no type of messages")
    message_class: type[Any] = getattr(importlib.import_module(f"{parts[1]}.msg"), parts[2])
    return message_class
