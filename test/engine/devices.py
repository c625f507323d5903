"""The edge of devices that are not here: a backend that has limits, and fails, as they do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from eomt_ros.engine import FrameResult, ModelOptions, Segmenter, Stream
from eomt_ros.engine.backends import Backend
from eomt_ros.engine.loading import fallbacks_for, load, pipeline_for
from eomt_ros.engine.networks import StepResult

LOST = "CUDA error: an illegal memory access was encountered"
OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2 GiB.\nMore"
ROUNDING = 1e-4
"""What may differ where float32 is summed in another order, as torch does for several frames at once in networks as
small as those of tests.
"""
WHITE = 2.1
"""Every channel of white is above, normalised."""


class Device:
    """Runs a backend as a device does that has memory for so much, is lost, or computes NaN for what is white."""

    def __init__(self, step: Backend) -> None:
        self._step = step
        self.name, self.runs_on, self.device = step.name, step.runs_on, step.device
        self.dtype, self.precision, self.first_queries = step.dtype, step.precision, step.first_queries
        self.frames = sys.maxsize
        """That there is memory for at once."""
        self.pixels = sys.maxsize
        self.is_lost = False
        self.spoils: tuple[str, ...] = ()
        """The parts of `StepResult` that are NaN for a white frame."""
        self.asked: list[int] = []
        """How many frames each call had."""

    def __call__(self, pixels: Tensor, queries: Tensor) -> StepResult:
        self.asked.append(len(pixels))
        if self.is_lost:
            raise RuntimeError(LOST)
        if len(pixels) > self.frames or pixels[:, 0].numel() > self.pixels:
            raise torch.OutOfMemoryError(OUT_OF_MEMORY)
        output = self._step(pixels, queries)
        white = (pixels[:, :, :4, :4].float().amin((1, 2, 3)) > WHITE).nonzero()[:, 0]
        spoilt = {name: getattr(output, name).index_fill(0, white, torch.nan) for name in self.spoils}
        return output._replace(**spoilt)

    def constants(self) -> list[Tensor]:
        """As a backend of torch has them."""
        return []


def on_device(model: str | Path, **options: Any) -> tuple[Segmenter, Device]:
    """A segmenter as `Segmenter.load` makes it, and the device that it runs on."""
    asked = ModelOptions(str(model), backend="torch", **options)
    loaded = load(asked)
    opened = loaded.pipeline.active.step
    device = Device(opened)
    fallbacks = fallbacks_for(loaded.checkpoint, asked, opened)
    return Segmenter(loaded._replace(pipeline=pipeline_for(loaded.checkpoint, loaded.task, device, fallbacks))), device


LoadOnDevice = Callable[..., tuple[Segmenter, Device]]
"""As the fixture `load_on_device`."""


def alone(segmenter: Segmenter, images: Sequence[Any], stream: Stream | None = None) -> list[FrameResult]:
    stream = stream or segmenter.open_stream()
    return [segmenter.segment(image, stream) for image in images]


def assert_same(
    found: Sequence[FrameResult | Exception], expected: Sequence[FrameResult], rounding: float = ROUNDING
) -> None:
    """To the last bit, but for the times; rounding: the share of the pixels that may be others, and of a score."""
    for one, other in zip(found, expected, strict=True):
        assert isinstance(one, FrameResult), one
        assert (one.epoch, one.reset_reason) == (other.epoch, other.reset_reason)
        for name in ("id", "class_id", "age", "is_thing"):
            assert [getattr(each, name) for each in one.segments] == [getattr(each, name) for each in other.segments]
        scores = [[segment.score for segment in each.segments] for each in (one, other)]
        assert scores[0] == pytest.approx(scores[1], rel=rounding, abs=0)
        for name, levels in (("semantic", 0), ("panoptic", 0), ("confidence", rounding > 0)):
            apart = np.abs(getattr(one, name).astype(int) - getattr(other, name)) > levels
            assert np.count_nonzero(apart) <= rounding * apart.size, name
