"""The DINOv2 backbone: learned positions, which are resampled for images of another size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eomt_ros.engine.networks.layers import Attention, GatedMlp, Grid, Layer, Positions, Rotations, embedding, once
from eomt_ros.engine.networks.settings import ACTIVATIONS, Dinov2Settings


class Dinov2Embeddings(nn.Module):
    """Pixels to tokens: one class token, the register tokens, then a token per patch with its position added."""

    def __init__(self, settings: Dinov2Settings) -> None:
        super().__init__()
        hidden = settings.hidden_size
        self._grid = settings.grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, hidden))
        self.register_tokens = nn.Parameter(torch.zeros(1, settings.num_register_tokens, hidden))
        self.patch_embeddings = PatchEmbeddings(settings)
        self.position_embeddings = embedding(self._grid[0] * self._grid[1], hidden)
        self._resampled: dict[Grid, Tensor] = {}

    def forward(self, pixels: Tensor, positions: Positions | None = None) -> Tensor:
        """positions: as of `QueryVit.forward`."""
        patches = self.patch_embeddings(pixels)
        (added,) = positions or (self.positions((patches.shape[2], patches.shape[3])),)
        prefix = torch.cat((self.cls_token, self.register_tokens), dim=1)
        return torch.cat((prefix.expand(len(pixels), -1, -1), patches.flatten(2).transpose(1, 2) + added), dim=1)

    def constants(self) -> list[Tensor]:
        """See `Network`."""
        return list(self._resampled.values())

    def positions(self, grid: Grid) -> Tensor:
        """The position of each patch, (patches, hidden). grid: patches down and across."""
        trained = self.position_embeddings.weight
        if grid == self._grid:
            return trained
        return once(self._resampled, grid, lambda: resample_positions(trained, self._grid, grid))


def resample_positions(positions: Tensor, old: Grid, new: Grid) -> Tensor:
    """Position embeddings, (patches, hidden), of another size of images, in the order of its patches.

    As timm's resample_abs_pos_embed, with which the published models run images of any size.
    """
    maps = positions.float().T.reshape(1, -1, *old)
    maps = F.interpolate(maps, new, mode="bicubic", antialias=True)
    return maps.flatten(2)[0].T.to(positions.dtype)


class PatchEmbeddings(nn.Module):
    def __init__(self, settings: Dinov2Settings) -> None:
        super().__init__()
        patch = settings.patch_size
        self.projection = nn.Conv2d(settings.num_channels, settings.hidden_size, kernel_size=patch, stride=patch)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.projection(pixels)


class Dinov2Attention(Attention):
    def __init__(self, settings: Dinov2Settings) -> None:
        super().__init__(settings)
        self.out_proj = nn.Linear(settings.hidden_size, settings.hidden_size)

    def forward(self, tokens: Tensor, rotate: Rotations | None, mask: Tensor | None) -> Tensor:
        return self.out_proj(super().forward(tokens, rotate, mask))


class Dinov2Mlp(nn.Module):
    def __init__(self, settings: Dinov2Settings) -> None:
        super().__init__()
        wide = settings.hidden_size * settings.mlp_ratio
        self.fc1 = nn.Linear(settings.hidden_size, wide)
        self.fc2 = nn.Linear(wide, settings.hidden_size)
        self.activation = ACTIVATIONS[settings.hidden_act]

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(tokens)))


def dinov2_layer(settings: Dinov2Settings) -> Layer:
    """A layer of the backbone."""
    mlp: nn.Module = Dinov2Mlp(settings)
    if settings.use_swiglu_ffn:
        # The giant's width: two thirds of the usual one, rounded up to a multiple of 8.
        wide = (settings.hidden_size * settings.mlp_ratio * 2 // 3 + 7) // 8 * 8
        mlp = GatedMlp(settings.hidden_size, wide, "silu")
    return Layer(settings, Dinov2Attention(settings), mlp)
