"""Where masks are compared with labels: at sampled points, as Mask2Former does, or at every pixel of a small mask."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

UNASKED = -1
"""A pixel of labels where nothing is asked."""
OUTSIDE = -2
"""Beyond the edge of the image, where no mask is."""


class Votes(NamedTuple):
    """What the labels around points say: at each point they are a weighted mean of some pixels."""

    places: Tensor
    """(rows, points, pixels) int64: of a segment in its clip, `UNASKED` or `OUTSIDE`."""
    weights: Tensor
    """(rows, points, pixels), which are 1 together."""

    def shares(self, count: int) -> tuple[Tensor, Tensor]:
        """How much of each of `count` segments is at each point, (rows, points, count), and how much of the point is
        asked for, (rows, points).
        """
        sums = torch.zeros(*self.places.shape[:2], count + 2, device=self.places.device)
        sums.scatter_add_(2, self.places + 2, self.weights)
        return sums[..., 2:], _asked(sums[..., UNASKED + 2], sums[..., OUTSIDE + 2])

    def share_of(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """The same for one segment a row, both (rows, points). places: (rows,)."""
        share = (self.weights * (self.places == places[:, None, None])).sum(-1)
        unasked, outside = ((self.weights * (self.places == which)).sum(-1) for which in (UNASKED, OUTSIDE))
        return share, _asked(unasked, outside)


def _asked(unasked: Tensor, outside: Tensor) -> Tensor:
    """How much of what lies within the image is asked, without what rounding leaves."""
    asked = 1 - unasked / (1 - outside)
    return asked.masked_fill(asked < 1e-4, 0)


def votes_at(segments: Tensor, points: Tensor) -> Votes:
    """The four pixels around each point, as `grid_sample` weighs them.

    segments: (rows, H, W) int64. points: (rows, points, 2), across and down, 0 to 1.
    """
    rows, height, width = segments.shape
    at = points * points.new_tensor((width, height)) - 0.5
    corner = at.floor()
    right, below = (at - corner).unbind(-1)
    left, above = 1 - right, 1 - below
    weights = torch.stack((left * above, right * above, left * below, right * below), -1)
    x, y = corner.long().unbind(-1)
    x, y = torch.stack((x, x + 1, x, x + 1), -1), torch.stack((y, y, y + 1, y + 1), -1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    row = torch.arange(rows, device=segments.device)[:, None, None]
    places = segments[row, y.clamp(0, height - 1), x.clamp(0, width - 1)]
    return Votes(torch.where(inside, places, OUTSIDE), weights)


def votes_of_pixels(segments: Tensor, size: tuple[int, int]) -> Votes:
    """The pixels of the labels under each pixel of a mask, row by row. segments: (rows, H, W). size: of the mask."""
    (height, width), rows = size, len(segments)
    down, across = (max(1, round(labels / mask)) for labels, mask in zip(segments.shape[1:], size, strict=True))
    if segments.shape[1:] != (height * down, width * across):
        whole = (height * down, width * across)
        segments = F.interpolate(segments[:, None].float(), whole, mode="nearest-exact")[:, 0].long()
    tiles = segments.view(rows, height, down, width, across).transpose(2, 3)
    places = tiles.reshape(rows, height * width, down * across)
    return Votes(places, torch.full(places.shape, 1 / (down * across), device=segments.device))


def values_at(maps: Tensor, points: Tensor) -> Tensor:
    """Maps (rows, h, w) at points (rows, points, 2), across and down, 0 to 1: (rows, points)."""
    return F.grid_sample(maps[:, None], 2 * points[:, :, None] - 1, align_corners=False)[:, 0, :, 0]


def uncertain_points(
    logits: Tensor, segments: Tensor, count: int, oversample: float, importance: float, generator: torch.Generator
) -> Tensor:
    """Points at which masks are compared, (rows, count, 2): most of them where they are least certain.

    logits: (rows, h, w). segments: (rows, H, W): where nothing is asked there are points only if there are too few
    others. Source: PointRend and Mask2Former (`sample_points_using_uncertainty` in Hugging Face transformers).
    """
    rows, device = len(logits), logits.device
    drawn = random_points(rows, int(count * oversample), device, generator)
    uncertainty = -values_at(logits, drawn).abs()
    if (segments == UNASKED).any():
        x, y = (drawn * drawn.new_tensor(segments.shape[:0:-1])).long().unbind(-1)
        unasked = segments[torch.arange(rows, device=device)[:, None], y, x] == UNASKED
        uncertainty = uncertainty.masked_fill(unasked, float("-inf"))
    chosen = uncertainty.topk(int(importance * count), dim=1).indices
    anywhere = random_points(rows, count - chosen.shape[1], device, generator)
    return torch.cat((drawn.gather(1, chosen[:, :, None].expand(-1, -1, 2)), anywhere), dim=1)


def random_points(rows: int, count: int, device: torch.device, generator: torch.Generator) -> Tensor:
    """Points anywhere, (rows, count, 2), 0 to 1."""
    return torch.rand(rows, count, 2, device=generator.device, generator=generator).to(device)
