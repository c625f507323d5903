"""Embeddings: what is alike looks alike, and what is not does not, on pictures with masks that are told."""

from __future__ import annotations

import colorsys
from itertools import pairwise

import cv2
import numpy as np
import pytest

from eomt_ros.engine.postprocess.label_map import LabelMap, Region
from eomt_ros.engine.tracking.embedding import BINS, CHANNELS, embeddings_of

SIZE = 120, 160
WHOLE = 0, 0, SIZE[1], SIZE[0]


def plain(*rgb: int) -> np.ndarray:
    return np.full((*SIZE, 3), rgb, np.uint8)


def label_map(*masks: np.ndarray, is_thing: bool = True) -> LabelMap:
    """Region i is where mask i is and no later one."""
    winner = np.zeros(SIZE, np.uint8)
    for number, mask in enumerate(masks, start=1):
        winner[mask] = number
    regions = [
        Region(number, 0, is_thing, 0.9, int(mask.sum()), tuple(cv2.boundingRect(mask.astype(np.uint8))), (number,))
        for number, mask in enumerate(masks)
    ]
    return LabelMap(winner, None, tuple(regions), 1)


def mask_of(x: int, y: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y : y + height, x : x + width] = True
    return mask


def looks(image: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    (found,) = embeddings_of(image, label_map(mask_of(*WHOLE) if mask is None else mask))
    assert found is not None
    return found


def test_an_embedding_has_unit_length_and_its_type():
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    found = looks(image)
    assert found.shape == (CHANNELS,)
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


def test_only_the_pixels_under_the_mask_count():
    image = plain(200, 30, 30)
    mask = mask_of(40, 30, 50, 60)
    other = image.copy()
    other[~mask] = (0, 0, 255)
    np.testing.assert_array_equal(looks(image, mask), looks(other, mask))


def test_what_a_later_thing_covers_does_not_count():
    image = plain(200, 30, 30)
    front = mask_of(60, 0, 100, 120)
    image[front] = (30, 30, 200)
    behind, _ = embeddings_of(image, label_map(mask_of(*WHOLE), front))
    np.testing.assert_allclose(behind, looks(plain(200, 30, 30)), atol=1e-5)


def test_the_same_colours_elsewhere_and_in_another_size_look_the_same():
    small, large = mask_of(3, 5, 20, 10), mask_of(40, 20, 110, 90)
    image = plain(0, 0, 0)
    for mask in (small, large):
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        image[y : y + height, x : x + width // 2] = (220, 120, 20)
        image[y : y + height, x + width // 2 : x + width] = (240, 240, 240)
    assert looks(image, small) @ looks(image, large) > 0.99


def test_a_little_less_light_moves_an_embedding_less_than_another_colour():
    red, darker, blue = (looks(plain(*rgb)) for rgb in ((200, 40, 40), (180, 36, 36), (40, 40, 200)))
    assert red @ darker > 0.8
    assert red @ blue < 0.1


def test_no_small_step_of_colour_is_a_jump():
    colours = [colorsys.hsv_to_rgb(hue / 200, 0.8, 0.8) for hue in range(200)]
    found = [looks(plain(*(round(255 * part) for part in colour))) for colour in colours]
    # Where a colour counts for one place alone, the worst is 0.
    assert min(one @ other for one, other in pairwise(found)) > 0.7


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 0, 0), (53, 80, 67)),
        ((0, 0, 255), (32, 79, -108)),
        ((0, 255, 0), (88, -86, 83)),
        ((100, 100, 100), (42, 0, 0)),
    ],
)
def test_a_colour_counts_where_it_is_in_cielab(rgb, lab):
    place = np.unravel_index(looks(plain(*rgb)).argmax(), BINS)
    assert place[1:] == tuple(round(np.clip(value, -60, 60) / 15) + 4 for value in lab[1:])
    assert place[0] == round(lab[0] * 3 / 100)


def test_stuff_and_what_is_covered_whole_have_none():
    image = plain(200, 30, 30)
    assert embeddings_of(image, label_map(mask_of(*WHOLE), is_thing=False)) == [None]
    hidden, front = embeddings_of(image, label_map(mask_of(10, 10, 20, 20), mask_of(*WHOLE)))
    assert hidden is None
    assert front is not None
    assert embeddings_of(image, label_map()) == []


def test_an_image_with_any_strides_gives_the_same():
    image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    flipped = np.ascontiguousarray(image[::-1, :, ::-1])
    np.testing.assert_array_equal(looks(flipped[::-1, :, ::-1]), looks(image))


def test_each_thing_has_the_embedding_that_it_has_alone():
    image = np.random.default_rng(2).integers(0, 256, (*SIZE, 3), np.uint8)
    masks = mask_of(0, 0, 30, 40), mask_of(50, 50, 3, 2), mask_of(80, 10, 70, 100)
    for mask, together in zip(masks, embeddings_of(image, label_map(*masks)), strict=True):
        np.testing.assert_allclose(together, looks(image, mask), atol=1e-6)


def test_a_large_thing_of_which_a_pixel_is_seen_has_its_colour():
    image, seen = plain(30, 30, 200), mask_of(77, 51, 1, 1)
    image[seen] = (200, 30, 30)
    behind, _ = embeddings_of(image, label_map(mask_of(*WHOLE), ~seen))
    np.testing.assert_allclose(behind, looks(plain(200, 30, 30)), atol=1e-5)
