"""Small random VidEoMT checkpoints in Hugging Face's own format, written by Hugging Face's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import VideomtConfig, VideomtForUniversalSegmentation

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
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = VideomtForUniversalSegmentation(VideomtConfig(**{**SMALL, **config_overrides}))
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
            # Opposite biases on the two sides of the product that gives a mask keep most masks small: few overlap.
            direction = torch.nn.functional.normalize(torch.randn(network.config.hidden_size), dim=0)
            network.upscale_block.block[-1].layernorm2d.bias.copy_(3.5 * direction)
            network.mask_head.fc3.bias.copy_(-3.5 * direction)
    return network.eval()
