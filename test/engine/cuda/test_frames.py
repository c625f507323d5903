"""Frames on the GPU's way are what they are on the plain way, which is held to Hugging Face elsewhere."""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import shutil
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from eomt_ros.engine import DeviceLostError, FrameResult, NotFiniteError, OutOfMemoryError, Segmenter, Stream
from eomt_ros.engine.cuda import frames as module
from eomt_ros.engine.cuda.capture import Replay, Work
from eomt_ros.engine.cuda.frames import MOST_PLANS, GpuFrames
from eomt_ros.engine.cuda.jpeg import TorchvisionDecoder
from eomt_ros.engine.cuda.plan import Plan
from eomt_ros.engine.cuda.queues import Mark
from eomt_ros.engine.cuda.slot import tensors_of
from eomt_ros.engine.model import families
from eomt_ros.engine.pipeline import Request
from eomt_ros.evaluation.sources import open_sequences
from test.engine.backends.test_backends import BAG
from test.engine.checkpoints import write_checkpoint, write_eomt, write_eomt_dinov3
from test.engine.cuda.machine import LastMomentQueues, LateQueues, PromptQueue, PromptQueues, Recorder, on_gpu
from test.engine.test_segmenter import FOUND, TABLE, TASKS, clip, picture, without_red, write_fragile_checkpoint

WRITERS: dict[str, Callable[..., Path]] = {
    "videomt": write_checkpoint,
    "eomt": write_eomt,
    "eomt_dinov3": write_eomt_dinov3,
}
ROUNDING = 1e-4
"""Share of the pixels that may hang on the last bit of a float."""
FRAMES = 4


@pytest.fixture(autouse=True)
def room(monkeypatch) -> None:
    """For all that random networks find, so that no plan is made twice."""
    monkeypatch.setattr(module, "FIRST_MOST", 24)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {
        name: write(tmp_path_factory.mktemp(name), **({"num_queries": 24} if name == "videomt" else {}))
        for name, write in WRITERS.items()
    }


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "table.yaml"
    path.write_text(TABLE)
    return path


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


def stamped(images: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, float | None]]:
    return ((image, 0.1 * number) for number, image in enumerate(images))


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
@pytest.mark.parametrize("family", WRITERS)
def test_every_family_and_task_is_as_on_the_plain_way(load, family, task):
    images = clip(FRAMES)
    expected = run(load(family, task), images)
    assert any(result.segments for result in expected)
    recorder = Recorder()
    assert_same(run(on_gpu(load(family, task), capture=recorder), images), expected)
    assert recorder.captured == 1
    assert recorder.replayed >= FRAMES - 1


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
    assert recorder.captured == 1


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
        thread.join(timeout=60)
        assert not thread.is_alive(), "a thread is still waiting for its frames"
    for number in range(4):
        assert_same(found[number], run(load(), clips[number]))


@pytest.mark.parametrize("task", TASKS)
def test_the_demo_bag_is_as_on_the_plain_way_in_every_pixel(task):
    with open_sequences([BAG]) as (sequence,):
        images = [frame.image.copy() for frame in itertools.islice(sequence.frames(), 30)]
    plain, ours = (
        Segmenter.load("demo", device="cpu", precision="float32", backend="torch", task=task) for _ in range(2)
    )
    found = list(on_gpu(ours, queues=LateQueues(0)).segment_stream(stamped(images), ours.open_stream()))
    for one, other in zip(found, run(plain, images), strict=True):
        assert [each.id for each in one.segments] == [each.id for each in other.segments]
        assert np.array_equal(one.panoptic, other.panoptic)
        assert np.array_equal(one.semantic, other.semantic)


def test_no_frame_is_put_into_a_plan_while_another_is(load, monkeypatch):
    segmenter = on_gpu(load(), capture=Recorder())
    segmenter.segment(picture(60, 80, 0), segmenter.open_stream())
    meeting = threading.Barrier(2)
    met: list[bool] = []
    fill = Plan._fill

    def fill_and_wait(*given: Any) -> None:
        fill(*given)
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(timeout=0.3)  # for another thread in the same place
            met.append(True)

    monkeypatch.setattr(Plan, "_fill", fill_and_wait)
    threads = [threading.Thread(target=run, args=(segmenter, clip(1, seed=seed))) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive(), "a thread is still waiting for its frame"
    assert not met


# --- several frames on their way


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("settings", [{}, {"score_memory": 1.0}, {"task": "semantic"}], ids=str)
def test_nothing_depends_on_when_the_device_does_its_work(load, seed, settings):
    images = clip(6)
    expected = run(load(**settings), images)
    segmenter = on_gpu(load(**settings), queues=LateQueues(seed))
    assert_same(list(segmenter.segment_stream(stamped(images), segmenter.open_stream())), expected)
    assert_same(run(segmenter, images), expected)


@pytest.mark.parametrize("way", [lambda segmenter: segmenter, lambda segmenter: on_gpu(segmenter, capture=Recorder())])
def test_a_recording_gives_what_its_frames_give_one_by_one(load, way):
    images = [*clip(4), *clip(3, 40, 50)]
    segmenter = way(load())
    expected = run(load(), images)
    assert_same(list(segmenter.segment_stream(stamped(images), segmenter.open_stream())), expected)


def test_a_recording_of_no_frames_gives_none(load):
    segmenter = on_gpu(load())
    assert list(segmenter.segment_stream([], segmenter.open_stream())) == []


def test_a_frame_is_started_before_the_one_before_is_given(load):
    segmenter, taken = on_gpu(load()), []

    def frames() -> Iterator[tuple[np.ndarray, float | None]]:
        for number, image in enumerate(clip(4)):
            taken.append(number)
            yield image, None

    results = segmenter.segment_stream(frames(), segmenter.open_stream())
    next(results)
    assert taken == [0, 1]
    next(results)
    assert taken == [0, 1, 2]
    results.close()


def test_a_result_does_not_wait_for_the_frame_after_it(load):
    queues = LastMomentQueues()
    segmenter = on_gpu(load(), queues=queues)
    results = segmenter.segment_stream(stamped(clip(4)), segmenter.open_stream())
    next(results)
    done, given = queues.compute.passed, len(queues.compute.items)
    next(results)
    assert done < given <= queues.compute.passed < len(queues.compute.items)
    results.close()


def test_memory_is_kept_for_two_frames_and_not_for_more(load):
    segmenter = on_gpu(load())
    for _ in segmenter.segment_stream(stamped(clip(9)), segmenter.open_stream()):
        pass
    (plan,) = frames_of(segmenter)._plans.values()
    assert len(plan._free) == 2


def test_a_reset_between_two_results_is_heeded_by_the_frame_that_is_on_its_way(load):
    plain = load()
    images = clip(6)
    stream = plain.open_stream()
    expected = []
    for number, image in enumerate(images):
        expected.append(plain.segment(image, stream, stamp=0.1 * number))
        if number == 2:
            stream.reset()
    segmenter = on_gpu(load(), queues=LateQueues(0))
    stream = segmenter.open_stream()
    found = []
    for number, result in enumerate(segmenter.segment_stream(stamped(images), stream)):
        found.append(result)
        if number == 2:
            stream.reset()
    assert_same(found, expected)


@pytest.mark.parametrize("bad", ["source", "image", "stamp"])
def test_what_is_wrong_with_a_frame_comes_after_the_frames_before(load, bad):
    images = clip(3)

    def frames() -> Iterator[tuple[np.ndarray, float | None]]:
        yield images[0], None
        yield images[1], None
        if bad == "source":
            raise OSError("the disk is gone")
        yield (images[2][:, :, 0], None) if bad == "image" else (images[2], float("nan"))

    segmenter = on_gpu(load())
    results = segmenter.segment_stream(frames(), segmenter.open_stream())
    assert len([next(results), next(results)]) == 2
    with pytest.raises(OSError if bad == "source" else ValueError, match="disk" if bad == "source" else bad):
        next(results)


# --- what does not go as planned


def frames_of(segmenter: Segmenter) -> GpuFrames:
    assert isinstance(segmenter._runner.now.frames, GpuFrames)
    return segmenter._runner.now.frames


@pytest.mark.parametrize("settings", [{}, {"task": "instance", "score_memory": 1.0}], ids=str)
def test_a_frame_with_more_segments_than_there_is_room_for_is_right_and_makes_room(load, monkeypatch, settings):
    monkeypatch.setattr(module, "FIRST_MOST", 1)
    monkeypatch.setattr(GpuFrames, "_make_room", lambda *_: None)  # each frame finds too little
    images, expected = clip(FRAMES), run(load(**settings), clip(FRAMES))
    found = run(on_gpu(load(**settings)), images)
    assert_same(found, expected)
    monkeypatch.undo()
    monkeypatch.setattr(module, "FIRST_MOST", 1)
    assert max(len(result.segments) for result in expected) > 1
    for queues in (PromptQueues(), LateQueues(3)):
        segmenter = on_gpu(load(**settings), queues=queues)
        assert_same(list(segmenter.segment_stream(stamped(images), segmenter.open_stream())), expected)
        assert_same(run(segmenter, images), expected)
        assert frames_of(segmenter)._most > 1
        assert len(frames_of(segmenter)._plans) == 1


def test_sizes_that_change_all_the_time_go_the_plain_way_with_one_warning(load, caplog):
    images = [picture(40 + 5 * number, 60, number) for number in range(MOST_PLANS + 3)] * 2
    recorder = Recorder()
    assert_same(run(on_gpu(load(), capture=recorder), images), run(load(), images))
    assert recorder.captured == MOST_PLANS
    assert [record.levelno for record in caplog.records if "kinds" in record.message] == [logging.WARNING]


def refuse(work: Work) -> Replay:
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCUDA kernel errors might be ...")


def spoil(work: Work) -> Replay:
    outputs = [output.cloned() for output in work()]
    for part in tensors_of(outputs):
        part.zero_()
    return Replay(lambda: None, outputs)


@pytest.mark.parametrize("capture", [refuse, spoil])
def test_a_capture_that_fails_or_gives_something_else_is_not_used(load, capture, caplog):
    images = clip(FRAMES)
    assert_same(run(on_gpu(load(), capture=capture), images), run(load(), images))
    (warning,) = (record.message for record in caplog.records if "CUDA graph" in record.message)
    assert ("capturing" if capture is refuse else "mask_logits") in warning
    assert "\n" not in warning


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
    assert recorder.captured == 1
    before = stream._next
    with pytest.raises(NotFiniteError):
        segmenter.segment(red, stream)
    assert stream._next is before


def test_masks_alone_that_are_not_finite_are_found(tmp_path, table):
    model = write_checkpoint(tmp_path)
    weights = load_file(model / "model.safetensors")
    weights["mask_head.fc3.bias"] += 3e38
    save_file(weights, model / "model.safetensors")
    segmenter = on_gpu(Segmenter.load(model, device="cpu", precision="float32", labels=table))
    with pytest.raises(NotFiniteError, match="the mask logits hold"):
        segmenter.segment(picture(60, 80, 0), segmenter.open_stream())


class Broken(PromptQueues):
    """A device that fails when a frame is waited for."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        super().__init__()
        self.error = error

    def staging(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        raise self.error()


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    ],
)
def test_a_device_that_fails_is_told_apart_and_says_what_to_do(load, said):
    segmenter = on_gpu(load(), queues=Broken(lambda: RuntimeError(said)))
    with pytest.raises(DeviceLostError, match=r"^cpu fails: RuntimeError: .* start it anew") as caught:
        segmenter.segment(picture(60, 80, 0), segmenter.open_stream())
    assert "asynchronously" not in str(caught.value)


class Deaf(PromptQueues):
    """A device whose queues cannot be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.download = DeafQueue()


class DeafQueue(PromptQueue):
    def mark(self) -> Mark:
        return self

    def wait(self) -> None:
        raise RuntimeError("a bug\nsomewhere")


@pytest.mark.parametrize("queues", [Broken(lambda: RuntimeError("a bug\nsomewhere")), Deaf()], ids=["start", "finish"])
def test_what_does_not_work_on_somebodys_gpu_is_said_once_and_the_plain_way_is_taken(load, caplog, queues):
    segmenter = on_gpu(load(), queues=queues)
    assert_same(run(segmenter, clip(4)), run(load(), clip(4)))
    (warning,) = (record.message for record in caplog.records if record.levelno == logging.WARNING)
    assert warning.endswith("please report this: RuntimeError: a bug")


OUT_OF_MEMORY = [
    (torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 2 GiB."),
    (RuntimeError, "CUDA error: out of memory\nCUDA kernel errors might be"),
    (RuntimeError, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


def living_plans() -> set[int]:
    return {id(each) for each in gc.get_objects() if isinstance(each, Plan)}


@pytest.mark.parametrize(("kind", "said"), OUT_OF_MEMORY)
def test_where_no_memory_is_left_for_whole_frames_they_go_step_by_step(load, caplog, monkeypatch, kind, said):
    segmenter = on_gpu(load(), queues=Broken(lambda: kind(said)))
    before = living_plans()
    plain, plans = frames_of(segmenter)._plain, []
    start = plain.start

    def start_with_room(request: Request) -> object:
        # What there was no memory for must not be held by the very error that says so.
        plans.extend(living_plans() - before)
        return start(request)

    monkeypatch.setattr(plain, "start", start_with_room)
    assert_same(run(segmenter, clip(3)), run(load(), clip(3)))
    assert plans == []
    assert len([record for record in caplog.records if "no memory is left" in record.message]) == 1


@pytest.mark.parametrize(("kind", "said"), OUT_OF_MEMORY)
def test_where_no_memory_is_left_for_a_capture_frames_go_on_without(load, caplog, kind, said):
    calls = []

    def capture(work: Work) -> Replay:
        calls.append(work)
        raise kind(said)

    assert_same(run(on_gpu(load(), capture=capture), clip(3)), run(load(), clip(3)))
    assert len(calls) == 1
    assert "not captured as a CUDA graph, which makes them slower: no memory is left for it" in caplog.text


def test_where_no_memory_is_left_at_all_it_is_said(load, monkeypatch):
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore")
    segmenter = on_gpu(load(), queues=Broken(lambda: error))

    def fail(request: object) -> None:
        raise error

    monkeypatch.setattr(frames_of(segmenter)._plain, "start", fail)
    with pytest.raises(OutOfMemoryError, match=r"Tried to allocate 2 GiB\. Use a smaller model"):
        segmenter.segment(picture(60, 80, 0), segmenter.open_stream())


# --- compiled


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++ here")
def test_compiled_frames_are_what_they_are_without_and_so_are_those_that_do_not_wait_for_it(load):
    images = clip(2)
    recorder = Recorder()
    segmenter = on_gpu(load(), capture=recorder, compile=True)
    expected = run(load(), images)
    assert_same(run(segmenter, images[:1]), expected[:1])
    assert recorder.captured == 0
    frames_of(segmenter).settle()
    assert_same(run(segmenter, images), expected)
    assert recorder.captured == 1
    (plan,) = frames_of(segmenter)._plans.values()
    assert plan._work is not plan.whole


def test_what_cannot_be_compiled_runs_as_it_is(load, monkeypatch, caplog):
    def fail(*_: object, **__: object) -> Callable[..., object]:
        def compiled(*_: object) -> None:
            raise RuntimeError("InductorError: no compiler is installed\nmore")

        return compiled

    monkeypatch.setattr(torch, "compile", fail)
    segmenter = on_gpu(load(), compile=True)
    segmenter.warm_up(60, 80)
    assert_same(run(segmenter, clip(2)), run(load(), clip(2)))
    (warning,) = (record.message for record in caplog.records if record.message.startswith("compile"))
    assert warning.endswith("no compiler is installed")


def test_compile_on_a_cpu_is_warned_of_and_changes_nothing(load, caplog):
    assert_same(run(load(compile=True), clip(2)), run(load(), clip(2)))
    assert any("compile has no effect" in record.message for record in caplog.records)


def test_memory_that_is_still_written_to_is_not_given_to_others(load, monkeypatch):
    """A frame fails when its image is on the way: nobody gets the memory before it has come."""
    queues = LastMomentQueues()
    segmenter = on_gpu(load(), queues=queues)

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(Plan, "launch", fail)
    assert_same(run(segmenter, clip(2)), run(load(), clip(2)))
    assert queues.upload.passed == len(queues.upload.items) > 0


# --- a device that is lost


def test_after_a_lost_device_frames_run_on_the_cpu_where_that_was_left_open(load):
    segmenter = on_gpu(load(device="auto"))
    stream = segmenter.open_stream()
    segmenter.segment(picture(60, 80, 0), stream)
    frames_of(segmenter)._queues = Broken(lambda: RuntimeError("CUDA error: an illegal memory access was encountered"))
    frames_of(segmenter)._plans.clear()
    with pytest.raises(DeviceLostError, match=r"cpu fails: .* illegal .*; frames run on cpu from now on"):
        segmenter.segment(picture(60, 80, 1), stream)
    stream.reset()
    images = clip(3)
    found = [segmenter.segment(image, stream, stamp=0.1 * number) for number, image in enumerate(images)]
    expected = run(load(), images)
    assert [each.segments for each in found] == [each.segments for each in expected]
    assert all(each.epoch == 1 for each in found)


def test_where_nothing_can_take_over_the_device_stays_lost(load, monkeypatch, caplog):
    segmenter = on_gpu(load(device="auto"), queues=Broken(lambda: RuntimeError("CUDA error: an illegal memory access")))

    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(families, "load_weights", fail)
    for _ in range(2):
        with pytest.raises(DeviceLostError, match="start it anew") as caught:
            segmenter.segment(picture(60, 80, 1), segmenter.open_stream())
        assert "from now on" not in str(caught.value)
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "nothing takes over: OSError: the disk is gone"
    ]


def test_streams_that_lost_their_queries_with_a_device_begin_anew(load):
    segmenter = load()
    streams = [segmenter.open_stream() for _ in range(2)]
    segmenter.segment_batch(clip(2), streams)
    streams[0]._next = streams[0]._next._replace(queries=torch.empty(1, 24, 32, device="meta"))
    results = segmenter.segment_batch(clip(2), streams)
    assert [each.epoch for each in results] == [1, 0]


def test_what_is_not_used_any_more_is_freed_without_the_garbage_collector(load):
    """Plans hold most of a GPU's memory: nothing may keep them in a circle."""
    segmenter = on_gpu(load())
    for _ in segmenter.segment_stream(stamped(clip(4)), segmenter.open_stream()):
        pass
    plans = [weakref.ref(plan) for plan in frames_of(segmenter)._plans.values()]
    assert len(plans) == 1
    gc.collect()
    gc.disable()
    try:
        del segmenter
        assert [plan() for plan in plans] == [None]
    finally:
        gc.enable()


# --- JPEG on the device


def opencv_decodes(data: bytes) -> Tensor:
    """In place of the GPU's decoder."""
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise RuntimeError("Not a JPEG file")
    return torch.from_numpy(decoded).permute(2, 0, 1).flip(0).permute(1, 2, 0)  # as torchvision lays them out


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image[:, :, ::-1])[1].tobytes()


@pytest.mark.parametrize("seed", range(3))
def test_what_was_decoded_on_the_device_is_segmented_as_on_the_host(load, seed):
    files = [jpeg(image) for image in clip(FRAMES)]
    expected = run(load(), [opencv_decodes(data).numpy() for data in files])
    for segmenter in (
        on_gpu(load(), capture=Recorder(), decode=opencv_decodes),
        on_gpu(load(), queues=LateQueues(seed), decode=opencv_decodes),
    ):
        images = [segmenter.decode_jpeg(data) for data in files]
        assert all(isinstance(image, Tensor) for image in images)
        assert_same(list(segmenter.segment_stream(stamped(images), segmenter.open_stream())), expected)
    assert_same(run(load(), images), expected)


def test_what_the_device_cannot_decode_is_left_to_the_host(load, caplog):
    assert load().decode_jpeg(jpeg(picture(20, 30, 0))) is None
    assert on_gpu(load()).decode_jpeg(jpeg(picture(20, 30, 0))) is None
    segmenter = on_gpu(load(), decode=opencv_decodes)
    assert segmenter.decode_jpeg(b"no JPEG") is None
    assert segmenter.decode_jpeg(jpeg(picture(20, 30, 0))).shape == (20, 30, 3)


def test_a_device_that_fails_in_decoding_is_lost(load):
    def fail(data: bytes) -> Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(DeviceLostError, match="illegal memory access"):
        on_gpu(load(), decode=fail).decode_jpeg(b"")


class Torchvision(ModuleType):
    """In place of the real one, whose operators do not load beside a torch for CPUs."""

    def __init__(self) -> None:
        super().__init__("torchvision.io")
        self.ImageReadMode = SimpleNamespace(RGB="RGB")

    def decode_jpeg(self, encoded: Tensor, mode: str, device: torch.device) -> Tensor:
        assert (encoded.dtype, encoded.ndim, mode, device) == (torch.uint8, 1, "RGB", torch.device("cpu"))
        return opencv_decodes(encoded.numpy().tobytes()).permute(2, 0, 1)


def test_torchvision_is_asked_as_its_decode_jpeg_wants_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.io", Torchvision())
    image = picture(20, 30, 0)
    found = TorchvisionDecoder(torch.device("cpu"))(jpeg(image))
    assert np.abs(found.numpy().astype(int) - opencv_decodes(jpeg(image)).numpy()).max() == 0


def test_without_a_torchvision_nothing_is_decoded_on_the_device(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(sys.modules, "torchvision.io", None)
    decode = TorchvisionDecoder(torch.device("cpu"))
    assert [decode(jpeg(picture(20, 30, 0))) for _ in range(2)] == [None, None]
    assert len([record for record in caplog.records if "torchvision does not load" in record.message]) == 1
