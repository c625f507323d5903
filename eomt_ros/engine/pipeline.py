"""One frame: its pixels, the network, and the post-processing, up to where it gets ids."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from eomt_ros.engine.backends import Backend
from eomt_ros.engine.errors import NotFiniteError
from eomt_ros.engine.model.families import Family
from eomt_ros.engine.networks import StepResult
from eomt_ros.engine.postprocess.frame import check_finite, postprocess
from eomt_ros.engine.postprocess.label_map import LabelMap, ResultClasses
from eomt_ros.engine.preprocess.geometry import Fit, Placement
from eomt_ros.engine.preprocess.pixels import Preprocessor
from eomt_ros.engine.results import Logits
from eomt_ros.engine.stream import Memory
from eomt_ros.model_options import ModelOptions


@dataclass(frozen=True)
class Task:
    """The settings that all frames of a segmenter share."""

    name: str
    """ "semantic", "instance" or "panoptic"."""
    family: Family
    place: Fit
    classes: ResultClasses
    score_memory: float
    top_k: int

    @property
    def of_instances(self) -> dict[str, Any]:
        """`top_k` and `score_masks` of `postprocess`, where they are not its defaults."""
        return {"top_k": self.top_k, "score_masks": self.family.top_k == "masks"} if self.top_k else {}


class FrameInput(NamedTuple):
    """One frame of a stream."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    placement: Placement
    queries: Tensor
    """(1, queries, hidden), what the frame starts from; of any precision."""
    memory: Memory | None
    seen: np.ndarray | None = None
    """(H, W) uint8, 0 where the robot sees itself, else 1; None for 1 everywhere."""


@dataclass(frozen=True, eq=False)
class Request:
    """One frame each of some streams."""

    frames: Sequence[FrameInput]
    options: ModelOptions
    with_masks: bool = False
    with_logits: bool = False
    with_confidence: bool = True
    with_embeddings: bool = False


Find = Callable[[], LabelMap]
"""Does the post-processing of one frame, on any thread."""


class FrameOutput(NamedTuple):
    """One frame after the network; its logits are finite."""

    find: Find
    """On a GPU, the work is done already."""
    logits: Logits | None
    """None unless asked for."""
    queries: Tensor
    """(1, queries, hidden), what the stream's next frame starts from."""
    memory: Memory | None
    preprocess: float
    network: float
    postprocess: float
    """Seconds so far."""


Pipeline = Callable[[Request], list[FrameOutput | NotFiniteError]]
"""Takes one frame each of some streams; gives the error in place of a frame whose logits hold NaN or infinity."""


class StepwisePipeline:
    """Each step when the one before is done: on a CPU the fastest, and right on any device."""

    def __init__(self, step: Backend, preprocess: Preprocessor, task: Task) -> None:
        self.step = step
        self.preprocess = preprocess
        self.task = task

    def __call__(self, request: Request) -> list[FrameOutput | NotFiniteError]:
        """Runs the frames; see `Pipeline`."""
        begin = time.perf_counter()
        pixels = preprocessed(self.preprocess, request)
        prepared = time.perf_counter()
        outputs = run_network(self.step, pixels, [frame.queries for frame in request.frames])
        memories = remembered(request, outputs, self.task.score_memory)
        before = prepared - begin, time.perf_counter() - prepared
        frames = []
        for frame, output, memory in zip(request.frames, outputs, memories, strict=True):
            checked = partial(self._checked, scored(output, memory), frame, request)
            frames.append(answered(checked, output, memory, request, before))
        return frames

    def _checked(self, answer: StepResult, frame: FrameInput, request: Request) -> Find:
        check_finite("mask", answer.mask_logits)
        check_finite("class", answer.class_logits)
        find = partial(segmented, self.task, answer, frame, request)
        # A device's errors are for whoever runs the pipeline.
        return find if answer.mask_logits.device.type == "cpu" else done(find())


def done(label_map: LabelMap) -> Find:
    """The post-processing of a frame whose label map is there."""
    return lambda: label_map


def preprocessed(preprocess: Preprocessor, request: Request) -> list[Tensor]:
    """The network's input, (windows or 1, 3, height, width) of each frame."""
    return [preprocess(frame.image, frame.placement) for frame in request.frames]


def run_network(
    step: Callable[[Tensor, Tensor], StepResult], pixels: Sequence[Tensor], queries: Sequence[Tensor]
) -> list[StepResult]:
    """The network's answer to each image, all that are of one size in one pass.

    pixels: (windows or 1, 3, height, width) of each. queries: (1, queries, hidden) of each. So are `next_queries`, in
    memory of their own, which no later step overwrites.
    """
    answers: dict[int, StepResult] = {}
    for size in dict.fromkeys(each.shape[2:] for each in pixels):
        members = [index for index, each in enumerate(pixels) if each.shape[2:] == size]
        counts = [len(pixels[index]) for index in members]
        together = torch.cat([pixels[index] for index in members])
        # Of the pixels' type, which is another than the queries' where frames have gone on in another precision.
        starts = torch.cat([queries[index].to(together.dtype).expand(len(pixels[index]), -1, -1) for index in members])
        output = step(together, starts)
        parts = (torch.split(part, counts) for part in output)
        for index, masks, classes, following in zip(members, *parts, strict=True):
            # A copy, since a view would keep those of the whole batch in memory; of windows all have the same.
            answers[index] = StepResult(masks, classes, following[:1].clone())
    return [answers[index] for index in range(len(pixels))]


def remembered(request: Request, outputs: Sequence[StepResult], score_memory: float) -> list[Memory | None]:
    """Each stream's memory with its next frame in it; None where nothing is remembered."""
    if not score_memory:
        return [None] * len(outputs)
    return [
        Memory.after(frame.memory, output.class_logits, score_memory)
        for frame, output in zip(request.frames, outputs, strict=True)
    ]


def scored(output: StepResult, memory: Memory | None) -> StepResult:
    """The network's answer with the class logits that count."""
    return output if memory is None else output._replace(class_logits=memory.class_logits)


def segmented(task: Task, output: StepResult, frame: FrameInput, request: Request) -> LabelMap:
    """The network's answer to one frame, post-processed."""
    options = request.options
    return postprocess(
        output.mask_logits,
        output.class_logits,
        frame.placement,
        task=task.name,
        classes=task.classes,
        rules=task.family.rules,
        seen=frame.seen,
        with_masks=request.with_masks,
        with_confidence=request.with_confidence,
        score_threshold=options.score_threshold,
        mask_threshold=options.mask_threshold,
        overlap_threshold=options.overlap_threshold,
        fuse_stuff=options.fuse_stuff,
        **task.of_instances,
    )


def answered(
    checked: Callable[[], Find],
    output: StepResult,
    memory: Memory | None,
    request: Request,
    before: tuple[float, float],
) -> FrameOutput | NotFiniteError:
    """A frame after the network; gives the error in place of one that is not finite.

    checked: raises `NotFiniteError` for it. before: seconds of the preprocessing and the network.
    """
    begun = time.perf_counter()
    try:
        find = checked()
    except NotFiniteError as error:
        return error.with_traceback(None)  # it holds the whole batch
    logits = _logits(output) if request.with_logits else None
    return FrameOutput(find, logits, output.next_queries, memory, *before, time.perf_counter() - begun)


def _logits(output: StepResult) -> Logits:
    # Copies, because the next frame may be written to the same memory.
    masks, classes = (logits[0].float().cpu().numpy().copy() for logits in (output.mask_logits, output.class_logits))
    return Logits(masks, classes)
