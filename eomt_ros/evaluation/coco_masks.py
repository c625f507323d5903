"""Masks of COCO annotations by anybody: polygons, and run lengths as lists and as text.

pycocotools draws polygons, but does not look at run lengths closely enough: where they do not fill the picture, its
masks hold whatever was in memory, and a text that ends within a number makes it write beyond its memory.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from eomt_ros.errors import UserError
from eomt_ros.extras import missing

Mask = npt.NDArray[np.bool_]

LONGEST_OUTLINE = 4_000_000
"""Pixels along the polygons of one annotation: more is no outline, and would take gigabytes to draw."""
_ZERO = ord("0")


class MaskError(Exception):
    """A segmentation that is no mask of its picture; the text goes on after the annotation's place."""


def pycocotools_mask() -> Any:
    """The module `pycocotools.mask`. Raises `UserError` where it is missing."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise UserError(missing(error, "coco")) from error
    return mask


def coco_mask(segmentation: Any, height: int, width: int) -> Mask:
    """The (height, width) mask of an annotation; what is outside the picture is cut off.

    Run lengths may be an `array`, which needs less memory than a list. Raises `MaskError`, `UserError` where there are
    polygons and no pycocotools.
    """
    if isinstance(segmentation, dict):
        return _of_run_lengths(segmentation, height, width)
    if isinstance(segmentation, list) and segmentation:
        return _of_polygons(segmentation, height, width)
    raise MaskError("has no outline (segmentation is empty), a box at most: draw its outline, or delete it")


def reaches_outside(segmentation: Any, height: int, width: int, margin: float = 1.0) -> bool:
    """True for polygons with a corner more than `margin` pixels outside the picture."""
    if not isinstance(segmentation, list):
        return False
    corners = [_corners(polygon) for polygon in segmentation]
    return any(
        not (-margin <= x <= width + margin and -margin <= y <= height + margin)
        for polygon in corners
        for x, y in polygon
    )


def _of_polygons(polygons: Sequence[Any], height: int, width: int) -> Mask:
    mask = pycocotools_mask()
    drawn = []
    length = 0.0
    for polygon in polygons:
        corners = _corners(polygon)
        length += sum(
            max(abs(x - other_x), abs(y - other_y))
            for (x, y), (other_x, other_y) in zip(corners, [*corners[1:], corners[0]], strict=True)
        )
        drawn.append([part for corner in corners for part in corner])
    if length > LONGEST_OUTLINE:
        raise MaskError(f"has an outline of {length:,.0f} pixels, expected one of its picture, {width}x{height}")
    return np.asarray(mask.decode(mask.merge(mask.frPyObjects(drawn, height, width))), bool)


def _corners(polygon: Any) -> list[tuple[float, float]]:
    numbers = polygon if isinstance(polygon, list) else []
    if len(numbers) < 6 or len(numbers) % 2 or not all(_is_number(number) for number in numbers):
        raise MaskError("has a polygon that is no list of x, y, x, y, ... with at least three corners")
    return list(zip(map(float, numbers[::2]), map(float, numbers[1::2]), strict=True))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _of_run_lengths(segmentation: dict[str, Any], height: int, width: int) -> Mask:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise MaskError(f"has run lengths of the size {size!r:.40}, expected [{height}, {width}] as its picture")
    runs = _numbers_of(counts) if isinstance(counts, str) else counts
    if isinstance(runs, array):
        runs = runs.tolist()
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise MaskError("has counts that are no run lengths, expected a list of numbers or pycocotools' text")
    if sum(runs) != height * width:
        raise MaskError(f"has run lengths of {sum(runs):,} pixels, expected {height * width:,}, all of its picture")
    # Column after column, the first run outside.
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _numbers_of(text: str) -> list[int]:
    """The run lengths in pycocotools' text (`rleFrString` in its maskApi.c).

    Six bits a character: five of a number, the lowest first, and one that says that it goes on. Numbers are signed;
    from the fourth on they are differences to the one before the last.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - _ZERO
        if not 0 <= bits < 64 or shift > 35:
            raise MaskError("has counts that are not pycocotools' text")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise MaskError("has counts that end within a number")
    return runs
