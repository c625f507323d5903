"""Where the robot sees itself: nothing is labelled there, and the rest is as without a mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eomt_ros.engine import IgnoreMaskError, Segmenter
from test.engine.checkpoints import FOUND
from test.engine.cuda.machine import Recorder, on_gpu
from test.engine.pictures import clip, picture
from test.engine.test_segmenter import TASKS, bounding_box, run, whole_mask

SIZE = 60, 80
FAMILIES = ("videomt", "eomt", "mask2former")


@pytest.fixture
def seen() -> np.ndarray:
    """(H, W) bool; False where the robot sees its bumper, of no simple shape, and an antenna."""
    rows, columns = np.indices(SIZE)
    return ~((rows > 40 + 8 * np.sin(columns / 9)) | ((columns // 3 == 10) & (rows > 5)))


@pytest.fixture
def mask(tmp_path: Path, seen: np.ndarray) -> Path:
    path = tmp_path / "front.png"
    cv2.imwrite(str(path), seen * np.uint8(255))
    return path


@pytest.fixture
def load(models, table) -> Callable[..., Segmenter]:
    def load(family: str = "videomt", task: str = "panoptic", **options: Any) -> Segmenter:
        usual = {"device": "cpu", "precision": "float32", "labels": table, "score_threshold": FOUND[task]}
        return Segmenter.load(models[family], task=task, **{**usual, **options})

    return load


@pytest.mark.parametrize("gpu", [False, True], ids=["cpu", "gpu"])
@pytest.mark.parametrize("with_masks", [False, True], ids=["plain", "masks"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_pixels_of_the_robot_are_in_no_segment(load, mask, seen, family, task, with_masks, gpu):
    if gpu and family == "mask2former":
        pytest.skip("Mask2Former runs without graphs on a GPU too")

    def segmenter(**options: Any) -> Segmenter:
        loaded = load(family, task, **options)
        return on_gpu(loaded, Recorder()) if gpu else loaded

    images = clip(4)
    plain = run(segmenter(), images, with_masks=True)
    found = run(segmenter(ignore_mask=str(mask)), images, with_masks=with_masks)
    touched = 0
    for result, expected in zip(found, plain, strict=True):
        assert np.array_equal(result.semantic, np.where(seen, expected.semantic, 255))
        assert np.array_equal(result.confidence, np.where(seen, expected.confidence, 0))
        left = [(each, whole_mask(expected, each) & seen) for each in expected.segments]
        left = [(each, pixels) for each, pixels in left if pixels.any()]
        assert len(result.segments) == len(left)
        for segment, (before, pixels) in zip(result.segments, left, strict=True):
            assert (segment.class_id, segment.is_thing, segment.score) == (
                before.class_id,
                before.is_thing,
                before.score,
            )
            assert (segment.area, segment.box) == (pixels.sum(), bounding_box(pixels))
            touched += segment.area < before.area
            if with_masks:
                assert np.array_equal(whole_mask(result, segment), pixels)
            if task != "semantic":
                assert np.array_equal(result.panoptic == segment.id, (expected.panoptic == before.id) & seen)
        assert set(np.unique(result.panoptic)) <= {0, *(segment.id for segment in result.segments)}
    assert touched > 0


def test_a_segment_of_the_robot_alone_is_none(load, tmp_path):
    image = clip(1)[0]
    (first, *_), expected = (result := run(load(), [image])[0]).segments, result
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), (expected.panoptic != first.id) * np.uint8(255))
    (found,) = run(load(ignore_mask=path), [image])
    assert [segment.class_id for segment in found.segments] == [each.class_id for each in expected.segments[1:]]


@pytest.mark.parametrize(
    "convert",
    [
        lambda seen: seen * np.uint8(255),
        lambda seen: seen.astype(np.uint8),
        lambda seen: seen * np.uint16(65535),
        lambda seen: cv2.merge([seen * np.uint8(0), seen * np.uint8(9), seen * np.uint8(0)]),
        lambda seen: cv2.merge([seen * np.uint8(255)] * 3 + [np.full(SIZE, 255, np.uint8)]),
    ],
    ids=["grey", "0 and 1", "16 bits", "green", "alpha"],
)
def test_black_is_what_has_no_red_green_or_blue(load, tmp_path, seen, convert):
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), convert(seen))
    (found,) = run(load(task="semantic", ignore_mask=path), clip(1))
    assert np.array_equal(found.semantic != 255, seen)


def test_an_image_of_another_size_is_refused_and_the_stream_goes_on(load, mask):
    segmenter = load(ignore_mask=str(mask))
    stream, images = segmenter.open_stream(), clip(2)
    expected = run(segmenter, images)
    assert np.array_equal(segmenter.segment(images[0], stream).panoptic, expected[0].panoptic)
    refusal = f"ignore_mask {mask} is 80x60, but the image is 160x120: give a mask of the images' size, or none"
    with pytest.raises(IgnoreMaskError) as caught:
        segmenter.segment(picture(120, 160, 0), stream)
    assert str(caught.value) == refusal
    assert isinstance(caught.value, ValueError)
    second = segmenter.segment_batch(
        [picture(120, 160, 0), images[1]], [segmenter.open_stream(), stream], return_exceptions=True
    )
    assert str(second[0]) == refusal
    assert np.array_equal(second[1].panoptic, expected[1].panoptic)


def test_a_model_is_warmed_up_whatever_the_masks_size(load, mask):
    load(ignore_mask=str(mask)).warm_up(120, 160)


def test_each_camera_has_its_own_mask(load, tmp_path, seen):
    for name, pixels in (("front", seen), ("rear", np.flipud(seen))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels * np.uint8(255))
    segmenter = load(task="semantic", ignore_mask=str(tmp_path / "{camera}.png"))
    streams = [segmenter.open_stream(camera=name) for name in ("front", "rear")]
    front, rear = segmenter.segment_batch([picture(*SIZE, 0), picture(*SIZE, 1)], streams)
    assert np.array_equal(front.semantic != 255, seen)
    assert np.array_equal(rear.semantic != 255, np.flipud(seen))
    with pytest.raises(IgnoreMaskError, match=r"left\.png cannot be read: No such file"):
        segmenter.open_stream(camera="left")
    with pytest.raises(IgnoreMaskError, match="a mask for each camera, but this camera has no name"):
        segmenter.open_stream()


def test_what_is_no_mask_is_refused_before_the_first_image(load, mask, tmp_path):
    whole = mask.read_bytes()
    black = cv2.imencode(".png", np.zeros(SIZE, np.uint8))[1].tobytes()
    jpeg = cv2.imencode(".jpg", np.zeros(SIZE, np.uint8))[1].tobytes()
    wide = cv2.imencode(".png", np.ones((1, 20000), np.uint8))[1].tobytes()
    path = tmp_path / "mask.png"
    for content, message in (
        (black, "is black everywhere, so nothing would be seen"),
        (jpeg, "is no PNG, expected one of the images' size"),
        (whole[: len(whole) // 2], "is truncated or corrupt"),
        (b"", "is no PNG"),
        (wide, "has more than 16384 pixels along a side"),
    ):
        path.write_bytes(content)
        with pytest.raises(IgnoreMaskError, match=f"^ignore_mask {path} {message}"):
            load(ignore_mask=str(path))
    with pytest.raises(IgnoreMaskError, match="cannot be read: Is a directory"):
        load(ignore_mask=str(tmp_path))
