"""The JSON files of a data set: their entries as COCO's panoptic format names them, read and written.

The names of the entries' fields are those of COCO (cocodataset.org/#format-data), of video_id, frame_id and track_id
those of YouTube-VIS. Which entries contradict each other, `annotation_flaws.py` says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from eomt_ros.evaluation.json_file import JsonFileError, from_json, parse_json
from eomt_ros.regular_file import read_bytes
from eomt_ros.training.errors import DatasetError

TRAIN, VAL = SPLITS = ("train", "val")
IMAGES, LABELS, ANNOTATIONS = "images", "panoptic", "annotations"
"""Folders of a data set."""
UNFINISHED = ".corrections"
"""Folder in a data set with files that are its own, and not yet in their places."""
LARGEST_ANNOTATIONS = 1 << 30
"""Bytes of a JSON file that is read."""
LARGEST_SEGMENT = (1 << 24) - 1
"""The largest segment id that three colours of 8 bits hold."""


@dataclass(frozen=True)
class CategoryEntry:
    """A class; its id is the class id + 1."""

    id: int
    name: str
    isthing: int
    color: tuple[int, int, int]


@dataclass(frozen=True)
class VideoEntry:
    """A video; length: its number of pictures."""

    id: int
    name: str
    width: int
    height: int
    length: int


@dataclass(frozen=True)
class ImageEntry:
    """A picture; frame_id: its place in the video, stamp: nanoseconds."""

    id: int
    file_name: str
    width: int
    height: int
    video_id: int
    frame_id: int
    stamp: int


@dataclass(frozen=True)
class SegmentEntry:
    """A segment of one picture; area: pixels, bbox: x, y, width, height around them."""

    id: int
    category_id: int
    iscrowd: int = 0
    track_id: int | None = None
    area: float = 0.0
    bbox: tuple[float, ...] = ()


@dataclass(frozen=True)
class FrameEntry:
    """The segments of one picture; file_name: of the PNG with their ids."""

    image_id: int
    file_name: str
    segments_info: tuple[SegmentEntry, ...]


@dataclass(frozen=True)
class PanopticEntries:
    """A file of panoptic annotations."""

    categories: tuple[CategoryEntry, ...]
    videos: tuple[VideoEntry, ...]
    images: tuple[ImageEntry, ...]
    annotations: tuple[FrameEntry, ...]


def panoptic_file(folder: Path, split: str) -> Path:
    """The file of a split's panoptic annotations."""
    return folder / ANNOTATIONS / f"panoptic_{split}.json"


def instances_file(folder: Path, split: str) -> Path:
    """The file of a split's annotations as instances, which annotation tools read."""
    return folder / ANNOTATIONS / f"instances_{split}.json"


def expect_inside(folder: Path, path: Path) -> None:
    """Raises `DatasetError` for a path that leads out of a data set's folder, by links or by its name."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise DatasetError(f"{path} is or goes through a link that leads out of the data set {folder}: copy it there")


def read_annotations(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises `DatasetError`."""
    try:
        return parse_json(read_bytes(path, LARGEST_ANNOTATIONS).decode("utf-8"))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    except (JsonFileError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error


def read_panoptic(folder: Path, split: str) -> PanopticEntries:
    """The entries of a split's panoptic annotations, each by itself as it should be. Raises `DatasetError`."""
    path = panoptic_file(folder, split)
    if not folder.is_dir():
        raise DatasetError(f"{folder} is no folder, expected a data set: `eomt-ros dataset INPUT --out {folder}`")
    if (folder / UNFINISHED).exists():
        raise DatasetError(f"{folder} is corrected half-way: `eomt-ros dataset {folder} --corrections FILE` ends that")
    if not path.exists():
        raise DatasetError(f"{path} is missing, expected a data set as `eomt-ros dataset INPUT --out FOLDER` writes it")
    expect_inside(folder, path)
    try:
        return from_json(PanopticEntries, read_annotations(path))
    except JsonFileError as error:
        raise DatasetError(f"{path}: {error}") from error


class EntriesFile:
    """A JSON file that is written annotation by annotation, so that no more than one is in memory.

    Within its `with` block; there is no whole file until `finish`. Raises `OSError`.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._separator = '{"annotations": [\n'

    def __enter__(self) -> EntriesFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, annotation: Mapping[str, Any]) -> None:
        """Writes an annotation."""
        self._file.write(self._separator + _json(annotation))
        self._separator = ",\n"

    def finish(
        self,
        images: Iterable[ImageEntry | Mapping[str, Any]],
        videos: Sequence[VideoEntry],
        categories: Sequence[CategoryEntry],
    ) -> None:
        """Writes the rest."""
        self._file.write(self._separator if self._separator.startswith("{") else "\n")
        for name, entries in (("images", images), ("videos", videos), ("categories", categories)):
            lines = ",\n".join(_json(entry) for entry in entries)
            self._file.write(f'], "{name}": [\n{lines}\n')
        self._file.write('], "info": {}, "licenses": []}\n')
        self._file.flush()


def _json(entry: Any) -> str:
    return json.dumps(entry if isinstance(entry, Mapping) else asdict(entry), ensure_ascii=False)
