"""The DINOv3 backbone: positions are rotations of queries and keys, instead of numbers added to tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from eomt_ros.engine.networks.layers import Attention, GatedMlp, Grid, Layer, Positions, Rotations
from eomt_ros.engine.networks.settings import ACTIVATIONS, Dinov3Settings


class Dinov3Embeddings(nn.Module):
    """Pixels to tokens: one class token, the register tokens, then a token per patch."""

    def __init__(self, settings: Dinov3Settings) -> None:
        super().__init__()
        hidden, patch = settings.hidden_size, settings.patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, hidden))
        self.register_tokens = nn.Parameter(torch.zeros(1, settings.num_register_tokens, hidden))
        self.patch_embeddings = nn.Conv2d(settings.num_channels, hidden, kernel_size=patch, stride=patch)

    def forward(self, pixels: Tensor, positions: Positions | None = None) -> Tensor:
        """positions: as of `QueryVit.forward`, which turns by them."""
        patches = self.patch_embeddings(pixels).flatten(2).transpose(1, 2)
        prefix = torch.cat((self.cls_token, self.register_tokens), dim=1)
        return torch.cat((prefix.expand(len(pixels), -1, -1), patches), dim=1)

    def constants(self) -> list[Tensor]:
        """See `Network`: none."""
        return []


def dinov3_rotations(settings: Dinov3Settings, grid: Grid, like: Tensor) -> Rotations:
    """The rotations of an image's patches. grid: patches down and across. like: gives dtype and device."""
    head = settings.hidden_size // settings.num_attention_heads
    frequencies = 1 / settings.rope_theta ** torch.arange(0, 1, 4 / head, dtype=torch.float32)
    centres = (2 * torch.arange(0.5, count, dtype=torch.float32) / count - 1 for count in grid)
    places = torch.stack(torch.meshgrid(*centres, indexing="ij"), dim=-1).flatten(0, 1)
    angles = (2 * math.pi * places[:, :, None] * frequencies).flatten(1).tile(2).to(like.device)
    return Rotations(angles.cos().to(like.dtype), angles.sin().to(like.dtype))


class Dinov3Attention(Attention):
    def __init__(self, settings: Dinov3Settings) -> None:
        super().__init__(settings, (settings.query_bias, settings.key_bias, settings.value_bias))
        self.o_proj = nn.Linear(settings.hidden_size, settings.hidden_size, bias=settings.proj_bias)

    def forward(self, tokens: Tensor, rotate: Rotations | None, mask: Tensor | None) -> Tensor:
        return self.o_proj(super().forward(tokens, rotate, mask))


class Dinov3Mlp(nn.Module):
    def __init__(self, settings: Dinov3Settings) -> None:
        super().__init__()
        hidden, wide = settings.hidden_size, settings.intermediate_size
        self.up_proj = nn.Linear(hidden, wide, bias=settings.mlp_bias)
        self.down_proj = nn.Linear(wide, hidden, bias=settings.mlp_bias)
        self.activation = ACTIVATIONS[settings.hidden_act]

    def forward(self, tokens: Tensor) -> Tensor:
        return self.down_proj(self.activation(self.up_proj(tokens)))


def dinov3_layer(settings: Dinov3Settings) -> Layer:
    """A layer of the backbone."""
    mlp: nn.Module = Dinov3Mlp(settings)
    if settings.use_gated_mlp:
        mlp = GatedMlp(settings.hidden_size, settings.intermediate_size, settings.hidden_act, settings.mlp_bias)
    return Layer(settings, Dinov3Attention(settings), mlp)
