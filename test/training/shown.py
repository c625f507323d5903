"""Clips with random segments, for tests of matching and losses."""

from __future__ import annotations

import torch
from torch import Tensor

from eomt_ros.training.clips import Clip


def random_segments(frames: int, count: int, side: int, seed: int) -> Tensor:
    """Labels in which each segment is what is nearest to a point that moves, (frames, side, side)."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(1, count, 2, generator=generator)
    centres = centres + 0.05 * torch.arange(frames)[:, None, None] * torch.randn(1, count, 2, generator=generator)
    line = (torch.arange(side) + 0.5) / side
    pixels = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).flatten(0, 1)
    return torch.cdist(pixels.expand(frames, -1, -1), centres).argmin(-1).view(frames, side, side)


def random_clip(
    *,
    frames: int = 1,
    count: int = 5,
    size: int = 64,
    classes: int = 5,
    seed: int = 0,
    stream: int = 0,
    cut: bool = True,
) -> Clip:
    """A clip of things with tracks 10, 11, ... of random classes, all of its pixels asked."""
    generator = torch.Generator().manual_seed(seed)
    segments = random_segments(frames, count, size // 2, seed)
    seen = torch.unique(segments)
    return Clip(
        pixels=255 * torch.rand(frames, 3, size, size, generator=generator),
        segments=torch.searchsorted(seen, segments),
        classes=torch.randint(classes, (count,), generator=generator)[seen],
        tracks=10 + seen,
        stream=stream,
        cut=cut,
        first=cut,
    )
