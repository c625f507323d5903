"""Views of images and labels: in the proportions of use, at the same place, and bounded in colours and noise."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest

from eomt_ros.engine.model.families import FAMILIES
from eomt_ros.engine.model.processor import Processor
from eomt_ros.engine.preprocess.geometry import Placement
from eomt_ros.engine.preprocess.pixels import Preprocessor
from eomt_ros.training.augmentation import UNCHANGED, Augmentation, draw_colours, hue_rotation
from eomt_ros.training.settings import TrainingSettings

SIZE = 48
TALL, WIDE = (90, 60), (50, 110)
PLAIN = {"flip": 0.0, "colour": 0.0, "noise": 0.0}
KINDS = [("videomt", "panoptic"), ("eomt", "panoptic"), ("eomt", "instance"), ("eomt", "semantic")]


def augmentation(family: str = "videomt", task: str = "panoptic", **settings: object) -> Augmentation:
    return Augmentation(TrainingSettings(family=family, task=task, size=SIZE, **{**PLAIN, **settings}))


def in_use(family: str, task: str, image: tuple[int, int]) -> Placement:
    """Where the engine places an image for a checkpoint of this size."""
    settings = SimpleNamespace()
    return FAMILIES[family].fit(settings, Processor(), task, "stretch", SIZE)(image)


def noisy(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (*size, 3), np.uint8)


LEVELS = np.random.default_rng(6).permutation(np.arange(64, 256, 3)[:64]).astype(np.uint8)


def mosaic(size: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int16]]:
    """An image of eight by eight fields, and its labels, which have the grey levels `LEVELS`."""
    labels = np.arange(64, dtype=np.int16).reshape(8, 8)
    labels = labels[np.arange(size[0])[:, None] * 8 // size[0], np.arange(size[1]) * 8 // size[1]]
    return np.repeat(LEVELS[labels][:, :, None], 3, 2), labels


@pytest.mark.parametrize(("family", "task"), KINDS[:3])
@pytest.mark.parametrize("size", [TALL, WIDE, (SIZE, SIZE)])
def test_a_whole_image_is_what_the_engine_shows_the_network(family: str, task: str, size: tuple[int, int]) -> None:
    shown = augmentation(family, task, whole=1.0)
    view = shown.draw(np.random.default_rng(0))
    pixels = shown.pixels(view, noisy(size), np.random.default_rng(0))
    grey_levels = Preprocessor((0, 0, 0), (1 / 255,) * 3)(noisy(size), in_use(family, task, size))
    np.testing.assert_allclose(pixels, grey_levels[0].numpy(), atol=1e-4)


@pytest.mark.parametrize(("family", "task"), KINDS)
@pytest.mark.parametrize("size", [TALL, WIDE])
def test_every_view_has_the_proportions_of_use(family: str, task: str, size: tuple[int, int]) -> None:
    shown = augmentation(family, task, whole=0.0)
    large = (10 * size[0], 10 * size[1])  # so that rounding is small
    placed = in_use(family, task, large).resized
    for seed in range(50):
        view = shown.draw(np.random.default_rng(seed))
        cut = shown.cut(view, large)
        scales = [
            length * whole / ((part.stop - part.start) * resized)
            for length, part, whole, resized in zip(cut.shown, (cut.rows, cut.columns), large, placed, strict=True)
        ]
        assert scales == pytest.approx([view.scale, view.scale], rel=0.15)  # one pixel of the smallest ones
        assert max(cut.shown) <= SIZE


def test_a_view_at_the_size_of_use_of_a_wide_image_is_one_of_the_windows_sizes() -> None:
    shown = augmentation("eomt", "semantic", whole=1.0)
    places = set()
    for seed in range(20):
        cut = shown.cut(shown.draw(np.random.default_rng(seed)), WIDE)
        assert cut.shown == (SIZE, SIZE)
        assert cut.rows == slice(0, WIDE[0])
        places.add(cut.columns.start)
    assert len(places) > 10


def test_views_of_a_larger_image_are_anywhere_in_it() -> None:
    shown = augmentation(whole=0.0, jitter=(2.0, 2.0))
    cuts = [shown.cut(shown.draw(np.random.default_rng(seed)), (40, 60)) for seed in range(300)]
    assert all((cut.rows.stop - cut.rows.start, cut.columns.stop - cut.columns.start) == (20, 30) for cut in cuts)
    starts = np.array([(cut.rows.start, cut.columns.start) for cut in cuts])
    assert starts.min(0).tolist() == [0, 0]
    assert starts.max(0).tolist() == [20, 30]
    assert abs(np.corrcoef(starts.T)[0, 1]) < 0.2


@pytest.mark.parametrize(("family", "task"), KINDS)
@pytest.mark.parametrize("size", [TALL, WIDE])
@pytest.mark.parametrize("stride", [1, 2])
def test_labels_lie_where_their_pixels_are(family: str, task: str, size: tuple[int, int], stride: int) -> None:
    shown = augmentation(family, task, flip=0.5, jitter=(0.5, 2.0))
    image, labels = mosaic(size)
    flips = set()
    wrong = dict.fromkeys([(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)], 0.0)
    for seed in range(30):
        view = shown.draw(np.random.default_rng(seed))
        flips.add(view.flip)
        pixels = shown.pixels(view, image, np.random.default_rng(0))[0]
        levels = pixels.reshape(SIZE // stride, stride, SIZE // stride, stride).mean((1, 3))
        seen = shown.labels(view, labels, SIZE // stride)
        padding = seen < 0
        assert (levels[padding] < 128).all()  # half a pixel of one at the edge may be of the image
        assert (levels[~padding] > 30).all()
        shifted = {shift: np.roll(seen, shift, (0, 1)) for shift in wrong}
        compared = np.all([each >= 0 for each in shifted.values()], 0)
        compared[[0, -1]] = compared[:, [0, -1]] = False  # what wraps around
        for shift, each in shifted.items():
            wrong[shift] += np.abs(levels - LEVELS[each])[compared].mean()
    assert flips == {True, False}
    assert 1.5 * wrong[0, 0] < min(wrong[shift] for shift in wrong if any(shift))
    for way, back in (((0, 1), (0, -1)), ((1, 0), (-1, 0))):
        assert wrong[way] == pytest.approx(wrong[back], rel=0.1)  # not a part of a pixel beside it either


def test_an_image_that_is_smaller_lies_at_the_top_left_and_the_rest_is_black_and_asks_nothing() -> None:
    shown = augmentation(jitter=(0.5, 0.5), whole=0.0, noise=20.0, colour=1.0, flip=1.0)
    view = shown.draw(np.random.default_rng(0))
    image, labels = mosaic(WIDE)
    pixels = shown.pixels(view, image, np.random.default_rng(0))
    seen = shown.labels(view, labels, SIZE)
    half = SIZE // 2
    assert (seen[:half, :half] >= 0).all()
    assert (seen[half:] == -1).all()
    assert (seen[:, half:] == -1).all()
    assert pixels[:, :half, :half].mean() > 20
    assert not pixels[:, half:].any()
    assert not pixels[:, :, half:].any()


def test_a_scale_as_small_as_it_gets_still_shows_a_pixel_of_a_narrow_image() -> None:
    shown = augmentation("eomt", whole=0.0, jitter=(0.001, 0.001))
    view = shown.draw(np.random.default_rng(0))
    image, labels = mosaic((2, 300))
    assert shown.pixels(view, image, np.random.default_rng(0))[0, 0, 0] > 0
    assert (shown.labels(view, labels, SIZE) >= 0).sum() == 1


def test_colours_are_changed_as_one_map_and_rounded_as_a_camera_does() -> None:
    shown = augmentation(colour=1.0, whole=1.0)
    image = noisy((SIZE, SIZE))
    view = next(
        view
        for view in map(shown.draw, map(np.random.default_rng, range(100)))
        if not np.array_equal(view.colours, UNCHANGED)
    )
    pixels = shown.pixels(view, image, np.random.default_rng(0))
    wanted = np.append(image, np.ones((SIZE, SIZE, 1)), 2) @ view.colours.T.astype(np.float64)
    np.testing.assert_allclose(pixels.transpose(1, 2, 0), wanted.clip(0, 255), atol=1)


def test_colours_keep_to_their_bounds_and_often_stay_as_they_are() -> None:
    drawn = [draw_colours(np.random.default_rng(seed), 1.0) for seed in range(500)]
    grey = np.array([map_ @ (128, 128, 128, 1) for map_ in drawn])
    # Brightness by 32, contrast by half, each channel by a tenth; saturation and hue leave grey as it is.
    assert grey.min() >= (128 - 32) * 0.5 * 0.9 - 1e-3
    assert grey.max() <= (128 + 32) * 1.5 * 1.1 + 1e-3
    assert grey.min() < 70
    assert grey.max() > 200
    unchanged = np.mean([np.array_equal(map_, UNCHANGED) for map_ in drawn])
    assert 0.01 < unchanged < 0.07  # 1 / 32
    assert all(np.array_equal(draw_colours(np.random.default_rng(seed), 0.0), UNCHANGED) for seed in range(20))


def test_hue_turns_about_grey() -> None:
    third = hue_rotation(2 * np.pi / 3)
    turned = [int((third @ colour).argmax()) for colour in np.eye(3)]
    assert sorted(turned) == [0, 1, 2]
    np.testing.assert_allclose(third @ third @ third, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(hue_rotation(0.3) @ (1, 1, 1), (1, 1, 1), atol=1e-12)


def test_noise_has_its_deviation_and_is_another_one_in_every_frame() -> None:
    shown = augmentation(noise=10.0, whole=1.0)
    view = dataclasses.replace(shown.draw(np.random.default_rng(0)), noise=10.0)
    image = np.full((*WIDE, 3), 128, np.uint8)
    one, other = (shown.pixels(view, image, np.random.default_rng(seed)) for seed in (1, 2))
    assert one.mean() == pytest.approx(128, abs=0.5)
    assert one.std() == pytest.approx(10, rel=0.05)
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] == pytest.approx(0, abs=0.1)
    bright = shown.pixels(view, np.full_like(image, 255), np.random.default_rng(1))
    assert bright.max() == 255
    assert {view.noise <= 10.0 for view in map(shown.draw, map(np.random.default_rng, range(50)))} == {True}
