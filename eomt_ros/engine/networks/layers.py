"""The parts that plain ViTs with queries are made of, with Hugging Face's parameter names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eomt_ros.engine.networks.settings import ACTIVATIONS, VitSettings

Grid = tuple[int, int]
"""Patches down and across an image."""
Positions = tuple[Tensor, ...]
"""What tells patches apart by where they are: on DINOv2 positions to add, (patches, hidden); on DINOv3 the cosine and
the sine of rotations, (patches, channels of a head) each.
"""
Made = TypeVar("Made")

MOST_GRIDS = 8
"""Sizes of images for which results are kept."""


def once(kept: dict[Grid, Made], grid: Grid, make: Callable[[], Made]) -> Made:
    """Makes something for a size of images once, and again where the last `MOST_GRIDS` sizes were others."""
    made = kept.get(grid)
    if made is None:
        if len(kept) >= MOST_GRIDS:
            kept.pop(next(iter(kept), grid), None)  # another thread may have been faster
        made = kept[grid] = make()
    return made


def embedding(count: int, hidden: int) -> nn.Embedding:
    """Random vectors, as `nn.Embedding` draws them.

    On the meta device, which holds no numbers, none are drawn: torch would load its compiler for it, which takes a
    second or more of every start.
    """
    vectors = torch.empty(count, hidden)
    if not vectors.is_meta:
        nn.init.normal_(vectors)
    whole: nn.Embedding = nn.Embedding.from_pretrained(vectors, freeze=False)  # type: ignore[no-untyped-call]
    return whole


class Rotations:
    """Turns the patches' part of queries and keys by their place in the image (rotary position embedding)."""

    def __init__(self, cosine: Tensor, sine: Tensor) -> None:
        """cosine, sine: (patches, channels of a head)."""
        self._cosine = cosine
        self._sine = sine
        self.tensors: Positions = cosine, sine

    def __call__(self, vectors: Tensor) -> Tensor:
        """vectors: (batch, heads, tokens, channels), the patches last."""
        prefix, patches = vectors[..., : -len(self._sine), :], vectors[..., -len(self._sine) :, :]
        first, second = patches.chunk(2, dim=-1)
        turned = patches * self._cosine + torch.cat((-second, first), dim=-1) * self._sine
        return torch.cat((prefix, turned), dim=-2)


class Attention(nn.Module):
    """Self-attention of all tokens, up to the layer that a backbone ends it with."""

    def __init__(self, settings: VitSettings, biases: tuple[bool, bool, bool] = (True, True, True)) -> None:
        """biases: of queries, keys and values, True where they have one."""
        super().__init__()
        hidden = settings.hidden_size
        self.num_heads = settings.num_attention_heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(hidden, hidden, bias=bias) for bias in biases)
        self.attend: Callable[..., Tensor] = F.scaled_dot_product_attention

    def forward(self, tokens: Tensor, rotate: Rotations | None, mask: Tensor | None) -> Tensor:
        projected = [project(tokens) for project in (self.q_proj, self.k_proj, self.v_proj)]
        query, key, value = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in projected)
        if rotate is not None:
            query, key = rotate(query), rotate(key)
        attended = self.attend(query, key, value) if mask is None else self.attend(query, key, value, attn_mask=mask)
        return attended.transpose(1, 2).flatten(2)


class Layer(nn.Module):
    """A pre-norm transformer layer with learned residual scales (DINOv2, DINOv3)."""

    def __init__(self, settings: VitSettings, attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        hidden = settings.hidden_size
        self.norm1 = nn.LayerNorm(hidden, eps=settings.layer_norm_eps)
        self.attention = attention
        self.layer_scale1 = LayerScale(hidden)
        self.norm2 = nn.LayerNorm(hidden, eps=settings.layer_norm_eps)
        self.mlp = mlp
        self.layer_scale2 = LayerScale(hidden)

    def forward(self, tokens: Tensor, rotate: Rotations | None = None, mask: Tensor | None = None) -> Tensor:
        tokens = tokens + self.layer_scale1(self.attention(self.norm1(tokens), rotate, mask))
        return tokens + self.layer_scale2(self.mlp(self.norm2(tokens)))


class LayerScale(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.ones(hidden))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.lambda1


class GatedMlp(nn.Module):
    """Two layers, the first gated by a third (SwiGLU where the activation is silu)."""

    def __init__(self, hidden: int, wide: int, activation: str, bias: bool = True) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, wide, bias=bias)
        self.up_proj = nn.Linear(hidden, wide, bias=bias)
        self.down_proj = nn.Linear(wide, hidden, bias=bias)
        self.activation = ACTIVATIONS[activation]

    def forward(self, tokens: Tensor) -> Tensor:
        return self.down_proj(self.activation(self.gate_proj(tokens)) * self.up_proj(tokens))


class MaskHead(nn.Module):
    """Turns a query into the vector whose product with the image's features is its mask."""

    def __init__(self, settings: VitSettings) -> None:
        super().__init__()
        hidden = settings.hidden_size
        self.fc1 = nn.Linear(hidden, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.fc3 = nn.Linear(hidden, hidden)
        self.activation = ACTIVATIONS[settings.hidden_act]

    def forward(self, queries: Tensor) -> Tensor:
        return self.fc3(self.activation(self.fc2(self.activation(self.fc1(queries)))))


class ScaleBlock(nn.Module):
    """Upscales patch features: each block doubles height and width."""

    def __init__(self, settings: VitSettings) -> None:
        super().__init__()
        self.block = nn.ModuleList(ScaleLayer(settings) for _ in range(settings.num_upscale_blocks))

    def forward(self, features: Tensor) -> Tensor:
        for layer in self.block:
            features = layer(features)
        return features


class ScaleLayer(nn.Module):
    def __init__(self, settings: VitSettings) -> None:
        super().__init__()
        hidden = settings.hidden_size
        self.conv1 = nn.ConvTranspose2d(hidden, hidden, kernel_size=2, stride=2)
        self.conv2 = nn.Conv2d(hidden, hidden, kernel_size=3, padding=1, groups=hidden, bias=False)
        # The reference fixes this epsilon, whatever layer_norm_eps says.
        self.layernorm2d = nn.LayerNorm(hidden, eps=1e-6)
        self.activation = ACTIVATIONS[settings.hidden_act]

    def forward(self, features: Tensor) -> Tensor:
        features = self.conv2(self.activation(self.conv1(features)))
        return self.layernorm2d(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
