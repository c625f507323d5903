"""The options by which an evaluation speaks other people's formats, and counts by their metrics."""

from __future__ import annotations

import argparse

from eomt_ros.evaluation.formats.names import EXPORTED_FORMATS, KITTI_MOTS, TRACKEVAL, YOUTUBE_VIS


def add_format_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds them."""
    parser.add_argument(
        "--export",
        dest="exports",
        action="append",
        choices=EXPORTED_FORMATS,
        default=[],
        help="also write the predictions in a format that published scripts read, into exports/ in the folder; may be "
        "given several times",
    )
    parser.add_argument(
        "--metrics",
        choices=[TRACKEVAL],
        help="also count HOTA, IDF1 and YouTube-VIS AP by TrackEval, which has to be installed",
    )


def expect_installed(options: argparse.Namespace) -> None:
    """Raises `UserError` where a package is missing that the options need, before any recording is gone through."""
    if options.metrics == TRACKEVAL:
        from eomt_ros.evaluation.formats.track_counts import trackeval_metrics

        trackeval_metrics()
    if {YOUTUBE_VIS, KITTI_MOTS} & set(options.exports):
        from eomt_ros.evaluation.coco_masks import pycocotools_mask

        pycocotools_mask()
