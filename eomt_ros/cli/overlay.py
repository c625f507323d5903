"""`eomt-ros overlay`: what a model finds, drawn into a video."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from eomt_ros.cli.model_arguments import add_model_arguments, load_model
from eomt_ros.cli.stopping import STOPPED, first_sets
from eomt_ros.errors import UserError


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "overlay",
        help="draw what a model finds in a bag, a video or pictures",
        description="Segment a bag, a video or pictures as one stream, and write a video with the segments drawn in.",
    )
    parser.set_defaults(command=run)
    parser.add_argument(
        "input", nargs="+", type=Path, help="a rosbag2 or rosbag1, a video file, pictures, or a folder of pictures"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="MP4", help="the video to write")
    parser.add_argument("--topic", help="topic of the images, in a bag that has several")
    add_model_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Writes the video, or until it is stopped, and returns the exit code. Raises `UserError`, `OSError`."""
    from tqdm import tqdm

    from eomt_ros.evaluation.counting import counted
    from eomt_ros.evaluation.predictions import EnginePredictions, found_in
    from eomt_ros.evaluation.sources import open_sequences
    from eomt_ros.evaluation.video import VideoWriter
    from eomt_ros.overlay import draw

    if any(options.out.resolve() == path.resolve() for path in options.input):
        raise UserError(f"--out {options.out} is the input itself, expected another file")
    sequences = open_sequences(options.input, topics=[options.topic] if options.topic else [])
    if len(sequences) != 1:
        names = ", ".join(each.name for each in sequences[:5])
        raise UserError(f"expected one recording at a time, got {len(sequences)}: {names}")
    (sequence,) = sequences
    predictions = EnginePredictions(load_model(options))
    predictions.start_sequence(sequence.name)
    stop = threading.Event()
    frames, start = 0, time.monotonic()
    with (
        VideoWriter(options.out) as video,
        first_sets(stop),
        closing(found_in(sequence.frames(), predictions)) as each,
    ):
        for frame, found in tqdm(each, total=sequence.count, unit="frame"):
            if found is not None:
                video.write(draw(frame.image, found, predictions.labels), frame.stamp)
                frames += 1
            if stop.is_set():
                break
    for problem in (*sequence.problems, *predictions.problems()):
        print(f"eomt-ros: {problem}", file=sys.stderr)
    if frames == 0:
        raise UserError(f"{options.input[0]} has no frames")
    stopped = ", stopped before its end" if stop.is_set() else ""
    print(f"{options.out}: {counted(frames, 'frame')}, {frames / (time.monotonic() - start):.1f} a second{stopped}")
    return STOPPED if stop.is_set() else 0
