"""Recording work as a CUDA graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]
Work = Callable[[], Tensors]

WARM_UPS = 3
"""Runs before a capture, in which libraries choose and load what they need."""


class Replay(NamedTuple):
    """Work that was recorded once."""

    run: Callable[[], object]
    """Does it again, with what is in its inputs by now, into the same outputs."""
    outputs: Tensors


Capture = Callable[[Work], Replay]
"""Records work; raises `RuntimeError` where that cannot be done."""


class CudaCapture:
    """Records CUDA graphs that share memory, since only one of them runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._failed = False

    def __call__(self, work: Work) -> Replay:
        """Records the work, after it has run a few times on a stream of its own, as torch asks for.

        The caller's stream is the default one, and it holds `CAPTURING`.
        """
        if self._failed:
            raise RuntimeError("an earlier capture failed")
        default, beside = torch.cuda.default_stream(self._device), _beside(self._device)
        beside.wait_stream(default)
        with torch.cuda.stream(beside):
            for _ in range(WARM_UPS):
                work()
        default.wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        try:
            # Around it once more, because a capture that fails leaves its own stream behind as the current one. Other
            # threads of a robot's process may use the GPU meanwhile.
            with (
                torch.cuda.stream(default),
                torch.cuda.graph(graph, pool=self._pool, stream=beside, capture_error_mode="thread_local"),
            ):
                outputs = work()
        except RuntimeError:
            self._failed = True
            self._give_back(graph)
            raise
        return Replay(graph.replay, outputs)

    def _give_back(self, graph: torch.cuda.CUDAGraph) -> None:
        """Gives back the memory of a capture that failed.

        One that came to its end all the same gives it back itself. After any other, torch's allocator believes that it
        goes on, and the memory stays the graph's (CUDACachingAllocator.cpp, `beginAllocateToPool`, `releasePool`).
        """
        with contextlib.suppress(RuntimeError):  # of a device that has failed
            graph.reset()
        # By the version of torch.
        names = ("_cuda_endAllocateToPool", "_cuda_endAllocateCurrentStreamToPool")
        end = next(getattr(torch._C, name) for name in names if hasattr(torch._C, name))
        with contextlib.suppress(RuntimeError):  # as it says where the capture has come to its end
            end(self._device.index, self._pool)
            torch._C._cuda_releasePool(self._device.index, self._pool)


@lru_cache(maxsize=16)
def _beside(device: torch.device) -> torch.cuda.Stream:
    """The stream of all captures: torch keeps memory for each one that multiplies matrices, and for graphs by stream.

    It is in step with the default stream, in which everything that was captured is replayed.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
