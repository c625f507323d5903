"""The trainee computes what the engine computes, and leaves the network as the engine runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.engine.networks import QueryVit
from eomt_ros.training.optimizer import freeze
from eomt_ros.training.settings import TrainingSettings
from eomt_ros.training.trainee import Outputs, Trainee
from test.engine.checkpoints import WRITERS

FAMILIES = ("videomt", "eomt", "eomt_dinov3")
SETTINGS = TrainingSettings()


def network_of(family: str, folder: Path) -> QueryVit:
    network = load_checkpoint(WRITERS[family](folder)).network
    assert isinstance(network, QueryVit)
    freeze(network, SETTINGS)
    return network


def gradient_sum(outputs: Outputs, network: QueryVit, name: str) -> float:
    total = torch.stack([logits.square().sum() for answer in outputs.answers for logits in answer]).sum()
    (gradient,) = torch.autograd.grad(total, network.get_parameter(name))
    return float(gradient.abs().sum())


@pytest.mark.parametrize("auxiliary", ["own", "shared", "none"])
@pytest.mark.parametrize("family", FAMILIES)
def test_last_answers_are_those_of_the_engine_and_the_network_stays_as_it_was(
    family: str, auxiliary: str, tmp_path: Path
) -> None:
    network = network_of(family, tmp_path)
    pixels = 255 * torch.rand(2, 3, 3, 64, 64)
    trainee = Trainee(network, TrainingSettings(auxiliary=auxiliary)).train()
    normalised = (pixels - 255 * torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / (
        255 * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    )

    def by_frame() -> list[tuple[torch.Tensor, torch.Tensor]]:
        queries, results = network.first_queries(2), []
        with torch.no_grad():
            for index in range(3):
                step = network(normalised[:, index], queries)
                results.append((step.mask_logits, step.class_logits))
                queries = step.next_queries
        return results

    before = by_frame()
    first = trainee(pixels[:, :2])
    second = trainee(pixels[:, 2:], first.carried, torch.tensor([False, False]))
    shown = torch.cat((first.answers[-1].mask_logits, second.answers[-1].mask_logits), 1)
    named = torch.cat((first.answers[-1].class_logits, second.answers[-1].class_logits), 1)
    for index, (masks, classes) in enumerate(before):
        torch.testing.assert_close(shown[:, index], masks, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(named[:, index], classes, rtol=1e-4, atol=1e-4)
    assert len(first.answers) == (1 if auxiliary == "none" else network.settings.num_blocks + 1)
    for after, same in zip(by_frame(), before, strict=True):
        assert torch.equal(after[0], same[0])
        assert torch.equal(after[1], same[1])


def test_streams_that_begin_anew_do_not_see_what_was_carried(tmp_path: Path) -> None:
    network = network_of("videomt", tmp_path)
    trainee = Trainee(network, SETTINGS)
    pixels = (255 * torch.rand(1, 1, 3, 64, 64)).expand(2, -1, -1, -1, -1)
    carried = trainee(pixels).carried
    carried[0] = float("nan")
    outputs = trainee(pixels, carried, torch.tensor([True, False]))
    fresh = trainee(pixels)
    torch.testing.assert_close(outputs.answers[-1].mask_logits[0], fresh.answers[-1].mask_logits[0])
    assert not torch.allclose(outputs.answers[-1].mask_logits[1], fresh.answers[-1].mask_logits[1])
    assert 0 < gradient_sum(outputs, network, "query_updater.weight") < float("inf")


def test_gradients_reach_what_carries_queries_over_in_chunks_of_one_frame(tmp_path: Path) -> None:
    network = network_of("videomt", tmp_path)
    trainee = Trainee(network, SETTINGS)
    pixels = 255 * torch.rand(1, 1, 3, 64, 64)
    carried = trainee(pixels).carried
    assert not carried.requires_grad
    assert gradient_sum(trainee(pixels, carried), network, "query_updater.weight") > 0


def test_masked_attention_depends_on_each_streams_own_random_numbers_only(tmp_path: Path) -> None:
    trainee = Trainee(network_of("eomt", tmp_path), SETTINGS)
    trainee.masking = (0.5, 0.5)
    pixels = 255 * torch.rand(3, 1, 3, 64, 64)

    def masks(rows: list[int]) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(row) for row in rows]
        result: torch.Tensor = trainee(pixels[rows], generators=generators).answers[-1].mask_logits
        return result

    whole = masks([0, 1, 2])
    torch.testing.assert_close(masks([2, 0]), whole[[2, 0]], rtol=1e-4, atol=1e-4)
    trainee.masking = (0.0, 0.0)
    assert not torch.allclose(masks([0, 1, 2]), whole, atol=1e-2)
