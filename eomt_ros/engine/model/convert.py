"""Converts weights as their authors publish them to a folder in Hugging Face's format.

Every tensor of such a `.pth` or `.bin` file has a place in the network or is for training only, or the file is refused.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eomt_ros.engine.errors import CheckpointError, first_line
from eomt_ros.engine.model.authors_names import BACKBONE, own_names, renamed
from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.engine.model.labels import Labels
from eomt_ros.engine.model.saving import write_files
from eomt_ros.engine.model.torch_file import read_tensors
from eomt_ros.engine.model.weights import read_weights, stored_weights

CHANNELS_PER_HEAD = 64
"""In every DINOv2 and DINOv3."""
PIXEL_STD = "encoder.pixel_std"
"""Holds beside the weights of EoMT's files; all 0 in a file of differences, since no training changes it."""


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion."""

    model_type: str
    config: Mapping[str, Any]
    mapped: int
    """Number of the file's tensors that have a place in the network."""
    left_out: tuple[str, ...]
    """Tensors that only training needs."""


def convert(
    source: Path,
    out: Path,
    *,
    labels: Labels | None = None,
    backbone: Path | None = None,
    image_size: int | None = None,
    norm_queries: bool = False,
) -> Conversion:
    """Writes `config.json`, `model.safetensors`, the processor's settings and the label table into the new folder
    `out`.

    source: the authors' file. labels: the classes, in the order of the class logits, and the task. backbone: the
    safetensors file of the DINOv3 that a file of differences (all of EoMT's on DINOv3 that are published) belongs to.
    image_size: of the square that a network on DINOv3 was trained at, which its weights do not say; 640 if not given.
    norm_queries: whether VidEoMT on DINOv3 normalises what it hands on (`NORM_QUERIES` in the authors' configs: VIPSeg
    and VSPW).

    Raises `CheckpointError` for a file that is none, holds objects, or does not fit; `OSError`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out} is there already, expected a new or an empty folder")
    content = read_tensors(source)
    try:
        weights, left_out = own_names(content, source)
        model_type = _model_type(weights)
        config = _config(weights, model_type, image_size, norm_queries, source)
    except (ValueError, IndexError, RuntimeError, ZeroDivisionError) as error:  # as torch takes shapes of another kind
        raise CheckpointError(
            f"{source} has weights of shapes that no EoMT or VidEoMT has ({first_line(error)}); get it again"
        ) from error
    if norm_queries and model_type != "videomt_dinov3":
        raise CheckpointError(
            f"norm_queries is for VidEoMT on DINOv3, but {source} is of {model_type} and hands on no such queries; "
            "leave it out"
        )
    differences = _differences(content, model_type, source)
    if differences and backbone is None:
        raise CheckpointError(
            f"{source} holds differences from the weights of a DINOv3, as the authors publish them; get that DINOv3 "
            "from its makers and give its model.safetensors as the backbone"
        )
    if backbone is not None:
        if not differences:
            raise CheckpointError(f"{source} holds whole weights, to which no backbone is added; leave it out")
        _add(weights, backbone)
    if labels and len(labels.class_names) != config["num_labels"]:
        raise CheckpointError(
            f"labels: the table {labels.name} has {len(labels.class_names)} classes, but {source} has "
            f"{config['num_labels']}; give a table with one entry per class, in the order of the class logits"
        )
    _write(out, config, weights, labels, source)
    return Conversion(model_type, config, len(content) - len(left_out), tuple(left_out))


def _differences(content: Mapping[str, Any], model_type: str, source: Path) -> bool:
    """True if the weights are differences from those before training, as EoMT on DINOv3 is published."""
    stds = [value for name, value in content.items() if name.endswith(PIXEL_STD) and isinstance(value, Tensor)]
    if model_type == "eomt_dinov3" and len(stds) != 1:
        raise CheckpointError(
            f"{source} has no {PIXEL_STD}, which tells whole weights from differences; get it again as it is published"
        )
    return len(stds) == 1 and not stds[0].any()


def _add(weights: dict[str, Tensor], backbone: Path) -> None:
    """Adds a backbone's weights to differences from them."""
    try:
        theirs = read_weights(stored_weights([backbone]), backbone)
    except OSError as error:
        raise CheckpointError(f"{backbone} cannot be read: {error.strerror}") from error
    added = 0
    for name, value in theirs.items():
        place = renamed(name, BACKBONE)
        if place in weights:
            if weights[place].shape != value.shape:
                raise CheckpointError(
                    f"{backbone}: {name} is {tuple(value.shape)}, expected {tuple(weights[place].shape)}: it is not "
                    "the DINOv3 that the weights were made from"
                )
            weights[place] = weights[place].float() + value
            added += 1
    expected = sum(name.startswith(("embeddings.", "layers.", "layernorm.")) for name in weights)
    if added != expected:
        raise CheckpointError(
            f"{backbone} has {added} of the {expected} weights of the backbone: it is not the DINOv3 that the weights "
            "were made from"
        )
    # -1 as a difference from the 1 that training begins with; the authors run these models without masks.
    if "attn_mask_probs" in weights:
        weights["attn_mask_probs"] = torch.zeros_like(weights["attn_mask_probs"])


def _model_type(weights: Mapping[str, Tensor]) -> str:
    family = "videomt" if "query_updater.weight" in weights else "eomt"
    return family if "embeddings.position_embeddings.weight" in weights else f"{family}_dinov3"


def _config(
    weights: Mapping[str, Tensor], model_type: str, image_size: int | None, norm_queries: bool, source: Path
) -> dict[str, Any]:
    """The content of Hugging Face's config.json, but for architecture and class names."""

    def shape(name: str) -> torch.Size:
        if name not in weights:
            raise CheckpointError(f"{source} has no {name} (by Hugging Face's name); get it again")
        return weights[name].shape

    dinov3 = model_type.endswith("_dinov3")
    patches = shape(f"embeddings.patch_embeddings.{'' if dinov3 else 'projection.'}weight")
    queries, hidden = shape("query.weight")
    config: dict[str, Any] = {
        "model_type": model_type,
        "num_labels": shape("class_predictor.weight")[0] - 1,
        "hidden_size": hidden,
        "num_hidden_layers": _count(weights, "layers"),
        "num_attention_heads": hidden // CHANNELS_PER_HEAD,
        "hidden_act": "gelu",
        "patch_size": patches[-1],
        "num_channels": patches[1],
        "num_upscale_blocks": _count(weights, "upscale_block.block"),
        "num_blocks": shape("attn_mask_probs")[0],
        "num_queries": queries,
        "num_register_tokens": shape("embeddings.register_tokens")[1],
    }
    gated = "layers.0.mlp.gate_proj.weight" in weights
    if not dinov3:
        side = math.isqrt(shape("embeddings.position_embeddings.weight")[0]) * patches[-1]
        if image_size not in (None, side):
            raise CheckpointError(f"image_size is {image_size}, but {source} was trained at {side}; leave it out")
        ratio = 4 if gated else shape("layers.0.mlp.fc1.weight")[0] // hidden
        return {**config, "image_size": side, "mlp_ratio": ratio, "use_swiglu_ffn": gated, "layer_norm_eps": 1e-6}
    if gated:
        raise CheckpointError(
            f"{source} has a gated DINOv3, for which Hugging Face's format has one activation for backbone and heads, "
            "but the authors' code has two: it cannot be written in it"
        )
    config |= {
        "image_size": image_size or 640,
        "intermediate_size": shape("layers.0.mlp.up_proj.weight")[0],
        "layer_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
        **{f"{name}_bias": f"layers.0.attention.{name[0]}_proj.bias" in weights for name in ("query", "key", "value")},
        "proj_bias": "layers.0.attention.o_proj.bias" in weights,
        "mlp_bias": "layers.0.mlp.up_proj.bias" in weights,
    }
    return {**config, "norm_queries": norm_queries} if model_type == "videomt_dinov3" else config


def _count(weights: Mapping[str, Tensor], of: str) -> int:
    numbers = {int(name[len(of) + 1 :].split(".")[0]) for name in weights if name.startswith(f"{of}.")}
    return len(numbers)


def _write(
    out: Path, config: Mapping[str, Any], weights: Mapping[str, Tensor], labels: Labels | None, source: Path
) -> None:
    """Writes all files, or none, and none that do not load."""
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    unfinished = workshop / out.name
    try:
        unfinished.mkdir()
        write_files(unfinished, config, weights, labels)
        load_checkpoint(unfinished)
        if out.exists():
            out.rmdir()
        unfinished.rename(out)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(unfinished), str(source))) from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
