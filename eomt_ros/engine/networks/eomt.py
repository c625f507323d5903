"""EoMT: each frame by itself, all with the same queries.

Parameters are named as in Hugging Face's `EomtForUniversalSegmentation` and `EomtDinov3ForUniversalSegmentation`, so
that their checkpoints load as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from eomt_ros.engine.networks.query_vit import QueryVit
from eomt_ros.engine.networks.settings import Dinov2Settings, Dinov3Settings


class Eomt(QueryVit):
    """One frame (reference: `EomtForUniversalSegmentation.forward` in Hugging Face transformers).

    In training, a query attends only to the patches under its mask of the layer before, with a probability that falls
    to 0: `attn_mask_probs`, per joint layer. A checkpoint in which it is 1 keeps the masks.
    """

    def __init__(self, settings: Dinov2Settings | Dinov3Settings) -> None:
        super().__init__(settings)
        self.attn_mask_probs: Tensor
        self.register_buffer("attn_mask_probs", torch.zeros(settings.num_blocks))
        self._masked = [False] * settings.num_blocks

    def next_queries(self, previous: Tensor) -> Tensor:
        """The queries of the first frame, (batch, queries, hidden): nothing is carried over."""
        return self.first_queries(len(previous))

    def settle(self) -> None:
        """Reads which layers mask; raises `ValueError` where the checkpoint leaves that to chance.

        A probability below 0 is never, as in Hugging Face: its converter of EoMT on DINOv3 kept differences from 1.
        """
        probabilities = self.attn_mask_probs.tolist()
        if any(0 < probability < 1 for probability in probabilities):
            raise ValueError(
                f"attn_mask_probs is {probabilities}: the checkpoint was saved in the middle of its training, while "
                "its attention was masked at random; take the one from its end, where they are all 0"
            )
        self._masked = [probability >= 1 for probability in probabilities]

    def _attention_mask(self, block: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor | None:
        if not self._masked[block]:
            return None
        count, queries = tokens.shape[1], self.settings.num_queries
        masks = F.interpolate(self.predict(self.layernorm(tokens), grid)[0], grid, mode="bilinear")
        allowed = torch.ones(len(tokens), 1, count, count, dtype=torch.bool, device=tokens.device)
        allowed[:, 0, :queries, queries + 1 + self.settings.num_register_tokens :] = masks.flatten(2) > 0
        return allowed
