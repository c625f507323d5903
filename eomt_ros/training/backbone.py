"""Plain pretrained backbones, as transformers saves them, as the backbone of a network with queries.

The authors of EoMT do the same with timm's DINOv2 (`vit_*_patch14_reg4_dinov2`, built for patches of 16) and
transformers' DINOv3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from eomt_ros.engine.errors import CheckpointError, first_line, listed
from eomt_ros.engine.model.authors_names import BACKBONE, renamed, split_weight
from eomt_ros.engine.model.checkpoint import CONFIG
from eomt_ros.engine.model.weights import FLOATS, read_weights, stored_weights, weight_files
from eomt_ros.engine.networks import Dinov2Settings, Dinov3Settings, QueryVit
from eomt_ros.engine.networks.dinov2 import resample_positions

DINOV2 = {
    r"embeddings\.(cls_token|register_tokens)": r"embeddings.\1",
    r"embeddings\.position_embeddings": "embeddings.position_embeddings.weight",
    r"embeddings\.patch_embeddings\.projection\.(weight|bias)": r"embeddings.patch_embeddings.projection.\1",
    r"encoder\.layer\.(\d+)\.attention\.attention\.(q)uery\.(weight|bias)": r"layers.\1.attention.\2_proj.\3",
    r"encoder\.layer\.(\d+)\.attention\.attention\.(k)ey\.(weight|bias)": r"layers.\1.attention.\2_proj.\3",
    r"encoder\.layer\.(\d+)\.attention\.attention\.(v)alue\.(weight|bias)": r"layers.\1.attention.\2_proj.\3",
    r"encoder\.layer\.(\d+)\.attention\.output\.dense\.(weight|bias)": r"layers.\1.attention.out_proj.\2",
    r"encoder\.layer\.(\d+)\.attention\.([qkv]_proj\.(?:weight|bias))": r"layers.\1.attention.\2",
    r"encoder\.layer\.(\d+)\.attention\.o_proj\.(weight|bias)": r"layers.\1.attention.out_proj.\2",
    r"encoder\.layer\.(\d+)\.mlp\.weights_in\.(weight|bias)": r"layers.\1.mlp.{gate,up}_proj.\2",
    r"encoder\.layer\.(\d+)\.mlp\.weights_out\.(weight|bias)": r"layers.\1.mlp.down_proj.\2",
    r"encoder\.layer\.(\d+)\.(.+)": r"layers.\1.\2",
    r"layernorm\.(weight|bias)": r"layernorm.\1",
}
"""Names in transformers' own DINOv2 with registers, those of version 4 and of its files, and those of version 5."""
PLAIN_BACKBONES: Mapping[str, tuple[type[Dinov2Settings] | type[Dinov3Settings], Mapping[str, str]]] = {
    "dinov2_with_registers": (Dinov2Settings, DINOV2),
    "dinov3_vit": (Dinov3Settings, BACKBONE),
}
"""Settings and names of weights, by `model_type`."""
NOT_OF_THE_BACKBONE = ("embeddings.mask_token", "classifier.weight", "classifier.bias")
"""For pretraining, and for classes of whole images."""
CLASSIFIERS_PREFIX = "dinov2_with_registers."
"""Of all names where the backbone was saved as part of a classifier."""

BACKBONE_PARTS = ("embeddings", "layers", "layernorm")
"""Of a network with queries, what a backbone has."""

PATCH = 16
"""Pixels of a side of DINOv2's patches in EoMT, pretrained with 14."""
LARGEST_PATCH = 64


def backbone_settings(config: Mapping[str, Any], folder: Path, **others: int) -> Dinov2Settings | Dinov3Settings:
    """The settings of a network on a backbone.

    config: the backbone's `config.json`. others: settings of the network with queries. Raises `CheckpointError`.
    """
    kind, _ = PLAIN_BACKBONES[config["model_type"]]
    if kind is Dinov2Settings:
        others["patch_size"] = PATCH
    defaults = {"num_register_tokens": 0} if kind is Dinov3Settings else {}
    try:
        settings = kind.from_config({**defaults, **config, **others})
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / CONFIG} describes no backbone that can be trained: {error}") from error
    if settings.num_channels != 3:
        raise CheckpointError(f"{folder / CONFIG}: num_channels is {settings.num_channels}, expected 3 (RGB images)")
    return settings


def backbone_weights(
    model_type: str, folder: Path, settings: Dinov2Settings | Dinov3Settings
) -> tuple[dict[str, Tensor], list[str]]:
    """The weights of a backbone, float32, by the names and in the sizes of a network on it, and what was resampled.

    Raises `CheckpointError` where weights are missing, unknown, of other shapes or not finite; `OSError`.
    """
    _, rules = PLAIN_BACKBONES[model_type]
    stored = stored_weights(weight_files(folder, "AutoModel"))
    no_floats = [name for name, each in stored.items() if each.type not in FLOATS]
    weights: dict[str, Tensor] = {}
    unknown = []
    try:
        for name, value in read_weights(stored, folder).items():
            plain = name.removeprefix(CLASSIFIERS_PREFIX)
            place = renamed(plain, rules)
            if place is not None:
                weights.update(split_weight(place, value))
            elif plain not in NOT_OF_THE_BACKBONE:
                unknown.append(name)
        notes = _resample(weights, settings) if isinstance(settings, Dinov2Settings) else []
        with torch.device("meta"):
            expected = {name: tuple(value.shape) for name, value in QueryVit(settings).state_dict().items()}
    except (RuntimeError, ValueError, IndexError, OverflowError) as error:  # as torch takes shapes of another kind
        raise CheckpointError(f"{folder} has a backbone of shapes that none has ({first_line(error)})") from error
    expected = {name: shape for name, shape in expected.items() if name.split(".")[0] in BACKBONE_PARTS}
    faults = {
        "missing": [name for name in expected if name not in weights],
        "unknown": unknown + [name for name in weights if name not in expected],
        "of another shape": [
            f"{name} is {tuple(value.shape)}, expected {expected[name]}"
            for name, value in weights.items()
            if name in expected and tuple(value.shape) != expected[name]
        ],
        "not floating point": no_floats,
        "with NaN or infinite numbers": [name for name, value in weights.items() if not bool(value.isfinite().all())],
    }
    found = [f"{len(names)} {fault} ({listed(names)})" for fault, names in faults.items() if names]
    if found:
        raise CheckpointError(
            f"the weights in {folder} are not those of its {CONFIG}: {'; '.join(found)}. Get it again"
        )
    return weights, notes


def _resample(weights: dict[str, Tensor], settings: Dinov2Settings) -> list[str]:
    """Brings DINOv2's positions and patches to the network's size; what has an odd shape stays, and is found later."""
    notes = []
    positions = weights.pop("embeddings.position_embeddings.weight", torch.zeros(0))
    token = weights.get("embeddings.cls_token", torch.zeros(0))
    side = math.isqrt(max(len(positions) - 1, 0))
    if positions.ndim == 2 and len(positions) == side * side + 1 > 1 and token.shape == (1, 1, positions.shape[1]):
        # The class token has its position added to it, and the patches have the others, as in EoMT.
        weights["embeddings.cls_token"] = token + positions[0]
        positions, old = positions[1:], (side, side)
        if old != settings.grid:
            positions = resample_positions(positions, old, settings.grid)
            notes.append(f"position embeddings resampled from {side}x{side} to {settings.grid[0]}x{settings.grid[1]}")
        weights["embeddings.position_embeddings.weight"] = positions
    name = "embeddings.patch_embeddings.projection.weight"
    kernel = weights.get(name, torch.zeros(0))
    old_patch = kernel.shape[-1] if kernel.ndim == 4 and kernel.shape[-1] == kernel.shape[-2] else 0
    if old_patch != settings.patch_size and 0 < old_patch <= LARGEST_PATCH:
        weights[name] = resample_patches(kernel, settings.patch_size)
        notes.append(f"patches of {old_patch} pixels resampled to {settings.patch_size}")
    return notes


def resample_patches(kernel: Tensor, patch: int) -> Tensor:
    """The projection (hidden, channels, p, p) of patches, for patches of another size.

    What it gives for a patch that is made larger (bicubic) is what the old one gives for the patch itself (Beyer et
    al., FlexiViT, CVPR 2023; timm's resample_patch_embed, by which EoMT's authors load DINOv2).
    """
    old = kernel.shape[-1]
    units = torch.eye(old * old, dtype=torch.float64).view(-1, 1, old, old)
    resized = F.interpolate(units, (patch, patch), mode="bicubic", antialias=True).flatten(1)
    flat = kernel.double().flatten(2) @ torch.linalg.pinv(resized).T
    return flat.unflatten(2, (patch, patch)).to(kernel.dtype)
