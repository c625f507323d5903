"""Masks of annotations are those of pycocotools, and what is no mask is refused."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as reference

from eomt_ros.evaluation.coco_masks import MaskError, coco_mask, reaches_outside

HEIGHT, WIDTH = 24, 32


def by_pycocotools(segmentation: Any, height: int, width: int) -> np.ndarray:
    """As `COCO.annToMask` does it."""
    if isinstance(segmentation, list):
        return reference.decode(reference.merge(reference.frPyObjects(segmentation, height, width))).astype(bool)
    if isinstance(segmentation["counts"], list):
        segmentation = reference.frPyObjects(segmentation, height, width)
    return reference.decode(segmentation).astype(bool)


def listed(mask: np.ndarray) -> dict[str, Any]:
    """Run lengths as a list, by the definition."""
    counts, last, run = [], False, 0
    for pixel in mask.ravel(order="F").tolist():
        if pixel != last:
            counts.append(run)
            last, run = pixel, 0
        run += 1
    return {"size": list(mask.shape), "counts": [*counts, run]}


@given(arrays.arrays(bool, st.tuples(st.integers(1, 70), st.integers(1, 70))))
def test_both_kinds_of_run_lengths_are_the_mask(mask: np.ndarray) -> None:
    encoded = reference.encode(np.asfortranarray(mask, np.uint8))
    text = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    for segmentation in (text, listed(mask)):
        found = coco_mask(segmentation, *mask.shape)
        np.testing.assert_array_equal(found, mask)
        np.testing.assert_array_equal(found, by_pycocotools(segmentation, *mask.shape))


def test_long_runs_are_read() -> None:
    mask = np.zeros((2000, 3000), bool)
    mask[1500:, 2900:] = True
    encoded = reference.encode(np.asfortranarray(mask, np.uint8))
    np.testing.assert_array_equal(
        coco_mask({"size": [2000, 3000], "counts": encoded["counts"].decode()}, 2000, 3000), mask
    )


corners = st.lists(st.floats(-20, 50), min_size=6, max_size=16).map(lambda each: each[: len(each) // 2 * 2])


@given(st.lists(corners, min_size=1, max_size=3))
def test_polygons_are_drawn_and_cut_at_the_edge(polygons: list[list[float]]) -> None:
    np.testing.assert_array_equal(coco_mask(polygons, HEIGHT, WIDTH), by_pycocotools(polygons, HEIGHT, WIDTH))


@pytest.mark.parametrize("corner", [-1e9, 1e300])
def test_an_outline_that_would_take_gigabytes_is_refused(corner: float) -> None:
    with pytest.raises(MaskError, match="expected one of its picture, 32x24"):
        coco_mask([[0, 0, corner, 5, 3, 9]], HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ([], "has no outline"),
        (None, "has no outline"),
        ({}, r"has run lengths of the size None, expected \[24, 32\]"),
        ({"size": [32, 24], "counts": "0"}, r"has run lengths of the size \[32, 24\], expected \[24, 32\]"),
        ({"size": [24, 32], "counts": [5]}, "has run lengths of 5 pixels, expected 768"),
        ({"size": [24, 32], "counts": [-5, 773]}, "has counts that are no run lengths"),
        ({"size": [24, 32], "counts": [768.0]}, "has counts that are no run lengths"),
        ({"size": [24, 32], "counts": "0" * 5000}, "has run lengths of 0 pixels"),
        ({"size": [24, 32], "counts": ""}, "has run lengths of 0 pixels"),
        ({"size": [24, 32], "counts": "o" * 50}, "has counts that are not pycocotools' text"),
        ({"size": [24, 32], "counts": "\x00"}, "has counts that are not pycocotools' text"),
        ({"size": [24, 32], "counts": "P"}, "has counts that end within a number"),
        ([[1, 2, 3, 4]], "at least three corners"),
        ([[1, 2, 3, 4, 5, 6, 7]], "at least three corners"),
        ([[1, 2, 3, 4, 5, float("nan")]], "at least three corners"),
        ([1, 2, 3, 4, 5, 6], "at least three corners"),
        ([["1", "2", "3", "4", "5", "6"]], "at least three corners"),
    ],
)
def test_what_is_no_mask_is_refused(segmentation: Any, said: str) -> None:
    with pytest.raises(MaskError, match=said):
        coco_mask(segmentation, HEIGHT, WIDTH)


def test_corners_outside_are_found() -> None:
    assert not reaches_outside([[0, 0, WIDTH, 0, WIDTH, HEIGHT]], HEIGHT, WIDTH)
    assert reaches_outside([[0, 0, WIDTH + 2, 0, WIDTH, HEIGHT]], HEIGHT, WIDTH)
    assert reaches_outside([[0, -2, WIDTH, 0, WIDTH, HEIGHT]], HEIGHT, WIDTH)
