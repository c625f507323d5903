"""The picture for people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from eomt_ros import overlay
from eomt_ros.engine import FrameResult, Labels, Segment, Timings

HEIGHT, WIDTH = 96, 128
LABELS = Labels("test", ("floor", "box"), (False, True), ((10, 20, 30), (200, 100, 50)), "panoptic")
GREY = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)


def segment(id_: int, class_id: int, box: tuple[int, int, int, int]) -> Segment:
    area = box[2] * box[3]
    name = LABELS.class_names[class_id]
    return Segment(id_, class_id, name, LABELS.is_thing[class_id], 0.9, area, box, age=0)


def result(*segments: Segment) -> FrameResult:
    panoptic = np.zeros((HEIGHT, WIDTH), np.uint16)
    semantic = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for one in segments:
        x, y, width, height = one.box
        panoptic[y : y + height, x : x + width] = one.id
        semantic[y : y + height, x : x + width] = one.class_id
    return FrameResult(semantic, panoptic, semantic, list(segments), 0, Timings(0.0, 0.0, 0.0, 0.0), LABELS)


def corner(picture: npt.NDArray[np.uint8], box: tuple[int, int, int, int]) -> list[int]:
    """Colour of a pixel inside a box, off its outline and off its name in the middle."""
    return [int(value) for value in picture[box[1] + 4, box[0] + 4]]


def test_pixels_without_a_segment_stay_as_they_are() -> None:
    box = (0, 0, 64, 96)
    picture = overlay.draw(GREY, result(segment(1, 1, box)), LABELS)
    np.testing.assert_array_equal(picture[:, 70:], GREY[:, 70:])
    assert corner(picture, box) != [100, 100, 100]


def test_image_is_left_as_it_is() -> None:
    image = GREY.copy()
    overlay.draw(image, result(segment(1, 1, (0, 0, 64, 96))), LABELS)
    np.testing.assert_array_equal(image, GREY)


def test_stuff_has_the_colour_of_its_class_mixed_in_by_alpha() -> None:
    box = (0, 0, 128, 96)
    assert corner(overlay.draw(GREY, result(segment(7, 0, box)), LABELS, alpha=1.0), box) == [10, 20, 30]
    assert corner(overlay.draw(GREY, result(segment(7, 0, box)), LABELS, alpha=0.5), box) == [55, 60, 65]
    assert corner(overlay.draw(GREY, result(segment(7, 0, box)), LABELS, alpha=0.0), box) == [100, 100, 100]


def test_thing_keeps_the_colour_of_its_id_wherever_it_goes() -> None:
    here, there = (0, 0, 40, 40), (80, 50, 40, 40)
    before = corner(overlay.draw(GREY, result(segment(5, 1, here)), LABELS), here)
    assert corner(overlay.draw(GREY, result(segment(4, 1, here), segment(5, 1, there)), LABELS), there) == before


def test_successive_ids_have_colours_that_differ_clearly() -> None:
    box = (0, 0, 128, 96)
    colors = np.array(
        [corner(overlay.draw(GREY, result(segment(n, 1, box)), LABELS, alpha=1.0), box) for n in range(1, 9)]
    )
    distances = np.abs(colors[:, None] - colors[None]).sum(-1)
    assert distances[~np.eye(8, dtype=bool)].min() > 60


def test_semantic_task_colours_classes_although_there_are_no_ids() -> None:
    box = (0, 0, 128, 96)
    assert corner(overlay.draw(GREY, result(segment(0, 1, box)), LABELS, alpha=1.0), box) == [200, 100, 50]


def test_borders_are_outlined_in_white_and_names_stand_on_black() -> None:
    left, right = (0, 0, 64, 96), (64, 0, 64, 96)
    picture = overlay.draw(GREY, result(segment(1, 1, left), segment(2, 1, right)), LABELS)
    white = (picture == 255).all(-1)
    assert white[:, 63:65].any(axis=1).mean() > 0.7
    black, bright = (picture == 0).all(-1), (picture > 150).all(-1)
    for name in (np.s_[30:66, 4:60], np.s_[30:66, 68:124]):
        assert black[name].sum() > 100
        assert bright[name].sum() > 20


@pytest.mark.parametrize("around", [0, 1], ids=["in stuff", "in a thing"])
def test_a_hole_that_nobody_found_has_no_outline(around: int) -> None:
    found = result(segment(1, around, (20, 20, 88, 56)))
    found.panoptic[30:40, 30:40], found.semantic[30:40, 30:40] = 0, 255
    white = (overlay.draw(GREY, found, LABELS) == 255).all(-1)
    assert not white[25:45, 25:45].any()


def test_a_thing_is_outlined_where_nothing_is_around_it() -> None:
    white = (overlay.draw(GREY, result(segment(1, 1, (20, 20, 88, 56))), LABELS) == 255).all(-1)
    assert white[20, 20:108].all()
    assert white[20:76, 107].all()


def test_a_thing_in_a_hole_of_stuff_is_outlined() -> None:
    found = result(segment(1, 0, (0, 0, 128, 96)), segment(2, 1, (10, 10, 100, 70)))
    white = (overlay.draw(GREY, found, LABELS) == 255).all(-1)
    assert white[9:11, 10:110].all()


def test_mirrored_and_broadcast_images_are_drawn_like_copies_of_them() -> None:
    found = result(segment(1, 1, (10, 10, 40, 40)))
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    for image in (noise[..., ::-1], np.broadcast_to(noise[..., :1], noise.shape)):
        np.testing.assert_array_equal(overlay.draw(image, found, LABELS), overlay.draw(image.copy(), found, LABELS))


def test_more_segments_than_a_byte_counts_are_drawn_largest_first() -> None:
    cells = [(4 * (n % 32), 4 * (n // 32), 4, 4) for n in range(12 * 32)]
    picture = overlay.draw(GREY, result(*(segment(n + 1, 1, box) for n, box in enumerate(cells))), LABELS)
    assert picture.shape == GREY.shape


def test_segment_hidden_by_others_has_no_name() -> None:
    shown = segment(1, 1, (0, 0, 128, 96))
    hidden = Segment(9, 1, "box", True, 0.9, 16, (60, 40, 4, 4), age=0)
    found = result(shown)
    alone = overlay.draw(GREY, found, LABELS)
    both = overlay.draw(GREY, replace(found, segments=[shown, hidden]), LABELS)
    np.testing.assert_array_equal(alone, both)


def test_a_class_has_the_colour_of_the_label_table_and_what_has_no_class_is_black() -> None:
    for dtype in (np.uint8, np.uint16):
        classes = np.array([[0, 1, np.iinfo(dtype).max], [1, 2, 0]], dtype)
        expected = [[(10, 20, 30), (200, 100, 50), (0, 0, 0)], [(200, 100, 50), (0, 0, 0), (10, 20, 30)]]
        np.testing.assert_array_equal(overlay.color_classes(classes, LABELS), expected)
