"""Names of weights: those of the authors' code to Hugging Face's.

The authors' code of EoMT and VidEoMT (github.com/tue-mps/eomt, models/; github.com/tue-mps/videomt,
videomt/modeling/backbone/) has a ViT of timm (DINOv2) or of transformers (DINOv3) with the queries and heads around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eomt_ros.engine.errors import CheckpointError, listed

TRAINING_ONLY = re.compile(r"(criterion\.|.*pixel_mean$|.*pixel_std$|.*\.mask_token$|.*\.rope_embeddings\.)")

HEADS = {
    r"q\.weight": "query.weight",
    r"class_head\.(weight|bias)": r"class_predictor.\1",
    r"mask_head\.0\.(weight|bias)": r"mask_head.fc1.\1",
    r"mask_head\.2\.(weight|bias)": r"mask_head.fc2.\1",
    r"mask_head\.4\.(weight|bias)": r"mask_head.fc3.\1",
    r"upscale\.(\d+)\.(conv1|conv2)\.(weight|bias)": r"upscale_block.block.\1.\2.\3",
    r"upscale\.(\d+)\.norm\.(weight|bias)": r"upscale_block.block.\1.layernorm2d.\2",
    r"query_updater\.(weight|bias)": r"query_updater.\1",
    r"attn_mask_probs": "attn_mask_probs",
    r"encoder\.backbone\.norm\.(weight|bias)": r"layernorm.\1",
    r"encoder\.backbone\.blocks\.(\d+)\.norm([12])\.(weight|bias)": r"layers.\1.norm\2.\3",
}
TIMM = {
    r"encoder\.backbone\.cls_token": "embeddings.cls_token",
    r"encoder\.backbone\.reg_token": "embeddings.register_tokens",
    r"encoder\.backbone\.pos_embed": "embeddings.position_embeddings.weight",
    r"encoder\.backbone\.patch_embed\.proj\.(weight|bias)": r"embeddings.patch_embeddings.projection.\1",
    r"encoder\.backbone\.blocks\.(\d+)\.attn\.qkv\.(weight|bias)": r"layers.\1.attention.{q,k,v}_proj.\2",
    r"encoder\.backbone\.blocks\.(\d+)\.attn\.proj\.(weight|bias)": r"layers.\1.attention.out_proj.\2",
    r"encoder\.backbone\.blocks\.(\d+)\.ls([12])\.gamma": r"layers.\1.layer_scale\2.lambda1",
    r"encoder\.backbone\.blocks\.(\d+)\.mlp\.fc([12])\.(weight|bias)": r"layers.\1.mlp.fc\2.\3",
}
TIMM_GATED = {
    r"encoder\.backbone\.blocks\.(\d+)\.mlp\.fc1\.(weight|bias)": r"layers.\1.mlp.{gate,up}_proj.\2",
    r"encoder\.backbone\.blocks\.(\d+)\.mlp\.fc2\.(weight|bias)": r"layers.\1.mlp.down_proj.\2",
}
TRANSFORMERS = {
    r"encoder\.backbone\.patch_embed\.(cls_token|register_tokens)": r"embeddings.\1",
    r"encoder\.backbone\.patch_embed\.patch_embeddings\.(weight|bias)": r"embeddings.patch_embeddings.\1",
    r"encoder\.backbone\.blocks\.(\d+)\.attention\.([qkvo]_proj\.(?:weight|bias))": r"layers.\1.attention.\2",
    r"encoder\.backbone\.blocks\.(\d+)\.attention\.qkv_proj\.(weight|bias)": r"layers.\1.attention.{q,k,v}_proj.\2",
    r"encoder\.backbone\.blocks\.(\d+)\.(layer_scale[12]\.lambda1)": r"layers.\1.\2",
    r"encoder\.backbone\.blocks\.(\d+)\.mlp\.((?:gate|up|down)_proj\.(?:weight|bias))": r"layers.\1.mlp.\2",
}
BACKBONE = {
    r"(?:model\.)?embeddings\.(cls_token|register_tokens)": r"embeddings.\1",
    r"(?:model\.)?embeddings\.patch_embeddings\.(weight|bias)": r"embeddings.patch_embeddings.\1",
    r"(?:model\.)?layer\.(\d+)\.(.+)": r"layers.\1.\2",
    r"(?:model\.)?norm\.(weight|bias)": r"layernorm.\1",
}
"""Names in transformers' own DINOv3."""


def own_names(content: Mapping[str, Any], source: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The weights by Hugging Face's names, and the file's names that have none."""
    content = {name.replace("_orig_mod.", ""): value for name, value in content.items()}
    prefixes = [name.removesuffix("class_head.weight") for name in content if name.endswith("class_head.weight")]
    if len(prefixes) != 1:
        raise CheckpointError(
            f"{source} has {len(prefixes)} class heads, expected one (class_head.weight): it is no EoMT or VidEoMT of "
            "their authors' code"
        )
    rules = {**HEADS, **(TRANSFORMERS if any(".attention." in name for name in content) else TIMM)}
    first, second = (content.get(f"{prefixes[0]}encoder.backbone.blocks.0.mlp.fc{i}.weight") for i in (1, 2))
    if first is not None and second is not None and first.shape[0] == 2 * second.shape[1]:
        rules = {**TIMM_GATED, **rules}
    weights: dict[str, Tensor] = {}
    left_out, unknown = [], []
    for name, value in content.items():
        inner = name.removeprefix(prefixes[0])
        mapped = renamed(inner, rules)
        if mapped is not None and isinstance(value, Tensor) and name.startswith(prefixes[0]):
            weights.update(split_weight(mapped, value))
        elif TRAINING_ONLY.match(inner) or TRAINING_ONLY.match(name):
            left_out.append(name)
        else:
            unknown.append(name)
    if unknown:
        raise CheckpointError(
            f"{source}: {len(unknown)} entries have no place in an EoMT or VidEoMT: {listed(unknown, 5)}"
        )
    if "layers.0.norm1.weight" not in weights:
        raise CheckpointError(f"{source} has no encoder.backbone.blocks.0.norm1.weight, so no backbone that is known")
    return weights, left_out


def renamed(name: str, rules: Mapping[str, str]) -> str | None:
    """The name by the first rule that fits; None where none does. rules: regular expressions and replacements."""
    for pattern, place in rules.items():
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(place)
    return None


def split_weight(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A tensor under its name; a name with braces stands for several, which share it in that order."""
    value = value.detach()
    if name == "embeddings.position_embeddings.weight":
        value = value.flatten(0, -2)
    braces = re.search(r"\{(.+)\}", name)
    parts = braces[1].split(",") if braces else [""]
    for part, piece in zip(parts, value.chunk(len(parts)), strict=True):
        yield (name.replace(braces[0], part) if braces else name), piece.clone(memory_format=torch.contiguous_format)
