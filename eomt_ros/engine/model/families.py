"""The model families: network, preprocessing and rules of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from eomt_ros.engine.errors import CheckpointError, first_line
from eomt_ros.engine.model.processor import Processor
from eomt_ros.engine.model.weights import load_weights
from eomt_ros.engine.networks import (
    Dinov2Settings,
    Dinov3Settings,
    Eomt,
    Mask2FormerSettings,
    Network,
    QueryVit,
    Videomt,
    load_mask2former,
)
from eomt_ros.engine.postprocess.frame import MASK2FORMER_RULES, QUERY_RULES, Rules
from eomt_ros.engine.preprocess.geometry import (
    LARGEST_LONG_SIDE,
    Fit,
    keep_aspect,
    pad_to_square,
    several_samples,
    sliding_windows,
    stretch,
    stretch_to_masks,
    stretch_to_multiple,
    unresized,
)

NetworkSettings = Dinov2Settings | Dinov3Settings | Mask2FormerSettings

MASK2FORMER_SHORT_SIDE = 800
"""Pixels of the shorter side of Mask2Former's images, where its processor is told nothing else."""
TRAINED_SHARE = 0.7
"""Short side of VidEoMT's images, as a share of its training size, where no label table says another: that of
YouTube-VIS, 448 of 640."""


@dataclass(frozen=True)
class Family:
    """One kind of network, and its use as published."""

    name: str
    """Its name in texts."""
    settings: Callable[[Mapping[str, Any]], NetworkSettings]
    """Reads `config.json`; raises `ValueError` that names the entry at fault."""
    load: Callable[[Any, Path], Network]
    """The network of these settings with the weights of a folder; raises `CheckpointError`."""
    size: Callable[[Any, Processor, str, int | None], int]
    """Shorter side of the input, by settings, processor, `fit` of `Segmenter.load`, and short side of the label table;
    0: that of the image."""
    fit: Callable[[Any, Processor, str, str, int], Fit]
    """How images are placed, by settings, processor, task, `fit`, and size."""
    score_thresholds: Mapping[str, float]
    """Hugging Face's defaults, by task."""
    rules: Rules
    """Rules of post-processing."""
    processor: str
    """The kind of its processor, as in `read_processor`."""
    fixed: Mapping[str, Any]
    """Settings of the processor of which it runs no others."""
    exports: bool = True
    """True if the network can be exported for other backends."""
    captures: bool = True
    """True if the network and the rules can be captured as CUDA graphs."""
    propagates: bool = False
    """True if queries go from frame to frame, so that each stays with its object."""
    top_k: str | None = None
    """Scores by which the authors choose the likeliest instances: of "classes" alone, or of "masks" too; None: they do
    not."""


def _load_vit(kind: type[QueryVit], settings: Dinov2Settings | Dinov3Settings, folder: Path) -> Network:
    try:
        with torch.device("meta"):  # shapes only: a wrong config.json must not cost memory before it is found out
            network = kind(settings)
    except (RuntimeError, TypeError, OverflowError) as error:  # how torch takes sizes beyond its integers
        raise CheckpointError(f"{folder} describes a network too large to build: {first_line(error)}") from error
    load_weights(network, folder, ignored=kind.TRAINING_ONLY)
    try:
        network.settle()
    except ValueError as error:
        raise CheckpointError(f"the weights in {folder}: {error}") from error
    return network.eval().requires_grad_(False)


def _size_of_vit(
    settings: Dinov2Settings | Dinov3Settings, processor: Processor, fit: str, short_side: int | None
) -> int:
    return settings.image_size


def _size_of_videomt(
    settings: Dinov2Settings | Dinov3Settings, processor: Processor, fit: str, short_side: int | None
) -> int:
    if fit == "keep_aspect":
        return short_side or round(TRAINED_SHARE * settings.image_size)
    return settings.image_size


def _fit_videomt(
    settings: Dinov2Settings | Dinov3Settings, processor: Processor, task: str, fit: str, size: int
) -> Fit:
    if fit == "keep_aspect":
        return keep_aspect(size)
    return stretch((size, size))


def _fit_eomt(settings: Dinov2Settings | Dinov3Settings, processor: Processor, task: str, fit: str, size: int) -> Fit:
    padded = processor.do_pad and not processor.do_split_image
    if task == "semantic" and not padded:  # so also by default: Hugging Face's network takes nothing but squares
        return sliding_windows(size)
    return pad_to_square(size)


def _size_of_mask2former(settings: Mask2FormerSettings, processor: Processor, fit: str, short_side: int | None) -> int:
    if not processor.do_resize:
        return 0
    return min(processor.size) if processor.size is not None else processor.shortest_edge or MASK2FORMER_SHORT_SIDE


def _fit_mask2former(settings: Mask2FormerSettings, processor: Processor, task: str, fit: str, size: int) -> Fit:
    if not processor.do_resize:
        return several_samples(unresized)
    if processor.size is not None:
        height, width = (round(side * size / min(processor.size)) for side in processor.size)
        return several_samples(stretch_to_masks((height, width), processor.size_divisor))
    longest = processor.longest_edge or LARGEST_LONG_SIDE
    return several_samples(stretch_to_multiple(size, longest, processor.size_divisor))


RESIZED = {"do_resize": True}

VIDEOMT = Family(
    "VidEoMT",
    Dinov2Settings.from_config,
    partial(_load_vit, Videomt),
    _size_of_videomt,
    _fit_videomt,
    {"panoptic": 0.8, "instance": 0.5},
    QUERY_RULES,
    "video_processor",
    {**RESIZED, "do_center_crop": False},
    propagates=True,
    top_k="classes",
)
EOMT = Family(
    "EoMT",
    Dinov2Settings.from_config,
    partial(_load_vit, Eomt),
    _size_of_vit,
    _fit_eomt,
    {"panoptic": 0.8, "instance": 0.8},
    QUERY_RULES,
    "image_processor",
    RESIZED,
    top_k="masks",
)
MASK2FORMER = Family(
    "Mask2Former",
    Mask2FormerSettings.from_config,
    load_mask2former,
    _size_of_mask2former,
    _fit_mask2former,
    {"panoptic": 0.5, "instance": 0.5},
    MASK2FORMER_RULES,
    "image_processor",
    {"pad_size": None},
    exports=False,
    captures=False,
)

FAMILIES = {
    "videomt": VIDEOMT,
    "videomt_dinov3": replace(VIDEOMT, name="VidEoMT-DINOv3", settings=Dinov3Settings.from_config),
    "eomt": EOMT,
    "eomt_dinov3": replace(EOMT, name="EoMT-DINOv3", settings=Dinov3Settings.from_config),
    "mask2former": MASK2FORMER,
}
"""By `model_type`, as `config.json` has it."""
