"""Several cameras in one pass: each has what it would have alone, and fails alone."""

from __future__ import annotations

import gc
import itertools
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eomt_ros.engine import FrameResult, NotFiniteError, Segmenter
from eomt_ros.evaluation.sources import open_sequences
from test.engine.backends.test_backends import BAG
from test.engine.checkpoints import WRITERS
from test.engine.cuda.machine import Recorder, on_gpu
from test.engine.devices import LoadOnDevice, alone, assert_same, on_device
from test.engine.pictures import clip, picture
from test.engine.test_segmenter import TASKS

FRAMES = 3
POSITIONS = {"first": 0, "middle": 1, "last": 2}
SIZES = [(60, 80), (97, 50), (60, 80)]
WHITE = np.full((60, 80, 3), 255, np.uint8)


def clips() -> list[list[np.ndarray]]:
    """Of three cameras, two of one size."""
    return [clip(FRAMES, *size, seed=seed) for seed, size in enumerate(SIZES)]


def with_one_bad(segmenter: Segmenter, position: int, bad: Any) -> tuple[list[list[Any]], Any]:
    """The results of each camera, one of which has a bad frame beside its second, and what that gives."""
    streams = [segmenter.open_stream() for _ in SIZES]
    found: list[list[Any]] = [[] for _ in SIZES]
    failure = None
    for tick in range(FRAMES):
        images = [images[len(own)] for images, own in zip(clips(), found, strict=True)]
        if tick == 1:
            images[position] = bad
        results = segmenter.segment_batch(images, streams, return_exceptions=True)
        if tick == 1:
            failure = results[position]
        for own, result in zip(found, results, strict=True):
            if result is not failure:
                own.append(result)
    return found, failure


# --- each as alone


def of_any_kind() -> list[Any]:
    """Images of several sizes, of which no two lie in memory in the same way."""
    first, second, third, fourth = (picture(*size, 1) for size in [(60, 80), (97, 50), (60, 80), (240, 320)])
    return [
        np.ascontiguousarray(first[:, :, ::-1])[:, :, ::-1],
        np.asfortranarray(second),
        np.broadcast_to(third[:, :, :1], third.shape),
        Image.fromarray(fourth).convert("L"),
    ]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", WRITERS)
def test_cameras_of_several_sizes_and_encodings_are_each_as_alone(
    load_on_device: LoadOnDevice, family: str, task: str
) -> None:
    segmenter, device = load_on_device(family, task)
    expected = [alone(segmenter, [image] * FRAMES) for image in of_any_kind()]
    assert any(each.segments for own in expected for each in own), "nothing to compare"
    device.asked.clear()
    streams = [segmenter.open_stream() for _ in of_any_kind()]
    found = [segmenter.segment_batch(of_any_kind(), streams) for _ in range(FRAMES)]
    assert max(device.asked) > 1, "no two frames went through the network together"
    for ours, theirs in zip(zip(*found, strict=True), expected, strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("task", TASKS)
def test_in_float32_a_camera_is_as_alone_to_the_last_pixel(task: str) -> None:
    segmenter, device = on_device("demo", device="cpu", precision="float32", task=task)
    (sequence,) = open_sequences([BAG])
    frames = [frame.image.copy() for frame in itertools.islice(sequence.frames(), 9)]
    cameras = [[np.ascontiguousarray(each[: 240 - 20 * cut]) for each in frames[cut::3]] for cut in range(3)]
    expected = [alone(segmenter, images) for images in cameras]
    device.asked.clear()
    streams = [segmenter.open_stream() for _ in cameras]
    found = [segmenter.segment_batch(images, streams) for images in zip(*cameras, strict=True)]
    assert device.asked == [3, 3, 3]
    for ours, theirs in zip(zip(*found, strict=True), expected, strict=True):
        assert_same(ours, theirs, rounding=1e-5)  # one pixel: another processor may sum in another order


# --- a frame that fails


@pytest.mark.parametrize("position", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize("family", WRITERS)
def test_a_frame_that_is_no_image_fails_alone(load_on_device: LoadOnDevice, family: str, position: int) -> None:
    segmenter, _ = load_on_device(family)
    expected = [alone(segmenter, images) for images in clips()]
    assert any(each.segments for own in expected for each in own), "nothing to compare"
    found, failure = with_one_bad(segmenter, position, np.zeros((4, 5), np.uint8))
    assert isinstance(failure, ValueError)
    assert "image is (4, 5) uint8, expected (height, width, 3) uint8" in str(failure)
    for ours, theirs in zip(found, expected, strict=True):
        assert_same(ours, theirs[: len(ours)])


@pytest.mark.parametrize("position", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize("family", WRITERS)
@pytest.mark.parametrize("part", ["mask_logits", "class_logits"])
def test_a_frame_that_is_not_finite_fails_alone(
    load_on_device: LoadOnDevice, family: str, position: int, part: str
) -> None:
    segmenter, device = load_on_device(family)
    device.spoils = (part,)
    expected = [alone(segmenter, images) for images in clips()]
    assert any(each.segments for own in expected for each in own), "nothing to compare"
    found, failure = with_one_bad(segmenter, position, WHITE)
    assert isinstance(failure, NotFiniteError)
    assert f"the {part.split('_')[0]} logits hold NaN or infinity" in str(failure)
    for ours, theirs in zip(found, expected, strict=True):
        assert_same(ours, theirs[: len(ours)])


@pytest.mark.parametrize("way", ["on a CPU", "in graphs"])
def test_queries_that_are_not_finite_stay_in_their_stream(load_on_device: LoadOnDevice, way: str) -> None:
    segmenter, device = load_on_device()
    expected = [alone(segmenter, images) for images in clips()]
    if way == "in graphs":
        on_gpu(segmenter, Recorder())
    *streams, spoilt = [segmenter.open_stream() for _ in range(4)]
    device.spoils = ("next_queries",)
    found = []
    for tick, images in enumerate(zip(*clips(), strict=True)):
        *results, last = segmenter.segment_batch([*images, WHITE], [*streams, spoilt], return_exceptions=True)
        assert isinstance(last, NotFiniteError) == (tick > 0)
        found.append(results)
    for ours, theirs in zip(zip(*found, strict=True), expected, strict=True):
        assert_same(ours, theirs)


def test_in_graphs_a_frame_that_is_not_finite_fails_alone(load_on_device: LoadOnDevice) -> None:
    segmenter, device = load_on_device()
    recorder = Recorder()
    on_gpu(segmenter, recorder)
    device.spoils = ("mask_logits",)
    expected = [alone(segmenter, images) for images in clips()]
    found, failure = with_one_bad(segmenter, 1, WHITE)
    assert isinstance(failure, NotFiniteError)
    assert recorder.replayed > 2 * recorder.captured
    for ours, theirs in zip(found, expected, strict=True):
        assert_same(ours, theirs[: len(ours)])


def test_every_kind_of_bad_frame_is_told_in_its_place(load_on_device: LoadOnDevice, tmp_path: Path) -> None:
    segmenter, device = load_on_device()
    device.spoils = ("class_logits",)
    Image.fromarray(picture(60, 80, 0)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:900])
    images = [None, picture(60, 80, 0), WHITE, Image.open(tmp_path / "cut.jpg"), picture(60, 80, 1)]
    streams = [segmenter.open_stream() for _ in images]
    stamps = [0.0, 0.0, 0.0, 0.0, float("nan")]
    none, good, white, cut, untimed = segmenter.segment_batch(images, streams, stamps=stamps, return_exceptions=True)
    assert "image is a NoneType" in str(none)
    assert isinstance(good, FrameResult)
    assert isinstance(white, NotFiniteError)
    assert "image cannot be read by PIL: OSError: image file is truncated" in str(cut)
    assert "stamp is nan, expected seconds" in str(untimed)
    assert all(isinstance(each, ValueError) for each in (none, cut, untimed))
    assert isinstance(segmenter.segment_batch([None], streams[:1], return_exceptions=True)[0], ValueError)


@pytest.mark.parametrize("bad", [WHITE, WHITE[..., 0]], ids=["not finite", "no image"])
def test_unless_exceptions_are_asked_for_the_first_is_raised_and_no_stream_changes(
    load_on_device: LoadOnDevice, bad: np.ndarray
) -> None:
    segmenter, device = load_on_device()
    device.spoils = ("mask_logits",)
    first, second, _ = clips()
    streams = [segmenter.open_stream() for _ in range(2)]
    expected = [alone(segmenter, images) for images in (first, second)]
    found = [segmenter.segment_batch([first[0], second[0]], streams)]
    for images in ([bad, second[1]], [first[1], bad]):
        with pytest.raises((NotFiniteError, ValueError), match=r"logits hold|image is"):
            segmenter.segment_batch(images, streams)
    found += [segmenter.segment_batch([first[tick], second[tick]], streams) for tick in (1, 2)]
    for ours, theirs in zip(zip(*found, strict=True), expected, strict=True):
        assert_same(ours, theirs)


def test_a_stream_begins_an_epoch_only_with_a_frame_that_succeeds(load_on_device: LoadOnDevice) -> None:
    segmenter, device = load_on_device()
    device.spoils = ("mask_logits",)
    streams = [segmenter.open_stream() for _ in range(2)]
    segmenter.segment_batch([picture(60, 80, 0)] * 2, streams, stamps=[each.admit(10.0) for each in streams])
    after = [each.admit(70.0) for each in streams]
    with pytest.raises(NotFiniteError):
        segmenter.segment_batch([picture(60, 80, 1), WHITE], streams, stamps=after)
    assert [each.epoch for each in streams] == [0, 0]
    good, bad = segmenter.segment_batch([picture(60, 80, 1), WHITE], streams, stamps=after, return_exceptions=True)
    assert isinstance(bad, NotFiniteError)
    assert isinstance(good, FrameResult)
    assert [each.epoch for each in streams] == [1, 0]
    last = streams[1].segment(picture(60, 80, 1), stamp=after[1])
    assert (last.epoch, last.reset_reason) == (1, good.reset_reason)


@pytest.mark.parametrize("return_exceptions", [False, True])
def test_an_error_holds_no_image_and_needs_no_garbage_collector(
    load_on_device: LoadOnDevice, return_exceptions: bool
) -> None:
    segmenter, device = load_on_device()
    device.spoils = ("mask_logits",)
    streams = [segmenter.open_stream() for _ in range(2)]
    images = [WHITE.copy(), picture(60, 80, 0)]
    held = [weakref.ref(image) for image in images]
    gc.collect()
    gc.disable()
    try:
        if return_exceptions:
            error, _ = segmenter.segment_batch(images, streams, return_exceptions=True)
            del images
            assert isinstance(error, NotFiniteError)
        else:
            with pytest.raises(NotFiniteError) as caught:
                segmenter.segment_batch(images, streams)
            del images, caught
        assert all(each() is None for each in held)
    finally:
        gc.enable()
