"""`make demo`: the real node on the demo bag, each in its own process, over real topics.

Leaves `overlay.mp4`, `overlay.png` (a contact sheet) and `bag` (the node's outputs) in `demo_out`; ends with a summary.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from tqdm import tqdm

from eomt_ros.node.children import Child, ChildError as DemoError
from demo.recorder import Observations, Recorder
from demo.summary import score, summary
from eomt_ros.evaluation.bag import Bag, BagError
from eomt_ros.evaluation.output_bag import OutputBag
from eomt_ros.evaluation.sheet import ContactSheet
from eomt_ros.evaluation.video import VideoWriter

ROOT = Path(__file__).parent.parent
CAMERA = "/camera/image"
IMAGES = f"{CAMERA}/compressed"
VIDEO, SHEET, OUTPUTS = "overlay.mp4", "overlay.png", "bag"

LOOK_EVERY = 0.1  # s between two looks at whether the processes still run
START_PATIENCE = 180.0  # s for the node to load its model
RESULT_PATIENCE = 120.0  # s for the player's start and all results, beyond the length of the bag
REPORT_PATIENCE = 10.0  # s for the node's diagnostics, which come every second


class Stopped(Exception):  # noqa: N818 (it is no error)
    """Ctrl-C, or SIGTERM: not a failure, but there is nothing to summarise."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    bag: Path
    model: str
    out: Path


def run(options: Options, stop: threading.Event) -> str:
    """Run the demo and return its summary. Raises DemoError, and Stopped once `stop` is set."""
    stamps = _stamps(options.bag)
    _clear(options.out)
    variables = _network()
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eomt_ros_demo_")))
        print(f"[1/3] starting the node with model {options.model} (ROS_DOMAIN_ID={variables['ROS_DOMAIN_ID']})")
        segment = stack.enter_context(Child("the node", _node_command(options.model), logs / "node.log", variables))
        published, seen = _play_and_record(options, stamps, segment, logs, variables, stop)
        if segment.stop() != 0:
            raise segment.failure(f"did not end well: code {segment.code}")
    print("[3/3] comparing with the ground truth")
    return summary(published, seen, score(options.bag, options.out / OUTPUTS, seen.class_names))


def _play_and_record(
    options: Options,
    stamps: Sequence[int],
    segment: Child,
    logs: Path,
    variables: dict[str, str],
    stop: threading.Event,
) -> tuple[dict[int, int], Observations]:
    """When each frame was published, by stamp, and what came of it."""
    sheet = ContactSheet()
    with (
        Participant(stop) as participant,
        OutputBag(options.out / OUTPUTS) as bag,
        VideoWriter(options.out / VIDEO) as video,
    ):
        recorder = Recorder(participant.node, bag, video, sheet, stamps)
        participant.wait_until(
            lambda: not recorder.missing_topics, START_PATIENCE, [segment], lambda: f"topics {recorder.missing_topics}"
        )
        log = logs / "published.csv"
        seconds = (stamps[-1] - stamps[0]) * 1e-9
        print(f"[2/3] playing {len(stamps)} frames, {seconds:.0f} s, from a second process")
        with (
            Child("the player", _player_command(options.bag, log), logs / "player.log", variables, ends=True) as player,
            tqdm(total=len(stamps), unit="frame") as progress,
        ):

            def all_came() -> bool:
                progress.update(bisect_right(stamps, recorder.newest) - progress.n)
                return player.code == 0 and not recorder.missing_results

            participant.wait_until(
                all_came,
                seconds + RESULT_PATIENCE,
                [segment, player],
                lambda: f"the last frame's results on {recorder.missing_results}",
            )
        published = _published(log, stamps)
        participant.wait_until(
            lambda: recorder.accounted >= len(published), REPORT_PATIENCE, [segment], lambda: "the node's last report"
        )
    sheet.write(options.out / SHEET)
    return published, recorder.seen


class Participant:
    """The demo's own node, served within the `with` block while it waits for something."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node("demo", start_parameter_services=False)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def __enter__(self) -> Participant:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def wait_until(
        self, done: Callable[[], bool], patience: float, children: Sequence[Child], what: Callable[[], str]
    ) -> None:
        """Take what comes until `done`.

        Raises Stopped when somebody wants to, DemoError when a child fails meanwhile, or `what` has not come within
        `patience` seconds.
        """
        deadline = time.monotonic() + patience
        while not done():
            if self._stop.is_set():
                raise Stopped
            for child in children:
                child.check()
            if time.monotonic() > deadline:
                raise children[0].failure(f"was waited for: {what()} did not come within {patience:.0f} s")
            self._executor.spin_once(timeout_sec=LOOK_EVERY)


def _stamps(path: Path) -> list[int]:
    """The stamps of the frames in a bag, in nanoseconds."""
    try:
        with Bag(path) as bag:
            stamps = [message.stamp for message in bag.messages(IMAGES)]
    except BagError as error:
        raise DemoError(str(error)) from error
    if not stamps:
        raise DemoError(f"{path} has no images on {IMAGES}")
    return stamps


def _clear(out: Path) -> None:
    """Make the output folder, without what an earlier run left there; anything else stays."""
    recorded = out / OUTPUTS
    try:
        out.mkdir(parents=True, exist_ok=True)
        for made in (out / VIDEO, out / SHEET, recorded / f"{OUTPUTS}.mcap", recorded / "metadata.yaml"):
            made.unlink(missing_ok=True)
        if recorded.exists():
            recorded.rmdir()
    except OSError as error:
        raise DemoError(
            f"{out} cannot be made ready: {error}; remove it, or choose another folder with --out"
        ) from error


def _network() -> dict[str, str]:
    """Environment variables, set for this process too, of a ROS graph of the demo's own on this machine."""
    os.environ["ROS_DOMAIN_ID"] = str(_free_domain())
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    before_fast_dds_3 = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    old, new = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
    if old not in os.environ and new not in os.environ:
        os.environ[old if before_fast_dds_3 else new] = str(ROOT / "config" / "fastdds.xml")
    return dict(os.environ)


def _free_domain() -> int:
    """A ROS domain that no program on this machine takes part in, so that no robot is disturbed."""
    # Domains above 101 collide with the ports that Linux hands out to programs.
    domains = random.sample(range(1, 102), 20)
    for domain in domains:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", 7410 + 250 * domain))  # the first participant's port (DDSI-RTPS, 9.6.2.1)
            except OSError:
                continue
            return domain
    raise DemoError(f"all of the ROS domains {sorted(domains)} are in use on this machine")


def _node_command(model: str) -> list[str]:
    parameters = {
        "model": f"'{model}'",
        "task": "panoptic",
        "policy": "latest",
        "image_transport": "compressed",
        "reliability": "reliable",
        "depth": "100",
    }
    command = [sys.executable, "-m", "eomt_ros.node.segment_node", "--ros-args", "-r", f"image:={CAMERA}"]
    return command + [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]


def _player_command(bag: Path, log: Path) -> list[str]:
    return [sys.executable, "-m", "eomt_ros.node.play_bag", str(bag), "--wait-for", IMAGES, "--log", str(log)]


def _published(log: Path, stamps: Sequence[int]) -> dict[int, int]:
    """When each frame was published, by its stamp: the player logs them in the order of the bag."""
    with log.open(newline="") as file:
        times = [int(published) for topic, _, published in csv.reader(file) if topic == IMAGES]
    return dict(zip(stamps, times, strict=True))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.run", description="Run the node on the demo bag.")
    parser.add_argument("--bag", type=Path, default=ROOT / "demo" / "bag", help="a rosbag2 (default: the demo bag)")
    parser.add_argument("--model", default="demo", help="folder, hub id or demo (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "demo_out", help="folder for what it leaves (default: demo_out)"
    )
    arguments = parser.parse_args()
    stop = threading.Event()
    # No exception out of the handler: it would come between the start of a process and the note that it must be ended.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        report = run(Options(arguments.bag, arguments.model, arguments.out), stop)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except Stopped:
        print("demo: stopped", file=sys.stderr)
        return 130
    print(f"\n{report}\n")
    for name in (VIDEO, SHEET, OUTPUTS):
        print(f"left {os.path.relpath(arguments.out / name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
