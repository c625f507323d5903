"""The arguments that choose a model and how it runs, of every command that loads one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from eomt_ros.errors import UserError

if TYPE_CHECKING:
    from eomt_ros.engine import Segmenter

TASKS = ("semantic", "instance", "panoptic")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds them to the arguments of a command; `load_model` then takes its options."""
    parser.add_argument(
        "--model",
        default="demo",
        help="a folder with config.json and model.safetensors, a hub id such as "
        "tue-mps/videomt-dinov2-small-ytvis2019, or demo, which comes with the package (default: %(default)s)",
    )
    parser.add_argument("--task", choices=TASKS, help="default: what the model is made for")
    parser.add_argument("--labels", type=Path, metavar="YAML", help="a table of class names, in place of the model's")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--precision", default="auto", help="auto, float32, bfloat16 or float16 (default: %(default)s)")
    parser.add_argument("--backend", default="auto", help="auto, torch, openvino or onnxruntime (default: %(default)s)")
    parser.add_argument(
        "--fit",
        default="stretch",
        help="how a picture is brought to VidEoMT's size: stretch, or keep_aspect as published (default: %(default)s)",
    )
    parser.add_argument(
        "--score-threshold",
        type=float,
        metavar="0..1",
        help="leave out segments that score lower (default of VidEoMT: panoptic 0.8, instance 0.5)",
    )
    parser.add_argument(
        "--compile",
        action=_Gone,
        nargs=0,
        help=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--mask-threshold",
        type=float,
        default=0.5,
        metavar="0..1",
        help="a pixel belongs to a mask above this probability (default: %(default)s)",
    )
    parser.add_argument(
        "--overlap-threshold",
        type=float,
        default=0.8,
        metavar="0..1",
        help="panoptic: leave out segments of which others cover more than the rest (default: %(default)s)",
    )
    parser.add_argument(
        "--score-memory",
        type=float,
        default=0.0,
        metavar="0..1",
        help="VidEoMT: how much of a query's class scores is remembered from frame to frame; 1: the mean of all, as "
        "published (default: %(default)s)",
    )
    parser.add_argument(
        "--top-k",
        type=int,
        default=0,
        metavar="COUNT",
        help="instance task: so many likeliest pairs of query and class can be instances, as published; 0: each query "
        "with its likeliest class (default: %(default)s)",
    )


class _Gone(argparse.Action):
    """Refuses an option of former versions."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.error(f"{self.option_strings[0]} is gone: frames run as CUDA graphs without it; leave it out")


def load_model(options: argparse.Namespace) -> Segmenter:
    """The model that the options ask for. Raises `UserError` for a value that is not one, `EngineError`."""
    from eomt_ros.engine import Segmenter

    try:
        return Segmenter.load(
            options.model,
            device=options.device,
            precision=options.precision,
            backend=options.backend,
            task=options.task,
            fit=options.fit,
            labels=options.labels,
            score_threshold=options.score_threshold,
            mask_threshold=options.mask_threshold,
            overlap_threshold=options.overlap_threshold,
            score_memory=options.score_memory,
            top_k=options.top_k,
        )
    except ValueError as error:
        raise UserError(str(error)) from error
