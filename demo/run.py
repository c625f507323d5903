"""`make demo`: the real node on the demo bag, each in its own process, over real topics.

Leaves in `demo_out` what an evaluation does (`report.html`, `metrics.json`, `overlay.mp4`, and `bag` with the node's
results) and `overlay.png`, a contact sheet; ends with the figures. `make demo CAMERAS=2` gives the node two cameras.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from demo import RIG_SEEDS
from demo.sheet import ContactSheet
from eomt_ros.cli.evaluate import summary
from eomt_ros.cli.stopping import StopSignals, exit_code_of
from eomt_ros.errors import UserError
from eomt_ros.evaluation.bag import Bag
from eomt_ros.evaluation.output_folder import OVERLAY
from eomt_ros.node.fast_dds import profile_variables
from eomt_ros.printable import printable
from eomt_ros.replay.bag_images import listen_to
from eomt_ros.replay.children import Child
from eomt_ros.replay.evaluate_bag import (
    Evaluation,
    ReplayOptions,
    evaluate_bag,
    exit_code,
    replay_summary,
)
from eomt_ros.replay.participant import Participant
from eomt_ros.video import frame_count, read_video

ROOT = Path(__file__).parent.parent
SHEET = "overlay.png"
SHEET_WIDTH = 1440  # pixels
TILES = 12
ODOMETRY, ODOMETRY_FRAME = "/odom", "odom"
BAGS = {"1": ROOT / "demo" / "bag", "2": ROOT / "demo" / "rig"}
"""By the number of cameras."""
SIZE = 320
"""Above the demo model's own: at ten frames a second there is time to see more."""


class DemoError(UserError):
    """The demo cannot be run on this machine; the message says why."""


def run(options: ReplayOptions, model: str, stop: StopSignals, cameras: Sequence[str] = ()) -> Evaluation:
    """Start the node, and evaluate it on the bag.

    cameras: their names, in the order of the topics; none: the node has one, which needs no name. Raises
    UserError, OSError, and StoppedError where nothing came before it was to stop.
    """
    _enter_own_network()
    print(f"starting the node with model {model} (ROS_DOMAIN_ID={os.environ['ROS_DOMAIN_ID']})", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="eomt_ros_demo_") as logs,
        Participant("demo") as participant,
        Child("the node", node_command(options, model, cameras), Path(logs) / "node.log") as segment,
    ):
        evaluation = evaluate_bag(options, participant, stop, [segment])
        if segment.stop() != 0:
            raise segment.failure(f"did not end well: code {segment.code}")
    if OVERLAY in evaluation.results.files.values():
        _write_sheet(options.out)
    return evaluation


def _enter_own_network() -> None:
    """A ROS graph of the demo's own on this machine, for this process and those that it starts."""
    os.environ["ROS_DOMAIN_ID"] = str(_free_domain())
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.update(profile_variables(ROOT / "config" / "fastdds.xml"))


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


def node_command(options: ReplayOptions, model: str, cameras: Sequence[str]) -> list[str]:
    """The command that starts the node for the images of a bag; cameras: names, none for the only one."""
    image_topics, image_transport = listen_to(options.bag, options.topics, options.truth)
    names = [f"{camera}/image" for camera in cameras] or ["image"]
    remapped = dict(zip(names, image_topics, strict=True))
    parameters = {
        "model": f"'{model}'",
        "task": "panoptic",
        "policy": "latest",
        "image_transport": image_transport,
        "reliability": "reliable",
        "qos_depth": "100",
        **({"cameras": f"[{', '.join(cameras)}]"} if cameras else {}),
        **({"taxonomy": "demo"} if model == "demo" else {}),
        **({"size": str(SIZE)} if model == "demo" and not cameras else {}),
    }
    with Bag(options.bag) as bag:
        topics = set(bag.topics)
    spaces = {name.removesuffix("image"): topic.rpartition("/")[0] for name, topic in remapped.items()}
    if all({f"{space}/depth/compressed", f"{space}/camera_info"} <= topics for space in spaces.values()):
        parameters["depth"] = "compressed"
        for name, space in spaces.items():
            remapped |= {f"{name}depth": f"{space}/depth", f"{name}camera_info": f"{space}/camera_info"}
        # The cameras of the rig are in worlds of their own: no odometry holds for both.
        if not cameras and ODOMETRY in topics:
            parameters |= {"motion": "odometry", "target_frame": ODOMETRY_FRAME}
            remapped["odom"] = ODOMETRY
    command = [sys.executable, "-m", "eomt_ros.node.segment_node", "--ros-args"]
    command += [word for name, topic in remapped.items() for word in ("-r", f"{name}:={topic}")]
    return command + [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]


def _write_sheet(out: Path) -> None:
    frames = frame_count(out / OVERLAY) or 1
    chosen = {round(number) for number in np.linspace(0, frames - 1, TILES)}
    pictures = [frame for number, frame in enumerate(read_video(out / OVERLAY)) if number in chosen]
    height, width, _ = pictures[0].image.shape
    columns = 2 if width > 2 * height else 3
    sheet = ContactSheet(columns=columns, tile_width=SHEET_WIDTH // columns)
    for frame in pictures:
        sheet.add(frame.image, f"{frame.stamp * 1e-9:.1f} s")
    sheet.write(out / SHEET)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.run", description="Run the node on the demo bag.")
    parser.add_argument(
        "--cameras", default="1", help="1 or 2, each in a world of its own: CAMERAS of `make` (default: %(default)s)"
    )
    parser.add_argument("--bag", type=Path, help="a rosbag2 (default: the demo's for so many cameras)")
    parser.add_argument("--model", default="demo", help="folder, hub id or demo (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "demo_out", help="folder for what it leaves (default: demo_out)"
    )
    arguments = parser.parse_args()

    def run_it() -> int:
        if arguments.cameras not in BAGS:
            raise DemoError(f"CAMERAS is '{printable(arguments.cameras)}', expected 1 or 2: the demo has two worlds")
        cameras = () if arguments.cameras == "1" else tuple(RIG_SEEDS)
        options = ReplayOptions(
            arguments.bag or BAGS[arguments.cameras],
            arguments.out,
            overwrite=True,
            topics=[f"/{camera}/image/compressed" for camera in cameras],
            words=("python", "-m", "demo.run", *sys.argv[1:]),
        )
        with StopSignals() as stop:
            evaluation = run(options, str(arguments.model), stop, cameras)
        print(f"\n{summary(evaluation.results)}\n{replay_summary(evaluation.results)}\n")
        for path in sorted(arguments.out.iterdir()):
            print(f"left {os.path.relpath(path)}")
        return exit_code(evaluation, stop)

    return exit_code_of("demo", run_it)


if __name__ == "__main__":
    sys.exit(main())
