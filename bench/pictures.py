"""Pictures to segment."""

from __future__ import annotations

import numpy as np
import torch


def picture(height: int = 1080, width: int = 1920, seed: int = 0) -> np.ndarray:
    """A smooth random picture, (height, width, 3) uint8."""
    coarse = torch.rand(1, 3, 12, 20, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0].clamp(0, 1)
    return (255 * fine).byte().permute(1, 2, 0).contiguous().numpy()
