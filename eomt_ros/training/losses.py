"""The loss of a batch of clips: classes, mask cross-entropy and dice, for the answers at every depth (Mask2Former)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, distributed

from eomt_ros.training.clips import Clip, random_numbers
from eomt_ros.training.matching import Identities, match, pair_costs
from eomt_ros.training.points import UNASKED, random_points, uncertain_points, values_at, votes_at, votes_of_pixels
from eomt_ros.training.settings import TrainingSettings
from eomt_ros.training.trainee import Answer, Outputs

POINTS = 16
"""What random numbers are for, beside what `clips` draws."""


class Loss(NamedTuple):
    """The loss of a batch."""

    total: Tensor
    by_name: dict[str, Tensor]
    """Its parts, weighted, without gradient: class, mask and dice of the last answer, class_0 and so on of the others.
    """


@dataclass(frozen=True, eq=False)
class Target:
    """What is asked in a clip, on the device of the answers."""

    segments: Tensor
    """(frames, H, W) int64, places in `classes`."""
    classes: Tensor
    visible: Tensor
    """(frames, segments) bool; background is never."""
    everywhere: tuple[Tensor, Tensor] | None
    """`Votes.shares` at every pixel of a mask, where that is not more than the points to be sampled."""

    @classmethod
    def of(cls, clip: Clip, answer: Answer, points: int) -> Target:
        """The target of a clip."""
        device, (height, width) = answer.mask_logits.device, answer.mask_logits.shape[-2:]
        segments, classes = clip.segments.to(device), clip.classes.to(device)
        count = len(classes)
        counts = torch.stack([torch.bincount(frame.flatten() + 1, minlength=count + 1) for frame in segments])
        visible = (counts[:, 1:] > 0) & (classes >= 0)
        few = height * width <= points
        everywhere = votes_of_pixels(segments, (height, width)).shares(count) if few else None
        return cls(segments, classes, visible, everywhere)


def clip_generators(seed: int, step: int, clips: Sequence[Clip], device: torch.device) -> list[torch.Generator]:
    """Random numbers of each clip in a step, which do not depend on the number of processes and their ranks."""
    seeds = (random_numbers(POINTS, seed, step, clip.stream).integers(2**63) for clip in clips)
    return [torch.Generator(device).manual_seed(int(each)) for each in seeds]


def batch_loss(
    outputs: Outputs,
    clips: Sequence[Clip],
    identities: Sequence[Identities],
    settings: TrainingSettings,
    generators: Sequence[torch.Generator],
) -> Loss:
    """The loss of the network's outputs for a batch of clips.

    identities: of each clip's stream, which go on by this clip; new ones for images. generators: one per clip, of the
    points (`clip_generators`). Segments for which no query is left are not asked of any. Sums are over the masks and
    queries of all processes, so that the mean of their gradients is that of one process with all the clips.
    Raises nothing for logits that are not finite: then the loss is not finite either.
    Source: `EomtLoss` in Hugging Face transformers, of which it is the same for images.
    """
    targets = [Target.of(clip, outputs.answers[-1], settings.points) for clip in clips]
    kept = [each.follow(clip) for each, clip in zip(identities, clips, strict=True)]
    sums, class_weights = [], []
    for answer in outputs.answers:
        answer = Answer(answer.mask_logits.float(), answer.class_logits.float())
        matched = [
            matched_queries(answer, row, targets[row], kept[row], identities[row], settings, generators[row])
            for row in range(len(clips))
        ]
        class_sum, class_weight = class_losses(answer, targets, matched, settings)
        class_weights.append(class_weight)
        sums.append((class_sum, *mask_losses(answer, targets, matched, settings, generators)))
    for row, (each, clip, query_of) in enumerate(zip(identities, clips, matched, strict=True)):
        each.record(clip, query_of, shown(answer.mask_logits[row, -1], targets[row], query_of))
    masks = torch.stack([target.visible.sum() for target in targets]).sum().float()
    masks, *class_weights = mean_over_processes(torch.stack((masks, *class_weights))).unbind()
    by_name = {}
    for number, ((class_sum, mask_sum, dice_sum), class_weight) in enumerate(zip(sums, class_weights, strict=True)):
        suffix = "" if number + 1 == len(sums) else f"_{number}"
        by_name[f"class{suffix}"] = settings.class_weight * class_sum / class_weight.clamp(min=1e-6)
        by_name[f"mask{suffix}"] = settings.mask_weight * mask_sum / masks.clamp(min=1)
        by_name[f"dice{suffix}"] = settings.dice_weight * dice_sum / masks.clamp(min=1)
    total = torch.stack(list(by_name.values())).sum()
    return Loss(total, {name: value.detach() for name, value in by_name.items()})


def matched_queries(
    answer: Answer,
    row: int,
    target: Target,
    kept: dict[int, int],
    identities: Identities,
    settings: TrainingSettings,
    generator: torch.Generator,
) -> dict[int, int]:
    """The query of each segment that is asked of one, by place, for the answer to clip `row`."""
    newcomers = [place for place in target.visible.any(0).nonzero()[:, 0].tolist() if place not in kept]
    free = identities.free(answer.mask_logits.shape[2], len(newcomers))
    if not newcomers or not free:
        return kept
    with torch.no_grad():
        mask_logits = answer.mask_logits[row]
        frames, queries = mask_logits.shape[:2]
        if target.everywhere is not None:
            logits, (labels, asked) = mask_logits.flatten(2), target.everywhere
        else:
            points = random_points(frames, settings.points, mask_logits.device, generator)
            each = points.repeat_interleave(queries, 0)
            logits = values_at(mask_logits.flatten(0, 1), each).view(frames, queries, -1)
            labels, asked = votes_at(target.segments, points).shares(len(target.classes))
        classes = target.classes.clamp(min=0)
        costs = pair_costs(logits, answer.class_logits[row], labels, asked, target.visible, classes, settings)
    return match(costs, kept, free, newcomers)


def shown(mask_logits: Tensor, target: Target, query_of: dict[int, int]) -> set[int]:
    """The segments, by place, that their query shows in the last frame: with an IoU above 0.5 at the masks' size.

    mask_logits: (queries, h, w).
    """
    places, queries = list(query_of), list(query_of.values())
    segments = target.segments[-1]
    (height, width), (down, across) = segments.shape, mask_logits.shape[1:]
    at = segments[(torch.arange(down) * height // down)[:, None], torch.arange(across) * width // across]
    true = at == torch.tensor(places, device=at.device)[:, None, None]
    found = (mask_logits[queries] > 0) & (at != UNASKED)
    union = (true | found).flatten(1).sum(1)
    well = 2 * (true & found).flatten(1).sum(1) > union
    return {place for place, is_shown in zip(places, well.tolist(), strict=True) if is_shown}


def class_losses(
    answer: Answer, targets: Sequence[Target], matched: Sequence[dict[int, int]], settings: TrainingSettings
) -> tuple[Tensor, Tensor]:
    """The sum of the class cross-entropies of all queries in all frames, and that of their weights.

    A query whose segment is out of view is asked for no object; in frames without anything asked no query is asked.
    """
    logits = answer.class_logits
    nothing = logits.shape[-1] - 1
    wanted = torch.full(logits.shape[:3], nothing, device=logits.device)
    for row, (target, query_of) in enumerate(zip(targets, matched, strict=True)):
        places, queries = list(query_of), list(query_of.values())
        wanted[row][:, queries] = torch.where(target.visible[:, places], target.classes[places], nothing)
        wanted[row][(target.segments == UNASKED).all(2).all(1)] = UNASKED
    weight = torch.ones(nothing + 1, device=logits.device)
    weight[nothing] = settings.no_object_weight
    class_sum = F.cross_entropy(logits.flatten(0, 2), wanted.flatten(), weight, ignore_index=UNASKED, reduction="sum")
    return class_sum, weight[wanted[wanted != UNASKED]].sum()


def mask_losses(
    answer: Answer,
    targets: Sequence[Target],
    matched: Sequence[dict[int, int]],
    settings: TrainingSettings,
    generators: Sequence[torch.Generator],
) -> tuple[Tensor, Tensor]:
    """The sums of the cross-entropies and of the dice losses of all masks: one per segment and frame that shows it."""
    logits, labels, asked = [], [], []
    for row, (target, query_of) in enumerate(zip(targets, matched, strict=True)):
        places = torch.tensor(list(query_of), dtype=torch.long, device=target.classes.device)
        queries = torch.tensor(list(query_of.values()), dtype=torch.long, device=target.classes.device)
        frame, which = target.visible[:, places].nonzero(as_tuple=True)
        masks = answer.mask_logits[row, frame, queries[which]]
        if target.everywhere is not None:
            shares, share_asked = target.everywhere
            logits.append(masks.flatten(1))
            labels.append(shares[frame, :, places[which]])
            asked.append(share_asked[frame])
        else:
            segments = target.segments[frame]
            points = uncertain_points(
                masks.detach(), segments, settings.points, settings.oversample, settings.importance, generators[row]
            )
            share, share_asked = votes_at(segments, points).share_of(places[which])
            logits.append(values_at(masks, points))
            labels.append(share)
            asked.append(share_asked)
    return compared_masks(torch.cat(logits), torch.cat(labels), torch.cat(asked))


def compared_masks(logits: Tensor, labels: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
    """The sums over masks of the cross-entropy, a mean over what is asked of the points, and of the dice loss.

    All (masks, points); labels: the share of the point that is the segment, asked: of which something is asked.
    """
    known = labels / asked.clamp(min=1e-6)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, known.clamp(max=1), asked, reduction="none")
    probability = logits.sigmoid()
    overlap = 2 * (probability * labels).sum(1) + 1
    dice = 1 - overlap / ((probability * asked).sum(1) + labels.sum(1) + 1)
    return (cross_entropy.sum(1) / asked.sum(1).clamp(min=1)).sum(), dice.sum()


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of each value over all processes."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    distributed.all_reduce(values)
    return values / distributed.get_world_size()
