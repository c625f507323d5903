"""Annotation files in COCO's manner: JSON of bounded size, names that stay in their folder, masks as run lengths.

Anybody may have written them: nothing outside their folder is read, and nothing is as large as they say it is.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.errors import SourceError
from eomt_ros.extras import missing
from eomt_ros.regular_file import read_bytes

LARGEST_ANNOTATIONS = 1 << 29
"""Bytes of a JSON of all segments of a data set's part."""
NONSENSE = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
"""What reading a JSON of another shape than expected raises."""

Content = TypeVar("Content")


def read_annotations(file: Path, kind: str, parse: Callable[[Any], Content]) -> Content:
    """What `parse` makes of a JSON. kind: of file that is expected. Raises `SourceError` that names it.

    Lists of run lengths come as arrays: as Python's numbers they would need ten times the memory of the file.
    """
    try:
        return parse(json.loads(read_bytes(file, LARGEST_ANNOTATIONS), object_hook=_with_arrays))
    except FileNotFoundError as error:
        there = ", ".join(sorted(each.name for each in file.parent.glob("*.json"))) or "none"
        raise SourceError(f"{file} is missing; there are: {there}") from error
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}") from error
    except NONSENSE as error:
        raise SourceError(f"{file} is not {kind}: {repr(error)[:200]}") from error


def _with_arrays(entry: dict[str, Any]) -> dict[str, Any]:
    if isinstance(entry.get("counts"), list):
        entry["counts"] = np.array(entry["counts"], np.int32)
    return entry


def folder_name(name: str, file: Path) -> str:
    """The name of a video, checked to be that of a folder in its data set. Raises `SourceError`."""
    if Path(name).name != name or name == "..":
        raise SourceError(f"{file} names the video {reprlib.repr(name)}, expected a folder's name")
    return name


def relative_path(name: str, file: Path) -> PurePosixPath:
    """The path of a picture, checked to lead down into its data set. Raises `SourceError`."""
    path = PurePosixPath(name)
    if not name or "\0" in name or path.is_absolute() or ".." in path.parts:
        raise SourceError(f"{file} names the picture {reprlib.repr(name)}, expected one in the data set's folder")
    return path


def expect_inside(path: Path, folder: Path) -> None:
    """Raises `SourceError` where links lead a path out of a folder of a data set."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SourceError(f"{path} is a link that leads out of {folder}")


def mask_of(segmentation: Any, height: int, width: int) -> npt.NDArray[np.bool_]:
    """A mask as COCO has it, run lengths column by column or polygons, as (height, width) pixels.

    Raises `ValueError` where it is none, or of another size; `SourceError` without pycocotools, which polygons need.
    """
    if not isinstance(segmentation, Mapping):
        return _outlined(segmentation, height, width)
    if list(segmentation.get("size", ())) != [height, width]:
        raise ValueError(f"a mask of {segmentation.get('size')}, the picture is {height}x{width}")
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        counts = np.array(_unpacked(counts, height * width))
    if not isinstance(counts, np.ndarray) or counts.ndim != 1:
        raise ValueError(f"a mask with the run lengths {reprlib.repr(counts)}")
    if (counts < 0).any() or counts.sum(dtype=np.int64) != height * width:
        raise ValueError(f"a mask whose run lengths do not fill {height}x{width} pixels")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def _unpacked(text: str, most: int) -> list[int]:
    """The run lengths, none above `most`, in COCO's text: 5 bits of a number in a letter, the lowest first.

    From the fourth on a number is the difference to the last but one. pycocotools reads and writes beyond its memory
    where a text ends in the middle of a number.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > most.bit_length() + 5:
            break
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        if not 0 <= counts[-1] <= most:
            break
        value = shift = 0
    else:
        if not shift:
            return counts
    raise ValueError(f"a mask with the run lengths {reprlib.repr(text)}")


def _outlined(polygons: Any, height: int, width: int) -> npt.NDArray[np.bool_]:
    # Corners far outside would need as much memory as the way to them is long.
    corners = [np.clip(np.array(each, float), -width - height, width + height) for each in polygons]
    if not corners or any(each.ndim != 1 or len(each) < 6 or len(each) % 2 for each in corners):
        raise ValueError("a mask with a polygon of less than three corners")
    if not all(np.isfinite(each).all() for each in corners):
        raise ValueError("a mask with a polygon whose corners are no numbers")
    try:
        from pycocotools.mask import decode, frPyObjects, merge
    except ImportError as error:
        raise SourceError(missing(error, "coco")) from error
    return np.asarray(decode(merge(frPyObjects([each.tolist() for each in corners], height, width))), bool)
