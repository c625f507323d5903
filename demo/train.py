"""Trains the demo checkpoint: a small VidEoMT, from nothing, on simulated worlds, on two CPU cores.

    python -m demo.train --data DATA --out CHECKPOINT --worlds 600 --minutes 100

First single frames, as the authors train the image model first; then streams. A stream is one world played in chunks of a few frames: its queries
are carried from chunk to chunk (detached), and so is the record of which query has which thing. A thing keeps its query for as long as it is
followed, a newcomer takes the free query that fits it best (Hungarian assignment, as in DETR), and a query whose thing is gone is free again. The
network so learns what a robot needs: to follow, to pick up newcomers, and not to drift over many more frames than gradients reach.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import tqdm
from safetensors.torch import save_file
from scipy.optimize import linear_sum_assignment
from torch import Tensor, distributed, nn

from demo.dataset import IMAGE_SIZE, NUM_STUFF, RATE, Clip, load_clip, render, rendered
from eomt_ros.engine.network import StepOutput, Videomt, VideomtSettings

CLASS_NAMES = ("floor", "wall", "shelf", "box", "ball", "cone", "barrel", "person")
NUM_CLASSES = len(CLASS_NAMES)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FIRST_TRAINING_SEED = 1000
VALIDATION_SEEDS = range(200, 206)

SETTINGS = VideomtSettings(
    num_labels=NUM_CLASSES,
    hidden_size=192,
    num_hidden_layers=6,
    num_attention_heads=3,
    image_size=192,
    patch_size=16,
    num_blocks=3,
    num_queries=24,
    num_register_tokens=4,
)
SIDE = SETTINGS.image_size
NOISE = torch.randn(3, 2 * SIDE, 2 * SIDE, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Recipe:
    """How one network is trained. Times are shares of the whole, so that the schedule fits the machine it runs on."""

    minutes: float = 100.0
    image_share: float = 0.4
    image_batch: int = 8
    streams: int = 4
    chunk: int = 3
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 300
    average_decay: float = 0.998
    no_object_weight: float = 0.1
    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    dense_weight: float = 1.0
    smallest_area: int = 12
    """Pixels of the label map (half the network's size) under which a segment is not asked for: it counts as not in view."""
    forget_after: int = 20
    """Frames out of view after which a thing's query is free."""


@dataclass
class Stream:
    """One world being played: where it is, how it looks, and which query has which thing."""

    clip: Clip
    position: int
    stride: int
    flip: bool
    crop: tuple[int, int, int]
    """Top, left and side of the square that is shown, in pixels of the image."""
    gain: np.ndarray
    query_of: dict[int, int] = field(default_factory=dict)
    last_seen: dict[int, int] = field(default_factory=dict)
    frames: int = 0

    @classmethod
    def open(cls, clip: Clip, generator: np.random.Generator, length: int) -> Stream:
        """A stream over a random part of the clip, played in either direction, with its own crop, mirror and colours."""
        count = len(clip.images)
        stride = int(generator.choice([1, 1, 2])) if length > 1 else 1
        reverse = bool(generator.random() < 0.3)
        # a stream starts early enough to last for a while
        first = int(generator.integers(0, count if length == 1 else max(1, count // 3)))
        side = IMAGE_SIZE if generator.random() < 0.5 else 2 * int(generator.integers(IMAGE_SIZE * 5 // 16, IMAGE_SIZE // 2))
        top, left = (2 * int(generator.integers(0, (IMAGE_SIZE - side) // 2 + 1)) for _ in range(2))
        return cls(
            clip=clip,
            position=count - 1 - first if reverse else first,
            stride=-stride if reverse else stride,
            flip=bool(generator.random() < 0.5),
            crop=(top, left, side),
            gain=(generator.uniform(0.75, 1.25) * generator.uniform(0.9, 1.1, 3)).astype(np.float32),
        )

    def has(self, length: int) -> bool:
        """Whether that many frames are left."""
        last = self.position + self.stride * (length - 1)
        return 0 <= last < len(self.clip.images)

    def take(self, length: int) -> tuple[Tensor, Tensor]:
        """The next frames: (length, 3, side, side) normalised, and their segment values (length, side / 2, side / 2)."""
        index = self.position + self.stride * np.arange(length)
        self.position += self.stride * length
        top, left, side = self.crop
        images = self.clip.images[index, top : top + side, left : left + side]
        labels = self.clip.segments[index, top // 2 : (top + side) // 2, left // 2 : (left + side) // 2]
        pixels = resize(torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2))
        pixels = pixels.float() * torch.from_numpy(self.gain).view(3, 1, 1)
        segments = torch.from_numpy(np.ascontiguousarray(labels))[:, None]
        segments = F.interpolate(segments, (SIDE // 2, SIDE // 2), mode="nearest-exact")[:, 0].long()
        if self.flip:
            pixels, segments = pixels.flip(-1), segments.flip(-1)
        return normalise(pixels.clamp_(0, 255) + sensor_noise(pixels.shape)), segments


def resize(images: Tensor) -> Tensor:
    """Images (frames, 3, H, W) uint8 at the network's size, resized as the engine resizes them."""
    return F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)


def normalise(pixels: Tensor) -> Tensor:
    """Grey levels (frames, 3, H, W) to the network's numbers."""
    mean, std = (255.0 * torch.tensor(value).view(3, 1, 1) for value in (MEAN, STD))
    return (pixels - mean) / std


def sensor_noise(shape: torch.Size) -> Tensor:
    """Camera noise of a random strength: a random window of one fixed field, since drawing new noise would cost a tenth of a step."""
    top, left = (int(value) for value in torch.randint(0, SIDE, (2,)))
    window = NOISE[:, top : top + SIDE, left : left + SIDE]
    return 4.0 * torch.randn(shape[0], 1, 1, 1) * window


def stream_batches(clips: list[Clip], recipe: Recipe, generator: np.random.Generator) -> Iterator[tuple[list[Stream], list[bool]]]:
    """Streams side by side for ever, and which of them have just been opened; one that ends is replaced by another."""
    streams: list[Stream] = []
    while True:
        fresh = []
        for index in range(recipe.streams):
            ended = index >= len(streams) or not streams[index].has(recipe.chunk)
            fresh.append(ended)
            if ended:
                stream = Stream.open(clips[generator.integers(len(clips))], generator, recipe.chunk)
                streams[index : index + 1] = [stream]
        yield streams, fresh


def areas_of(segments: Tensor, count: int) -> Tensor:
    """Pixels of each segment value: (frames, H, W) to (frames, count)."""
    return torch.stack([torch.bincount(frame.flatten(), minlength=count) for frame in segments])


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
        cost = newcomer_cost(segments, visible, masks[:, free], classes[:, free], newcomers, stream.clip.classes, recipe)
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            stream.query_of[newcomers[column]] = free[row]
            stream.last_seen[newcomers[column]] = stream.frames + len(segments)
    stream.frames += len(segments)


def newcomer_cost(
    segments: Tensor, visible: Tensor, masks: Tensor, classes: Tensor, newcomers: list[int], class_of: np.ndarray, recipe: Recipe
) -> np.ndarray:
    """What it costs to give each free query each newcomer, (queries, newcomers): the losses, over the frames that show the thing."""
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
    """What each query should show: the query of each pixel (frames, 2h, 2w), -1 none, and classes (frames, queries)."""
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


def step_losses(output: StepOutput, queries_at: Tensor, classes: Tensor, recipe: Recipe) -> Tensor:
    """The loss of one frame of all streams: classes, mask cross-entropy and dice (Mask2Former), over the queries that show something."""
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


def attend_plainly(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention as three products: on a CPU, with its gradient, 2.6 times faster at this size than torch's fused one."""
    return (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1) @ value


class Trainee(nn.Module):
    """The network with what only its training needs: the middle layers' answers, and a class for every pixel of the features."""

    def __init__(self, network: Videomt) -> None:
        super().__init__()
        self.network = network
        for layer in network.layers:
            layer.attention.attend = attend_plainly
        self.dense = nn.Conv2d(network.settings.hidden_size, NUM_CLASSES, 1)

    def forward(self, pixels: Tensor, queries: Tensor) -> tuple[list[StepOutput], Tensor]:
        """One frame: the answers of the joint layers, the last one last, and dense class logits (batch, classes, h, w)."""
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


def initialise(network: Videomt) -> None:
    """Weights to start from: small, residual branches smaller with depth, and queries that carry over what they were."""
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


def chunk_loss(trainee: Trainee, streams: list[Stream], queries: Tensor, length: int, recipe: Recipe) -> tuple[Tensor, Tensor]:
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
        for weight, output in zip((0.2, 0.3, 1.0), answers[index], strict=True):
            loss = loss + weight * step_losses(output, queries_at[:, index], classes[:, index], recipe)
        class_of = [torch.from_numpy(stream.clip.classes).long() for stream in streams]
        dense_target = torch.stack([table[segments[row, index, ::2, ::2]] for row, table in enumerate(class_of)])
        loss = loss + recipe.dense_weight * F.cross_entropy(dense_logits[index], dense_target)
    return loss / length, queries.detach()


@torch.no_grad()
def validate(network: Videomt, clips: list[Clip]) -> str:
    """Plays unseen clips with the queries carried; mean IoU, share of things found, and changes of query per 30 object-seconds."""
    confusion = torch.zeros(NUM_CLASSES, NUM_CLASSES)
    shown = found = switches = 0
    for clip in clips:
        queries = network.first_queries()
        query_of: dict[int, int] = {}
        for image, labels in zip(clip.images, clip.segments, strict=True):
            pixels = resize(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])
            output = network(normalise(pixels.float()), queries)
            queries = network.next_queries(output.queries)
            segments = F.interpolate(torch.from_numpy(labels.copy())[None, None], (SIDE // 4, SIDE // 4), mode="nearest-exact")
            segments = segments[0, 0].long()
            truth = torch.from_numpy(clip.classes).long()[segments]
            masks = output.mask_logits[0].sigmoid()
            scores = output.class_logits[0].softmax(-1)
            predicted = torch.einsum("qc,qhw->chw", scores[:, :-1], masks).argmax(0)
            confusion += torch.bincount(truth.flatten() * NUM_CLASSES + predicted.flatten(), minlength=NUM_CLASSES**2).view(
                NUM_CLASSES, NUM_CLASSES
            )
            owner = (scores.max(-1).values[:, None, None] * masks).argmax(0)
            for thing in segments.unique().tolist():
                mask = segments == thing
                if thing < NUM_STUFF or mask.sum() < 12:
                    continue
                shown += 1
                query = int(owner[mask].mode().values)
                shape = owner == query
                right_class = int(scores[query].argmax()) == int(clip.classes[thing])
                if right_class and (shape & mask).sum() > 0.5 * (shape | mask).sum():
                    found += 1
                    switches += int(query_of.get(thing, query) != query)
                    query_of[thing] = query
    iou = confusion.diag() / (confusion.sum(0) + confusion.sum(1) - confusion.diag()).clamp(min=1)
    by_class = " ".join(f"{name} {value:.2f}" for name, value in zip(CLASS_NAMES, iou.tolist(), strict=True))
    return f"mIoU {iou.mean():.3f} ({by_class}), found {found / max(shown, 1):.2f}, switches {switches / max(found, 1) * RATE * 30:.2f} / 30 s"


def save(network: Videomt, folder: Path) -> None:
    """Writes the network as Hugging Face writes a VidEoMT checkpoint, in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in asdict(network.settings).items() if name != "num_labels"}
    config = {
        "architectures": ["VideomtForUniversalSegmentation"],
        "model_type": "videomt",
        **settings,
        "id2label": {str(index): name for index, name in enumerate(CLASS_NAMES)},
        "label2id": {name: index for index, name in enumerate(CLASS_NAMES)},
        "dtype": "float16",
    }
    size = {"height": SIDE, "width": SIDE}
    processor = {"video_processor_type": "VideomtVideoProcessor", "size": size, "image_mean": MEAN, "image_std": STD}
    weights = {name: value.detach().half().contiguous() for name, value in network.state_dict().items()}
    hidden = network.settings.hidden_size
    # Hugging Face's class has these for its training and would warn without them
    weights["embeddings.mask_token"] = torch.zeros(1, 1, hidden, dtype=torch.float16)
    weights["attn_mask_probs"] = torch.ones(network.settings.num_blocks, dtype=torch.float16)
    weights["criterion.empty_weight"] = torch.tensor([1.0] * NUM_CLASSES + [0.1], dtype=torch.float16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")


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


def train_worker(rank: int, workers: int, data: Path, recipe: Recipe, out: Path, seed: int, rendezvous: str) -> None:
    """Trains one replica; the first one also keeps the average over the steps, and writes it every ten minutes and at the end.

    One single-threaded process per core, because threads that meet at every operation stand still whenever the machine does something else.
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
                streams = [Stream.open(clips[generator.integers(len(clips))], generator, 1) for _ in range(recipe.image_batch)]
                loss, _ = chunk_loss(trainee, streams, network.first_queries(len(streams)), 1, recipe)
            else:
                streams, fresh = next(batches)
                queries = torch.where(torch.tensor(fresh)[:, None, None], network.first_queries(recipe.streams), carried)
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


def train(data: Path, recipe: Recipe, out: Path, seed: int, workers: int) -> None:
    """Trains a network from nothing on the rendered worlds for `recipe.minutes`, in `workers` processes, and writes its checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = (workers, data, recipe, out, seed, f"{folder}/rendezvous")
        torch.multiprocessing.spawn(train_worker, args=arguments, nprocs=workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("demo_data"), help="folder of the rendered worlds; missing ones are rendered")
    parser.add_argument("--out", type=Path, default=Path("demo/checkpoint"), help="folder of the checkpoint that is written")
    parser.add_argument("--worlds", type=int, default=600, help="number of worlds to train on")
    parser.add_argument("--minutes", type=float, default=Recipe.minutes, help="length of the training itself")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    workers = os.cpu_count() or 1
    render(arguments.data / "validation", VALIDATION_SEEDS, workers)
    render(arguments.data / "training", range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + arguments.worlds), workers)
    train(arguments.data, Recipe(minutes=arguments.minutes), arguments.out, arguments.seed, workers)


if __name__ == "__main__":
    main()
