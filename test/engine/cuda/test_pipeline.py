"""Frames on the GPU's way are what they are on the plain way, which is held to Hugging Face elsewhere."""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from eomt_ros.engine import DeviceLostError, FrameResult, NotFiniteError, OutOfMemoryError, Segmenter, Stream
from eomt_ros.engine.cuda import pipeline as module
from eomt_ros.engine.cuda.capture import Replay, Work
from eomt_ros.engine.cuda.graph import Graph
from eomt_ros.engine.cuda.pipeline import MOST_GRAPHS
from eomt_ros.engine.model import families
from eomt_ros.engine.pipeline import Request
from eomt_ros.evaluation.sources import open_sequences
from test.engine.backends.test_backends import BAG
from test.engine.checkpoints import FOUND, WRITERS, write_checkpoint
from test.engine.cuda.machine import Recorder, on_gpu, pipeline_of
from test.engine.pictures import clip, picture
from test.engine.test_segmenter import TASKS, without_red, write_fragile_checkpoint
from test.patience import PATIENCE

CAPTURED = ("videomt", "eomt", "eomt_dinov3")
"""Families whose frames graphs can hold."""
ROUNDING = 1e-4
"""Share of the pixels that may hang on the last bit of a float."""
FRAMES = 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {
        name: WRITERS[name](tmp_path_factory.mktemp(name), **({"num_queries": 24} if name == "videomt" else {}))
        for name in CAPTURED
    }


@pytest.fixture(scope="module")
def load(folders, table):
    """Loads a checkpoint for the plain way."""

    def load(family: str = "videomt", task: str = "panoptic", **settings: Any) -> Segmenter:
        usual = {"score_threshold": FOUND[task], "labels": table, "device": "cpu", "precision": "float32"}
        return Segmenter.load(folders[family], backend="torch", task=task, **{**usual, **settings})

    return load


def run(segmenter: Segmenter, images: Sequence[np.ndarray], stream: Stream | None = None, **asked: Any):
    stream = stream or segmenter.open_stream()
    return [segmenter.segment(image, stream, stamp=0.1 * number, **asked) for number, image in enumerate(images)]


def assert_same(ours: Sequence[FrameResult], expected: Sequence[FrameResult]) -> None:
    assert len(ours) == len(expected)
    for one, other in zip(ours, expected, strict=True):
        assert one.epoch == other.epoch
        for name in ("semantic", "panoptic", "confidence"):
            mine, theirs = getattr(one, name), getattr(other, name)
            if theirs is None:
                assert mine is None, name
                continue
            assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype), name
            # A level of confidence may be rounded up where it was rounded down.
            apart = np.abs(mine.astype(int) - theirs) > (name == "confidence")
            assert np.count_nonzero(apart) <= ROUNDING * theirs.size, name
        for mine, theirs in zip(one.segments, other.segments, strict=True):
            for name in ("id", "class_id", "class_name", "is_thing", "age", "mask"):
                assert getattr(mine, name) == getattr(theirs, name), name
            assert mine.score == pytest.approx(theirs.score, abs=2e-6)
            assert mine.area == pytest.approx(theirs.area, abs=3)
            assert mine.box == pytest.approx(theirs.box, abs=2)


# --- the same as the plain way


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", CAPTURED)
def test_every_family_and_task_is_as_on_the_plain_way(load, family, task):
    images = clip(FRAMES)
    expected = run(load(family, task), images)
    assert any(result.segments for result in expected)
    recorder = Recorder()
    assert_same(run(on_gpu(load(family, task), capture=recorder), images), expected)
    assert recorder.captured == 2  # the network, and the post-processing
    assert recorder.replayed == 2 * FRAMES  # once to compare, and for each later frame


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "settings",
    [
        {"fit": "keep_aspect"},
        {"score_memory": 1.0},
        {"score_memory": 0.7, "fuse_stuff": False},
        {"top_k": 5, "score_threshold": 0.01},
        {"overlap_threshold": 0.3, "mask_threshold": 0.6},
    ],
    ids=str,
)
def test_every_setting_is_as_on_the_plain_way(load, task, settings):
    images = clip(FRAMES, 61, 87)
    expected = run(load(task=task, **settings), images)
    assert_same(run(on_gpu(load(task=task, **settings), capture=Recorder()), images), expected)


@pytest.mark.parametrize("task", TASKS)
def test_masks_and_logits_are_as_on_the_plain_way(load, task):
    asked = {"with_masks": True, "with_logits": True, "with_confidence": False}
    expected = run(load(task=task), clip(2), **asked)
    ours = run(on_gpu(load(task=task)), clip(2), **asked)
    assert_same(ours, expected)
    for one, other in zip(ours, expected, strict=True):
        assert np.allclose(one.logits.masks, other.logits.masks, atol=1e-4)
        assert np.allclose(one.logits.classes, other.logits.classes, atol=1e-4)


@pytest.mark.parametrize("cameras", [2, 3])
def test_cameras_in_one_pass_are_as_on_the_plain_way(load, cameras):
    """With images of different sizes, and of different aspects where the aspect is kept."""
    for fit in ("stretch", "keep_aspect"):
        plain, ours = load(fit=fit), on_gpu(load(fit=fit), capture=Recorder())
        streams = [[each.open_stream() for _ in range(cameras)] for each in (plain, ours)]
        for frame in range(FRAMES):
            images = [picture(60 + 10 * camera, 80, 10 * camera + frame) for camera in range(cameras)]
            expected, found = (
                each.segment_batch(images, own) for each, own in zip((plain, ours), streams, strict=True)
            )
            assert_same(found, expected)


def views(image: np.ndarray) -> dict[str, np.ndarray]:
    """The same picture in other memory."""
    padded = np.zeros((image.shape[0], image.shape[1] + 7, 3), np.uint8)
    padded[:, :-7] = image
    return {
        "bgr": np.ascontiguousarray(image[:, :, ::-1])[:, :, ::-1],
        "padded": padded[:, :-7],
        "upside down": np.ascontiguousarray(image[::-1])[::-1],
        "read-only": np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape),
        "column-major": np.asfortranarray(image),
        "grey": np.broadcast_to(image[:, :, :1], image.shape),
    }


@pytest.mark.parametrize("kind", views(picture(2, 2, 0)))
def test_images_of_any_layout_are_as_on_the_plain_way(load, kind):
    images = [views(image)[kind] for image in clip(2)]
    assert_same(run(on_gpu(load(), capture=Recorder()), images), run(load(), images))


def test_settings_that_change_are_heeded_without_a_new_capture(load):
    plain, recorder = load(), Recorder()
    ours = on_gpu(load(), capture=recorder)
    streams = plain.open_stream(), ours.open_stream()
    counts = set()
    for number, image in enumerate(clip(6)):
        for segmenter in (plain, ours):
            segmenter.score_threshold = (0.3, 0.35, 0.25)[number % 3]
            segmenter.mask_threshold = (0.5, 0.4, 0.6)[number % 3]
            segmenter.overlap_threshold = (0.8, 0.5, 0.2)[number % 3]
            segmenter.fuse_stuff = number % 2 == 0
        expected, found = plain.segment(image, streams[0]), ours.segment(image, streams[1])
        assert_same([found], [expected])
        counts.add(len(found.segments))
    assert len(counts) > 1
    assert recorder.captured == 2


def test_streams_that_share_a_segmenter_do_not_mix(load):
    segmenter = on_gpu(load(), capture=Recorder())
    streams = [segmenter.open_stream() for _ in range(3)]
    clips = [clip(FRAMES, seed=seed) for seed in range(3)]
    found = [[segmenter.segment(clips[k][frame], streams[k]) for k in range(3)] for frame in range(FRAMES)]
    for k in range(3):
        alone = load().open_stream()
        plain = load()
        expected = [plain.segment(image, alone) for image in clips[k]]
        assert_same([frame[k] for frame in found], expected)


def test_threads_that_share_a_segmenter_do_not_mix(load):
    segmenter = on_gpu(load(), capture=Recorder())
    clips = [clip(8, seed=seed) for seed in range(4)]
    found: dict[int, list[FrameResult]] = {}

    def work(number: int) -> None:
        found[number] = run(segmenter, clips[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=PATIENCE)
        assert not thread.is_alive(), "a thread is still waiting for its frames"
    for number in range(4):
        assert_same(found[number], run(load(), clips[number]))


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_demo_bag_is_as_on_the_plain_way_in_every_pixel(task):
    (sequence,) = open_sequences([BAG])
    images = [frame.image.copy() for frame in itertools.islice(sequence.frames(), 30)]
    plain, ours = (
        Segmenter.load("demo", device="cpu", precision="float32", backend="torch", task=task) for _ in range(2)
    )
    for one, other in zip(run(on_gpu(ours, Recorder()), images), run(plain, images), strict=True):
        assert [each.id for each in one.segments] == [each.id for each in other.segments]
        assert np.array_equal(one.panoptic, other.panoptic)
        assert np.array_equal(one.semantic, other.semantic)


def test_no_frame_is_put_into_a_graph_while_another_is(load, monkeypatch):
    segmenter = on_gpu(load(), capture=Recorder())
    segmenter.segment(picture(60, 80, 0), segmenter.open_stream())
    meeting = threading.Barrier(2)
    met: list[bool] = []
    call = Graph.__call__

    def call_and_wait(graph: Graph, *given: Tensor) -> Any:
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(timeout=0.3)  # for another thread in the same place
            met.append(True)
        return call(graph, *given)

    monkeypatch.setattr(Graph, "__call__", call_and_wait)
    threads = [threading.Thread(target=run, args=(segmenter, clip(1, seed=seed))) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=PATIENCE)
        assert not thread.is_alive(), "a thread is still waiting for its frame"
    assert not met


def test_results_stay_what_they_are_while_later_frames_come(load):
    segmenter = on_gpu(load(), capture=Recorder())
    stream = segmenter.open_stream()
    results = [segmenter.segment(image, stream, with_logits=True) for image in clip(5)]
    names = ("semantic", "panoptic", "confidence")
    copies = [{name: getattr(result, name).copy() for name in names} for result in results]
    logits = [result.logits.masks.copy() for result in results]
    run(segmenter, clip(5, seed=1), stream)
    for result, copy, masks in zip(results, copies, logits, strict=True):
        assert all(np.array_equal(getattr(result, name), copy[name]) for name in names)
        assert np.array_equal(result.logits.masks, masks)


def test_logits_are_those_of_their_frame_also_where_another_threads_frame_comes_before_they_are_read(load, monkeypatch):
    segmenter, plain = on_gpu(load(), capture=Recorder()), load()
    first, second = clip(2)
    segmenter.segment(first, segmenter.open_stream())  # captured from now on
    expected = plain.segment(first, plain.open_stream(), with_logits=True).logits
    pipeline = segmenter._pipeline.active.pipeline

    def overtaken(request: Request) -> object:
        frames = pipeline(request)
        monkeypatch.undo()
        segmenter.segment(second, segmenter.open_stream())
        return frames

    monkeypatch.setattr(segmenter._pipeline, "active", segmenter._pipeline.active._replace(pipeline=overtaken))
    found = segmenter.segment(first, segmenter.open_stream(), with_logits=True).logits
    assert np.allclose(found.masks, expected.masks, atol=1e-4)
    assert np.allclose(found.classes, expected.classes, atol=1e-4)


# --- graphs


def test_sizes_and_numbers_of_cameras_add_up_and_do_not_multiply(load):
    recorder = Recorder()
    segmenter = on_gpu(load(), capture=recorder)
    sizes = [(60, 80), (70, 80), (60, 90)]
    for cameras in (1, 2, 3):
        for size in sizes:
            streams = [segmenter.open_stream() for _ in range(cameras)]
            segmenter.segment_batch([picture(*size, camera) for camera in range(cameras)], streams)
    assert recorder.captured == 3 + len(sizes)


def test_sizes_that_change_all_the_time_keep_a_bounded_number_of_graphs(load):
    images = [picture(40 + 5 * number, 60, number) for number in range(MOST_GRAPHS + 3)] * 2
    segmenter = on_gpu(load(), capture=Recorder())
    assert_same(run(segmenter, images), run(load(), images))
    graphs = pipeline_of(segmenter)._graphs
    assert len(graphs) == MOST_GRAPHS
    assert any(key[0] == "network" for key in graphs), "the network's is used in every frame"


# --- what does not go as planned


@pytest.mark.parametrize("settings", [{}, {"task": "instance", "score_memory": 1.0}], ids=str)
def test_a_frame_with_more_candidates_than_places_is_right(load, monkeypatch, settings):
    monkeypatch.setattr(module, "PLACES", 1)
    images, expected = clip(FRAMES), run(load(**settings), clip(FRAMES))
    assert max(len(result.segments) for result in expected) > 1
    assert_same(run(on_gpu(load(**settings), Recorder()), images), expected)


def refuse(work: Work) -> Replay:
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCUDA kernel errors might be ...")


def spoil(work: Work) -> Replay:
    outputs = tuple(torch.zeros_like(part) for part in work())
    return Replay(lambda: None, outputs)


@pytest.mark.parametrize("capture", [refuse, spoil])
def test_a_capture_that_fails_or_gives_something_else_is_not_used(load, capture, caplog):
    images = clip(FRAMES)
    assert_same(run(on_gpu(load(), capture=capture), images), run(load(), images))
    warnings = [record.message for record in caplog.records if "CUDA graph" in record.message]
    assert len(warnings) == 2  # of the network, and of the post-processing
    assert all(("capturing" if capture is refuse else "output 0") in warning for warning in warnings)
    assert not any("\n" in warning for warning in warnings)


def test_a_first_frame_that_is_not_finite_leaves_the_capture_to_the_next(tmp_path, table):
    model = write_fragile_checkpoint(tmp_path, red_mean=0.0)
    recorder = Recorder()
    segmenter = on_gpu(Segmenter.load(model, device="cpu", precision="float32", labels=table), capture=recorder)
    stream = segmenter.open_stream()
    red, (calm,) = picture(60, 80, 0), without_red(clip(1))
    with pytest.raises(NotFiniteError, match="logits hold NaN or infinity"):
        segmenter.segment(red, stream)
    assert recorder.captured == 0
    segmenter.segment(calm, stream)
    assert recorder.captured == 2
    with pytest.raises(NotFiniteError):
        segmenter.segment(red, stream)
    assert_same([segmenter.segment(calm, stream)], run(segmenter, [calm, calm])[1:])


def test_masks_alone_that_are_not_finite_are_found(tmp_path, table):
    model = write_checkpoint(tmp_path)
    weights = load_file(model / "model.safetensors")
    weights["mask_head.fc3.bias"] += 3e38
    save_file(weights, model / "model.safetensors")
    segmenter = on_gpu(Segmenter.load(model, device="cpu", precision="float32", labels=table))
    with pytest.raises(NotFiniteError, match="the mask logits hold"):
        segmenter.segment(picture(60, 80, 0), segmenter.open_stream())


@pytest.fixture
def breaks(monkeypatch) -> Callable[[Exception], None]:
    """Makes waiting for the device fail from now on."""

    def breaks(error: Exception) -> None:
        def fail(device: torch.device) -> None:
            raise error

        monkeypatch.setattr(module, "_wait", fail)

    return breaks


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    ],
)
def test_a_device_that_fails_is_told_apart_and_says_what_to_do(load, breaks, said):
    breaks(RuntimeError(said))
    segmenter = on_gpu(load())
    with pytest.raises(DeviceLostError, match=r"^cpu fails: RuntimeError: .* start it anew") as caught:
        segmenter.segment(picture(60, 80, 0), segmenter.open_stream())
    assert "asynchronously" not in str(caught.value)


def test_what_does_not_work_on_somebodys_gpu_is_said_once_and_frames_go_step_by_step(load, caplog, breaks):
    breaks(RuntimeError("a bug\nsomewhere"))
    assert_same(run(on_gpu(load()), clip(4)), run(load(), clip(4)))
    (warning,) = (record.message for record in caplog.records if record.levelno == logging.WARNING)
    assert warning.endswith("please report: RuntimeError: a bug")


OUT_OF_MEMORY = [
    (torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 2 GiB."),
    (RuntimeError, "CUDA error: out of memory\nCUDA kernel errors might be"),
    (RuntimeError, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


def living_graphs() -> set[int]:
    return {id(each) for each in gc.get_objects() if isinstance(each, Graph)}


@pytest.mark.parametrize(("kind", "said"), OUT_OF_MEMORY)
def test_where_no_memory_is_left_for_graphs_frames_go_step_by_step(load, caplog, monkeypatch, breaks, kind, said):
    breaks(kind(said))
    segmenter = on_gpu(load(), Recorder())
    pipeline, graphs, before = pipeline_of(segmenter), [], living_graphs()
    stepwise = pipeline._stepwise

    def with_room(request: Request) -> object:
        # What there was no memory for must not be held by the very error that says so.
        graphs.extend(living_graphs() - before)
        return stepwise(request)

    monkeypatch.setattr(pipeline, "_stepwise", with_room)
    assert_same(run(segmenter, clip(3)), run(load(), clip(3)))
    assert graphs == []
    assert len([record for record in caplog.records if "no memory is left" in record.message]) == 1


@pytest.mark.parametrize(("kind", "said"), OUT_OF_MEMORY)
def test_where_no_memory_is_left_for_a_capture_frames_go_on_without(load, caplog, kind, said):
    calls = []

    def capture(work: Work) -> Replay:
        calls.append(work)
        raise kind(said)

    assert_same(run(on_gpu(load(), capture=capture), clip(3)), run(load(), clip(3)))
    assert len(calls) == 2
    assert "not captured as a CUDA graph, which makes them slower: no memory is left for it" in caplog.text


def test_where_no_memory_is_left_at_all_it_is_said(load, monkeypatch, breaks):
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore")
    breaks(error)
    segmenter = on_gpu(load())

    def fail(request: object) -> None:
        raise error

    monkeypatch.setattr(pipeline_of(segmenter), "_stepwise", fail)
    with pytest.raises(OutOfMemoryError, match=r"Tried to allocate 2 GiB\. Use a smaller model"):
        segmenter.segment(picture(60, 80, 0), segmenter.open_stream())


# --- a device that is lost


def test_after_a_lost_device_frames_run_on_the_cpu_where_that_was_left_open(load, breaks):
    segmenter = on_gpu(load(device="auto"))
    stream = segmenter.open_stream()
    segmenter.segment(picture(60, 80, 0), stream)
    breaks(RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(DeviceLostError, match=r"cpu fails: .* illegal .*; frames run on cpu from now on"):
        segmenter.segment(picture(60, 80, 1), stream)
    stream.reset()
    images = clip(3)
    found = [segmenter.segment(image, stream, stamp=0.1 * number) for number, image in enumerate(images)]
    expected = run(load(), images)
    assert [each.segments for each in found] == [each.segments for each in expected]
    assert all(each.epoch == 1 for each in found)


def test_where_nothing_can_take_over_the_device_stays_lost(load, monkeypatch, caplog, breaks):
    breaks(RuntimeError("CUDA error: an illegal memory access"))
    segmenter = on_gpu(load(device="auto"))

    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(families, "load_weights", fail)
    for _ in range(2):
        with pytest.raises(DeviceLostError, match="start it anew") as caught:
            segmenter.segment(picture(60, 80, 1), segmenter.open_stream())
        assert "from now on" not in str(caught.value)
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "there is no fallback: OSError: the disk is gone"
    ]


def test_streams_that_lost_their_queries_with_a_device_begin_anew_and_say_so(load):
    segmenter = load()
    streams = [segmenter.open_stream() for _ in range(2)]
    segmenter.segment_batch(clip(2), streams)
    streams[0]._state = streams[0]._state._replace(queries=torch.empty(1, 24, 32, device="meta"))
    with pytest.raises(ValueError, match="image is"):
        segmenter.segment(picture(60, 80, 0)[..., 0], streams[0])
    assert streams[0].epoch == 0
    results = segmenter.segment_batch(clip(2), streams)
    assert [(each.epoch, each.reset_reason) for each in results] == [
        (1, "the queries were lost with meta; frames run on cpu now"),
        (0, ""),
    ]


def test_what_is_not_used_any_more_is_freed_without_the_garbage_collector(load):
    """Graphs hold most of a GPU's memory: nothing may keep them in a circle."""
    segmenter = on_gpu(load(), Recorder())
    run(segmenter, clip(4))
    graphs = [weakref.ref(graph) for graph in pipeline_of(segmenter)._graphs.values()]
    assert len(graphs) == 2
    gc.collect()
    gc.disable()
    try:
        del segmenter
        assert [graph() for graph in graphs] == [None, None]
    finally:
        gc.enable()
