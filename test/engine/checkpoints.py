"""Small random checkpoints of every family in Hugging Face's own format, written by Hugging Face's own code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    EomtConfig,
    EomtDinov3Config,
    EomtDinov3ForUniversalSegmentation,
    EomtForUniversalSegmentation,
    EomtImageProcessor,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    PreTrainedModel,
    SwinConfig,
    VideomtConfig,
    VideomtForUniversalSegmentation,
)

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 16,
    "mlp_ratio": 2,
    "num_blocks": 2,
    "num_queries": 12,
    "num_register_tokens": 2,
    "id2label": {0: "floor", 1: "wall", 2: "ball", 3: "box", 4: "person"},
}

FOUND = {"panoptic": 0.3, "instance": 0.2, "semantic": 0.0}
"""Score thresholds at which these networks find a good number of segments, by task."""
STUFF = {0, 1}
"""Of the classes of `SMALL`: floor and wall."""
TABLE = """
name: test world
task: panoptic
classes:
- {name: floor, thing: false}
- {name: wall, thing: false}
- {name: ball, thing: true}
- {name: box, thing: true}
- {name: person, thing: true}
"""

PREPROCESSOR: dict[str, Any] = {
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "rescale_factor": 1 / 255,
    "video_processor_type": "VideomtVideoProcessor",
}


def write_checkpoint(folder: Path, *, seed: int = 0, **config_overrides: Any) -> Path:
    """Writes `config.json`, `model.safetensors` and `video_preprocessor_config.json` into a folder and returns it.

    The weights are random, yet such that what the network finds looks like a scene: sure classes, masks that differ
    from query to query and follow the image, and queries that change from frame to frame.
    config_overrides: entries of `VideomtConfig` that differ from `SMALL`; `id2label={...}` sets the classes.
    """
    return save(random_network(seed=seed, **config_overrides), folder)


def save(network: VideomtForUniversalSegmentation, folder: Path) -> Path:
    """Writes a network as `write_checkpoint` does, and returns the folder."""
    network.save_pretrained(folder)
    size = network.config.image_size
    preprocessor = {**PREPROCESSOR, "size": {"height": size, "width": size}}
    (Path(folder) / "video_preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2))
    return Path(folder)


def random_network(*, seed: int = 0, **config_overrides: Any) -> VideomtForUniversalSegmentation:
    """The network that `write_checkpoint` writes, float32, in evaluation mode."""
    return _like_a_scene(VideomtForUniversalSegmentation, VideomtConfig(**{**SMALL, **config_overrides}), seed)


def write_eomt(folder: Path, *, seed: int = 0, attn_mask_probs: float = 0.0, **config_overrides: Any) -> Path:
    """Writes a small random EoMT, as `write_checkpoint` does; `attn_mask_probs` is 0 at the end of a training."""
    return _write_eomt(folder, EomtForUniversalSegmentation, EomtConfig, seed, attn_mask_probs, config_overrides)


def write_eomt_dinov3(folder: Path, *, seed: int = 0, attn_mask_probs: float = 0.0, **config_overrides: Any) -> Path:
    """Writes a small random EoMT on DINOv3, as `write_eomt` does."""
    return _write_eomt(
        folder,
        EomtDinov3ForUniversalSegmentation,
        EomtDinov3Config,
        seed,
        attn_mask_probs,
        {"intermediate_size": 64, **config_overrides},
    )


def _write_eomt(
    folder: Path,
    model: type[PreTrainedModel],
    config: type[EomtConfig | EomtDinov3Config],
    seed: int,
    attn_mask_probs: float,
    overrides: dict[str, Any],
) -> Path:
    network = _like_a_scene(model, config(**{**SMALL, **overrides}), seed)
    network.attn_mask_probs.fill_(attn_mask_probs)
    network.save_pretrained(folder)
    side = network.config.image_size
    EomtImageProcessor(size={"shortest_edge": side, "longest_edge": side}).save_pretrained(folder)
    return Path(folder)


def write_mask2former(
    folder: Path,
    *,
    seed: int = 0,
    size: dict[str, int] | None = None,
    id2label: dict[int, str] = SMALL["id2label"],
) -> Path:
    """Writes a small random Mask2Former on a small Swin, as `write_checkpoint` does."""
    swin = SwinConfig(
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=swin,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=64,
        encoder_layers=2,
        decoder_layers=3,
        num_attention_heads=4,
        dim_feedforward=64,
        num_queries=SMALL["num_queries"],
        id2label=id2label,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Mask2FormerForUniversalSegmentation(config).eval()
        with torch.no_grad():
            network.class_predictor.weight.normal_(std=1.5)
            decoder = network.model.transformer_module
            decoder.queries_features.weight.normal_(std=3)
            features = network.model.pixel_level_module.decoder.mask_projection
            features.weight.mul_(8)
            head = decoder.decoder.mask_predictor.mask_embedder.get_submodule("2.0")
            head.weight.normal_(std=2)
            _keep_masks_small(features.bias, head.bias)
    network.save_pretrained(folder)
    Mask2FormerImageProcessor(size=size or {"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return Path(folder)


def _like_a_scene(model: type[PreTrainedModel], config: Any, seed: int) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = model(config)
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if weight.ndim > 1:
                    fan_in = weight[0].numel()
                    weight.normal_(std=1.0 if "embeddings" in name or "query.weight" in name else fan_in**-0.5)
                elif "norm" in name and "weight" in name:
                    weight.uniform_(0.5, 1.5)
                elif "lambda" in name:
                    weight.uniform_(0.2, 1.0)
                else:
                    weight.normal_(std=0.1)
            network.class_predictor.weight.mul_(4)
            network.mask_head.fc3.weight.mul_(4)
            _keep_masks_small(network.upscale_block.block[-1].layernorm2d.bias, network.mask_head.fc3.bias)
    return network.eval()


def _keep_masks_small(features: torch.Tensor, queries: torch.Tensor) -> None:
    """Opposite biases on the two sides of the product that gives a mask: few masks then overlap."""
    direction = torch.nn.functional.normalize(torch.randn(len(features)), dim=0)
    features.copy_(3.5 * direction)
    queries.copy_(-3.5 * direction)


WRITERS: dict[str, Callable[..., Path]] = {
    "videomt": write_checkpoint,
    "eomt": write_eomt,
    "eomt_dinov3": write_eomt_dinov3,
    "mask2former": write_mask2former,
}
"""By family."""
