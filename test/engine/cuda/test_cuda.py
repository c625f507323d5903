"""On a real GPU, where there is one: frames are captured, equal the CPU's, and leave nothing behind."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eomt_ros.engine import FrameResult, OutOfMemoryError, Segmenter, free_devices
from eomt_ros.engine.cuda.capture import CudaCapture, Tensors
from eomt_ros.engine.cuda.graph import Graph
from eomt_ros.engine.cuda.pipeline import CudaPipeline
from eomt_ros.engine.networks.layers import MOST_GRIDS
from eomt_ros.model_options import TASKS
from eomt_ros.package_data import PACKAGE
from test.engine.checkpoints import FOUND, WRITERS
from test.engine.pictures import clip, picture

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

CAPTURED = ("videomt", "eomt", "eomt_dinov3")
"""Families whose frames graphs can hold."""
FRAMES = 6
SAME = 0.995
"""Share of the pixels: the GPU resizes images in float and rounds, which can differ by a grey level."""
FILLS_THE_DEVICE = """
import torch
free, _ = torch.cuda.mem_get_info()
kept = torch.empty(free - int(input()), dtype=torch.uint8, device="cuda")
print("full", flush=True)
input()
"""
"""Another process that takes all memory but as many bytes as it is told, until it is told a second line."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {name: WRITERS[name](tmp_path_factory.mktemp(name)) for name in CAPTURED}


def load(model: str | Path, device: str = "cuda", task: str = "panoptic", **settings: Any) -> Segmenter:
    usual = {"backend": "torch", "precision": "float32"}
    if model != "demo":
        usual["score_threshold"] = FOUND[task]
    return Segmenter.load(model, device=device, task=task, **{**usual, **settings})


def run(segmenter: Segmenter, images: list[np.ndarray]) -> list[FrameResult]:
    stream = segmenter.open_stream()
    return [segmenter.segment(image, stream, stamp=0.1 * number) for number, image in enumerate(images)]


def agreement(found: list[FrameResult], expected: list[FrameResult]) -> tuple[float, float]:
    pairs = list(zip(found, expected, strict=True))
    classes = np.mean([np.mean(one.semantic == other.semantic) for one, other in pairs])
    ids = np.mean([np.mean(one.panoptic == other.panoptic) for one, other in pairs])
    return float(classes), float(ids)


def assert_all_captured(segmenter: Segmenter) -> None:
    pipeline = segmenter._pipeline.active.pipeline
    assert isinstance(pipeline, CudaPipeline)
    assert pipeline._graphs
    assert all(graph.is_captured for graph in pipeline._graphs.values())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", CAPTURED)
def test_captured_frames_equal_the_cpus(folders, family, task, caplog):
    segmenter = load(folders[family], task=task)
    found = run(segmenter, clip(FRAMES))
    assert_all_captured(segmenter)
    assert min(agreement(found, run(load(folders[family], "cpu", task), clip(FRAMES)))) >= SAME
    assert "CUDA graph" not in caplog.text


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float32"])
def test_the_demo_bag_is_the_cpus_in_float32(precision):
    pytest.importorskip("rosbags", reason="the bag is read by rosbags, which is not installed")
    from eomt_ros.evaluation.sources import open_sequences

    (sequence,) = open_sequences([PACKAGE.parent / "demo" / "bag"])
    images = [frame.image for frame in sequence.frames()]
    segmenter = load("demo", precision=precision)
    found, expected = run(segmenter, images), run(load("demo", "cpu"), images)
    assert_all_captured(segmenter)
    assert min(agreement(found, expected)) >= SAME


def test_auto_is_float16():
    assert load("demo", precision="auto").precision == "float16"


def test_results_stay_what_they_are_while_later_frames_come(folders):
    segmenter = load(folders["videomt"])
    stream = segmenter.open_stream()
    results = [segmenter.segment(image, stream) for image in clip(30)]
    copies = [result.panoptic.copy() for result in results[:10]]
    for image in clip(30, seed=1):
        segmenter.segment(image, stream)
    assert all(np.array_equal(result.panoptic, copy) for result, copy in zip(results, copies, strict=False))


def test_a_capture_that_fails_gives_its_memory_back(folders, monkeypatch):
    def held() -> int:
        gc.collect()
        free_devices()
        return torch.cuda.memory_reserved()

    run(load(folders["videomt"]), clip(2))
    before = held()

    def wait_for_the_host(values: torch.Tensor) -> Tensors:
        filler = torch.zeros(256 << 20, dtype=torch.uint8, device="cuda")
        return (values + filler[: values.numel()].sum().item(),)

    capture = CudaCapture(torch.device("cuda", torch.cuda.current_device()))
    graph = Graph(wait_for_the_host, [torch.ones(8, device="cuda")], capture)
    graph(torch.ones(8, device="cuda"))
    assert not graph.is_captured
    del graph, capture
    assert held() <= before + (8 << 20)
    segmenter = load(folders["videomt"])
    run(segmenter, clip(2))
    assert_all_captured(segmenter)


def test_graphs_stay_right_when_many_other_sizes_have_come(folders):
    """What the network makes for the size of an image is replaced by that for others; a graph reads it for ever."""
    segmenter = load(folders["videomt"], fit="keep_aspect")
    first = picture(60, 80, 0)
    expected = segmenter.segment(first, segmenter.open_stream())
    for number in range(MOST_GRIDS + 2):
        segmenter.segment(picture(60, 100 + 40 * number, number), segmenter.open_stream())
    filler = [torch.full((1 << 20,), torch.nan, device="cuda") for _ in range(64)]
    found = segmenter.segment(first, segmenter.open_stream())
    assert found.segments == expected.segments
    assert np.array_equal(found.panoptic, expected.panoptic)
    del filler


def test_cameras_share_weights_and_add_only_their_queries(folders):
    segmenter = load(folders["videomt"])
    segmenter.warm_up(60, 80)
    streams = [segmenter.open_stream() for _ in range(8)]
    before = torch.cuda.memory_allocated()
    for stream in streams:
        segmenter.segment(picture(60, 80, 0), stream)
    assert torch.cuda.memory_allocated() - before <= len(streams) * (64 << 10)


@pytest.mark.parametrize("family", CAPTURED)
def test_cameras_of_two_sizes_together_give_what_each_gives_alone(folders, family):
    segmenter = load(folders[family])
    cameras = [clip(FRAMES, seed=0), clip(FRAMES, 80, 60, seed=1), clip(FRAMES, seed=2)]
    alone = [run(segmenter, images) for images in cameras]
    streams = [segmenter.open_stream() for _ in cameras]
    together = [
        segmenter.segment_batch(images, streams, stamps=[0.1 * number] * len(cameras))
        for number, images in enumerate(zip(*cameras, strict=True))
    ]
    assert_all_captured(segmenter)
    for found, expected in zip(zip(*together, strict=True), alone, strict=True):
        assert min(agreement(list(found), expected)) >= SAME


@pytest.mark.parametrize("left", [8 << 20, 1 << 30])
def test_a_device_that_others_fill_drops_frames_or_gives_them_right(folders, left):
    segmenter = load(folders["videomt"])
    images = [picture(1080, 1920, seed) for seed in range(2)]
    expected = [segmenter.segment(image, segmenter.open_stream()).panoptic for image in images]
    free_devices()
    with subprocess.Popen(
        [sys.executable, "-c", FILLS_THE_DEVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        print(left, file=other.stdin, flush=True)
        assert other.stdout.readline() == "full\n"
        streams = [segmenter.open_stream() for _ in images]
        results = segmenter.segment_batch(images, streams, return_exceptions=True)
        print(file=other.stdin, flush=True)
    for result, panoptic in zip(results, expected, strict=True):
        if isinstance(result, FrameResult):
            assert np.mean(result.panoptic == panoptic) >= SAME
        else:
            assert isinstance(result, OutOfMemoryError)
    again = segmenter.segment_batch(images, [segmenter.open_stream() for _ in images])
    assert all(np.mean(one.panoptic == panoptic) >= SAME for one, panoptic in zip(again, expected, strict=True))


def test_all_memory_is_free_when_a_segmenter_is_gone(folders):
    def held() -> int:
        gc.collect()
        free_devices()
        return torch.cuda.memory_allocated()

    run(load(folders["videomt"]), clip(2))  # what torch's libraries keep for ever, they have now
    before = held()
    segmenter = load(folders["videomt"])
    run(segmenter, clip(2))
    assert held() > before
    del segmenter
    assert held() == before
