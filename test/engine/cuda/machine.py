"""A GPU's edges without a GPU: work is recorded by keeping the function, and queues are late."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from eomt_ros.engine import Segmenter
from eomt_ros.engine.cuda.capture import Capture, Replay, Work
from eomt_ros.engine.cuda.frames import GpuFrames
from eomt_ros.engine.cuda.jpeg import Decode
from eomt_ros.engine.cuda.queues import Mark, Queues
from eomt_ros.engine.cuda.slot import tensors_of
from eomt_ros.engine.pipeline import PlainFrames


def on_gpu(
    segmenter: Segmenter,
    *,
    queues: Queues | None = None,
    capture: Capture | None = None,
    decode: Decode | None = None,
    compile: bool = False,
) -> Segmenter:
    """A segmenter of a CPU, its frames on the GPU's way from now on."""
    running = segmenter._runner.now
    plain = running.frames
    assert isinstance(plain, PlainFrames)
    frames = GpuFrames(
        plain.step,
        plain.preprocess,
        plain.recipe,
        queues or PromptQueues(),
        capture,
        decode,
        compile=compile,
    )
    segmenter._runner.now = running._replace(frames=frames)
    return segmenter


@dataclass
class Recorder:
    """Captures work as a graph does: it runs again into the same memory, with what its inputs hold by then."""

    captured: int = 0
    replayed: int = 0

    def __call__(self, work: Work) -> Replay:
        self.captured += 1
        outputs = work()

        def run() -> None:
            self.replayed += 1
            for kept, new in zip(tensors_of(outputs), tensors_of(work()), strict=True):
                kept.copy_(new)

        return Replay(run, outputs)


class Passed:
    def wait(self) -> None:
        pass


class PromptQueue:
    """Does work where it is put in."""

    def do(self, work: Callable[[], object]) -> None:
        work()

    def mark(self) -> Mark:
        return Passed()

    def after(self, mark: Mark) -> None:
        pass


class PromptQueues:
    def __init__(self) -> None:
        self.upload = self.compute = self.download = self.paint = PromptQueue()

    def beginning(self) -> AbstractContextManager[None]:
        return nullcontext()

    def staging(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype)


class LateQueues:
    """Queues that do their work as late, and in as strange an order, as marks allow: whoever forgot to wait finds out.

    Memory for the host and the device begins as rubbish, as it does there.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.upload, self.compute, self.download, self.paint = (LateQueue(self) for _ in range(4))

    def beginning(self) -> AbstractContextManager[None]:
        return nullcontext()

    def staging(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.full(shape, 77, dtype=dtype)

    def advance_any(self) -> None:
        """Does some of what can be done."""
        for queue in self.random.sample([self.upload, self.compute, self.download, self.paint], 4):
            if self.random.random() < 0.5:
                queue.advance(queue.passed + 1)


class LastMomentQueues(LateQueues):
    """Queues that do only what is waited for, and only then."""

    def __init__(self) -> None:
        super().__init__(0)

    def advance_any(self) -> None:
        pass


@dataclass
class LateQueue:
    queues: LateQueues
    items: list[Callable[[], object]] = field(default_factory=list)
    passed: int = 0

    def do(self, work: Callable[[], object]) -> None:
        self.items.append(work)
        self.queues.advance_any()

    def mark(self) -> LateMark:
        return LateMark(self, len(self.items))

    def after(self, mark: LateMark) -> None:
        self.items.append(lambda: mark.queue.advance(mark.place))

    def advance(self, place: int) -> None:
        while self.passed < min(place, len(self.items)):
            item, self.items[self.passed] = self.items[self.passed], lambda: None
            self.passed += 1
            with torch.inference_mode():  # as where it was put in
                item()


@dataclass(frozen=True)
class LateMark:
    queue: LateQueue
    place: int

    def wait(self) -> None:
        self.queue.queues.advance_any()
        self.queue.advance(self.place)
