"""`eomt-ros export`: the network as OpenVINO and ONNX Runtime run it, made ahead of time."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "export",
        help="export a model for OpenVINO and ONNX Runtime, ahead of time",
        description="Export a model's network to ONNX, for the backends openvino and onnxruntime. They would do it at "
        "their first start; a robot that finds the export next to the model needs neither the time nor the exporter.",
    )
    parser.set_defaults(command=run)
    parser.add_argument("model", help="a folder with config.json and model.safetensors, a hub id, or demo")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where to put it (default: the folder 'exported' next to model.safetensors, where it is looked for, "
        "in place of what was exported of other weights)",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "float16"),
        default="float32",
        help="float32 for a CPU, float16 for ONNX Runtime on a GPU (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> None:
    """Exports the model and says where to. Raises `EngineError`."""
    from eomt_ros.engine.backends.export_cache import exported, exports_beside, remove_outdated
    from eomt_ros.engine.device import PRECISIONS
    from eomt_ros.engine.model.checkpoint import load_checkpoint

    loaded = load_checkpoint(options.model)
    entry = exported(loaded, PRECISIONS[options.precision], [options.out or exports_beside(loaded)])
    if options.out is None:
        remove_outdated(entry)
    print(entry)
