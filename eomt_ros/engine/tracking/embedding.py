"""The network's description of each thing in a frame, by which a thing that comes back is known again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from eomt_ros.engine.postprocess.label_map import Region


def embeddings_of(regions: Sequence[Region], queries: Tensor | None) -> list[np.ndarray | None]:
    """The embedding of each region, (channels,) float32 of unit length; None for stuff, and where it is not finite.

    queries: (1, queries, channels), those that the stream's next frame starts from; None where nothing is propagated.
    """
    if queries is None:
        return [None] * len(regions)
    vectors = queries[0].float().cpu().numpy()
    return [_unit(vectors[region.query]) if region.is_thing else None for region in regions]


def _unit(vector: np.ndarray) -> np.ndarray | None:
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if 0 < length < np.inf else None
