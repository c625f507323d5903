"""What a chunk of frames costs the network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demo.training.assignment import assign, targets_of
from demo.training.recipe import NUM_CLASSES, Recipe
from demo.training.streams import Stream
from eomt_ros.engine.network import StepOutput, Videomt

ANSWER_WEIGHTS = (0.2, 0.3, 1.0)
"""How much the answers after each joint layer count; only the last one is used later."""


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

    def forward(self, pixels: Tensor, queries: Tensor) -> tuple[list[StepOutput], Tensor]:
        """One frame: the answers of the joint layers, the last one last, and dense class logits (batch, classes, h,
        w).
        """
        network, settings = self.network, self.network.settings
        tokens = torch.cat((queries, network.encode(pixels)), dim=1)
        after = []
        for layer in network.layers[-settings.num_blocks :]:
            tokens = layer(tokens)
            after.append(tokens)
        patches = network.layernorm(tokens)[:, settings.num_queries + 1 + settings.num_register_tokens :]
        features = network.upscale_block(patches.transpose(1, 2).unflatten(2, (settings.grid, settings.grid)))
        outputs = []
        for tokens in after:
            carried = tokens[:, : settings.num_queries]
            normal = network.layernorm(carried)
            masks = torch.einsum("bqc,bchw->bqhw", network.mask_head(normal), features)
            outputs.append(StepOutput(masks, network.class_predictor(normal), carried))
        return outputs, self.dense(features)


def attend_plainly(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention as three products: with its gradient, on a CPU, at this size, 2.6 times faster than torch's own."""
    return (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1) @ value


def chunk_loss(
    trainee: Trainee, streams: list[Stream], queries: Tensor, length: int, recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """Plays the next `length` frames of all streams; the loss, and the queries that leave the last frame."""
    parts = [stream.take(length) for stream in streams]
    pixels = torch.stack([part[0] for part in parts])
    segments = torch.stack([part[1] for part in parts])
    answers, dense_logits = [], []
    with torch.autocast("cpu", torch.bfloat16):  # one context for the chunk: it converts each weight once
        for index in range(length):
            outputs, dense = trainee(pixels[:, index], queries)
            queries = trainee.network.next_queries(outputs[-1].queries).float()
            answers.append(outputs)
            dense_logits.append(dense.float())
    with torch.no_grad():
        last = [outputs[-1] for outputs in answers]
        for row, stream in enumerate(streams):
            masks = torch.stack([output.mask_logits[row] for output in last]).float()
            classes = torch.stack([output.class_logits[row] for output in last]).float()
            assign(stream, segments[row], masks, classes, recipe)
        targets = [targets_of(stream, segments[row], recipe) for row, stream in enumerate(streams)]
    queries_at = torch.stack([target[0] for target in targets])
    classes = torch.stack([target[1] for target in targets])
    loss = torch.zeros(())
    for index in range(length):
        for weight, output in zip(ANSWER_WEIGHTS, answers[index], strict=True):
            loss = loss + weight * step_losses(output, queries_at[:, index], classes[:, index], recipe)
        class_of = [torch.from_numpy(stream.clip.classes).long() for stream in streams]
        dense_target = torch.stack([table[segments[row, index, ::2, ::2]] for row, table in enumerate(class_of)])
        loss = loss + recipe.dense_weight * F.cross_entropy(dense_logits[index], dense_target)
    return loss / length, queries.detach()


def step_losses(output: StepOutput, queries_at: Tensor, classes: Tensor, recipe: Recipe) -> Tensor:
    """The loss of one frame of all streams: classes, mask cross-entropy and dice (Mask2Former), over the queries that
    show something.
    """
    wanted = classes != NUM_CLASSES
    weight = torch.ones(NUM_CLASSES + 1)
    weight[-1] = recipe.no_object_weight
    class_loss = F.cross_entropy(output.class_logits.float().flatten(0, 1), classes.flatten(), weight)
    rows, queries = wanted.nonzero(as_tuple=True)
    target = F.avg_pool2d((queries_at[rows] == queries[:, None, None]).float()[:, None], 2).flatten(1)
    logits = output.mask_logits.float()[wanted].flatten(1)
    mask_loss = F.binary_cross_entropy_with_logits(logits, target)
    probability = logits.sigmoid()
    dice = 1 - (2 * (probability * target).sum(1) + 1) / (probability.sum(1) + target.sum(1) + 1)
    return recipe.class_weight * class_loss + recipe.mask_weight * mask_loss + recipe.dice_weight * dice.mean()
