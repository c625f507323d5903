"""The shape of a network, read from a checkpoint's `config.json` and checked before anything is built from it."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch.nn.functional as F
from torch import Tensor

from eomt_ros.engine.model.labels import MOST_CLASSES

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}

MAY_BE_ZERO = ("num_register_tokens", "num_upscale_blocks")
LARGEST_BY_NAME = {"num_labels": MOST_CLASSES, "num_hidden_layers": 1000, "num_upscale_blocks": 8, "image_size": 8192}
LARGEST_ELSE = 1 << 16
"""Far above any network: larger ones would take minutes to build."""

AnySettings = TypeVar("AnySettings", bound="VitSettings")


@dataclass(frozen=True)
class VitSettings:
    """A plain ViT with queries, by the names and with the defaults of Hugging Face's configs."""

    num_labels: int
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6
    image_size: int = 640
    patch_size: int = 16
    num_channels: int = 3
    num_upscale_blocks: int = 2
    num_blocks: int = 4
    num_queries: int = 200
    num_register_tokens: int = 4

    @classmethod
    def from_config(cls: type[AnySettings], config: Mapping[str, Any]) -> AnySettings:
        """Reads a `config.json`.

        Raises `ValueError` that names the entry where the network could not be built from it.
        """
        known = {field.name: config[field.name] for field in fields(cls) if field.name in config}
        settings = cls(**{**known, "num_labels": num_labels_of(config)})
        settings.check()
        return settings

    def check(self) -> None:
        """Raises `ValueError` that names the entry from which no network can be built."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "bool" and not isinstance(value, bool):
                raise ValueError(f"{field.name} is {reprlib.repr(value)}, expected true or false")
            if field.type == "float" and not (type(value) in (int, float) and math.isfinite(value) and value > 0):
                raise ValueError(f"{field.name} is {reprlib.repr(value)}, expected a number above 0")
            if field.type == "int":
                least, most = int(field.name not in MAY_BE_ZERO), LARGEST_BY_NAME.get(field.name, LARGEST_ELSE)
                if type(value) is not int or not least <= value <= most:
                    shown = reprlib.repr(value)
                    raise ValueError(f"{field.name} is {shown}, expected a whole number from {least} to {most}")
        if not isinstance(self.hidden_act, str) or self.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act is {reprlib.repr(self.hidden_act)}, expected one of {', '.join(ACTIVATIONS)}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size is {self.hidden_size}, expected a multiple of num_attention_heads "
                f"({self.num_attention_heads})"
            )
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size is {self.image_size}, expected a multiple of patch_size ({self.patch_size})")
        if self.num_blocks > self.num_hidden_layers:
            raise ValueError(
                f"num_blocks is {self.num_blocks}, expected at most num_hidden_layers ({self.num_hidden_layers})"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Patches down and across the square image that the network was trained on."""
        side = self.image_size // self.patch_size
        return side, side


@dataclass(frozen=True)
class Dinov2Settings(VitSettings):
    """A DINOv2 backbone: learned positions (Hugging Face's `EomtConfig` and `VideomtConfig`)."""

    mlp_ratio: int = 4
    use_swiglu_ffn: bool = False


@dataclass(frozen=True)
class Dinov3Settings(VitSettings):
    """A DINOv3 backbone: positions are rotations (Hugging Face's `EomtDinov3Config`)."""

    intermediate_size: int = 4096
    rope_theta: float = 100.0
    query_bias: bool = True
    key_bias: bool = False
    value_bias: bool = True
    proj_bias: bool = True
    mlp_bias: bool = True
    use_gated_mlp: bool = False
    norm_queries: bool = False
    """True if queries pass the last norm on their way to the next frame (VidEoMT on DINOv3; not in Hugging Face)."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Dinov3Settings:
        """Reads a `config.json`, where the rotations' base lies in `rope_parameters` or, in older ones, beside it."""
        rope = config.get("rope_parameters") or {}
        if not isinstance(rope, Mapping):
            raise ValueError(f"rope_parameters is {reprlib.repr(rope)}, expected an object with rope_theta")
        if rope.get("rope_type", "default") != "default":
            raise ValueError(f"rope_type is {reprlib.repr(rope['rope_type'])}, expected 'default'")
        theta = rope.get("rope_theta", config.get("rope_theta", cls.rope_theta))
        return super().from_config({**config, "rope_theta": theta})

    def check(self) -> None:
        """Raises `ValueError` that names the entry from which no network can be built."""
        super().check()
        head = self.hidden_size // self.num_attention_heads
        if head % 4:
            raise ValueError(f"a head has {head} channels, expected a multiple of 4 (a rotation each down and across)")


def num_labels_of(config: Mapping[str, Any]) -> int:
    """The number of classes in a `config.json`, by Hugging Face's rule: `num_labels`, else as many as are in
    `id2label`, else 2.

    Raises `ValueError` where neither says a number.
    """
    names = config.get("id2label")
    if names is not None and not (isinstance(names, Mapping) and all(map(_is_whole, names))):
        raise ValueError(f"id2label is {reprlib.repr(names)}, expected an object of names by the number of their class")
    count = config.get("num_labels")
    if count is None:
        count = 2 if names is None else len(set(map(int, names)))
    if type(count) is not int or not 0 < count <= MOST_CLASSES:
        raise ValueError(f"num_labels is {reprlib.repr(count)}, expected a whole number from 1 to {MOST_CLASSES}")
    return count


def _is_whole(key: str) -> bool:
    try:
        int(key)
    except ValueError:
        return False
    return True
