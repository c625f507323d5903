"""A frame's whole work on the device as one function of tensors: images of the cameras in, label images out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from eomt_ros.engine.backends import StepResult
from eomt_ros.engine.pipeline import run
from eomt_ros.engine.postprocess.fixed_shape import Maps, Task, Thresholds, dense
from eomt_ros.engine.preprocess.pixels import Channels, Preprocessor


class Inputs(NamedTuple):
    """What a frame of each of some streams needs beside the weights."""

    images: tuple[Tensor, ...]
    """(H, W, 3 or 1) uint8 each."""
    numbers: Tensor
    """(3 + streams,) float64: the thresholds, then what part of each stream's memory the frame becomes."""
    queries: Tensor
    """(streams, queries, hidden)."""
    memories: Tensor | None
    """(streams, queries, classes + 1) float32; None where nothing is remembered."""


class Output(NamedTuple):
    """What a frame of one stream becomes."""

    mask_logits: Tensor
    """(windows or 1, queries, h, w)."""
    class_logits: Tensor
    """(windows or 1, queries, classes + 1)."""
    next_queries: Tensor
    """(1, queries, hidden)."""
    memory: Tensor | None
    """(1, queries, classes + 1) float32."""
    owner: Tensor
    report: Tensor
    confidence: Tensor | None
    """As in `Maps`."""

    def cloned(self) -> Output:
        """With memory of its own."""
        return Output(*(part if part is None else part.clone() for part in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class WholeStep:
    """Resize, normalise, network and post-processing, for images of known sizes. Nothing in it waits for the host."""

    step: Callable[[Tensor, Tensor], StepResult]
    preprocess: Preprocessor
    tasks: Sequence[Task]
    """One of each stream."""
    channels: Sequence[Channels]
    """Which of each image's channels are red, green and blue."""

    def __call__(self, inputs: Inputs) -> list[Output]:
        """Runs one frame of each stream."""
        pixels = [
            self.preprocess.prepare(image, channels, task.placement)
            for image, channels, task in zip(inputs.images, self.channels, self.tasks, strict=True)
        ]
        answers = run(self.step, pixels, torch.split(inputs.queries, 1))
        thresholds = Thresholds(*inputs.numbers[:3].unbind())
        outputs = []
        for index, (answer, task) in enumerate(zip(answers, self.tasks, strict=True)):
            memory = None
            if inputs.memories is not None:
                part = inputs.numbers[3 + index].float()
                memory = torch.lerp(inputs.memories[index : index + 1], answer.class_logits.float(), part)
            maps: Maps = dense(answer.mask_logits, answer.class_logits if memory is None else memory, task, thresholds)
            outputs.append(Output(answer.mask_logits, answer.class_logits, answer.next_queries[:1], memory, *maps))
        return outputs
