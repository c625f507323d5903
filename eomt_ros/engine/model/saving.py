"""Writes networks as Hugging Face's own classes write them, with the label table beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from eomt_ros.engine.model.checkpoint import CONFIG
from eomt_ros.engine.model.labels import OWN_TABLE, Labels, table_text
from eomt_ros.engine.model.processor import FILES, IMAGENET_MEAN, IMAGENET_STD
from eomt_ros.engine.model.weights import WEIGHTS

ARCHITECTURES = {
    "videomt": "VideomtForUniversalSegmentation",
    "videomt_dinov3": "VideomtDinov3ForUniversalSegmentation",
    "eomt": "EomtForUniversalSegmentation",
    "eomt_dinov3": "EomtDinov3ForUniversalSegmentation",
}
"""Hugging Face's class by `model_type`; it has no VidEoMT on DINOv3."""


def write_files(folder: Path, config: Mapping[str, Any], weights: Mapping[str, Tensor], labels: Labels | None) -> None:
    """Writes `config.json`, `model.safetensors`, the processor's settings and the label table into a folder.

    config: content of `config.json`, but for architecture and class names. weights: by Hugging Face's names. labels:
    None for classes without names and a task that is not known; no table is written then.
    Raises `OSError`, `SafetensorError`.
    """
    names = labels.class_names if labels else [f"LABEL_{index}" for index in range(config["num_labels"])]
    content = {
        "architectures": [ARCHITECTURES[config["model_type"]]],
        **{name: value for name, value in config.items() if name != "num_labels"},
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }
    _write_json(folder / CONFIG, content)
    name, processor = _processor(config, labels.task if labels else None)
    _write_json(folder / name, processor)
    if labels:
        (folder / OWN_TABLE).write_text(table_text(labels), encoding="utf-8")
    save_file(dict(weights), folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # safetensors gives it to its owner alone


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _processor(config: Mapping[str, Any], task: str | None) -> tuple[str, Mapping[str, Any]]:
    """The file that Hugging Face's processor reads, and its content."""
    side = config["image_size"]
    common = {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD, "rescale_factor": 1 / 255}
    if config["model_type"].startswith("videomt"):
        size = {"height": side, "width": side}
        return FILES["video_processor"][0], {"video_processor_type": "VideomtVideoProcessor", "size": size, **common}
    windows = task == "semantic"
    return FILES["image_processor"][0], {
        "image_processor_type": "EomtImageProcessor",
        "size": {"shortest_edge": side, "longest_edge": None if windows else side},
        "do_split_image": windows,
        "do_pad": not windows,
        **common,
    }
