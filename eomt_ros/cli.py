"""The command line: `eomt-ros models` and `eomt-ros overlay`. No ROS needed."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eomt_ros.engine import Segmenter

TASKS = ("semantic", "instance", "panoptic")


class UserError(Exception):
    """What the user asked for cannot be done; the message says why and what to do."""


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns the exit code: 1 where it cannot be done, 2 where it is not understood."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
    except (UserError, OSError) as error:
        print(f"eomt-ros: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("eomt-ros: stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="eomt-ros", description="Video segmentation for robots.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    models = commands.add_parser(
        "models",
        help="list the label tables that come with the package",
        description="List the label tables that come with the package: task, classes, and the checkpoints they fit.",
    )
    models.set_defaults(command=_models)

    overlay = commands.add_parser(
        "overlay",
        help="draw what a model finds in a bag, a video or pictures",
        description="Segment a bag, a video or pictures as one stream, and write a video with the segments drawn in.",
    )
    overlay.set_defaults(command=_overlay)
    overlay.add_argument(
        "input", nargs="+", type=Path, help="a rosbag2 or rosbag1, a video file, pictures, or a folder of pictures"
    )
    overlay.add_argument("--out", type=Path, required=True, metavar="MP4", help="the video to write")
    overlay.add_argument("--topic", help="of the images in a bag that has several")
    overlay.add_argument(
        "--model",
        default="demo",
        help="a folder with config.json and model.safetensors, a hub id such as "
        "tue-mps/videomt-dinov2-small-ytvis2019, or demo, which comes with the package (default: %(default)s)",
    )
    overlay.add_argument("--task", choices=TASKS, help="default: what the model is made for")
    overlay.add_argument("--labels", type=Path, metavar="YAML", help="a table of class names, in place of the model's")
    overlay.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    overlay.add_argument(
        "--score-threshold",
        type=float,
        metavar="0..1",
        help="leave out segments that score lower (default: panoptic 0.8, instance 0.5)",
    )
    overlay.add_argument(
        "--mask-threshold",
        type=float,
        default=0.5,
        metavar="0..1",
        help="a pixel belongs to a mask above this probability (default: %(default)s)",
    )
    overlay.add_argument(
        "--overlap-threshold",
        type=float,
        default=0.8,
        metavar="0..1",
        help="panoptic: leave out segments of which others cover more than the rest (default: %(default)s)",
    )
    return parser


def _models(options: argparse.Namespace) -> None:
    from eomt_ros.engine import LabelsError
    from eomt_ros.engine.labels import shipped_tables
    from eomt_ros.engine.shipped import shipped

    try:
        tables = list(shipped_tables())
    except LabelsError as error:
        raise UserError(str(error)) from error
    print(f"{'labels':<18}{'task':<10}{'things':>7}{'stuff':>7}  for checkpoints named")
    for table in tables:
        things = sum(table.is_thing)
        stuff = len(table.is_thing) - things
        print(f"{table.name:<18}{table.task:<10}{things:>7}{stuff:>7}  {', '.join(table.checkpoints)}")
    try:
        print(f"\nmodel demo comes with the package: {shipped('checkpoint', 'demo/checkpoint')}")
    except FileNotFoundError:
        print("\nmodel demo is missing from this installation")


def _overlay(options: argparse.Namespace) -> None:
    try:
        from tqdm import tqdm

        from eomt_ros.evaluation.sources import SourceError, open_source
        from eomt_ros.evaluation.video import VideoWriter
    except ImportError as error:
        raise UserError(f"{error.name} is missing: pip install 'eomt_ros[evaluation]'") from error
    from eomt_ros.engine import EngineError
    from eomt_ros.overlay import draw

    if any(options.out.resolve() == path.resolve() for path in options.input):
        raise UserError(f"--out {options.out} is the input itself, expected another file")
    try:
        with open_source(options.input, options.topic) as source, VideoWriter(options.out) as video:
            segmenter = _load(options)
            stream = segmenter.open_stream()
            frames, start = 0, time.monotonic()
            for frame in tqdm(source.frames, total=source.count, unit="frame"):
                result = segmenter.segment(frame.content, stream, stamp=frame.stamp * 1e-9)
                video.write(draw(frame.content, result, segmenter.labels), frame.stamp)
                frames += 1
    except (EngineError, SourceError) as error:
        raise UserError(str(error)) from error
    if frames == 0:
        raise UserError(f"{options.input[0]} has no frames")
    print(f"{options.out}: {frames} frames, {frames / (time.monotonic() - start):.1f} a second")


def _load(options: argparse.Namespace) -> Segmenter:
    from eomt_ros.engine import Segmenter

    try:
        return Segmenter.load(
            options.model,
            device=options.device,
            task=options.task,
            labels=options.labels,
            score_threshold=options.score_threshold,
            mask_threshold=options.mask_threshold,
            overlap_threshold=options.overlap_threshold,
        )
    except ValueError as error:
        raise UserError(str(error)) from error
