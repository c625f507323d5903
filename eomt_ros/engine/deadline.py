"""The largest size of the network's input at which images are done in time, measured on this machine."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from eomt_ros.engine.backends import Backend
from eomt_ros.engine.device import free_devices
from eomt_ros.engine.errors import DeadlineError, OutOfMemoryError
from eomt_ros.engine.loading import LEAST_SIZE, made_ready, pipeline_for, size_of
from eomt_ros.engine.model.checkpoint import Checkpoint, load_checkpoint
from eomt_ros.engine.networks import StepResult, VitSettings
from eomt_ros.engine.preprocess.geometry import MULTIPLE, Placement, Size
from eomt_ros.engine.segmenter import Segmenter
from eomt_ros.model_options import ModelOptions

log = logging.getLogger(__name__)

SMALLEST_SHARE = 0.25
"""Smallest size that is tried, as a share of the largest."""
ACROSS, DOWN = 5, 4
"""Things beside and below each other in the made-up scene. Post-processing takes its time by their number."""
SURE = 8.0
"""Logit of what is sure."""

SHARE = 0.95
"""Of the ticks that are done in time."""
TICKS, LEAST_TICKS = 20, 5
LONGEST_S = 2.0
"""For which a size is measured, once there are `LEAST_TICKS`: a start must end."""
WARM_UPS, LONGEST_WARM_UP_S = 3, 1.0


@dataclass(frozen=True)
class Tick:
    """What has to be done in time: an image of each camera, through the network together."""

    image: Size = (1080, 1920)
    cameras: int = 1
    with_masks: bool = False

    def __str__(self) -> str:
        images = "an image" if self.cameras == 1 else f"{self.cameras} images together, each"
        return f"{images} of {self.image[1]}x{self.image[0]} with {ACROSS * DOWN} things"


class _Measured(NamedTuple):
    seconds: float
    """In which `SHARE` of the ticks are done."""
    network: float
    """Median of the network's part."""


@contextmanager
def _each_message_once() -> Iterator[None]:
    """Within the block, what is said of a model that is loaded is said once, and not again for each size."""
    told: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        known = len(told)
        told.add(record.getMessage())
        return len(told) > known

    loggers = [logging.getLogger(f"eomt_ros.engine.{part}") for part in ("backends", "device", "loading")]
    for logger in loggers:
        logger.addFilter(is_new)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_new)


@_each_message_once()
def load_within(asked: ModelOptions, max_latency: float, tick: Tick) -> Segmenter:
    """Loads a model at the largest size at which the engine does a tick within `max_latency` seconds, 95 of 100 times.

    asked: of it `size` is the largest that is tried; 0: the checkpoint's. The others are multiples of the patch, down
    to a quarter of it. What the network finds is exchanged for a made-up scene before it is post-processed: what
    cameras will show is not known, and of nothing that is found nothing is post-processed.

    Raises `DeadlineError` where no size is small enough, `ValueError` where the model has none, and as
    `Segmenter.load`.
    """
    asked = ModelOptions(**{field.name: getattr(asked, field.name) for field in fields(ModelOptions)})
    checkpoint = load_checkpoint(asked.model, asked.labels or None)
    sizes = _sizes(checkpoint, asked)
    # Gone, since a device may have no room for two: each size reads its own, without the hub.
    checkpoint.network.to(device=torch.device("meta"), dtype=torch.float32)
    smallest = _measure(checkpoint, replace(asked, size=sizes[0]), tick, math.inf)
    if not smallest.seconds <= max_latency:
        raise DeadlineError(
            f"max_latency is {max_latency:g} s, but {checkpoint.name} takes {smallest.seconds:.3g} s for {tick}, at "
            f"size {sizes[0]}, the smallest that is tried: allow that, or use a smaller model or another backend"
        )
    seconds, below, above = smallest.seconds, 0, len(sizes)
    # The network takes time by its pixels, about: where that leaves room for the largest, try it first.
    of_largest = smallest.seconds + smallest.network * ((sizes[-1] / sizes[0]) ** 2 - 1)
    index = len(sizes) - 1 if of_largest <= max_latency else len(sizes) // 2
    while below < index:
        found = _measure(checkpoint, replace(asked, size=sizes[index]), tick, max_latency)
        if found.seconds <= max_latency:
            seconds, below = found.seconds, index
        else:
            above = index
        index = (below + above) // 2
    log.info(
        "max_latency %g s: size %d of at most %d, which takes %.3g s for %s%s",
        *(max_latency, sizes[below], sizes[-1], seconds, tick),
        "" if above == len(sizes) else f"; size {sizes[above]} takes longer",
    )
    return Segmenter(made_ready(_read_again(checkpoint), replace(asked, size=sizes[below]), tick.image))


def _sizes(checkpoint: Checkpoint, asked: ModelOptions) -> list[int]:
    """The sizes that are tried, ascending. Raises `ValueError` where the model has none."""
    largest = asked.size or size_of(checkpoint, asked.fit)
    if not largest:
        raise ValueError(
            f"max_latency needs a size to choose, but the processor of {checkpoint.name} resizes no image "
            "(do_resize: false); use max_latency 0"
        )
    patch = checkpoint.settings.patch_size if isinstance(checkpoint.settings, VitSettings) else MULTIPLE
    smallest = max(SMALLEST_SHARE * largest, LEAST_SIZE)
    return [*range(math.ceil(smallest / patch) * patch, largest, patch), largest]


def _read_again(checkpoint: Checkpoint) -> Checkpoint:
    return replace(checkpoint, network=checkpoint.family.load(checkpoint.settings, checkpoint.folder))


def _measure(checkpoint: Checkpoint, asked: ModelOptions, tick: Tick, enough: float) -> _Measured:
    """Measures a size; of one that takes longer than `enough` seconds, no more than that."""
    try:
        return _measured(checkpoint, asked, tick, enough)
    except OutOfMemoryError as error:
        if math.isinf(enough):
            raise
        log.info("size %d is too large: %s", asked.size, error)
        return _Measured(math.inf, math.inf)
    finally:
        free_devices()


def _measured(checkpoint: Checkpoint, asked: ModelOptions, tick: Tick, enough: float) -> _Measured:
    loaded = made_ready(_read_again(checkpoint), asked, tick.image)
    step = _with_made_up_scene(loaded.pipeline.active.step, loaded.task.place(tick.image))
    segmenter = Segmenter(loaded._replace(pipeline=pipeline_for(checkpoint, loaded.task, step, (None, None))))
    images = [np.zeros((*tick.image, 3), np.uint8)] * tick.cameras
    streams = [segmenter.open_stream() for _ in images]
    times: list[float] = []
    network: list[float] = []

    def run() -> float:
        begin = perf_counter()
        results = segmenter.segment_batch(images, streams, with_masks=tick.with_masks)
        network.append(results[0].timings.network)
        return perf_counter() - begin

    for _ in range(WARM_UPS):
        times.append(run())
        if sum(times) > LONGEST_WARM_UP_S:
            break
    times, network = [], []
    late = TICKS - math.ceil(SHARE * TICKS)
    while len(times) < TICKS and (len(times) < LEAST_TICKS or sum(times) < LONGEST_S):
        times.append(run())
        if sum(seconds > enough for seconds in times) > late:
            break
    seconds = sorted(times)[math.ceil(SHARE * len(times)) - 1]
    log.info("size %d takes %.3g s", loaded.options.size, seconds)
    return _Measured(seconds, float(np.median(network)))


def _with_made_up_scene(step: Backend, placement: Placement) -> Backend:
    """The backend, with the same scene in every answer: in all of the image, and not in the padding."""
    parts = zip(placement.resized, placement.input, strict=True)
    filled = (1.0, 1.0) if placement.windows else tuple(resized / whole for resized, whole in parts)

    class MadeUp(type(step)):  # type: ignore[misc]  # of its type, by which the pipeline is chosen
        def __call__(self, pixels: Tensor, queries: Tensor) -> StepResult:
            return _made_up(super().__call__(pixels, queries), filled)

    made_up: Backend = MadeUp.__new__(MadeUp)
    vars(made_up).update(vars(step))
    return made_up


def _made_up(answer: StepResult, filled: tuple[float, ...]) -> StepResult:
    """Things that cover the image, beside and below each other, each with a query that is sure of it.

    filled: the shares of height and width that the image fills, from the top left.
    """
    # Elementwise all of it, so that a GPU can capture it.
    batch, queries, height, width = answer.mask_logits.shape
    device, none = answer.mask_logits.device, answer.class_logits.shape[2] - 1
    number = torch.arange(queries, device=device)
    things = min(queries, ACROSS * DOWN)
    down = (torch.arange(height, device=device) + 0.5) * (DOWN / height / filled[0])
    across = (torch.arange(width, device=device) + 0.5) * (ACROSS / width / filled[1])
    row, column = number[:things] // ACROSS + 0.5, number[:things] % ACROSS + 0.5
    away = torch.maximum((down - row[:, None]).abs()[:, :, None], (across - column[:, None]).abs()[:, None])
    masks = (SURE * (4 - 8 * away)).clamp_(-SURE, SURE)
    others = masks.new_full((queries - things, height, width), -SURE)
    class_of = torch.where(number < things, number % none, none)
    classes = SURE * (torch.arange(none + 1, device=device) == class_of[:, None])
    return StepResult(
        torch.cat((masks, others)).to(answer.mask_logits.dtype).expand(batch, -1, -1, -1),
        classes.to(answer.class_logits.dtype).expand(batch, -1, -1),
        answer.next_queries,
    )
