"""COCO instances as annotation tools write them, of pictures that a data set has.

CVAT numbers pictures and categories anew, writes masks as lists of run lengths and calls each of them a crowd, and
keeps attributes of its labels in `attributes`. Label Studio numbers from 0, puts its own folders and a hash before a
picture's name, and writes a box with an empty segmentation. So pictures are known by their names, categories by theirs.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.json_file import JsonFileError, from_json
from eomt_ros.printable import printable
from eomt_ros.training.annotation_files import CategoryEntry, ImageEntry, read_annotations
from eomt_ros.training.errors import DatasetError

_LABEL_STUDIO_HASH = re.compile(r"^[0-9a-f]{8}-")
_SEPARATORS = re.compile(r"[^\w.]|_")


@dataclass(frozen=True)
class ForeignCategory:
    """A category of any COCO file."""

    id: int
    name: str


@dataclass(frozen=True)
class ForeignImage:
    """A picture of any COCO file."""

    id: int
    file_name: str
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class ForeignAnnotation:
    """An annotation of any COCO file."""

    image_id: int
    category_id: int
    segmentation: Any = None
    bbox: Any = None
    iscrowd: int | None = None
    track_id: Any = None
    attributes: Any = None


@dataclass(frozen=True)
class ForeignFile:
    """Any COCO file of instances."""

    categories: tuple[ForeignCategory, ...]
    images: tuple[ForeignImage, ...]
    annotations: tuple[ForeignAnnotation, ...]


@dataclass(frozen=True)
class CorrectedSegment:
    """An annotation of a picture of the data set."""

    where: str
    """Its place, for an error's text."""
    class_id: int
    segmentation: Any
    """As in the file, see `coco_masks.py`."""
    box: Any
    """As in the file: x, y, width, height."""
    track: int | None
    """As the file gives it; None where it gives none."""
    crowd: bool
    """True where the file says so and means it."""


def read_corrections(
    path: Path, images: Sequence[ImageEntry], categories: Sequence[CategoryEntry]
) -> dict[str, list[CorrectedSegment]]:
    """For each picture in a file the annotations it has now, perhaps none, by the picture's name in the data set.

    Raises `DatasetError` where the file is no COCO instances, or has a class or an annotated picture that the data set
    has not.
    """
    try:
        foreign = from_json(ForeignFile, read_annotations(path))
    except JsonFileError as error:
        raise DatasetError(f"{path} has no COCO instances: {error}") from error
    class_of = _classes(path, foreign, categories)
    annotated = {annotation.image_id for annotation in foreign.annotations}
    names = _names(path, foreign.images, annotated, images)
    corrected: dict[str, list[CorrectedSegment]] = {name: [] for name in names.values()}
    for place, annotation in enumerate(foreign.annotations):
        where = f"{path}: annotations[{place}]"
        if annotation.image_id not in names:
            raise DatasetError(f"{where}.image_id is {annotation.image_id}, which no entry of images has")
        if annotation.category_id not in class_of:
            raise DatasetError(f"{where}.category_id is {annotation.category_id}, which no entry of categories has")
        name = names[annotation.image_id]
        crowd = annotation.iscrowd == 1 and not _is_list_of_runs(annotation.segmentation)
        corrected[name].append(
            CorrectedSegment(
                f"{where} (of {printable(name)})",
                class_of[annotation.category_id],
                annotation.segmentation,
                annotation.bbox,
                _track(annotation),
                crowd,
            )
        )
    return corrected


def _is_list_of_runs(segmentation: Any) -> bool:
    return isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list)


def _track(annotation: ForeignAnnotation) -> int | None:
    attributes = annotation.attributes if isinstance(annotation.attributes, dict) else {}
    for value in (annotation.track_id, attributes.get("track"), attributes.get("track_id")):
        if type(value) is int and value >= 0:
            return value
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
            return int(value)
    return None


def _classes(path: Path, foreign: ForeignFile, categories: Sequence[CategoryEntry]) -> dict[int, int]:
    """The class id of each category that has annotations, or is one of the data set's."""
    class_ids = {category.name: category.id - 1 for category in categories}
    used = {annotation.category_id for annotation in foreign.annotations}
    found: dict[int, int] = {}
    for category in foreign.categories:
        if category.name in class_ids:
            found[category.id] = class_ids[category.name]
        elif category.id in used:
            near = get_close_matches(category.name, class_ids, 1)
            meant = f" (is '{near[0]}' meant?)" if near else ""
            raise DatasetError(
                f"{path} has annotations of the class '{printable(category.name)}'{meant}, expected one of the data "
                f"set's: {printable(', '.join(class_ids))}; a new one has to be in "
                "categories of panoptic_train.json and panoptic_val.json first"
            )
    return found


def _names(
    path: Path, foreign: Sequence[ForeignImage], annotated: set[int], images: Sequence[ImageEntry]
) -> dict[int, str]:
    """The data set's name for each picture of the file; pictures without annotations may be others."""
    known = _KnownNames(images)
    names: dict[int, str] = {}
    for image in foreign:
        found = known.find(image.file_name)
        shown = printable(image.file_name)
        if len(found) != 1:
            if not found and image.id not in annotated:
                continue
            which = "is none of the data set's" if not found else f"may be {counted(len(found), 'picture')} there"
            first = "" if not found else f", {found[0].file_name} first"
            raise DatasetError(
                f"{path}: the picture '{shown}' {which}{first}; expected file_name to end with <video>/<frame>"
            )
        (one,) = found
        size = image.width or one.width, image.height or one.height
        if size != (one.width, one.height):
            raise DatasetError(
                f"{path}: the picture '{shown}' is {size[0]}x{size[1]}, and {one.width}x{one.height} in the data set: "
                "annotate the pictures as they are"
            )
        names[image.id] = one.file_name
    for name, count in Counter(names.values()).items():
        if count > 1:
            raise DatasetError(f"{path} has the picture {printable(name)} {count} times, expected it once")
    return names


class _KnownNames:
    """Pictures by what tools make of their names."""

    def __init__(self, images: Sequence[ImageEntry]) -> None:
        self._by: dict[str, list[ImageEntry]] = defaultdict(list)
        for image in images:
            frame = image.file_name.rpartition("/")[2]
            for key in (image.file_name, f" {frame}", _SEPARATORS.sub(" ", f"/{image.file_name}")):
                self._by[key].append(image)

    def find(self, file_name: str) -> Sequence[ImageEntry]:
        """The pictures that may be meant, by the most exact of the ways in which some are."""
        return next((self._by[key] for key in _keys(file_name) if key in self._by), [])


def _keys(file_name: str) -> Iterator[str]:
    """What `_KnownNames` has: video and frame, both with other separators in one name, the frame alone."""
    *folders, frame = file_name.replace("\\", "/").split("/")
    for name in (frame, _LABEL_STUDIO_HASH.sub("", frame)):
        if folders:
            yield f"{folders[-1]}/{name}"
    for name in (frame, _LABEL_STUDIO_HASH.sub("", frame)):
        yield _SEPARATORS.sub(" ", f"/{name}")
        yield f" {name}"
