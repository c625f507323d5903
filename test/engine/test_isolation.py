"""A frame changes its own stream and nothing else: not what it was given, and not what other threads compute."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from eomt_ros.engine import FrameResult, Segmenter
from eomt_ros.engine.cuda.pipeline import CudaPipeline
from eomt_ros.engine.pipeline import Request, StepwisePipeline
from test.engine.checkpoints import FOUND, WRITERS
from test.engine.cuda.machine import Recorder, on_gpu
from test.engine.pictures import clip, picture
from test.patience import PATIENCE

WAYS: dict[str, dict[str, Any]] = {
    "videomt panoptic": {"task": "panoptic", "score_memory": 0.5},
    "videomt instance": {"task": "instance", "fit": "keep_aspect"},
    "videomt semantic": {"task": "semantic"},
    "videomt openvino": {"backend": "openvino", "score_memory": 1.0},
    "videomt onnxruntime": {"backend": "onnxruntime"},
    "eomt panoptic": {"task": "panoptic"},
    "eomt instance": {"task": "instance", "top_k": 20},
    "eomt semantic": {"task": "semantic"},
    "eomt openvino": {"backend": "openvino"},
    "eomt_dinov3 panoptic": {"task": "panoptic"},
    "mask2former panoptic": {"task": "panoptic"},
    "mask2former instance": {"task": "instance"},
    "mask2former semantic": {"task": "semantic"},
}
"""Every family, task and backend, and each option with steps of its own."""
ON_GPU = [way for way in WAYS if way.startswith(("videomt", "eomt")) and way.split()[1] in FOUND]
FRAMES = 4


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: write(folder / name, seed=3) for name, write in WRITERS.items()}


@pytest.fixture
def load(models: dict[str, Path], table: Path) -> Callable[[str], Segmenter]:
    def load(way: str) -> Segmenter:
        given = {"task": "panoptic", "backend": "torch", **WAYS[way]}
        if given["backend"] != "torch":
            pytest.importorskip(given["backend"])
        usual = {"device": "cpu", "precision": "float32", "labels": table}
        return Segmenter.load(models[way.split()[0]], score_threshold=FOUND[given["task"]], **usual, **given)

    return load


def expect_inputs_left_alone(
    monkeypatch: pytest.MonkeyPatch, kind: type, arrays_of: Callable[..., list[np.ndarray]]
) -> list[Any]:
    """What a kind of pipeline or backend is called with from now on; a call that changes any of it fails.

    arrays_of: copies of all that there is in what a call was given.
    """
    calls: list[Any] = []
    original = kind.__call__

    def watched(self: Any, *given: Any) -> Any:
        before = arrays_of(*given)
        answer = original(self, *given)
        for one, other in zip(before, arrays_of(*given), strict=True):
            assert np.array_equal(one, other), "a frame changed what it was given"
        calls.append(given)
        return answer

    monkeypatch.setattr(kind, "__call__", watched)
    return calls


def arrays_of_request(request: Request) -> list[np.ndarray]:
    queries = [frame.queries.numpy().copy() for frame in request.frames]
    memories = [frame.memory.class_logits.numpy().copy() for frame in request.frames if frame.memory is not None]
    return [*(frame.image.copy() for frame in request.frames), *queries, *memories]


def arrays_of_tensors(*tensors: Tensor) -> list[np.ndarray]:
    return [each.numpy().copy() for each in tensors]


@pytest.mark.parametrize("way", WAYS)
def test_pixels_and_queries_of_a_step_stay_as_they_are(
    load: Callable[[str], Segmenter], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = load(way)
    steps = expect_inputs_left_alone(monkeypatch, type(segmenter._pipeline.active.step), arrays_of_tensors)
    results_of(segmenter, clip(FRAMES))
    assert len(steps) == FRAMES


@pytest.mark.parametrize("way", WAYS)
def test_image_queries_and_memory_of_a_frame_stay_as_they_are(
    load: Callable[[str], Segmenter], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = expect_inputs_left_alone(monkeypatch, StepwisePipeline, arrays_of_request)
    segmenter = load(way)
    results_of(segmenter, clip(FRAMES))
    assert len(requests) == FRAMES
    assert ("score_memory" in WAYS[way]) == (requests[-1][0].frames[0].memory is not None)


@pytest.mark.parametrize("way", ON_GPU)
def test_image_queries_and_memory_of_a_frame_in_a_graph_stay_as_they_are(
    load: Callable[[str], Segmenter], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = expect_inputs_left_alone(monkeypatch, CudaPipeline, arrays_of_request)
    segmenter = on_gpu(load(way), Recorder())
    results_of(segmenter, clip(FRAMES))
    assert len(requests) == FRAMES


@pytest.mark.parametrize("way", WAYS)
def test_a_second_stream_begins_as_the_first_did(load: Callable[[str], Segmenter], way: str) -> None:
    """The queries of a first frame belong to all streams."""
    segmenter = load(way)
    first, second = (results_of(segmenter, clip(FRAMES)) for _ in range(2))
    assert_same(first, second)


def test_an_image_that_cannot_be_written_to_is_segmented(load: Callable[[str], Segmenter]) -> None:
    image = picture(60, 80, 0)
    image.flags.writeable = False
    segmenter = load("videomt panoptic")
    assert_same(results_of(segmenter, [image]), results_of(segmenter, [image.copy()]))


@pytest.mark.parametrize("way", WAYS)
def test_streams_in_several_threads_are_as_each_alone(load: Callable[[str], Segmenter], way: str) -> None:
    segmenter = load(way)
    clips = [clip(FRAMES, height, width, seed) for seed, (height, width) in enumerate([(60, 80), (48, 96), (60, 80)])]
    alone = [results_of(segmenter, images) for images in clips]
    for found, expected in zip(side_by_side([segmenter] * 3, clips), alone, strict=True):
        assert_same(found, expected)


@pytest.mark.parametrize("ways", [("videomt panoptic", "videomt semantic"), ("eomt instance", "mask2former panoptic")])
def test_two_segmenters_in_two_threads_are_as_each_alone(load: Callable[[str], Segmenter], ways: tuple[str]) -> None:
    segmenters = [load(way) for way in ways]
    clips = [clip(2 * FRAMES, seed=seed) for seed in range(2)]
    alone = [results_of(*pair) for pair in zip(segmenters, clips, strict=True)]
    for found, expected in zip(side_by_side(segmenters, clips), alone, strict=True):
        assert_same(found, expected)


def results_of(segmenter: Segmenter, images: list[np.ndarray]) -> list[FrameResult]:
    stream = segmenter.open_stream()
    return [segmenter.segment(image, stream, with_masks=True, with_logits=True) for image in images]


def side_by_side(segmenters: list[Segmenter], clips: list[list[np.ndarray]]) -> list[list[FrameResult]]:
    """What the clips give, each in a thread of its own, all begun at once."""
    found: dict[int, list[FrameResult]] = {}
    begin = threading.Barrier(len(clips))

    def work(number: int) -> None:
        begin.wait(PATIENCE)
        found[number] = results_of(segmenters[number], clips[number])

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(clips))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(found) == len(clips), "a thread failed, or still waits for its frames"
    return [found[number] for number in range(len(clips))]


def assert_same(found: list[FrameResult], expected: list[FrameResult]) -> None:
    """Bit for bit, but for the times."""
    for one, other in zip(found, expected, strict=True):
        assert one.segments == other.segments
        assert one.logits is not None
        assert other.logits is not None
        pairs = [(getattr(one, name), getattr(other, name)) for name in ("semantic", "panoptic", "confidence")]
        pairs += [(one.logits.masks, other.logits.masks), (one.logits.classes, other.logits.classes)]
        assert all(np.array_equal(*pair) for pair in pairs)
