"""The loss of a chunk of frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demo.training.assignment import assign, targets_of
from demo.training.recipe import NUM_CLASSES, Recipe
from demo.training.streams import Stream
from eomt_ros.engine.device import cpu_computes_in
from eomt_ros.engine.networks import Videomt

ANSWER_WEIGHTS = (0.2, 0.3, 1.0)
"""Weights of the answers after each joint layer; only the last one is used later."""


class Answer(NamedTuple):
    """The network's answer after one of its joint layers."""

    mask_logits: Tensor
    class_logits: Tensor
    queries: Tensor
    """As the layer leaves them."""


class Trainee(nn.Module):
    """The network with what only its training needs: the middle layers' answers, and a class for every pixel of the
    features.
    """

    def __init__(self, network: Videomt) -> None:
        super().__init__()
        self.network = network
        for layer in network.layers:
            layer.attention.attend = attend_plainly
        self.dense = nn.Conv2d(network.settings.hidden_size, NUM_CLASSES, 1)

    def forward(self, pixels: Tensor, queries: Tensor) -> tuple[list[Answer], Tensor]:
        """A chunk of frames, (batch, frames, 3, side, side): the answers of the joint layers, the last one last, each
        with (batch, frames) in front, and dense class logits (batch, frames, classes, h, w).

        Only what depends on the frame before runs frame by frame: large products are the fast ones.
        """
        network, settings = self.network, self.network.settings
        batch, frames = pixels.shape[:2]
        encoded = network.encode(pixels.flatten(0, 1)).unflatten(0, (batch, frames))
        carried: list[list[Tensor]] = []
        patches = []
        for index in range(frames):
            tokens = torch.cat((queries, encoded[:, index]), dim=1)
            after = []
            for layer in network.layers[-settings.num_blocks :]:
                tokens = layer(tokens)
                after.append(tokens[:, : settings.num_queries])
            carried.append(after)
            patches.append(tokens[:, settings.num_queries + 1 + settings.num_register_tokens :])
            queries = network.next_queries(after[-1]).float()
        features = network.layernorm(torch.stack(patches, 1).flatten(0, 1)).transpose(1, 2)
        # Channels last: the depthwise convolutions and their gradients then take half the time.
        features = features.unflatten(2, settings.grid).contiguous(memory_format=torch.channels_last)
        features = network.upscale_block(features)
        # (batch, frames, answers, queries, hidden)
        answers = torch.stack([torch.stack(after, 1) for after in carried], 1)
        normal = network.layernorm(answers)
        embedded = network.mask_head(normal).flatten(0, 1).flatten(1, 2)
        masks = torch.einsum("bqc,bchw->bqhw", embedded, features)
        masks = masks.unflatten(1, answers.shape[2:4]).unflatten(0, (batch, frames))
        classes = network.class_predictor(normal)
        outputs = [
            Answer(masks[:, :, index], classes[:, :, index], answers[:, :, index])
            for index in range(settings.num_blocks)
        ]
        return outputs, self.dense(features).unflatten(0, (batch, frames))


def attend_plainly(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention as three products: with its gradient, on a CPU, at this size, 2.6 times faster than torch's own."""
    return (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1) @ value


def chunk_loss(
    trainee: Trainee, streams: list[Stream], queries: Tensor, length: int, recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """Plays the next `length` frames of all streams; the loss, and the queries that leave the last frame, detached, as
    the last layer leaves them.
    """
    parts = [stream.take(length) for stream in streams]
    pixels = torch.stack([part[0] for part in parts])
    segments = torch.stack([part[1] for part in parts])
    # One context for the chunk: it converts each weight once.
    with torch.autocast("cpu", torch.bfloat16, enabled=cpu_computes_in("bfloat16")):
        answers, dense = trainee(pixels, queries)
    with torch.no_grad():
        for row, stream in enumerate(streams):
            masks, classes = answers[-1].mask_logits[row].float(), answers[-1].class_logits[row].float()
            assign(stream, segments[row], masks, classes, recipe)
        targets = [targets_of(stream, segments[row], recipe) for row, stream in enumerate(streams)]
    wanted = Wanted.of(torch.stack([target[0] for target in targets]), torch.stack([target[1] for target in targets]))
    loss = torch.zeros(())
    for weight, output in zip(ANSWER_WEIGHTS, answers, strict=True):
        loss = loss + weight * answer_loss(output, wanted, recipe)
    class_of = [torch.from_numpy(stream.clip.classes).long() for stream in streams]
    dense_target = torch.stack([table[segments[row, :, ::2, ::2]] for row, table in enumerate(class_of)])
    dense_loss = F.cross_entropy(dense.float().flatten(0, 1), dense_target.flatten(0, 1))
    return loss + recipe.dense_weight * dense_loss, answers[-1].queries[:, -1].detach().float()


@dataclass(frozen=True)
class Wanted:
    """Targets of the queries of a chunk."""

    classes: Tensor
    """(batch, frames, queries), `NUM_CLASSES` for nothing."""
    masks: Tensor
    """(those that show something, h * w), 0 to 1."""

    @classmethod
    def of(cls, queries_at: Tensor, classes: Tensor) -> Wanted:
        """From the query of each pixel, (batch, frames, 2h, 2w), and the class of each query."""
        batch, frame, query = (classes != NUM_CLASSES).nonzero(as_tuple=True)
        masks = (queries_at[batch, frame] == query[:, None, None]).float()
        return cls(classes, F.avg_pool2d(masks[:, None], 2).flatten(1))


def answer_loss(output: Answer, wanted: Wanted, recipe: Recipe) -> Tensor:
    """The loss of a chunk for one layer's answer: classes, mask cross-entropy and dice (Mask2Former), over the queries
    that show something.
    """
    weight = torch.ones(NUM_CLASSES + 1)
    weight[-1] = recipe.no_object_weight
    class_loss = F.cross_entropy(output.class_logits.float().flatten(0, 2), wanted.classes.flatten(), weight)
    logits = output.mask_logits[wanted.classes != NUM_CLASSES].float().flatten(1)
    mask_loss = F.binary_cross_entropy_with_logits(logits, wanted.masks)
    probability = logits.sigmoid()
    dice = 1 - (2 * (probability * wanted.masks).sum(1) + 1) / (probability.sum(1) + wanted.masks.sum(1) + 1)
    return recipe.class_weight * class_loss + recipe.mask_weight * mask_loss + recipe.dice_weight * dice.mean()
