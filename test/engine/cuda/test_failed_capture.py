"""A capture that fails leaves nothing: the device's edge, torch's allocator and graphs, is played here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch

from eomt_ros.engine.cuda.capture import CudaCapture, _side_stream

POOL = (0, 1)


class Device:
    """What torch keeps of captures, as CUDACachingAllocator.cpp and CUDAGraph.cpp do."""

    def __init__(self) -> None:
        self.holders = 0
        """Of the pool: its memory is free when there are none."""
        self.goes_on = False
        """Allocations go to the pool."""
        self.end_fails = False

    @contextmanager
    def graph(self, graph: Graph, **_: object) -> Any:
        self.holders += 1
        self.goes_on = True
        try:
            yield
        finally:
            if self.end_fails:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
            self.goes_on = False
            graph.has_ended = True

    def end(self, device: int, pool: object) -> None:
        if not self.goes_on:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.goes_on = False

    def release(self, device: int, pool: object) -> None:
        self.holders -= 1


class Graph:
    def __init__(self, device: Device) -> None:
        self.device = device
        self.has_ended = False

    def reset(self) -> None:
        if self.has_ended:
            self.has_ended = False
            self.device.holders -= 1


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    class Stream:
        def wait_stream(self, other: object) -> None:
            pass

    device = Device()
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: POOL)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda _: Stream())
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", device.graph)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: Graph(device))
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", device.end, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", device.release, raising=False)
    _side_stream.cache_clear()
    yield device
    _side_stream.cache_clear()


@pytest.mark.parametrize("end_fails", [False, True])
def test_memory_of_a_capture_that_fails_is_given_back_once(device: Device, end_fails: bool) -> None:
    device.end_fails = end_fails

    def work() -> list[Any]:
        if device.goes_on:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        return []

    capture = CudaCapture(torch.device("cuda", 0))
    with pytest.raises(RuntimeError, match="CUDA error"):
        capture(work)
    assert not device.goes_on
    assert device.holders == 0
    with pytest.raises(RuntimeError, match="an earlier capture failed"):
        capture(work)
