"""Plays a bag on its topics: `python -m eomt_ros.node.play_bag BAG --wait-for /camera/image/compressed`.

Messages go out as they were recorded, byte for byte, at their own pace. For where `ros2 bag` is missing.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import rclpy
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosbags.highlevel import AnyReader, AnyReaderError

if TYPE_CHECKING:
    from rclpy.publisher import Publisher
    from rosbags.interfaces import Connection

DEPTH = 100
LOOK_EVERY = 0.05  # s between two looks at who listens
DELIVERY_PATIENCE = 5.0  # s that reliable subscribers get to confirm what was sent last


class PlayError(Exception):
    """The bag cannot be played, or nobody listens."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    bag: Path
    rate: float
    wait_for: tuple[str, ...]
    patience: float
    log: Path | None


class Player:
    """Publishes the messages of one bag through `node`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publishers: dict[str, Publisher[Any]] = {}

    def advertise(self, connections: Iterable[Connection]) -> None:
        """Offer the topics whose types are installed; the others are named in a warning and left out."""
        qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        for connection in connections:
            try:
                kind = _message_class(connection.msgtype)
            except (ImportError, AttributeError):
                reason = f"{connection.msgtype} is not installed"
                self._node.get_logger().warning(f"{connection.topic} is not played: {reason}")
                continue
            self._publishers[connection.topic] = self._node.create_publisher(kind, connection.topic, qos)

    def wait_for(self, topics: tuple[str, ...], patience: float) -> None:
        """Return when every one of `topics` has a subscriber; raise PlayError after `patience` seconds without."""
        unknown = [topic for topic in topics if topic not in self._publishers]
        if unknown:
            raise PlayError(f"--wait-for {unknown[0]}: not played; played are {', '.join(sorted(self._publishers))}")
        executor = SingleThreadedExecutor()
        executor.add_node(self._node)
        deadline = time.monotonic() + patience
        while lonely := [topic for topic in topics if not self._publishers[topic].get_subscription_count()]:
            if time.monotonic() > deadline:
                raise PlayError(f"nobody subscribed to {', '.join(lonely)} within {patience:g} s")
            executor.spin_once(timeout_sec=LOOK_EVERY)
        executor.shutdown()

    def play(self, reader: AnyReader, rate: float, log: TextIO | None) -> None:
        """Publish all messages, `rate` times as fast as they were recorded, and wait until they are delivered.

        log: gets a CSV line per message: topic, time of recording (ns), time of publishing (ns of time.monotonic, which
        on Linux is the same clock in all processes).
        """
        connections = [connection for connection in reader.connections if connection.topic in self._publishers]
        lines = None if log is None else csv.writer(log)
        begin = time.monotonic()
        for connection, recorded, data in reader.messages(connections):
            due = begin + (recorded - reader.start_time) * 1e-9 / rate
            time.sleep(max(0.0, due - time.monotonic()))
            if lines is not None:
                lines.writerow((connection.topic, recorded, time.monotonic_ns()))
            self._publishers[connection.topic].publish(data)
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=DELIVERY_PATIENCE))


def play(options: Options) -> None:
    """Play a bag once. Raises PlayError."""
    with ExitStack() as stack:
        try:
            reader = stack.enter_context(AnyReader([options.bag]))
        except (OSError, AnyReaderError) as error:
            raise PlayError(f"{options.bag} cannot be read: {error}") from error
        log = None if options.log is None else stack.enter_context(options.log.open("w", newline=""))
        node = Node("play_bag", start_parameter_services=False)
        stack.callback(node.destroy_node)
        player = Player(node)
        player.advertise(reader.connections)
        player.wait_for(options.wait_for, options.patience)
        player.play(reader, options.rate, log)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m eomt_ros.node.play_bag", description="Play a bag on its topics.")
    parser.add_argument("bag", type=Path, help="a rosbag2")
    parser.add_argument("--rate", type=float, default=1.0, help="how many times as fast (default: %(default)g)")
    parser.add_argument("--wait-for", nargs="*", default=(), metavar="TOPIC", help="start when these have a subscriber")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds to wait for them (default: %(default)g)")
    parser.add_argument("--log", type=Path, help="write when each message was published to this CSV file")
    arguments = parser.parse_args()
    if not 0.01 <= arguments.rate <= 100:
        parser.error(f"--rate is {arguments.rate:g}, expected 0.01 to 100")
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        play(Options(arguments.bag, arguments.rate, tuple(arguments.wait_for), arguments.patience, arguments.log))
    except PlayError as error:
        print(f"play_bag: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


def _message_class(kind: str) -> type[Any]:
    package, _, name = kind.split("/")
    message_class: type[Any] = getattr(importlib.import_module(f"{package}.msg"), name)
    return message_class


if __name__ == "__main__":
    sys.exit(main())
