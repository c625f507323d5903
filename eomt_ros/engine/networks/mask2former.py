"""Mask2Former, as Hugging Face's transformers runs it.

It is here for comparison, so it is the reference itself: its parts that are no plain ViT (Swin, a pixel decoder with
deformable attention, a decoder with masked attention) are not written a second time.
"""

from __future__ import annotations

import contextlib
import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eomt_ros.engine.errors import CheckpointError, first_line, listed
from eomt_ros.engine.model.weights import read_weights, stored_weights, weight_files
from eomt_ros.engine.networks.network import StepResult
from eomt_ros.engine.networks.settings import num_labels_of
from eomt_ros.extras import install

_operators: Any = None

COMPUTED = "relative_position_index"
BACKBONES = ("swin", "resnet")
ROOM = 2
"""Largest size of the network, with the indices that it computes, in sizes of the checkpoint's weights."""
LARGEST_NUMBER = 1 << 16
MOST_LAYERS = 100
"""Also of entries in a list. Far above any network, as in `networks/settings.py`."""


@dataclass(frozen=True)
class Mask2FormerSettings:
    """The settings that the engine reads; Hugging Face reads the rest from `config`."""

    num_labels: int
    num_channels: int = 3
    config: Mapping[str, Any] = field(default_factory=dict)
    """`config.json`."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Mask2FormerSettings:
        """Reads a `config.json`. Raises `ValueError` that names the entry at fault."""
        for name in ("backbone", "use_pretrained_backbone", "use_timm_backbone"):
            if config.get(name):
                raise ValueError(f"{name} is {reprlib.repr(config[name])}, expected a checkpoint that has all weights")
        backbone = config.get("backbone_config") or {"model_type": BACKBONES[0]}
        if not isinstance(backbone, Mapping) or backbone.get("model_type") not in BACKBONES:
            shown = reprlib.repr(backbone)
            raise ValueError(f"backbone_config is {shown}, expected an object of model_type {' or '.join(BACKBONES)}")
        _check_numbers({**config, **backbone})
        return cls(num_labels_of(config), backbone.get("num_channels", cls.num_channels), {**config})


def _check_numbers(config: Mapping[str, Any]) -> None:
    """Raises `ValueError` for numbers that only make a network too large to build."""
    for name, value in config.items():
        most = MOST_LAYERS if "layers" in name or name == "depths" else LARGEST_NUMBER
        entries = value if isinstance(value, list) else [value]
        if len(entries) > MOST_LAYERS or any(isinstance(each, int) and abs(each) > most for each in entries):
            raise ValueError(f"{reprlib.repr(name)} is {reprlib.repr(value)}, expected numbers up to {most}")


class Mask2Former(nn.Module):
    """One frame; nothing is carried from one to the next."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, queries: Tensor) -> StepResult:
        """pixels: (batch, 3, height, width), normalised. queries: from `first_queries`, empty."""
        output = self.network(pixel_values=pixels)
        return StepResult(output.masks_queries_logits, output.class_queries_logits, queries)

    def first_queries(self, batch: int = 1) -> Tensor:
        """(batch, 0, 0): the network has its own."""
        return torch.zeros(batch, 0, 0)

    def constants(self) -> list[Tensor]:
        """See `Network`: none."""
        return []


def load_mask2former(settings: Mask2FormerSettings, folder: Path) -> Mask2Former:
    """Loads a checkpoint's network, float32, on the CPU.

    transformers gets settings and weights, and no folder, where it would look for adapters, code and other checkpoints.

    Raises `CheckpointError` where transformers is missing or the weights do not fit.
    """
    tolerate_torchvision()
    try:
        from transformers import CONFIG_MAPPING, Mask2FormerConfig, Mask2FormerForUniversalSegmentation
    except Exception as error:  # a torchvision that does not load brings down transformers, with whatever it raises
        raise CheckpointError(
            f"{folder} is a Mask2Former, which Hugging Face's transformers runs, and that cannot be loaded "
            f"({first_line(error)}): {install('mask2former')}"
        ) from error
    stored = stored_weights(weight_files(folder))
    with _quiet():
        try:
            config = _own(Mask2FormerConfig, settings.config)
            config.num_labels = settings.num_labels
            if backbone := settings.config.get("backbone_config"):
                config.backbone_config = _own(CONFIG_MAPPING[backbone["model_type"]], backbone)
            with torch.device("meta"):
                size = sum(each.numel() for each in Mask2FormerForUniversalSegmentation(config).state_dict().values())
            found_size = sum(math.prod(each.shape) for each in stored.values())
            if size > ROOM * found_size:
                raise CheckpointError(
                    f"{folder} describes a network of {size} numbers, and its weights have {found_size}: they do not "
                    "belong together"
                )
            network, found = Mask2FormerForUniversalSegmentation.from_pretrained(
                None,
                config=config,
                state_dict=read_weights(stored, folder),
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # for them to be named: below they are refused
                output_loading_info=True,
            )
        except CheckpointError:
            raise
        except Exception as error:  # transformers raises what it comes across
            raise CheckpointError(f"transformers cannot load {folder}: {first_line(error)}") from error
    faults = {
        "missing": found["missing_keys"],
        # Swin's index is computed, and published checkpoints hold it all the same.
        "unknown to the network": [name for name in found["unexpected_keys"] if not name.endswith(COMPUTED)],
        "of another shape": found["mismatched_keys"],
    }
    said = [f"{len(names)} {fault} ({listed(sorted(map(str, names)))})" for fault, names in faults.items() if names]
    if said:
        raise CheckpointError(f"the weights in {folder} do not fit its config.json: {'; '.join(said)}")
    return Mask2Former(network).eval().requires_grad_(False)


def _own(kind: Any, config: Mapping[str, Any]) -> Any:
    """A config with the entries of its own kind only: none that say how transformers is to load and run it."""
    from transformers import PreTrainedConfig

    own = kind().to_dict().keys() - PreTrainedConfig().to_dict().keys()
    return kind(**{name: value for name, value in config.items() if name in own})


def tolerate_torchvision() -> None:
    """Lets transformers, whose models import torchvision, be imported beside one that was built for another torch.

    Such a torchvision cannot load its operators, and its import fails at two of them. No network here calls them: it is
    enough that torch knows their names.
    """
    global _operators
    try:
        import torchvision  # noqa: F401
    except ImportError:
        pass  # transformers does without
    except RuntimeError:
        library: Any = torch.library
        _operators = library.Library("torchvision", "DEF")  # torch forgets them with it
        _operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences transformers' progress bars and advice: our own error says what is wrong."""
    from transformers.utils import logging

    verbosity, shows_progress = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shows_progress:
            logging.enable_progress_bar()
