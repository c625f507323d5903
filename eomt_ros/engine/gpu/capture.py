"""Recording a frame's work as a CUDA graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch

from eomt_ros.engine.gpu.step import Output

Work = Callable[[], list[Output]]

WARM_UPS = 3
"""Runs before a capture, in which libraries choose and load what they need."""


class Replay(NamedTuple):
    """Work that was recorded once."""

    run: Callable[[], object]
    """Does it again, with what is in its inputs by now, into the same outputs."""
    outputs: list[Output]


Capture = Callable[[Work], Replay]
"""Records work; raises `RuntimeError` where that cannot be done."""


class CudaCapture:
    """Records CUDA graphs that share memory, since only one of them runs at a time."""

    _spoilt: ClassVar[list[torch.cuda.CUDAGraph]] = []
    """Graphs whose capture failed: torch's allocator goes on asking them."""

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
            self._spoilt.append(graph)
            self._end_of_capture()
            raise
        return Replay(graph.replay, outputs)

    def _end_of_capture(self) -> None:
        """Tells torch's allocator, which a failed capture leaves in the belief that it goes on."""
        for name in ("_cuda_endAllocateToPool", "_cuda_endAllocateCurrentStreamToPool"):  # by the version of torch
            end = getattr(torch._C, name, None)
            if end is not None:
                with contextlib.suppress(RuntimeError):
                    end(self._device.index, self._pool)
                return


@lru_cache(maxsize=16)
def _beside(device: torch.device) -> torch.cuda.Stream:
    """The stream of all captures: torch keeps memory for each one that multiplies matrices, and for graphs by stream.

    It is in step with the default stream, in which everything that was captured is replayed.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
