"""Assignment of segments to queries: stuff has fixed ones, things keep theirs for as long as they are followed."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from demo.training.dataset import NUM_STUFF
from demo.training.recipe import NUM_CLASSES, SETTINGS, Recipe
from demo.training.streams import Stream


def assign(stream: Stream, segments: Tensor, masks: Tensor, classes: Tensor, recipe: Recipe) -> None:
    """Brings the stream's record of queries and things up to date with one chunk.

    segments: (frames, 2h, 2w). masks: (frames, queries, h, w) logits. classes: (frames, queries, classes + 1) logits.
    """
    visible = areas_of(segments, len(stream.clip.classes)) >= recipe.smallest_area
    for thing in list(stream.query_of):
        if visible[:, thing].any():
            stream.last_seen[thing] = stream.frames + len(segments)
        elif stream.frames + len(segments) - stream.last_seen[thing] > recipe.forget_after:
            del stream.query_of[thing], stream.last_seen[thing]
    in_view = [int(value) for value in visible.any(0).nonzero()[:, 0] if value >= NUM_STUFF]
    newcomers = [thing for thing in in_view if thing not in stream.query_of]
    taken = set(stream.query_of.values())
    free = [query for query in range(NUM_STUFF, masks.shape[1]) if query not in taken]
    if newcomers and free:
        cost = newcomer_cost(
            segments, visible, masks[:, free], classes[:, free], newcomers, stream.clip.classes, recipe
        )
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            stream.query_of[newcomers[column]] = free[row]
            stream.last_seen[newcomers[column]] = stream.frames + len(segments)
    stream.frames += len(segments)


def newcomer_cost(
    segments: Tensor,
    visible: Tensor,
    masks: Tensor,
    classes: Tensor,
    newcomers: list[int],
    class_of: np.ndarray,
    recipe: Recipe,
) -> np.ndarray:
    """Cost of giving each free query each newcomer, (queries, newcomers): the losses over the frames that show it."""
    wanted = torch.tensor(newcomers)
    target = F.avg_pool2d((segments[:, None] == wanted[:, None, None]).float(), 2).flatten(2)
    seen = visible[:, wanted].float()
    logits = masks.flatten(2)
    probability = logits.sigmoid()
    pixels = logits.shape[-1]
    cross_entropy = (F.softplus(logits).sum(-1)[:, :, None] - logits @ target.transpose(1, 2)) / pixels
    overlap = 2 * probability @ target.transpose(1, 2)
    dice = 1 - (overlap + 1) / (probability.sum(-1)[:, :, None] + target.sum(-1)[:, None] + 1)
    likelihood = classes.softmax(-1)[:, :, torch.from_numpy(class_of)[wanted].long()]
    cost = recipe.mask_weight * cross_entropy + recipe.dice_weight * dice - recipe.class_weight * likelihood
    return ((cost * seen[:, None]).sum(0) / seen.sum(0).clamp(min=1)).numpy()


def targets_of(stream: Stream, segments: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Targets of a chunk: the query of each pixel (frames, 2h, 2w), -1 none, and classes (frames, queries)."""
    query_of_segment = torch.full((len(stream.clip.classes),), -1)
    query_of_segment[:NUM_STUFF] = torch.arange(NUM_STUFF)
    for thing, query in stream.query_of.items():
        query_of_segment[thing] = query
    visible = areas_of(segments, len(stream.clip.classes)) >= recipe.smallest_area
    classes = torch.full((len(segments), SETTINGS.num_queries), NUM_CLASSES)
    for segment, query in enumerate(query_of_segment.tolist()):
        if query >= 0:
            classes[visible[:, segment], query] = int(stream.clip.classes[segment])
    return query_of_segment[segments], classes


def areas_of(segments: Tensor, count: int) -> Tensor:
    """Pixels of each segment value: (frames, H, W) to (frames, count)."""
    return torch.stack([torch.bincount(frame.flatten(), minlength=count) for frame in segments])
