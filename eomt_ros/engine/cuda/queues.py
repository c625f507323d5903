"""Work that a device does in order, beside the host and beside other such work.

A queue is CUDA's stream (a stream of ours is a camera). What is put into one runs after all that is in it already, and
beside what is in others, unless it was told to wait for a mark in them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor


class Mark(Protocol):
    """A place in a queue."""

    def wait(self) -> None:
        """Blocks the host until the device has come here."""
        ...


class Queue(Protocol):
    """Takes work for the device."""

    def do(self, work: Callable[[], object]) -> None:
        """Puts work in. It writes into tensors that are there already, and what it touches must live until it ran."""
        ...

    def mark(self) -> Mark:
        """The place after all work so far."""
        ...

    def after(self, mark: Mark) -> None:
        """Holds what comes next until the device has come to a mark of another queue."""
        ...


class Queues(Protocol):
    """What a frame passes through."""

    upload: Queue
    compute: Queue
    download: Queue
    paint: Queue
    """For what is made of a frame that the host has heard of, beside the frame after it."""

    def beginning(self) -> AbstractContextManager[object]:
        """What the host makes memory for a frame in: the compute queue's."""
        ...

    def staging(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory of the host that the device can copy from and to by itself."""
        ...


class CudaMark:
    """An event; the host sleeps while it waits, since its cores are wanted elsewhere on a robot."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self.event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self.event.record(stream)

    def wait(self) -> None:
        """Blocks the host until the device has come here; raises what has failed on the way."""
        self.event.synchronize()


class CudaQueue:
    """A CUDA stream."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self.stream = stream

    def do(self, work: Callable[[], object]) -> None:
        """Puts work in."""
        with torch.cuda.stream(self.stream):
            work()

    def mark(self) -> CudaMark:
        """The place after all work so far."""
        return CudaMark(self.stream)

    def after(self, mark: Mark) -> None:
        """Holds what comes next until the device has come to a mark of another queue."""
        assert isinstance(mark, CudaMark)
        self.stream.wait_event(mark.event)


class CudaQueues:
    """Copies in both directions beside the network.

    `compute` is torch's default stream, where all segmenters of a process meet. What is made in it torch may give to
    others as soon as nobody holds it.
    """

    def __init__(self, device: torch.device) -> None:
        self.upload: Queue = CudaQueue(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]
        self.compute: Queue = CudaQueue(torch.cuda.default_stream(device))
        self.download: Queue = CudaQueue(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]
        self.paint: Queue = CudaQueue(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]
        self._device = device

    def beginning(self) -> AbstractContextManager[object]:
        """The default stream, whichever one the caller uses."""
        return torch.cuda.stream(torch.cuda.default_stream(self._device))

    def staging(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Page-locked memory, which torch keeps for the next who asks."""
        return torch.empty(shape, dtype=dtype, pin_memory=True)
