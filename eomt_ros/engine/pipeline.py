"""Frames through the network, one after the other: what is asked of each, and what comes back before it has ids."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from eomt_ros.engine.backends import Backend, StepResult
from eomt_ros.engine.model.families import Family
from eomt_ros.engine.postprocess.label_map import Regions, Segmentation
from eomt_ros.engine.preprocess.geometry import Fit, Placement
from eomt_ros.engine.preprocess.pixels import Image, Preprocessor
from eomt_ros.engine.stream import Memory


@dataclass(frozen=True)
class Recipe:
    """What is the same for all frames."""

    family: Family
    task: str
    place: Fit
    is_thing: tuple[bool, ...]
    """One entry per class."""
    score_memory: float
    top_k: int

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.is_thing)

    @property
    def score_masks(self) -> bool:
        """Whether an instance's score is of its mask too, as in `postprocess`."""
        return not self.top_k or self.family.top_k == "masks"


class Settings(NamedTuple):
    """What may change from frame to frame."""

    score_threshold: float
    mask_threshold: float
    overlap_threshold: float
    fuse_stuff: bool


@dataclass(frozen=True, eq=False)
class Request:
    """One frame each of some streams. Entry i of each sequence belongs to stream i."""

    images: Sequence[Image]
    queries: Sequence[Tensor]
    """(1, queries, hidden), what the frame starts from."""
    memories: Sequence[Memory | None]
    settings: Settings
    with_masks: bool
    with_confidence: bool


class Frame(NamedTuple):
    """What one frame became."""

    regions: Regions
    output: StepResult
    preprocess: float
    network: float
    postprocess: float
    """Seconds."""


class Started(Protocol):
    """Frames on their way. Whoever starts them finishes or discards them."""

    next_queries: Sequence[Tensor]
    """(1, queries, hidden), what each stream's next frame starts from, in memory of its own."""
    memories: Sequence[Memory | None]

    def finish(self) -> list[Frame]:
        """Waits for the frames. What their regions are painted from is there until `release`.

        Raises `NotFiniteError`.
        """
        ...

    def release(self) -> None:
        """Gives back what the frames held, finished or not."""
        ...


class Frames(Protocol):
    """Takes frames through the network."""

    def start(self, request: Request) -> Started:
        """Begins with one frame each of some streams; raises `ValueError` for what is no image."""
        ...

    def decode_jpeg(self, data: bytes) -> Tensor | None:
        """A JPEG where the network runs, (H, W, 3) uint8 RGB; None where it cannot be read there."""
        ...

    def settle(self) -> bool:
        """Waits for what is made ready beside the frames, and says whether there was anything: the next frame of a kind
        puts it to use.
        """
        ...


class PlainFrames:
    """Step by step, each when the one before is done: on a CPU the fastest, and right on any device."""

    def __init__(self, step: Backend, preprocess: Preprocessor, recipe: Recipe) -> None:
        self.step = step
        self.preprocess = preprocess
        self.recipe = recipe

    def start(self, request: Request) -> Started:
        """Runs the network; what follows is left for `finish`."""
        begin = time.perf_counter()
        placements = [self.recipe.place((image.shape[0], image.shape[1])) for image in request.images]
        pixels = [self.preprocess(*each) for each in zip(request.images, placements, strict=True)]
        prepared = time.perf_counter()
        outputs = run(self.step, pixels, request.queries)
        memories = remembered(request.memories, outputs, self.recipe.score_memory)
        computed = time.perf_counter()
        return PlainStarted(self.recipe, request, placements, outputs, memories, prepared - begin, computed - prepared)

    def decode_jpeg(self, data: bytes) -> None:
        """Nothing is decoded."""

    def settle(self) -> bool:
        """Nothing is made ready."""
        return False


class PlainStarted:
    """Frames that have been through the network."""

    def __init__(
        self,
        recipe: Recipe,
        request: Request,
        placements: Sequence[Placement],
        outputs: Sequence[StepResult],
        memories: Sequence[Memory | None],
        preprocess: float,
        network: float,
    ) -> None:
        # Copies, since views would keep those of the whole batch in memory.
        self.next_queries: Sequence[Tensor] = [output.next_queries[:1].clone() for output in outputs]
        self.memories = memories
        self._recipe = recipe
        self._request = request
        self._placements = placements
        self._outputs = outputs
        self._times = preprocess, network

    def finish(self) -> list[Frame]:
        """Post-processes them."""
        frames = []
        for output, memory, placement in zip(self._outputs, self.memories, self._placements, strict=True):
            begin = time.perf_counter()
            regions = segmented(self._recipe, scored(output, memory), placement, self._request)
            frames.append(Frame(regions, output, *self._times, time.perf_counter() - begin))
        return frames

    def release(self) -> None:
        """Nothing is held."""


def run(
    step: Callable[[Tensor, Tensor], StepResult], pixels: Sequence[Tensor], queries: Sequence[Tensor]
) -> list[StepResult]:
    """The network's answer to each image, all that are of one size in one pass.

    pixels: (windows or 1, 3, height, width) of each. queries: (1, queries, hidden) of each.
    """
    answers: dict[int, StepResult] = {}
    for size in dict.fromkeys(each.shape[2:] for each in pixels):
        members = [index for index, each in enumerate(pixels) if each.shape[2:] == size]
        counts = [len(pixels[index]) for index in members]
        starts = torch.cat([queries[index].expand(len(pixels[index]), -1, -1) for index in members])
        output = step(torch.cat([pixels[index] for index in members]), starts)
        parts = zip(*(torch.split(part, counts) for part in output), strict=True)
        answers.update(zip(members, (StepResult(*part) for part in parts), strict=True))
    return [answers[index] for index in range(len(pixels))]


def remembered(
    before: Sequence[Memory | None], outputs: Sequence[StepResult], score_memory: float
) -> list[Memory | None]:
    """Each stream's memory with its next frame in it; None where nothing is remembered."""
    if not score_memory:
        return [None] * len(outputs)
    return [Memory.after(each, output.class_logits, score_memory) for each, output in zip(before, outputs, strict=True)]


def scored(output: StepResult, memory: Memory | None) -> StepResult:
    """The network's answer with the class logits that count."""
    return output if memory is None else output._replace(class_logits=memory.class_logits)


def segmented(recipe: Recipe, output: StepResult, placement: Placement, request: Request) -> Segmentation:
    """The network's answer to one frame, post-processed; raises `NotFiniteError`."""
    settings = request.settings
    more = {"top_k": recipe.top_k, "score_masks": recipe.score_masks} if recipe.top_k else {}
    return recipe.family.postprocess(
        output.mask_logits,
        output.class_logits,
        placement,
        task=recipe.task,
        is_thing=recipe.is_thing,
        score_threshold=settings.score_threshold,
        mask_threshold=settings.mask_threshold,
        overlap_threshold=settings.overlap_threshold,
        fuse_stuff=settings.fuse_stuff,
        with_masks=request.with_masks,
        with_confidence=request.with_confidence,
        **more,
    )
