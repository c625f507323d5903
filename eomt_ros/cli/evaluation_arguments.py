"""The options of all programs that evaluate: the ground truth, and the folder to write."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eomt_ros.evaluation.sources import TruthSource

LARGEST_TOLERANCE = 60.0
"""Seconds."""


def add_input_arguments(parser: argparse.ArgumentParser, split: str, *, several: bool = False) -> None:
    """Adds the recordings, and which part of a data set is meant. split: the one that is meant without the option.

    several: an input may also stand for several recordings, see `fleet.inputs`.
    """
    one = (
        "rosbag2 or rosbag1 bags, video files, pictures, folders of pictures, or the folder of VIPSeg, VSPW, "
        "YouTube-VIS, OVIS or COCO panoptic"
    )
    many = "; folders of these, patterns ('day*/*.mcap'), or @FILE with one in each line"
    parser.add_argument(
        "input", nargs="+", type=_path_or_url if several else Path, help=f"{one}{many if several else ''}"
    )
    parser.add_argument("--split", default=split, help="of a data set: train, val or test (default: %(default)s)")


def _path_or_url(text: str) -> Path | str:
    return text if "://" in text else Path(text)


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say where to write, and what."""
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the evaluation that is in the folder")
    parser.add_argument("--no-video", action="store_true", help="write no overlay.mp4")


def add_truth_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say where images and ground truth are, and what the ground truth means."""
    parser.add_argument(
        "--topic",
        dest="topics",
        action="append",
        default=[],
        help="topic of the images, in a bag that has several; given several times, each camera is evaluated",
    )
    parser.add_argument(
        "--truth",
        type=Path,
        metavar="FOLDER",
        help="ground truth in PNG files named by stamp or index: semantic/ and panoptic/, or classes only",
    )
    parser.add_argument(
        "--truth-classes",
        metavar="TOPIC",
        help="ground truth in a bag: images of class ids (default: /ground_truth/semantic, or the same in the camera's "
        "namespace; {camera} stands for each of several cameras)",
    )
    parser.add_argument(
        "--truth-instances",
        metavar="TOPIC",
        help="and images of ids of things (default: /ground_truth/panoptic likewise)",
    )
    parser.add_argument(
        "--truth-map",
        metavar="MAP",
        help="what the values of the classes mean, where they are not the model's ids: offset=-1 (numbered from 1), "
        "ignore=200, channel=r, 7=road, '#804080=road', several with commas between them, or a YAML file",
    )
    parser.add_argument(
        "--truth-tolerance",
        type=float,
        metavar="SECONDS",
        help="how far the stamp of a ground truth may be from its frame's (default: half way to the next frame)",
    )


def truth_source(options: argparse.Namespace) -> TruthSource:
    """The ground truth that the options describe. Raises `SourceError`."""
    from eomt_ros.evaluation.sources import SourceError, TruthSource
    from eomt_ros.evaluation.sources.truth_map import TruthMap, parse_truth_map

    seconds = options.truth_tolerance
    if seconds is not None and not 0 <= seconds <= LARGEST_TOLERANCE:
        raise SourceError(f"--truth-tolerance is {seconds:g}, expected 0 to {LARGEST_TOLERANCE:g} s")
    return TruthSource(
        classes_topic=options.truth_classes,
        instances_topic=options.truth_instances,
        folder=options.truth,
        map=TruthMap() if options.truth_map is None else parse_truth_map(options.truth_map),
        tolerance=None if seconds is None else round(seconds * 1e9),
    )
