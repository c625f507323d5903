"""Plays a bag on its topics: `python -m eomt_ros.replay.play_bag BAG --wait-for /camera/image/compressed`.

Messages go out as they were recorded, byte for byte, at their own pace. For where `ros2 bag` is missing, and for an
evaluation, where `--ahead` holds images back until the results of those before them have come.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from eomt_ros.cli.stopping import SIGNALS, STOPPED, StoppedError, exit_code_of
from eomt_ros.signalled_event import SignalledEvent

CLOCK_RATE = 40.0  # Hz, as `ros2 bag play --clock`
STOP_PATIENCE = 3.0  # s that the player gets to leave the network and close its log


def main() -> NoReturn:
    """Play until the end, SIGINT or SIGTERM, and end the process."""
    stop, over = threading.Event(), SignalledEvent()

    def signalled(*_: object) -> None:
        stop.set()
        over.set()

    for number in SIGNALS:
        signal.signal(number, signalled)
    # In a thread, so that this one is free to react to a signal at any moment.
    player = ThreadPoolExecutor(1).submit(_play, _arguments(), stop)
    player.add_done_callback(lambda _: over.set())
    over.wait()
    if stop.is_set():
        wait([player], STOP_PATIENCE)
    code = STOPPED if stop.is_set() else player.result()
    sys.stdout.flush()
    sys.stderr.flush()
    # All that others could notice is closed, unless it cannot be interrupted: opening a large bag that is damaged, say.
    os._exit(code)


def _play(arguments: argparse.Namespace, stop: threading.Event) -> int:
    def run() -> None:
        # Here and not at the top: ROS takes a second or more to load, and by now signals are heeded.
        from eomt_ros.replay.player import PlayOptions, play

        with suppress(StoppedError):
            play(PlayOptions(**vars(arguments)), sys.argv, stop)

    return exit_code_of("play_bag", run)


def _arguments() -> argparse.Namespace:
    from rclpy.utilities import remove_ros_args

    parser = argparse.ArgumentParser(prog="python -m eomt_ros.replay.play_bag", description="Play a bag on its topics.")
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
        help="hold images of each topic of --wait-for back while N of them have no result of their stamp on --of",
    )
    parser.add_argument(
        "--of", nargs="*", default=(), metavar="TOPIC", help="where the results come, for --ahead; in the same order"
    )
    parser.add_argument(
        "--max-gap",
        type=float,
        default=2.0,
        metavar="S",
        help="the parameter of that node: with --ahead, images that are late by it are not waited for "
        "(default: %(default)g)",
    )
    parser.add_argument(
        "--patience", type=float, default=30.0, help="seconds to wait for each of these (default: %(default)g)"
    )
    parser.add_argument("--log", type=Path, help="write when each message was published to this CSV file")
    arguments = parser.parse_args(remove_ros_args(sys.argv)[1:])
    if arguments.rate and not 0.01 <= arguments.rate <= 100:
        parser.error(f"--rate is {arguments.rate:g}, expected 0.01 to 100, or 0")
    if arguments.clock is not None and not 0.1 <= arguments.clock <= 1000:
        parser.error(f"--clock is {arguments.clock:g}, expected 0.1 to 1000 Hz")
    if (arguments.ahead is None) != (not arguments.of) or (arguments.ahead and not arguments.wait_for):
        parser.error("--ahead, --of and --wait-for go together: how many images ahead of which results")
    if arguments.ahead is not None and arguments.ahead < 1:
        parser.error(f"--ahead is {arguments.ahead}, expected 1 or more")
    return arguments


if __name__ == "__main__":
    main()
