"""The edge of devices that are not here: a backend that has limits, and fails, as they do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eomt_ros.engine import FrameResult, ModelOptions, Segmenter, Stream
from eomt_ros.engine.backends import Backend
from eomt_ros.engine.loading import backend_for, chosen_for, fallbacks_for
from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.engine.networks import StepResult

LOST = "CUDA error: an illegal memory access was encountered"
OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2 GiB.\nMore"
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


def on_device(model: Path, **options: Any) -> tuple[Segmenter, Device]:
    """A segmenter as `Segmenter.load` makes it, and the device that it runs on."""
    asked = ModelOptions(str(model), backend="torch", **options)
    loaded = load_checkpoint(asked.model, asked.labels or None)
    chosen = chosen_for(loaded, asked)
    opened = backend_for(loaded, asked)
    device = Device(opened)
    return Segmenter(loaded, chosen, device, fallbacks_for(loaded, asked, opened)), device


LoadOnDevice = Callable[..., tuple[Segmenter, Device]]
"""As the fixture `load_on_device`."""


def alone(segmenter: Segmenter, images: Sequence[Any], stream: Stream | None = None) -> list[FrameResult]:
    stream = stream or segmenter.open_stream()
    return [segmenter.segment(image, stream) for image in images]


def assert_same(found: Sequence[FrameResult | Exception], expected: Sequence[FrameResult]) -> None:
    """To the last bit, but for the times."""
    assert any(each.segments for each in expected), "nothing to compare"
    for one, other in zip(found, expected, strict=True):
        assert isinstance(one, FrameResult), one
        assert (one.epoch, one.reset_reason) == (other.epoch, other.reset_reason)
        assert one.segments == other.segments
        for name in ("semantic", "panoptic", "confidence"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
