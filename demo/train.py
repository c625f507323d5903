"""Trains the demo checkpoint: a small VidEoMT, from nothing, on simulated worlds, on two CPU cores.

    python -m demo.train --data DATA --out CHECKPOINT --worlds 600 --minutes 100

First single frames, as the authors train the image model first; then streams. A stream is one world played in chunks
of a few frames: its queries are carried from chunk to chunk (detached), and so is the record of which query has which
thing. A thing keeps its query for as long as it is followed, a newcomer takes the free query that fits it best
(Hungarian assignment, as in DETR), and a query whose thing is gone is free again. The network so learns what a robot
needs: to follow, to pick up newcomers, and not to drift over many more frames than gradients reach.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import tqdm
from torch import distributed, nn

from demo import TRAINING_SEEDS_FROM
from demo.training.checkpoint import save
from demo.training.dataset import load_clip, render, rendered
from demo.training.losses import Trainee, chunk_loss
from demo.training.recipe import SETTINGS, Recipe
from demo.training.streams import Stream, stream_batches
from demo.training.validation import validate
from eomt_ros.engine.network import Videomt

VALIDATION_SEEDS = range(200, 206)


def train(data: Path, recipe: Recipe, out: Path, seed: int, workers: int) -> None:
    """Trains a network from nothing on the rendered worlds for `recipe.minutes`, in `workers` processes, and writes
    its checkpoint.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = (workers, data, recipe, out, seed, f"{folder}/rendezvous")
        torch.multiprocessing.spawn(train_worker, args=arguments, nprocs=workers)


def train_worker(rank: int, workers: int, data: Path, recipe: Recipe, out: Path, seed: int, rendezvous: str) -> None:
    """Trains one replica; the first one also keeps the average over the steps, and writes it every ten minutes.

    One single-threaded process per core, because threads that meet at every operation stand still whenever the machine
    does something else.
    """
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=workers)
    torch.manual_seed(seed)  # the same first weights in every replica
    network = Videomt(SETTINGS)
    initialise(network)
    trainee = Trainee(network)
    torch.manual_seed(seed + 1 + rank)
    generator = np.random.default_rng([seed, rank])
    average = copy.deepcopy(network).eval().requires_grad_(False)
    decayed = [parameter for parameter in trainee.parameters() if parameter.ndim > 1]
    plain = [parameter for parameter in trainee.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
    )
    clips = [load_clip(folder) for folder in rendered(data / "training")]
    validation = [load_clip(folder) for folder in rendered(data / "validation")]
    batches = stream_batches(clips, recipe, generator)
    carried = network.first_queries(recipe.streams).detach()
    seconds = recipe.minutes * 60
    start, step, smooth, reported = time.monotonic(), 0, 0.0, 0.0
    clock = torch.zeros(1)
    with tqdm.tqdm(total=round(seconds), desc="training", unit="s", mininterval=30, disable=rank > 0) as bar:
        while True:
            clock[0] = time.monotonic() - start
            distributed.broadcast(clock, 0)  # the stages change, and the end comes, at the same step everywhere
            share = clock.item() / seconds
            if share >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, share)
            if share < recipe.image_share:
                streams = [
                    Stream.open(clips[generator.integers(len(clips))], generator, 1) for _ in range(recipe.image_batch)
                ]
                loss, _ = chunk_loss(trainee, streams, network.first_queries(len(streams)), 1, recipe)
            else:
                streams, fresh = next(batches)
                queries = torch.where(
                    torch.tensor(fresh)[:, None, None], network.first_queries(recipe.streams), carried
                )
                loss, carried = chunk_loss(trainee, streams, queries, recipe.chunk, recipe)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            average_gradients([*decayed, *plain], workers)
            nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
            optimizer.step()
            decay = min(recipe.average_decay, (step + 1) / (step + 10))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
            step += 1
            smooth = loss.item() if step == 1 else 0.98 * smooth + 0.02 * loss.item()
            bar.update(round(clock.item()) - bar.n)
            bar.set_postfix(step=step, loss=f"{smooth:.3f}", refresh=False)
            if rank == 0 and clock.item() - reported > 600:
                reported = clock.item()
                save(average, out)
                bar.write(f"{reported / 60:.0f} min, step {step}, loss {smooth:.3f}: {validate(average, validation)}")
    if rank == 0:
        save(average, out)
        print(f"after {step} steps: {validate(average, validation)}")
    distributed.destroy_process_group()


def initialise(network: Videomt) -> None:
    """Weights to start from: small, residual branches smaller with depth, queries that carry over what they were."""
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
    with torch.no_grad():
        network.query_updater.weight.copy_(0.5 * torch.eye(network.settings.hidden_size))
        network.query_updater.bias.zero_()


def learning_rate(recipe: Recipe, step: int, share: float) -> float:
    """Rises over the first steps, then falls with the share of the time that is spent, along a quarter of a cosine."""
    return recipe.learning_rate * min(1.0, (step + 1) / recipe.warmup_steps) * max(0.02, math.cos(share * math.pi / 2))


def average_gradients(parameters: list[nn.Parameter], workers: int) -> None:
    """Makes the gradients of all workers their mean, in one exchange."""
    for parameter in parameters:
        if parameter.grad is None:  # the first stage leaves the query updater alone
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= workers
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


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
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    workers = os.cpu_count() or 1
    render(arguments.data / "validation", VALIDATION_SEEDS, workers)
    render(arguments.data / "training", range(TRAINING_SEEDS_FROM, TRAINING_SEEDS_FROM + arguments.worlds), workers)
    train(arguments.data, Recipe(minutes=arguments.minutes), arguments.out, arguments.seed, workers)


if __name__ == "__main__":
    main()
