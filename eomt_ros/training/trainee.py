"""The network as it is trained: chunks of frames in, the answers of all its joint blocks out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eomt_ros.engine.model.processor import IMAGENET_MEAN, IMAGENET_STD
from eomt_ros.engine.networks import Dinov3Settings, QueryVit
from eomt_ros.engine.networks.dinov3 import dinov3_rotations
from eomt_ros.engine.networks.layers import Attention, Grid, Rotations
from eomt_ros.training.settings import TrainingSettings

FEW_TOKENS = 600
"""Up to so many, plain attention on a CPU takes less time than torch's own, and not too much memory."""


class Answer(NamedTuple):
    """What the queries say at one depth of the network."""

    mask_logits: Tensor
    """(batch, frames, queries, h, w)"""
    class_logits: Tensor
    """(batch, frames, queries, classes + 1), the last one is no object."""


class Outputs(NamedTuple):
    """The network's answers to a chunk of frames."""

    answers: tuple[Answer, ...]
    """Before each joint block, those that train (`settings.auxiliary`); then of the last, which alone is used later.
    """
    carried: Tensor
    """The queries as the last block left them in the last frame, (batch, queries, hidden) float32, detached."""


class Trainee(nn.Module):
    """A network with what only its training needs; the network itself stays as the engine runs it."""

    def __init__(
        self,
        network: QueryVit,
        settings: TrainingSettings,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        """mean, std: of the channels, by which pixels are normalised, as shares of 255."""
        super().__init__()
        self.network = network
        self.masking: tuple[float, ...] = (0.0,) * network.settings.num_blocks
        """Probability of masked attention in each joint block."""
        self._auxiliary = settings.auxiliary
        self._mean: Tensor
        self._std: Tensor
        self.register_buffer("_mean", 255 * torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("_std", 255 * torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(
        self,
        pixels: Tensor,
        carried: Tensor | None = None,
        first: Tensor | None = None,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Outputs:
        """Runs the next frames of each stream.

        pixels: (batch, frames, 3, height, width), 0 to 255. carried: from the chunk before, so that gradients reach
        what carries queries over. first: (batch,) bool, the streams that begin with first queries; None: all if
        nothing is carried, else none. generators: one per stream, of what is random in masked attention; None: torch's.
        Only what depends on the frame before runs frame by frame: large products are the fast ones.
        """
        network, settings = self.network, self.network.settings
        batch, frames = pixels.shape[:2]
        grid = network.grid_of(pixels)
        rotate = self._rotations(grid)
        with plain_attention(network, pixels):
            encoded = self._encode(pixels.flatten(0, 1), rotate).view(batch, frames, -1, settings.hidden_size)
            queries = self._queries(batch, carried, first)
            depths: list[list[Tensor]] = [[] for _ in range(settings.num_blocks + 1)]
            known: list[list[Answer]] = [[] for _ in range(settings.num_blocks + 1)]
            for index in range(frames):
                tokens = torch.cat((queries.to(encoded.dtype), encoded[:, index]), dim=1)
                for block, layer in enumerate(network.layers[-settings.num_blocks :]):
                    depths[block].append(tokens)
                    allowed = None
                    if self.masking[block] > 0:
                        known[block].append(self._answer([tokens], self._features([tokens], grid)))
                        allowed = self._allowed(known[block][-1], self.masking[block], tokens, grid, generators)
                    tokens = layer(tokens, rotate, allowed)
                depths[-1].append(tokens)
                left = tokens[:, : settings.num_queries]
                if index + 1 < frames:
                    queries = network.next_queries(left)
        last = self._features(depths[-1], grid)
        answers = []
        for depth, made in zip(depths, known, strict=True):
            if made:
                answers.append(Answer(*(torch.cat(parts, 1) for parts in zip(*made, strict=True))))
            elif depth is depths[-1] or self._auxiliary == "shared":
                answers.append(self._answer(depth, last))
            elif self._auxiliary == "own":
                answers.append(self._answer(depth, self._features(depth, grid)))
        return Outputs(tuple(answers), left.detach().float())

    def _rotations(self, grid: Grid) -> Rotations | None:
        settings = self.network.settings
        if not isinstance(settings, Dinov3Settings):
            return None
        # Not the network's own, which may come from inference mode, of which no gradient is taken.
        return dinov3_rotations(settings, grid, self._mean)

    def _encode(self, pixels: Tensor, rotate: Rotations | None) -> Tensor:
        """See `QueryVit.encode`; pixels: (images, 3, height, width), 0 to 255."""
        network = self.network
        tokens: Tensor = network.embeddings((pixels - self._mean) / self._std)
        for layer in network.layers[: -network.settings.num_blocks]:
            tokens = layer(tokens, rotate)
        return tokens

    def _queries(self, batch: int, carried: Tensor | None, first: Tensor | None) -> Tensor:
        """The queries of the chunk's first frame, (batch, queries, hidden)."""
        begin = self.network.first_queries(batch)
        if carried is None:
            return begin
        if first is None:
            return self.network.next_queries(carried)
        anew = first[:, None, None]
        # Zeros: what a stream that failed has left would get into the gradient.
        return torch.where(anew, begin, self.network.next_queries(carried.masked_fill(anew, 0)))

    def _features(self, depth: list[Tensor], grid: Grid) -> Tensor:
        """What masks are made of, (batch * frames, hidden, h, w), from the tokens of each frame at one depth."""
        network = self.network
        patches = torch.stack([tokens[:, -grid[0] * grid[1] :] for tokens in depth], 1).flatten(0, 1)
        features = network.layernorm(patches).view(len(patches), *grid, -1).permute(0, 3, 1, 2)
        # Channels last: the depthwise convolutions and their gradients then take half the time.
        return network.upscale_block(features.contiguous(memory_format=torch.channels_last))

    def _answer(self, depth: list[Tensor], features: Tensor) -> Answer:
        """The answer at one depth, see `QueryVit.predict`. depth: the tokens of each frame, (batch, tokens, hidden)."""
        network, batch = self.network, len(depth[0])
        queries = torch.stack([tokens[:, : network.settings.num_queries] for tokens in depth], 1).flatten(0, 1)
        queries = network.layernorm(queries)
        mask_logits = torch.einsum("bqc,bchw->bqhw", network.mask_head(queries), features)
        class_logits = network.class_predictor(queries)
        return Answer(*(logits.view(batch, len(depth), *logits.shape[1:]) for logits in (mask_logits, class_logits)))

    def _allowed(
        self,
        answer: Answer,
        probability: float,
        tokens: Tensor,
        grid: Grid,
        generators: Sequence[torch.Generator] | None,
    ) -> Tensor:
        """True where a token may attend to another, (batch, 1, tokens, tokens): a query to the patches under its mask,
        with the probability, else everywhere (`EomtForUniversalSegmentation.forward` in Hugging Face transformers).
        """
        batch, count = tokens.shape[:2]
        queries = self.network.settings.num_queries
        with torch.no_grad():
            masks = F.interpolate(answer.mask_logits[:, 0].float(), grid, mode="bilinear").flatten(2) > 0
            if probability < 1:
                masks |= (drawn(batch, (queries,), tokens.device, generators) > probability)[:, :, None]
            allowed = torch.ones(batch, 1, count, count, dtype=torch.bool, device=tokens.device)
            allowed[:, 0, :queries, count - masks.shape[2] :] = masks
        return allowed


def drawn(
    batch: int, shape: tuple[int, ...], device: torch.device, generators: Sequence[torch.Generator] | None
) -> Tensor:
    """Random numbers from 0 to 1, (batch, *shape), each row from its own generator; None: all from torch's."""
    if generators is None:
        return torch.rand(batch, *shape, device=device)
    return torch.stack([torch.rand(shape, generator=each, device=each.device).to(device) for each in generators])


@contextmanager
def plain_attention(network: QueryVit, pixels: Tensor) -> Iterator[None]:
    """Attention as three products while it lasts, where that is fast: with its gradient, on a CPU, at the size of the
    demo, it is 2.6 times faster than torch's own.
    """
    grid = network.grid_of(pixels)
    if pixels.device.type != "cpu" or grid[0] * grid[1] + network.settings.num_queries > FEW_TOKENS:
        yield
        return
    attentions = [module for module in network.modules() if isinstance(module, Attention)]
    own = [attention.attend for attention in attentions]
    try:
        for attention in attentions:
            attention.attend = attend_plainly
        yield
    finally:
        for attention, attend in zip(attentions, own, strict=True):
            attention.attend = attend


def attend_plainly(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """Attention; attn_mask: True where a token may attend to another."""
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    return scores.softmax(-1) @ value
