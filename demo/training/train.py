"""Trains the demo checkpoint: a small VidEoMT, from nothing, on simulated worlds, on two CPU cores.

    python -m demo.training.train --data DATA --out CHECKPOINT --worlds 600 --minutes 100

First single frames, as the authors train the image model first; then streams. A stream is one world played in chunks
of a few frames: its queries are carried from chunk to chunk (detached), and so is the record of which query has which
thing. A thing keeps its query for as long as it is followed, a newcomer takes the free query that fits it best
(Hungarian assignment, as in DETR), and a query whose thing is gone is free again. The network so learns what a robot
needs: to follow, to pick up newcomers, and not to drift over many more frames than gradients reach.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import math
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import tqdm
from torch import distributed, nn

from demo import SEEDS
from demo.training.checkpoint import save
from demo.training.dataset import Clip, load_clip, render, rendered
from demo.training.losses import Trainee, chunk_loss
from demo.training.optimizers import Optimizers, average_gradients
from demo.training.recipe import SETTINGS, Recipe
from demo.training.streams import Stream, stream_batches
from demo.training.validation import validate
from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.engine.networks import Videomt

DAY = SEEDS["day", None]


def train(data: Path, recipe: Recipe, out: Path, seed: int, workers: int, start: Path | None) -> None:
    """Trains on the rendered worlds for `recipe.minutes`, in `workers` processes, and writes a checkpoint.

    start: a checkpoint to go on from, with streams only; None for a network from nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = (workers, data, recipe, out, seed, start, f"{folder}/rendezvous")
        torch.multiprocessing.spawn(train_worker, args=arguments, nprocs=workers)


def train_worker(
    rank: int, workers: int, data: Path, recipe: Recipe, out: Path, seed: int, start: Path | None, rendezvous: str
) -> None:
    """Trains one replica; the first one also keeps the average over the steps, and writes it every ten minutes.

    One single-threaded process per core, because threads that meet at every operation stand still whenever the machine
    does something else.
    """
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=workers)
    torch.manual_seed(seed)  # the same first weights in every replica
    if start is None:
        network = Videomt(SETTINGS)
        initialise(network)
    else:
        network = grow(load_checkpoint(start).network)
    trainee = Trainee(network)
    torch.manual_seed(seed + 1 + rank)
    generator = np.random.default_rng([seed, rank])
    clips = [load_clip(folder) for folder in rendered(data / "training")]
    validation = [load_clip(folder) for folder in rendered(data / "validation")]
    average = copy.deepcopy(network).eval().requires_grad_(False)

    image_minutes = 0.0 if start else recipe.minutes * recipe.image_share
    stages = (
        (image_minutes, recipe.image_learning_rate, image_losses(trainee, clips, recipe, generator)),
        (recipe.minutes - image_minutes, recipe.stream_learning_rate, stream_losses(trainee, clips, recipe, generator)),
    )
    for minutes, highest_rate, losses in stages:
        run_stage(rank, workers, trainee, average, losses, minutes * 60, highest_rate, recipe, validation, out)
    distributed.destroy_process_group()


def image_losses(
    trainee: Trainee, clips: list[Clip], recipe: Recipe, generator: np.random.Generator
) -> Iterator[torch.Tensor]:
    """The losses of batches of single frames, for ever."""
    while True:
        streams = [Stream.open(clips[generator.integers(len(clips))], generator, 1) for _ in range(recipe.image_batch)]
        yield chunk_loss(trainee, streams, trainee.network.first_queries(len(streams)), 1, recipe)[0]


def stream_losses(
    trainee: Trainee, clips: list[Clip], recipe: Recipe, generator: np.random.Generator
) -> Iterator[torch.Tensor]:
    """The losses of chunks of streams, for ever, each stream's queries carried from chunk to chunk."""
    network = trainee.network
    carried = torch.zeros(recipe.streams, network.settings.num_queries, network.settings.hidden_size)
    for streams, fresh in stream_batches(clips, recipe, generator):
        first = torch.tensor(fresh)[:, None, None]
        queries = torch.where(first, network.first_queries(recipe.streams), network.next_queries(carried))
        loss, carried = chunk_loss(trainee, streams, queries, recipe.chunk, recipe)
        yield loss


def run_stage(
    rank: int,
    workers: int,
    trainee: Trainee,
    average: Videomt,
    losses: Iterator[torch.Tensor],
    seconds: float,
    highest_rate: float,
    recipe: Recipe,
    validation: list[Clip],
    out: Path,
) -> None:
    """Trains for some time, with an optimizer and a warm-up of its own.

    Streams that began with the optimizer of the single frames, and its sense of scale, took the network apart.
    """
    optimizers = Optimizers(trainee, recipe, rank, workers)
    begin, step, smooth, reported = time.monotonic(), 0, 0.0, 0.0
    clock = torch.zeros(1)
    with tqdm.tqdm(total=round(seconds), desc="training", unit="s", mininterval=30, disable=rank > 0) as bar:
        while True:
            clock[0] = time.monotonic() - begin
            distributed.broadcast(clock, 0)  # the end comes at the same step everywhere
            if clock.item() >= seconds:
                break
            loss = next(losses)
            trainee.zero_grad(set_to_none=True)
            loss.backward()
            average_gradients(optimizers.parameters, workers)
            nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
            optimizers.step(highest_rate * schedule(step / recipe.warmup_steps, clock.item() / seconds))
            decay = min(recipe.average_decay, (step + 1) / (step + 10))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(trainee.network.parameters()), 1 - decay)
            step += 1
            smooth = loss.item() if step == 1 else 0.98 * smooth + 0.02 * loss.item()
            bar.update(round(clock.item()) - bar.n)
            bar.set_postfix(step=step, loss=f"{smooth:.3f}", refresh=False)
            if rank == 0 and clock.item() - reported > 600:
                reported = clock.item()
                save(average, out)
                bar.write(f"{reported / 60:.0f} min, step {step}, loss {smooth:.3f}: {validate(average, validation)}")
    if rank == 0 and step:
        save(average, out)
        print(f"after {step} steps: {validate(average, validation)}")


def initialise(network: Videomt) -> None:
    """Weights to start from: small, residual branches smaller with depth, queries that carry nothing yet."""
    for name, parameter in network.named_parameters():
        if parameter.ndim < 2:
            continue
        scale = 0.02
        if name.endswith(("out_proj.weight", "fc2.weight")) and name.startswith("layers."):
            scale /= math.sqrt(2 * network.settings.num_hidden_layers)
        if name == "query.weight":
            scale = 0.3
        if "conv1" in name or "patch_embeddings" in name or "conv2" in name:
            continue  # torch's own start suits convolutions
        nn.init.trunc_normal_(parameter, std=scale, a=-2 * scale, b=2 * scale)
    nn.init.zeros_(network.query_updater.weight)
    nn.init.zeros_(network.query_updater.bias)


def grow(network: Videomt) -> Videomt:
    """The network at the size that is trained now: only its position embeddings depend on the size of the image."""
    grown = Videomt(dataclasses.replace(network.settings, image_size=SETTINGS.image_size))
    weights = network.state_dict()
    name = "embeddings.position_embeddings.weight"
    grid = weights[name].T.unflatten(1, network.settings.grid)[None]
    grid = F.interpolate(grid, grown.settings.grid, mode="bicubic")
    grown.load_state_dict({**weights, name: grid[0].flatten(1).T})
    return grown


def schedule(warmth: float, share: float) -> float:
    """The learning rate over its highest: up with `warmth` to 1, then down a quarter of a cosine over the time."""
    return min(1.0, warmth) * max(0.02, math.cos(share * math.pi / 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--data", type=Path, default=Path("demo_data"), help="folder of the rendered worlds; missing ones are rendered"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo/checkpoint"), help="folder of the checkpoint that is written"
    )
    parser.add_argument("--worlds", type=int, default=600, help="number of worlds to train on")
    parser.add_argument("--minutes", type=float, default=Recipe.minutes, help="length of the training itself")
    parser.add_argument("--start", type=Path, help="checkpoint to go on from, with streams only")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    workers = os.cpu_count() or 1
    render(arguments.data / "validation", DAY.validation, workers)
    render(arguments.data / "training", DAY.training[: arguments.worlds], workers)
    recipe = Recipe(minutes=arguments.minutes)
    train(arguments.data, recipe, arguments.out, arguments.seed, workers, arguments.start)


if __name__ == "__main__":
    main()
