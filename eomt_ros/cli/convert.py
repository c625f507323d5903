"""`eomt-ros convert`: weights as their authors publish them become a model."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "convert",
        help="make a model of weights as their authors publish them",
        description="Make a folder that --model takes of a .pth or .bin file of the EoMT or VidEoMT repository. Every "
        "tensor gets its place or the file is refused, and no code in it is run.",
    )
    parser.set_defaults(command=run)
    parser.add_argument("source", type=Path, metavar="IN", help="the authors' file")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to make")
    parser.add_argument("--labels", type=Path, metavar="YAML", help="a table of the names of its classes")
    parser.add_argument(
        "--backbone",
        type=Path,
        metavar="SAFETENSORS",
        help="the DINOv3 that the weights are differences from, as the authors publish EoMT on DINOv3",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="what a network on DINOv3 was trained at (default: 640); one on DINOv2 says it itself",
    )
    parser.add_argument(
        "--norm-queries",
        action="store_true",
        help="VidEoMT on DINOv3 whose config says NORM_QUERIES: True (VIPSeg, VSPW)",
    )


def run(options: argparse.Namespace) -> None:
    """Converts the file and says what it was. Raises `EngineError`."""
    from eomt_ros.engine.errors import listed
    from eomt_ros.engine.model.convert import convert
    from eomt_ros.engine.model.families import FAMILIES
    from eomt_ros.engine.model.labels import load_labels

    done = convert(
        options.source,
        options.out,
        labels=load_labels(options.labels) if options.labels else None,
        backbone=options.backbone,
        image_size=options.image_size,
        norm_queries=options.norm_queries,
    )
    config = done.config
    print(
        f"{options.source}: {FAMILIES[done.model_type].name}, {config['num_hidden_layers']} layers of "
        f"{config['hidden_size']}, {config['num_queries']} queries, {config['num_labels']} classes, "
        f"{config['image_size']}x{config['image_size']}"
    )
    if done.model_type.endswith("_dinov3") and options.image_size is None:
        print(f"its size is not in the file: {config['image_size']} is a guess, give --image-size if it is another")
    print(f"{done.mapped} tensors mapped")
    if done.left_out:
        print(f"{len(done.left_out)} left out, which only training needs: {listed(done.left_out, 10)}")
    print(f"{options.out}: try it with --model {options.out}")
