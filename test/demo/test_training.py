"""What is trained is what runs: the same network, whatever the training does to be quick."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from demo.training import dataset
from demo.training.losses import Trainee
from demo.training.optimizers import Optimizers, average_gradients
from demo.training.recipe import SETTINGS, Recipe
from demo.training.train import grow, initialise
from eomt_ros.engine.networks import StepResult, Videomt
from eomt_ros.engine.preprocess.geometry import stretch
from eomt_ros.engine.preprocess.pixels import Preprocessor

SMALL = dataclasses.replace(
    SETTINGS, hidden_size=16, num_attention_heads=2, num_hidden_layers=3, num_blocks=2, image_size=64, num_queries=5
)


def small_network(seed: int = 0) -> Videomt:
    torch.manual_seed(seed)
    network = Videomt(SMALL)
    initialise(network)
    torch.nn.init.normal_(network.query_updater.weight)  # else no frame would depend on the one before
    return network


def test_images_are_stretched_as_the_engine_stretches_them() -> None:
    image = np.random.default_rng(0).integers(0, 256, (240, 424, 3), np.uint8)
    placement = stretch((dataset.IMAGE_SIZE, dataset.IMAGE_SIZE))(image.shape[:2])
    grey_levels = Preprocessor((0.0,) * 3, (1 / 255,) * 3)(image, placement)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(dataset.stretched(image), grey_levels.round())


def test_a_chunk_answers_as_the_network_does_frame_by_frame() -> None:
    network = small_network()
    pixels = torch.randn(2, 3, 3, 64, 64)  # two streams of three frames
    queries = network.first_queries(2)
    with torch.no_grad():
        expected = []
        for index in range(3):
            expected.append(network(pixels[:, index], queries))
            queries = expected[-1].next_queries
        answers, _ = Trainee(network)(pixels, network.first_queries(2))
    for index, frame in enumerate(expected):
        masks, classes, queries = (part[:, index] for part in answers[-1])
        found = StepResult(masks, classes, network.next_queries(queries))
        torch.testing.assert_close(found, frame, rtol=1e-4, atol=1e-5)


def test_a_network_of_another_size_keeps_its_weights_and_stretches_its_positions() -> None:
    network = small_network()
    grown = grow(network)
    assert grown.settings.image_size == SETTINGS.image_size
    name = "embeddings.position_embeddings.weight"
    before, after = network.state_dict(), grown.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before if key != name)
    (side, _), (old_side, _) = grown.settings.grid, network.settings.grid
    field = after[name].view(side, side, -1)
    # Positions keep their place: the middle of each quarter says what it said before.
    old = before[name].view(old_side, old_side, -1)
    ratio = side // old_side
    block = field.view(old_side, ratio, old_side, ratio, -1).mean((1, 3))
    assert torch.corrcoef(torch.stack([block.flatten(), old.flatten()]))[0, 1] > 0.95


@pytest.mark.slow
def test_two_workers_take_the_step_that_one_would(tmp_path: Path) -> None:
    multiprocessing.spawn(step_in_worker, args=(2, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    step_in_worker(0, 1, tmp_path)
    alone = torch.load(tmp_path / "0.pt", weights_only=True)
    untouched = Trainee(small_network()).state_dict()
    for name, value in alone.items():
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-6)
        assert torch.equal(first[name], second[name]), name
    assert not torch.equal(alone["network.layers.0.mlp.fc1.weight"], untouched["network.layers.0.mlp.fc1.weight"])


def step_in_worker(rank: int, workers: int, folder: Path) -> None:
    """One step on both halves of a batch: alone, or a half in each of two workers."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous{workers}", rank=rank, world_size=workers
    )
    trainee = Trainee(small_network())
    optimizers = Optimizers(trainee, Recipe(), rank, workers)
    halves = [half_loss(trainee, seed) for seed in range(2)]
    loss = sum(halves) / 2 if workers == 1 else halves[rank]
    loss.backward()
    average_gradients(optimizers.parameters, workers)
    optimizers.step(1e-3)
    torch.save(trainee.state_dict(), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def half_loss(trainee: Trainee, seed: int) -> Tensor:
    pixels = torch.randn(1, 1, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    answers, dense = trainee(pixels, trainee.network.first_queries())
    return answers[-1].mask_logits.square().mean() + answers[-1].class_logits.square().mean() + dense.square().mean()
