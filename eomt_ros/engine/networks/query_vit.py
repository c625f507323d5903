"""A plain ViT with queries: what EoMT and VidEoMT share, on either backbone.

The first layers see the image alone; before the last `num_blocks` layers the queries are prepended to the image's
tokens, and become masks and classes (EoMT, Kerssies et al., CVPR 2025).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eomt_ros.engine.networks.dinov2 import Dinov2Embeddings, dinov2_layer
from eomt_ros.engine.networks.dinov3 import Dinov3Embeddings, dinov3_layer, dinov3_rotations
from eomt_ros.engine.networks.layers import Grid, MaskHead, Positions, Rotations, ScaleBlock, embedding, once
from eomt_ros.engine.networks.network import StepResult
from eomt_ros.engine.networks.settings import Dinov2Settings, Dinov3Settings


class QueryVit(nn.Module):
    """One step per frame. Subclasses give the queries of the next frame."""

    TRAINING_ONLY = frozenset({"embeddings.mask_token", "criterion.empty_weight"})
    """Tensors of published checkpoints that only training needs."""

    def __init__(self, settings: Dinov2Settings | Dinov3Settings) -> None:
        super().__init__()
        self.settings = settings
        hidden = settings.hidden_size
        if isinstance(settings, Dinov3Settings):
            self.embeddings: Dinov2Embeddings | Dinov3Embeddings = Dinov3Embeddings(settings)
            self.layers = nn.ModuleList(dinov3_layer(settings) for _ in range(settings.num_hidden_layers))
        else:
            self.embeddings = Dinov2Embeddings(settings)
            self.layers = nn.ModuleList(dinov2_layer(settings) for _ in range(settings.num_hidden_layers))
        self.layernorm = nn.LayerNorm(hidden, eps=settings.layer_norm_eps)
        self.query = embedding(settings.num_queries, hidden)
        self.class_predictor = nn.Linear(hidden, settings.num_labels + 1)
        self.mask_head = MaskHead(settings)
        self.upscale_block = ScaleBlock(settings)
        self._rotations: dict[Grid, Rotations] = {}

    def forward(self, pixels: Tensor, queries: Tensor, positions: Positions | None = None) -> StepResult:
        """Runs one frame of each stream in the batch.

        pixels: (batch, 3, height, width), normalised, whole patches. queries: (batch, queries, hidden) from
        `first_queries`, or the `next_queries` of the frame before. positions: `positions` of the pixels' size, where
        they were made ahead.
        """
        return self.decode(self.encode(pixels, positions), queries, self.grid_of(pixels), positions)

    def positions(self, grid: Grid) -> Positions:
        """Where the patches of an image are, for `forward`."""
        rotate = self._rotate(grid)
        if rotate is not None:
            return rotate.tensors
        assert isinstance(self.embeddings, Dinov2Embeddings)
        return (self.embeddings.positions(grid),)

    def grid_of(self, pixels: Tensor) -> Grid:
        """Patches down and across an image."""
        patch = self.settings.patch_size
        return pixels.shape[-2] // patch, pixels.shape[-1] // patch

    def first_queries(self, batch: int = 1) -> Tensor:
        """The queries of a stream's first frame, (batch, queries, hidden)."""
        return self.query.weight.expand(batch, -1, -1)

    def next_queries(self, previous: Tensor) -> Tensor:
        """The queries of a frame from those that the last layer left in the frame before, (batch, queries, hidden)."""
        raise NotImplementedError

    def constants(self) -> list[Tensor]:
        """See `Network`."""
        return [
            *self.embeddings.constants(),
            *(each for made in list(self._rotations.values()) for each in made.tensors),
        ]

    def settle(self) -> None:
        """Reads from the weights how the network is to run; raises `ValueError` where they leave it to chance."""

    def encode(self, pixels: Tensor, positions: Positions | None = None) -> Tensor:
        """The image's tokens before the queries join them, (batch, tokens, hidden); they depend on this frame only."""
        tokens: Tensor = self.embeddings(pixels, positions)
        rotate = self._rotate(self.grid_of(pixels), positions)
        for layer in self.layers[: -self.settings.num_blocks]:
            tokens = layer(tokens, rotate)
        return tokens

    def decode(
        self, tokens: Tensor, queries: Tensor, grid: Grid | None = None, positions: Positions | None = None
    ) -> StepResult:
        """Runs the joint layers and the heads on the tokens from `encode` and the frame's queries.

        grid: patches down and across the image; None for the size that the network was trained on.
        """
        grid = grid or self.settings.grid
        rotate = self._rotate(grid, positions)
        tokens = torch.cat((queries, tokens), dim=1)
        for block, layer in enumerate(self.layers[-self.settings.num_blocks :]):
            tokens = layer(tokens, rotate, self._attention_mask(block, tokens, grid))
        mask_logits, class_logits = self.predict(self.layernorm(tokens), grid)
        return StepResult(mask_logits, class_logits, self.next_queries(self._queries(tokens)))

    def predict(self, tokens: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """Mask logits (batch, queries, h, w) and class logits (batch, queries, classes + 1) of normalised tokens."""
        queries = self._queries(tokens)
        patches = tokens[:, self.settings.num_queries + 1 + self.settings.num_register_tokens :]
        features = self.upscale_block(patches.reshape(len(patches), *grid, -1).permute(0, 3, 1, 2))
        mask_logits = torch.einsum("bqc,bchw->bqhw", self.mask_head(queries), features)
        return mask_logits, self.class_predictor(queries)

    def _queries(self, tokens: Tensor) -> Tensor:
        # A copy: of a view torch multiplies each frame by itself, and sums one frame in another order than several.
        return tokens[:, : self.settings.num_queries].contiguous()

    def _attention_mask(self, block: int, tokens: Tensor, grid: Grid) -> Tensor | None:
        """True where a token may attend to another in a joint layer, (batch, 1, tokens, tokens); None: everywhere."""
        return None

    def _rotate(self, grid: Grid, positions: Positions | None = None) -> Rotations | None:
        """The backbone's rotations."""
        settings = self.settings
        if not isinstance(settings, Dinov3Settings):
            return None
        if positions is not None:
            return Rotations(*positions)
        return once(self._rotations, grid, lambda: dinov3_rotations(settings, grid, self.query.weight))
