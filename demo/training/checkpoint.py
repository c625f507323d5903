"""A trained network as a checkpoint."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from demo import CLASS_NAMES
from demo.training.recipe import NUM_CLASSES
from demo.training.streams import MEAN, SIDE, STD
from eomt_ros.engine.networks import Videomt


def save(network: Videomt, folder: Path) -> None:
    """Writes the network as Hugging Face writes a VidEoMT checkpoint, in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in asdict(network.settings).items() if name != "num_labels"}
    config = {
        "architectures": ["VideomtForUniversalSegmentation"],
        "model_type": "videomt",
        **settings,
        "id2label": {str(index): name for index, name in enumerate(CLASS_NAMES)},
        "label2id": {name: index for index, name in enumerate(CLASS_NAMES)},
        "dtype": "float16",
    }
    size = {"height": SIDE, "width": SIDE}
    processor = {"video_processor_type": "VideomtVideoProcessor", "size": size, "image_mean": MEAN, "image_std": STD}
    weights = {name: value.detach().half().contiguous() for name, value in network.state_dict().items()}
    hidden = network.settings.hidden_size
    # Hugging Face's class has these for its training and would warn without them
    weights["embeddings.mask_token"] = torch.zeros(1, 1, hidden, dtype=torch.float16)
    weights["attn_mask_probs"] = torch.ones(network.settings.num_blocks, dtype=torch.float16)
    weights["criterion.empty_weight"] = torch.tensor([1.0] * NUM_CLASSES + [0.1], dtype=torch.float16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
