"""Networks of the published shapes. Their weights are random but for the heads, which are solved for to find what a
trained network finds, a dozen blobs: with anything else the time of a whole frame would say nothing about real use.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import VideomtForUniversalSegmentation, VideomtVideoProcessor

from eomt_ros.engine.backends.export_cache import exported, exports_beside
from eomt_ros.engine.model.checkpoint import load_checkpoint
from test.engine import reference
from test.engine.checkpoints import random_network, save

DEMO = Path(__file__).parent.parent / "demo" / "checkpoint"
SHAPES: dict[str, dict[str, Any]] = {
    "ViT-S 640": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "num_blocks": 3},
    "ViT-B 640": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "num_blocks": 3},
    "ViT-L 640": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "num_blocks": 4},
}
"""Those of videomt-dinov2-small, -base and -large."""

CLASSES = 40
"""As YouTube-VIS has."""
QUERIES = 200
KEPT = 12
"""Queries that are sure of a class."""


def write(name: str, image: np.ndarray, folder: Path) -> Path:
    """Writes the demo checkpoint, with the export that it ships with, or one of a published shape, without any."""
    if name == "demo":
        shutil.copytree(DEMO, folder)
    else:
        _write(SHAPES[name], image, folder)
    return folder


def export(model: Path) -> None:
    """Makes the export that `backend: auto` takes where OpenVINO is installed, as `eomt-ros export` does."""
    loaded = load_checkpoint(model)
    exported(loaded, torch.float32, [exports_beside(loaded)])


@torch.no_grad()
def _write(shape: dict[str, Any], image: np.ndarray, folder: Path) -> None:
    """Writes a checkpoint that finds `KEPT` segments in an image, (height, width, 3) uint8."""
    network = random_network(
        **shape,
        image_size=640,
        num_queries=QUERIES,
        mlp_ratio=4,
        num_register_tokens=4,
        id2label={index: f"class {index}" for index in range(CLASSES)},
    )
    # Every frame starts from the same queries, as Hugging Face's clip of one frame does: both find the same.
    nn.init.zeros_(network.query_updater.weight)
    nn.init.zeros_(network.query_updater.bias)
    _slow_waves(network.embeddings.position_embeddings.weight)
    for layer in network.upscale_block.block:  # no pattern within a patch
        layer.conv1.weight.copy_(layer.conv1.weight.mean((2, 3), keepdim=True))
        nn.init.constant_(layer.conv2.weight, 1 / 9)
    _solve_heads(network, image)
    save(network, folder)


def _slow_waves(positions: Tensor) -> None:
    """Position embeddings, (patches, hidden), by which neighbours are alike, so that masks have smooth outlines."""
    grid = round(len(positions) ** 0.5)
    y, x = torch.meshgrid(torch.linspace(0, 1, grid), torch.linspace(0, 1, grid), indexing="ij")
    phase, *frequency = 12 * torch.rand(3, positions.shape[1], generator=torch.Generator().manual_seed(0))
    waves = torch.outer(y.flatten(), frequency[0]) + torch.outer(x.flatten(), frequency[1]) + phase
    positions.copy_(2 * waves.sin())


def _solve_heads(network: VideomtForUniversalSegmentation, image: np.ndarray) -> None:
    """Sets the last layer of both heads so that the image's logits become those that post-processing is tried on."""
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def see(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        seen[module] = inputs[0].double(), output.double()

    heads = (network.class_predictor, network.mask_head.fc3, network.upscale_block)
    hooks = [module.register_forward_hook(see) for module in heads]
    clip = torch.from_numpy(image).permute(2, 0, 1)[None]
    network(**VideomtVideoProcessor()(videos=clip, return_tensors="pt"))
    for hook in hooks:
        hook.remove()

    features = seen[network.upscale_block][1][0]
    masks = reference.blobs(QUERIES, features.shape[1:]).double()
    vectors = _solve(features.flatten(1).T, masks.flatten(1).T).T
    _set(network.mask_head.fc3, seen[network.mask_head.fc3][0][0], vectors)
    classes = reference.confident(QUERIES, CLASSES, KEPT).double()
    _set(network.class_predictor, seen[network.class_predictor][0][0], classes)


def _set(layer: nn.Linear, inputs: Tensor, outputs: Tensor) -> None:
    layer.weight.copy_(_solve(inputs, outputs).T)
    nn.init.zeros_(layer.bias)


def _solve(inputs: Tensor, outputs: Tensor) -> Tensor:
    """The smallest weights with inputs @ weights ~ outputs, as far as they are well determined."""
    return torch.linalg.lstsq(inputs, outputs, rcond=1e-4, driver="gelsd").solution
