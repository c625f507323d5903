"""Plays a bag on its topics: `python -m eomt_ros.node.play_bag BAG --wait-for /camera/image/compressed`.

Messages go out as they were recorded, byte for byte, at their own pace. For where `ros2 bag` is missing, and for an
evaluation, where `--ahead` holds images back until the results of those before them have come.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import rclpy
from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock as ClockMessage

from eomt_ros.evaluation.bag import Bag, BagError
from eomt_ros.evaluation.storage import Recorded
from eomt_ros.node.pacing import Backlog, PlayError, Timeline
from eomt_ros.node.stamps import stamp_in

if TYPE_CHECKING:
    from rclpy.publisher import Publisher

DEPTH = 100
CLOCK_RATE = 40.0  # Hz, as `ros2 bag play --clock`
LOOK_EVERY = 0.05  # s between two looks at who listens
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
    patience: float
    log: Path | None


class Player:
    """Publishes the messages of one bag through `node`, which has to be spun."""

    def __init__(self, node: Node, options: Options) -> None:
        self._node = node
        self._options = options
        self._publishers: dict[str, Publisher[Any]] = {}
        self._timeline = Timeline(options.rate)
        self._backlog: Backlog | None = None

    def listen(self) -> None:
        """Take what comes on the topic of the results, once somebody publishes there; raise PlayError if nobody does.

        Before the images are offered: whoever hears of those has heard of this listener.
        """
        if self._options.ahead is None or self._options.of is None:
            return
        topic = self._node.resolve_topic_name(self._options.of)
        self._wait(lambda: "" if self._node.count_publishers(topic) else f"nobody publishes the results on {topic}")
        kind = dict(self._node.get_topic_names_and_types())[topic][0]
        self._backlog = backlog = Backlog(self._options.ahead)
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
                message_class = _message_class(kind)
            except (ImportError, AttributeError):
                self._node.get_logger().warning(f"{topic} is not played: {kind} is not installed")
                continue
            self._publishers[topic] = self._node.create_publisher(message_class, topic, qos)

    def wait_for_listeners(self) -> None:
        """Return when every topic of `--wait-for` has a subscriber; raise PlayError if one does not get any."""
        topics = self._options.wait_for
        unknown = [topic for topic in topics if topic not in self._publishers]
        if unknown:
            raise PlayError(f"--wait-for {unknown[0]}: not played; played are {', '.join(sorted(self._publishers))}")

        def lonely() -> str:
            names = [topic for topic in topics if not self._publishers[topic].get_subscription_count()]
            return f"nobody subscribed to {', '.join(names)}" if names else ""

        self._wait(lonely)

    def play(self, bag: Bag, log: TextIO | None) -> None:
        """Publish all messages, over and over with `--loop`, and wait until they are delivered.

        log: gets a CSV line per message: topic, time of recording (ns), stamp (ns, of images only), time of publishing
        (ns of time.monotonic, which on Linux is the same clock in all processes).
        Raises PlayError, and BagError where reading ends too early.
        """
        images = set(bag.image_topics)
        lines = None if log is None else csv.writer(log)
        self._offer_clock()
        for topic, recorded, data in self._messages(bag):
            stamp = stamp_in(data) if topic in images else None
            self._timeline.wait_for(recorded)
            if self._backlog is not None and stamp is not None and topic in self._options.wait_for:
                self._timeline.stand_still(self._wait_for_results(self._backlog))
                self._backlog.add(stamp)
            moment = time.monotonic_ns()
            self._publishers[topic].publish(data)
            if lines is not None:
                lines.writerow((topic, recorded, stamp, moment))
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=DELIVERY_PATIENCE))

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
            time.sleep(LOOK_EVERY)


def play(options: Options) -> None:
    """Play a bag. Raises PlayError, BagError."""
    if options.bag.suffix == ".bag":
        raise PlayError(f"{options.bag} is a rosbag1, whose messages ROS 2 does not understand; expected a rosbag2")
    with ExitStack() as stack:
        bag = stack.enter_context(Bag(options.bag))
        log = None if options.log is None else stack.enter_context(options.log.open("w", newline=""))
        node = Node("play_bag", start_parameter_services=False)
        stack.callback(node.destroy_node)
        stack.enter_context(_spinning(node))
        for problem in bag.problems:
            node.get_logger().warning(problem)
        player = Player(node, options)
        player.listen()
        player.advertise(bag.topics)
        player.wait_for_listeners()
        if options.hold and not sys.stdin.readline():
            raise PlayError("--hold: standard input ended without the line that was waited for")
        player.play(bag, log)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m eomt_ros.node.play_bag", description="Play a bag on its topics.")
    parser.add_argument("bag", type=Path, help="a rosbag2")
    parser.add_argument(
        "--rate",
        type=float,
        default=1.0,
        help="how many times as fast, 0 for as fast as messages can go out (default: %(default)g)",
    )
    parser.add_argument("--loop", action="store_true", help="over and over; the stamps stay as they were recorded")
    parser.add_argument(
        "--clock",
        type=float,
        nargs="?",
        const=CLOCK_RATE,
        metavar="HZ",
        help="publish the bag's time on /clock, so often a second (default: %(const)g)",
    )
    parser.add_argument("--wait-for", nargs="*", default=(), metavar="TOPIC", help="start when these have a subscriber")
    parser.add_argument("--hold", action="store_true", help="then wait for a line on standard input, too")
    parser.add_argument(
        "--ahead",
        type=int,
        metavar="N",
        help="hold messages of --wait-for back while N of them have no result of their stamp on --of",
    )
    parser.add_argument("--of", metavar="TOPIC", help="where the results come, for --ahead")
    parser.add_argument(
        "--patience", type=float, default=30.0, help="seconds to wait for each of these (default: %(default)g)"
    )
    parser.add_argument("--log", type=Path, help="write when each message was published to this CSV file")
    arguments = parser.parse_args(remove_ros_args(sys.argv)[1:])
    if arguments.rate and not 0.01 <= arguments.rate <= 100:
        parser.error(f"--rate is {arguments.rate:g}, expected 0.01 to 100, or 0")
    if arguments.clock is not None and not 0.1 <= arguments.clock <= 1000:
        parser.error(f"--clock is {arguments.clock:g}, expected 0.1 to 1000 Hz")
    if (arguments.ahead is None) != (arguments.of is None) or (arguments.ahead and not arguments.wait_for):
        parser.error("--ahead, --of and --wait-for go together: how many images ahead of which results")
    if arguments.ahead is not None and arguments.ahead < 1:
        parser.error(f"--ahead is {arguments.ahead}, expected 1 or more")
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        play(Options(**{**vars(arguments), "wait_for": tuple(arguments.wait_for)}))
    except (PlayError, BagError) as error:
        print(f"play_bag: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


@contextmanager
def _spinning(node: Node) -> Iterator[None]:
    """Serve the node's callbacks in a thread of their own."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, name="spinner", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Not for ever: a player that cannot be stopped is worse than one that leaves a thread behind.
        executor.shutdown(timeout_sec=DELIVERY_PATIENCE)
        thread.join(DELIVERY_PATIENCE)


def _message_class(kind: str) -> type[Any]:
    package, _, name = kind.split("/")
    message_class: type[Any] = getattr(importlib.import_module(f"{package}.msg"), name)
    return message_class


if __name__ == "__main__":
    sys.exit(main())
