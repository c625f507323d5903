"""Annotation files in COCO's manner: JSON of bounded size, and names that stay in their folder.

Anybody may have written them: nothing outside their folder is read, and nothing is as large as they say it is.
"""

from __future__ import annotations

import json
import reprlib
from array import array
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from eomt_ros.evaluation.errors import SourceError
from eomt_ros.regular_file import read_bytes

LARGEST_ANNOTATIONS = 1 << 29
"""Bytes of a JSON of all segments of a data set's part."""
NONSENSE = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
"""What reading a JSON of another shape than expected raises."""

Content = TypeVar("Content")


def read_annotations(file: Path, kind: str, parse: Callable[[Any], Content]) -> Content:
    """What `parse` makes of a JSON. kind: of file that is expected. Raises `SourceError` that names it.

    Lists of run lengths come as arrays: as Python's numbers they would need eight times the memory of the file.
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
        with suppress(TypeError, OverflowError):  # no run lengths: told where the mask is asked for
            entry["counts"] = array("i", entry["counts"])
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
