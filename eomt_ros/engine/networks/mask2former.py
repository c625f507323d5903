"""Mask2Former, as Hugging Face's transformers runs it.

It is here to be compared with, so it is the reference itself: what makes it different from a plain ViT (Swin, a pixel
decoder with deformable attention, a decoder with masked attention) is not written a second time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eomt_ros.engine.errors import CheckpointError, first_line
from eomt_ros.engine.networks.query_vit import StepOutput
from eomt_ros.engine.networks.settings import num_labels_of

_operators: Any = None

COMPUTED = "relative_position_index"
LARGEST_SIDE = 8192
"""Pixels."""

INSTALL = "pip install 'eomt_ros[mask2former]'"


@dataclass(frozen=True)
class Mask2FormerSettings:
    """What the engine needs to know; the rest of `config.json` is Hugging Face's to read."""

    num_labels: int
    num_channels: int = 3
    size: tuple[int, int] | None = None
    """(height, width) of every input; None where the aspect is kept."""
    shortest_edge: int = 800
    longest_edge: int = 1333
    size_divisor: int = 32

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Mask2FormerSettings:
        """Reads a `config.json`, and what its image processor's file adds: `size` and `size_divisor`.

        Raises `ValueError` that names the entry at fault.
        """
        if config.get("use_pretrained_backbone"):
            raise ValueError("use_pretrained_backbone is true, expected a checkpoint with all weights of its own")
        size = config.get("size", {})
        names = ("height", "width", "shortest_edge", "longest_edge")
        if not isinstance(size, dict) or not all(_is_length(size[name]) for name in names if name in size):
            raise ValueError(
                f"size is {size!r}, expected {{height, width}} or {{shortest_edge, longest_edge}} in pixels"
            )
        divisor = config.get("size_divisor", cls.size_divisor)
        if divisor != 0 and not _is_length(divisor):
            raise ValueError(f"size_divisor is {divisor!r}, expected a whole number of pixels")
        return cls(
            num_labels=num_labels_of(config),
            num_channels=config.get("num_channels", cls.num_channels),
            size=(size["height"], size["width"]) if {"height", "width"} <= size.keys() else None,
            shortest_edge=size.get("shortest_edge", cls.shortest_edge),
            longest_edge=size.get("longest_edge", cls.longest_edge),
            size_divisor=divisor,
        )


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_SIDE


class Mask2Former(nn.Module):
    """One frame; nothing is carried from one to the next."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, queries: Tensor) -> StepOutput:
        """pixels: (batch, 3, height, width), normalised. queries: what `first_queries` gives, which holds nothing."""
        output = self.network(pixel_values=pixels)
        return StepOutput(output.masks_queries_logits, output.class_queries_logits, queries)

    def first_queries(self, batch: int = 1) -> Tensor:
        """(batch, 0, 0): the network has its own."""
        return torch.zeros(batch, 0, 0)

    def next_queries(self, previous: Tensor) -> Tensor:
        """Those of the first frame: nothing is carried over."""
        return previous

    def constants(self) -> list[Tensor]:
        """Nothing is made for the sizes of images that is kept."""
        return []


def load_mask2former(settings: Mask2FormerSettings, folder: Path) -> Mask2Former:
    """Loads a checkpoint's network, float32, on the CPU.

    Raises `CheckpointError` where transformers is missing or the weights do not fit.
    """
    tolerate_torchvision()
    try:
        from transformers import Mask2FormerForUniversalSegmentation
    except Exception as error:  # a torchvision that does not load brings down transformers, with whatever it raises
        raise CheckpointError(
            f"{folder} is a Mask2Former, which Hugging Face's transformers runs, and that cannot be loaded "
            f"({first_line(error)}): {INSTALL}"
        ) from error
    with _quiet():
        try:
            network, found = Mask2FormerForUniversalSegmentation.from_pretrained(
                folder,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # for them to be named: below they are refused
                output_loading_info=True,
            )
        except Exception as error:  # transformers raises what it comes across
            raise CheckpointError(f"transformers cannot load {folder}: {first_line(error)}") from error
    faults = {
        "missing": found["missing_keys"],
        # Swin's index is computed, and published checkpoints hold it all the same.
        "unknown to the network": [name for name in found["unexpected_keys"] if not name.endswith(COMPUTED)],
        "of another shape": found["mismatched_keys"],
    }
    said = [
        f"{len(names)} {fault} ({', '.join(map(str, sorted(names)[:3]))})" for fault, names in faults.items() if names
    ]
    if said:
        raise CheckpointError(f"the weights in {folder} do not fit its config.json: {'; '.join(said)}")
    return Mask2Former(network).eval().requires_grad_(False)


def tolerate_torchvision() -> None:
    """Lets transformers, whose models import torchvision, be imported beside one that was built for another torch.

    Such a torchvision cannot load its operators, and stumbles over the two that it describes to torch on import. No
    network here calls them: it is enough that torch has heard of their names.
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
    """Keeps transformers' progress bars and advice from our users: what is wrong is said in one line."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
