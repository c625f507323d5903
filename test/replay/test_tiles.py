"""Videos side by side: paired by their stamps, and a picture stays until the next of its camera."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from eomt_ros.replay.tiles import CAPTION_HEIGHT, MARGIN, side_by_side
from eomt_ros.video import TimedImage

HEIGHT, WIDTH = 32, 80


def video(values: Mapping[int, int], height: int = HEIGHT) -> Iterator[TimedImage]:
    """Pictures of one grey value each, by their stamps."""
    return (TimedImage(stamp, np.full((height, WIDTH, 3), value, np.uint8)) for stamp, value in values.items())


def shown(page: npt.NDArray[np.uint8], places: int, height: int = HEIGHT) -> Sequence[int]:
    """The grey values at the places of a page's first row."""
    top = MARGIN + CAPTION_HEIGHT
    lefts = [MARGIN + number * (WIDTH + MARGIN) for number in range(places)]
    pictures = [page[top : top + height, left : left + WIDTH] for left in lefts]
    assert all((picture == picture[0, 0]).all() for picture in pictures)
    return [int(picture[0, 0, 0]) for picture in pictures]


def test_pictures_pair_by_stamp_and_stay_until_the_next_of_their_camera() -> None:
    pages = list(side_by_side({"front": video({10: 50, 20: 60, 30: 70}), "rear": video({20: 150, 40: 160})}))
    assert [page.stamp for page in pages] == [10, 20, 30, 40]
    assert [shown(page.image, 2) for page in pages] == [[50, 0], [60, 150], [70, 150], [70, 160]]


def test_each_is_below_its_name_in_the_order_given() -> None:
    (page,) = side_by_side({"rear": video({1: 9}), "front": video({1: 9})})
    (swapped,) = side_by_side({"front": video({1: 9}), "rear": video({1: 9})})
    captions = page.image[MARGIN : MARGIN + CAPTION_HEIGHT, MARGIN:]
    left, right = captions[:, :WIDTH], captions[:, WIDTH + MARGIN :][:, :WIDTH]
    assert left.max() > 200
    assert right.max() > 200
    assert (left != right).any()
    other = swapped.image[MARGIN : MARGIN + CAPTION_HEIGHT, MARGIN:]
    np.testing.assert_array_equal(left, other[:, WIDTH + MARGIN :][:, :WIDTH])


def test_all_pages_are_of_one_size_whatever_the_sizes_of_the_cameras() -> None:
    pages = list(side_by_side({"front": video({1: 5, 2: 6}), "rear": video({2: 7}, height=3 * HEIGHT)}))
    assert len({page.image.shape for page in pages}) == 1
    assert shown(pages[1].image, 2) == [6, 7]


def test_four_cameras_make_a_square() -> None:
    (page,) = side_by_side({name: video({1: 5}) for name in ("a", "b", "c", "d")})
    height, width = HEIGHT + CAPTION_HEIGHT + MARGIN, WIDTH + MARGIN
    assert page.image.shape == (2 * height + MARGIN, 2 * width + MARGIN, 3)


def test_a_camera_without_any_picture_has_no_place() -> None:
    (page,) = side_by_side({"front": video({1: 5}), "rear": video({})})
    assert page.image.shape[1] == WIDTH + 2 * MARGIN
