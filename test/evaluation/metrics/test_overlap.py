"""The count of common pixels that all else follows from, and what it refuses."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.metrics.overlap import Key, Overlap, overlap_of
from test.evaluation.metrics.scenes import BALL, BOX, FLOOR, IS_THING, UNLABELLED, WALL, random_sequence, rows

THINGS = np.array(IS_THING)
NONE = len(IS_THING)


def counted(overlap: Overlap) -> dict[tuple[Key, Key], int]:
    """Common pixels by pair, where there are any."""
    return {
        (truth, prediction): int(overlap.counts[row, column])
        for row, truth in enumerate(overlap.truth.keys)
        for column, prediction in enumerate(overlap.prediction.keys)
        if overlap.counts[row, column]
    }


def plain(truth: Truth, prediction: Prediction) -> dict[tuple[Key, Key], int]:
    """The same, pixel by pixel."""
    assert truth.instances is not None
    assert prediction.segments is not None
    result: Counter[tuple[Key, Key]] = Counter()
    for true_class, true_id, predicted_class, predicted_id in zip(
        truth.classes.flat, truth.instances.flat, prediction.classes.flat, prediction.segments.flat, strict=True
    ):
        result[key(true_class, true_id, 0), key(predicted_class, predicted_id, prediction.epoch)] += 1
    return dict(result)


def key(class_id: int, number: int, epoch: int) -> Key:
    if class_id == UNLABELLED:
        return Key(NONE)
    return Key(int(class_id), epoch, int(number)) if IS_THING[class_id] and number else Key(int(class_id))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_equals_counting_pixel_by_pixel(seed: int) -> None:
    for truth, prediction in random_sequence(seed, frames=2):
        assert counted(overlap_of(truth, prediction, THINGS)) == plain(truth, prediction)


def test_ids_too_large_for_a_table_are_counted_as_well() -> None:
    classes = np.array([[BOX, BOX, BALL, FLOOR]], np.uint8)
    ids = np.array([[4_000_000_000, 7, 7, 4_000_000_000]], np.uint32)
    overlap = overlap_of(Truth(classes, ids), Prediction(classes, ids), THINGS)
    segments = Key(BOX, 0, 4_000_000_000), Key(BOX, 0, 7), Key(BALL, 0, 7), Key(FLOOR)
    assert counted(overlap) == {(segment, segment): 1 for segment in segments}


def test_stuff_is_one_segment_per_class_and_things_without_an_id_are_none() -> None:
    classes = np.array([[FLOOR, FLOOR, WALL, BOX, BOX, UNLABELLED]], np.uint8)
    ids = np.array([[1, 2, 3, 4, 0, 5]], np.uint16)
    overlap = overlap_of(Truth(classes, ids), Prediction(classes, ids, epoch=3), THINGS)
    segments = {key for key, is_one in zip(overlap.truth.keys, overlap.truth.are_segments, strict=True) if is_one}
    assert segments == {Key(FLOOR), Key(WALL), Key(BOX, 0, 4)}
    things = {key for key, is_one in zip(overlap.prediction.keys, overlap.prediction.are_things, strict=True) if is_one}
    assert things == {Key(BOX, 3, 4)}


def test_images_that_do_not_lie_in_one_piece_are_read_right() -> None:
    classes = np.arange(24, dtype=np.uint8).reshape(4, 6) % 2
    turned = classes.T
    assert not turned.flags.c_contiguous
    overlap = overlap_of(Truth(turned), Prediction(np.ascontiguousarray(turned)), THINGS)
    assert counted(overlap) == {(Key(FLOOR), Key(FLOOR)): 12, (Key(WALL), Key(WALL)): 12}


def test_unlabelled_is_the_largest_id_of_the_image_type() -> None:
    truth, prediction = np.array([[255, 65535]], np.uint16), np.array([[255, 0]], np.uint8)
    overlap = overlap_of(Truth(truth), Prediction(prediction), np.zeros(300, bool))
    assert counted(overlap) == {(Key(255), Key(300)): 1, (Key(300), Key(0)): 1}


def test_class_ids_from_another_list_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the prediction has class id 7, expected 0 to 3 or 255 \(unlabelled\)"):
        overlap_of(*rows([FLOOR], [7]), THINGS)
    with pytest.raises(ValueError, match="the ground truth has class id 4"):
        overlap_of(*rows([4], [FLOOR]), THINGS)


def test_images_of_different_shapes_are_refused_by_name() -> None:
    small, large = np.zeros((2, 2), np.uint8), np.zeros((3, 2), np.uint8)
    with pytest.raises(ValueError, match=r"true classes \(2, 2\), predicted classes \(3, 2\)"):
        overlap_of(Truth(small), Prediction(large), THINGS)
    with pytest.raises(ValueError, match=r"true classes \(2, 2\), predicted segments \(3, 2\)"):
        overlap_of(Truth(small, small), Prediction(small, large), THINGS)
    with pytest.raises(ValueError, match=r"true classes \(2, 2\), true instances \(3, 2\)"):
        overlap_of(Truth(small, large), Prediction(small), THINGS)


def test_images_without_pixels_are_refused() -> None:
    nothing = np.zeros((0, 5), np.uint8)
    with pytest.raises(ValueError, match=r"\(0, 5\), expected at least one pixel"):
        overlap_of(Truth(nothing), Prediction(nothing), THINGS)
