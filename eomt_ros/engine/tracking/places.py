"""Where the things of a frame are in a frame that stands still, which a caller may know before they have ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from eomt_ros.engine.postprocess.label_map import Region


class Places(NamedTuple):
    """The places of a frame's regions."""

    positions: np.ndarray
    """(regions, 3) m in a frame that stands still, NaN where it is not known."""
    jumps: int = 0
    """How often that frame has jumped so far, as where a robot finds itself anew on its map: with another number than
    before, what was known of places is of another frame, and is forgotten."""

    def of_regions(self, count: int) -> Places:
        """These, which are of so many regions. Raises `ValueError` where they are not."""
        positions = np.asarray(self.positions, np.float64)
        if positions.shape != (count, 3):
            raise ValueError(f"locate gave places of shape {positions.shape}, expected {(count, 3)}: one a region")
        return Places(positions, self.jumps)

    def each(self) -> list[np.ndarray | None]:
        """The place of each region, (3,) m; None where it is not known."""
        known = np.isfinite(self.positions).all(1)
        return [place if there else None for place, there in zip(self.positions, known, strict=True)]


Locate = Callable[[np.ndarray, Sequence[Region]], Places | None]
"""Gives the places of a frame, before its regions have ids; None where nothing is known.

It gets an image (H, W), i + 1 where region i is seen and 0 elsewhere, which it leaves as it is, and the regions. It is
called once for each frame, in the order of the frames, while the stream waits for it.
"""
