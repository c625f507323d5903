"""What is asked of the network in clips, and what is not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from eomt_ros.training.clips import Clip
from eomt_ros.training.loading import BACKGROUND
from eomt_ros.training.losses import Loss, batch_loss, clip_generators
from eomt_ros.training.matching import Identities
from eomt_ros.training.settings import TrainingSettings
from eomt_ros.training.trainee import Answer, Outputs
from test.training.shown import random_clip

QUERIES, CLASSES, SIDE = 8, 5, 16
SAMPLED = TrainingSettings(points=100)
EVERYWHERE = TrainingSettings()


def random_answer(clips: list[Clip], seed: int = 0) -> Answer:
    """Logits from which gradients are taken; those of a clip do not depend on the others."""
    generators = [torch.Generator().manual_seed(100 * seed + clip.stream) for clip in clips]
    frames = len(clips[0].segments)
    masks = [3 * torch.randn(frames, QUERIES, SIDE, SIDE, generator=each) for each in generators]
    classes = [torch.randn(frames, QUERIES, CLASSES + 1, generator=each) for each in generators]
    return Answer(torch.stack(masks).requires_grad_(), torch.stack(classes).requires_grad_())


def loss_of(clips: list[Clip], *answers: Answer, settings: TrainingSettings = EVERYWHERE) -> Loss:
    generators = clip_generators(0, 0, clips, torch.device("cpu"))
    outputs = Outputs(answers, torch.zeros(len(clips), QUERIES, 4))
    return batch_loss(outputs, clips, [Identities(100) for _ in clips], settings, generators)


def gradients(loss: Loss, answer: Answer) -> tuple[Tensor, Tensor]:
    masks, classes = torch.autograd.grad(loss.total, tuple(answer))
    return masks, classes


@pytest.mark.parametrize("settings", [SAMPLED, EVERYWHERE])
def test_masks_are_not_asked_where_nothing_is_labelled(settings: TrainingSettings) -> None:
    clip = random_clip(count=4)
    clip.segments[:, :16] = -1
    clip = replace(clip, segments=torch.where(clip.segments < 0, -1, clip.segments))
    answer = random_answer([clip])
    masks, _ = gradients(loss_of([clip], answer, settings=settings), answer)
    assert (masks[:, :, :, : SIDE // 2 - 1] == 0).all()
    assert (masks[:, :, :, SIDE // 2 :] != 0).any()


@pytest.mark.parametrize("settings", [SAMPLED, EVERYWHERE])
def test_the_loss_beside_what_is_not_labelled_is_that_of_the_rest(settings: TrainingSettings) -> None:
    # A mask that is right where there are labels costs nothing, whatever it says elsewhere.
    clip = replace(random_clip(count=1), classes=torch.tensor([2]))
    clip.segments[:, :, 8:] = -1
    masks = torch.full((1, 1, QUERIES, SIDE, SIDE), -30.0)
    masks[:, :, 3, :, : SIDE // 2 + 2] = 30
    loss = loss_of([clip], Answer(masks, torch.zeros(1, 1, QUERIES, CLASSES + 1)), settings=settings)
    # Points at the very edge see what is beyond it as empty, as they do in Mask2Former.
    assert loss.by_name["mask"] < (1e-4 if settings is EVERYWHERE else 5)
    assert loss.by_name["dice"] < (1e-2 if settings is EVERYWHERE else 0.2)


def test_background_is_asked_to_be_empty_and_has_no_query() -> None:
    clip = replace(random_clip(count=2), classes=torch.tensor([2, BACKGROUND]), tracks=torch.tensor([4, -1]))
    answer = random_answer([clip])
    masks, _ = gradients(loss_of([clip], answer), answer)
    assert int((masks != 0).flatten(3).any(3).sum()) == 1
    background = (clip.segments[0, ::2, ::2] == 1) & (clip.segments[0, 1::2, 1::2] == 1)
    assert (masks[0, 0].sum(0)[background] > 0).all()  # down it goes


def test_a_thing_out_of_view_is_no_object_in_that_frame() -> None:
    clip = replace(random_clip(frames=2, count=2), classes=torch.tensor([1, 2]))
    clip.segments[1] = 0
    classes = torch.full((1, 2, QUERIES, CLASSES + 1), -20.0)
    classes[..., CLASSES] = 20
    masks = torch.full((1, 2, QUERIES, SIDE, SIDE), -20.0)
    for place, (query, class_id) in enumerate(((5, 1), (6, 2))):
        seen = (clip.segments == place).any(2).any(1)
        classes[0, seen, query, CLASSES], classes[0, seen, query, class_id] = -20, 20
        masks[0, :, query][clip.segments[:, ::2, ::2] == place] = 20
    assert loss_of([clip], Answer(masks, classes)).by_name["class"] < 1e-6
    classes[0, 1, 6] = classes[0, 0, 6].clone()
    assert loss_of([clip], Answer(masks, classes)).by_name["class"] > 1


def test_frames_without_labels_ask_for_nothing() -> None:
    clips = [random_clip(stream=0), replace(random_clip(stream=1), segments=torch.full((1, 32, 32), -1))]
    answer = random_answer(clips)
    masks, classes = gradients(loss_of(clips, answer), answer)
    assert (masks[1] == 0).all()
    assert (classes[1] == 0).all()
    assert (classes[0] != 0).any()
    nothing = Clip(
        clips[1].pixels, clips[1].segments, torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
    )
    answer = random_answer([nothing])
    loss = loss_of([nothing], answer)
    assert loss.total == 0
    assert (gradients(loss, answer)[0] == 0).all()


@pytest.mark.parametrize("settings", [SAMPLED, EVERYWHERE])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_end_in_a_loss_and_no_error(value: float, settings: TrainingSettings) -> None:
    clip = random_clip()
    for which in range(2):
        answer = [each.detach().clone() for each in random_answer([clip])]
        answer[which].fill_(value)
        loss_of([clip], Answer(*answer), settings=settings)
    answer = [torch.full_like(each, math.nan) for each in random_answer([clip])]
    assert loss_of([clip], Answer(*answer), settings=settings).total.isnan()


@pytest.mark.parametrize("side", [7, 16, 33, 50])
def test_labels_of_any_size_are_compared_at_every_pixel(side: int) -> None:
    clip = random_clip(count=3, size=2 * side)
    masks = torch.full((1, 1, QUERIES, SIDE, SIDE), -20.0)
    at = ((torch.arange(SIDE) + 0.5) / SIDE * side).long()
    for place in range(len(clip.classes)):
        masks[0, 0, place][clip.segments[0][at][:, at] == place] = 20
    loss = loss_of([clip], Answer(masks, torch.zeros(1, 1, QUERIES, CLASSES + 1)))
    assert loss.by_name["dice"] < 0.5 * EVERYWHERE.dice_weight


def uneven_clips() -> list[Clip]:
    """Clips with one to twelve segments, so that processes have different numbers of masks and queries."""
    clips = [random_clip(count=count, seed=count, stream=stream) for stream, count in enumerate((1, 3, 12, 2))]
    clips[3].segments[:, :20] = -1
    return clips


@pytest.mark.parametrize("settings", [SAMPLED, EVERYWHERE])
@pytest.mark.slow
def test_gradients_of_two_processes_are_those_of_one(settings: TrainingSettings, tmp_path: Path) -> None:
    clips = uneven_clips()
    answers = [random_answer(clips, seed) for seed in range(2)]
    expected = torch.autograd.grad(
        loss_of(clips, *answers, settings=settings).total, [value for answer in answers for value in answer]
    )
    multiprocessing.spawn(  # type: ignore[attr-defined, no-untyped-call]
        part_of_a_batch, args=(str(tmp_path), settings), nprocs=2, join=True
    )
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for number, whole in enumerate(expected):
        # The mean over processes is what is stepped by.
        both = torch.stack([parts[row % 2][number][row // 2] for row in range(len(clips))]) / 2
        torch.testing.assert_close(both, whole, rtol=1e-5, atol=1e-7)


def part_of_a_batch(rank: int, folder: str, settings: TrainingSettings) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    clips = uneven_clips()[rank::2]
    answers = [random_answer(clips, seed) for seed in range(2)]
    values = [value for answer in answers for value in answer]
    torch.save(torch.autograd.grad(loss_of(clips, *answers, settings=settings).total, values), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()
