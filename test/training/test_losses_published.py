"""Losses and gradients of one step beside Hugging Face's own, for the same networks, masks, labels and points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    EomtDinov3ForUniversalSegmentation,
    EomtForUniversalSegmentation,
    Mask2FormerConfig,
    VideomtForUniversalSegmentation,
)
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss
from transformers.models.videomt.modeling_videomt import VideomtLoss

from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.engine.networks import QueryVit
from eomt_ros.training.clips import Clip
from eomt_ros.training.losses import Loss, batch_loss, clip_generators
from eomt_ros.training.matching import Identities
from eomt_ros.training.optimizer import freeze
from eomt_ros.training.settings import TrainingSettings
from eomt_ros.training.trainee import Answer, Outputs, Trainee
from test.engine.checkpoints import SMALL, write_checkpoint, write_eomt, write_eomt_dinov3
from test.training.shown import random_clip

SETTINGS = TrainingSettings(points=120)
CPU = torch.device("cpu")
QUERIES = SMALL["num_queries"]
PUBLISHED: dict[str, Any] = {
    "train_num_points": SETTINGS.points,
    "class_weight": 2.0,
    "mask_weight": 5.0,
    "dice_weight": 5.0,
    "no_object_weight": 0.1,
}
WEIGHTS = {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}
EOMTS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "eomt": (write_eomt, EomtForUniversalSegmentation, {}),
    # Its coordinates are scaled at random in training, which we leave out.
    "eomt_dinov3": (write_eomt_dinov3, EomtDinov3ForUniversalSegmentation, {"pos_embed_rescale": None}),
}


@pytest.fixture
def same_points(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Clip]], None]:
    """Lets Hugging Face draw each image's random numbers from the generator that we have for it."""
    draw = torch.rand

    def use(clips: Sequence[Clip]) -> None:
        generators = clip_generators(0, 0, clips, CPU)
        masks = [min(len(clip.classes), QUERIES) for clip in clips]
        image = 0

        def rand(*shape: int, device: torch.device | None = None, generator: torch.Generator | None = None) -> Tensor:
            nonlocal image
            if generator is not None:
                return draw(*shape, generator=generator, device=device)
            if len(shape) == 2:  # queries whose attention is masked
                return torch.stack([draw(shape[1:], generator=each) for each in generators])
            if shape[1] == SETTINGS.points:  # the matcher, image by image
                image += 1
                return draw(shape, generator=generators[(image - 1) % len(clips)])
            return torch.cat(
                [draw(rows, *shape[1:], generator=each) for rows, each in zip(masks, generators, strict=True)]
            )

        monkeypatch.setattr(torch, "rand", rand)

    return use


def labels_of(clips: Sequence[Clip]) -> dict[str, list[Tensor]]:
    """What Hugging Face's models take of single images."""
    return {
        "mask_labels": [(clip.segments == torch.arange(len(clip.classes))[:, None, None]).float() for clip in clips],
        "class_labels": [clip.classes for clip in clips],
    }


def our_loss(outputs: Outputs, clips: Sequence[Clip], settings: TrainingSettings = SETTINGS, **more: Any) -> Loss:
    generators = more.get("generators") or clip_generators(0, 0, clips, CPU)
    return batch_loss(outputs, clips, [Identities(100) for _ in clips], settings, generators)


def trainee_of(folder: Path) -> tuple[Trainee, QueryVit]:
    network = load_checkpoint(folder).network
    assert isinstance(network, QueryVit)
    freeze(network, SETTINGS)
    return Trainee(network, SETTINGS).train(), network


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


def gradient_of(value: Tensor) -> Tensor:
    assert value.grad is not None
    return value.grad


def assert_same_gradients(network: QueryVit, reference: torch.nn.Module) -> None:
    theirs = {name: value.grad for name, value in reference.named_parameters() if value.grad is not None}
    ours = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    theirs.pop("embeddings.mask_token", None)
    assert set(theirs) <= set(ours)
    assert len(theirs) > 40
    # Those of the keys' biases are 0 but for rounding, which depends on the number of threads.
    rounding = 1e-6 * max(gradient.abs().max().item() for gradient in theirs.values())
    for name, gradient in theirs.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-4 * scale + rounding, msg=name)


@pytest.mark.parametrize("masking", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("family", EOMTS)
def test_loss_and_gradients_of_images_are_those_of_hugging_face(
    family: str, masking: float, tmp_path: Path, same_points: Callable[[Sequence[Clip]], None]
) -> None:
    write, model, overrides = EOMTS[family]
    folder = write(tmp_path, **PUBLISHED, **overrides)
    trainee, network = trainee_of(folder)
    reference = model.from_pretrained(folder).train()
    reference.attn_mask_probs.fill_(masking)
    trainee.masking = (masking,) * SMALL["num_blocks"]
    clips = [random_clip(seed=seed, count=3 + 4 * seed, stream=seed) for seed in range(3)]

    generators = clip_generators(0, 0, clips, CPU)
    if masking == 0:
        torch.stack([torch.rand(QUERIES, generator=each) for each in generators for _ in range(2)])  # they draw as well
    outputs = trainee(torch.stack([clip.pixels for clip in clips]), generators=generators)
    loss = our_loss(outputs, clips, generators=generators)
    backward(loss.total)

    same_points(clips)
    pixels = (torch.cat([clip.pixels for clip in clips]) - trainee._mean) / trainee._std
    theirs = reference(pixel_values=pixels, **labels_of(clips))
    backward(theirs.loss)

    torch.testing.assert_close(outputs.answers[-1].mask_logits[:, 0], theirs.masks_queries_logits, rtol=1e-3, atol=1e-3)
    assert_close(loss.total, theirs.loss)
    assert_close(torch.stack(list(loss.by_name.values())).sum(), theirs.loss)
    assert_same_gradients(network, reference)


def test_each_named_loss_is_that_of_mask2former(same_points: Callable[[Sequence[Clip]], None]) -> None:
    # The last image has more segments than there are queries.
    clips = [random_clip(seed=seed, count=count, stream=seed) for seed, count in enumerate((1, 6, 2 * QUERIES))]
    generator = torch.Generator().manual_seed(0)
    answers = [
        Answer(
            (3 * torch.randn(3, 1, QUERIES, 16, 16, generator=generator)).requires_grad_(),
            torch.randn(3, 1, QUERIES, 6, generator=generator).requires_grad_(),
        )
        for _ in range(3)
    ]
    loss = our_loss(Outputs(tuple(answers), torch.zeros(3, QUERIES, 8)), clips)
    backward(loss.total)
    ours = [[gradient_of(value)[:, 0] for value in answer] for answer in answers]

    same_points(clips)
    criterion = Mask2FormerLoss(Mask2FormerConfig(num_labels=5, **PUBLISHED), WEIGHTS)
    labels = labels_of(clips)
    total = torch.zeros(())
    for number, answer in enumerate(answers):
        masks, classes = (value.detach()[:, 0].requires_grad_() for value in answer)
        theirs = criterion(masks, classes, **labels)
        losses = []
        suffix = "" if number == 2 else f"_{number}"
        for name, their_name in (("class", "cross_entropy"), ("mask", "mask"), ("dice", "dice")):
            their_loss = WEIGHTS[f"loss_{their_name}"] * theirs[f"loss_{their_name}"]
            assert_close(loss.by_name[name + suffix], their_loss.detach())
            losses.append(their_loss)
        backward(torch.stack(losses).sum())
        total = total + torch.stack(losses).sum().detach()
        assert_close(ours[number][0], gradient_of(masks))
        assert_close(ours[number][1], gradient_of(classes))
    assert_close(loss.total.detach(), total)


def test_loss_and_gradients_of_a_clip_of_videomt_are_those_of_hugging_face(
    tmp_path: Path, same_points: Callable[[Sequence[Clip]], None]
) -> None:
    folder = write_checkpoint(tmp_path, **PUBLISHED)
    trainee, network = trainee_of(folder)
    reference = VideomtForUniversalSegmentation.from_pretrained(folder).train()
    clip = random_clip(frames=3, count=6)
    # Each frame asks for its own segments, as if it stood alone, so that Hugging Face can match it.
    outputs = trainee(clip.pixels[None])
    last = outputs.answers[-1]
    frames = [random_clip(seed=seed, count=4, stream=seed) for seed in range(3)]
    by_frame = Answer(last.mask_logits.transpose(0, 1), last.class_logits.transpose(0, 1))
    loss = our_loss(Outputs((by_frame,), outputs.carried), frames)
    backward(loss.total)

    same_points(frames)
    theirs = reference(pixel_values_videos=((clip.pixels - trainee._mean) / trainee._std)[None])
    criterion = VideomtLoss(reference.config, WEIGHTS)
    losses = criterion(theirs.masks_queries_logits, theirs.class_queries_logits, **labels_of(frames))
    total = sum(weight * losses[name] for name, weight in WEIGHTS.items())
    backward(total)

    assert_close(loss.total, total)
    assert_same_gradients(network, reference)
