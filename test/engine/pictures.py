"""Images for random networks."""

from __future__ import annotations

import numpy as np


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """A patchwork with noise, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, (5, 7, 3))
    spread = patches[np.arange(height) * 5 // height][:, np.arange(width) * 7 // width]
    return (spread + rng.integers(-20, 20, spread.shape)).clip(0, 255).astype(np.uint8)


def clip(frames: int, height: int = 60, width: int = 80, seed: int = 0) -> list[np.ndarray]:
    """Frames that differ."""
    return [picture(height, width, 100 * seed + frame) for frame in range(frames)]
