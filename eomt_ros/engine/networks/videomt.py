"""VidEoMT, one frame at a time: an image and the last frame's queries go in, logits and the next queries come out.

The queries that leave one frame enter the next one through a linear layer, so that a query stays with its object: they
are the whole memory, of a size that does not grow.

Parameters are named as in Hugging Face's `VideomtForUniversalSegmentation`, so that its checkpoints load as they are.
The model on DINOv3, which Hugging Face does not have, is named after its `EomtDinov3ForUniversalSegmentation`
(reference: videomt/modeling/backbone/videomt.py in the authors' repository).
"""

from __future__ import annotations

from torch import Tensor, nn

from eomt_ros.engine.networks.query_vit import QueryVit
from eomt_ros.engine.networks.settings import Dinov2Settings, Dinov3Settings


class Videomt(QueryVit):
    """One frame step of VidEoMT (reference: `VideomtForUniversalSegmentation.forward` in Hugging Face transformers)."""

    TRAINING_ONLY = QueryVit.TRAINING_ONLY | {"attn_mask_probs"}

    def __init__(self, settings: Dinov2Settings | Dinov3Settings) -> None:
        super().__init__(settings)
        self.query_updater = nn.Linear(settings.hidden_size, settings.hidden_size)

    def next_queries(self, previous: Tensor) -> Tensor:
        """The queries of a frame from those that the last layer left in the frame before, (batch, queries, hidden)."""
        if isinstance(self.settings, Dinov3Settings) and self.settings.norm_queries:
            previous = self.layernorm(previous)
        return self.query_updater(previous) + self.query.weight
