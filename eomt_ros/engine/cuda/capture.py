"""Captures work as a CUDA graph."""

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
"""Runs before a capture, in which libraries choose and load their kernels."""


class Replay(NamedTuple):
    """Captured work."""

    run: Callable[[], object]
    """Repeats it, from the present content of its inputs, into the same outputs."""
    outputs: Tensors


Capture = Callable[[Work], Replay]
"""Captures work; raises `RuntimeError` where it cannot."""


class CudaCapture:
    """Captures CUDA graphs that share memory, since only one of them runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._failed = False

    def __call__(self, work: Work) -> Replay:
        """Captures the work after `WARM_UPS` runs on a side stream, as torch asks for.

        The caller's stream is the default one, and the caller holds `CAPTURING`.
        """
        if self._failed:
            raise RuntimeError("an earlier capture failed")
        default, side = torch.cuda.default_stream(self._device), _side_stream(self._device)
        side.wait_stream(default)
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                work()
        default.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            # The default stream once more, because a capture that fails leaves its own behind as the current one.
            # Thread-local, because other threads of a robot's process may use the GPU meanwhile.
            with (
                torch.cuda.stream(default),
                torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"),
            ):
                outputs = work()
        except RuntimeError:
            self._failed = True
            self._give_back(graph)
            raise
        return Replay(graph.replay, outputs)

    def _give_back(self, graph: torch.cuda.CUDAGraph) -> None:
        """Gives back the memory of a capture that failed.

        A capture that was ended gives it back by itself. After any other, torch's allocator believes that it goes on,
        and keeps the memory for the graph (CUDACachingAllocator.cpp, `beginAllocateToPool`, `releasePool`).
        """
        with contextlib.suppress(RuntimeError):  # of a device that has failed
            graph.reset()
        # The name depends on the version of torch.
        names = ("_cuda_endAllocateToPool", "_cuda_endAllocateCurrentStreamToPool")
        end = next(getattr(torch._C, name) for name in names if hasattr(torch._C, name))
        with contextlib.suppress(RuntimeError):  # of a capture that was ended
            end(self._device.index, self._pool)
            torch._C._cuda_releasePool(self._device.index, self._pool)


@lru_cache(maxsize=16)
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of all captures on a device: torch keeps memory for each stream that multiplies matrices.

    It waits for the default stream and the other way round; replays run on the default stream.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
