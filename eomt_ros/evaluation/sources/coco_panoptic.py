"""COCO panoptic (cocodataset.org), and other pictures in its format, each of which stands alone:

    coco/  {train,val}2017/*.jpg  annotations/panoptic_{train,val}2017.json  annotations/panoptic_{train,val}2017/*.png

or the folder of PNG files beside that of pictures. `panoptic_val.json` with `val/` will do as well. Class ids are
things first, then stuff, each by the numbers of the categories, as the published models are trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eomt_ros.continuity import MAX_GAP
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import Truth
from eomt_ros.evaluation.label_image import pack
from eomt_ros.evaluation.sources.annotations import expect_inside, read_annotations, relative_path
from eomt_ros.evaluation.sources.files import read_pictures
from eomt_ros.evaluation.sources.image_files import read_picture
from eomt_ros.evaluation.sources.sequence import FrameSequence, Numbering, Problems, SourceFrame
from eomt_ros.evaluation.sources.truth import UNREADABLE_TRUTH

RATE = 0.5 / MAX_GAP
"""Pictures per second: so far apart that none goes on where the one before ended."""
_PREFIX = "panoptic_"
_UNLABELLED = 2**16 - 1


class _Segment(NamedTuple):
    colour: int
    """R + 256 G + 65536 B."""
    class_id: int
    is_thing: bool
    """False of a crowd, too."""


@dataclass(frozen=True, eq=False)
class _Picture:
    number: int
    image: Path
    mask: Path
    segments: list[_Segment]


def is_coco_panoptic(path: Path) -> bool:
    """True if a folder is laid out as above."""
    return any((path / "annotations").glob(f"{_PREFIX}*.json"))


def coco_panoptic_sequences(path: Path, split: str) -> list[FrameSequence]:
    """All pictures of a split as one sequence without any order in time. Raises `SourceError`."""
    folder = path / "annotations"
    files = sorted(folder.glob(f"{_PREFIX}{split}*.json"))
    if len(files) != 1:
        there = ", ".join(sorted(each.name for each in folder.glob("*.json")))
        raise SourceError(f"{folder} has {len(files)} files {_PREFIX}{split}*.json, expected one; there are: {there}")
    part = files[0].stem.removeprefix(_PREFIX)
    masks = next((each / f"{_PREFIX}{part}" for each in (path, folder) if (each / f"{_PREFIX}{part}").is_dir()), None)
    if masks is None or not (path / part).is_dir():
        raise SourceError(
            f"{path} lacks the pictures {part}/ or the PNG files {_PREFIX}{part}/, which have to be unzipped"
        )
    names, numbers, pictures = read_annotations(files[0], "in COCO's panoptic format", partial(_parsed, file=files[0]))
    return [
        FrameSequence(
            f"{path.resolve().name} {part}",
            partial(_read, path / part, masks, pictures),
            count=len(pictures),
            truth=str(masks),
            class_names=names,
            numbering=Numbering(
                part,
                tuple(each.image.stem for each in pictures),
                numbers,
                tuple(each.number for each in pictures),
            ),
        )
    ]


def _parsed(content: Any, file: Path) -> tuple[tuple[str, ...], tuple[int, ...], list[_Picture]]:
    """Names and numbers of the categories, in the order of class ids, and the pictures."""
    categories = {int(each["id"]): (not each["isthing"], str(each["name"])) for each in content["categories"]}
    numbers = sorted(categories, key=lambda number: (categories[number][0], number))
    class_ids = {number: class_id for class_id, number in enumerate(numbers)}
    images = {int(each["id"]): relative_path(str(each["file_name"]), file) for each in content["images"]}
    pictures = [
        _Picture(
            int(entry["image_id"]),
            Path(images[int(entry["image_id"])]),
            Path(relative_path(str(entry["file_name"]), file)),
            [
                _Segment(
                    int(segment["id"]),
                    class_ids[int(segment["category_id"])],
                    not (categories[int(segment["category_id"])][0] or segment.get("iscrowd")),
                )
                for segment in entry["segments_info"]
            ],
        )
        for entry in content["annotations"]
    ]
    if not all(0 <= segment.colour < 1 << 24 for each in pictures for segment in each.segments):
        raise ValueError("a segment's id is no colour, 0 to 16777215")
    if len(categories) >= _UNLABELLED:
        raise ValueError(f"{len(categories)} categories")
    return tuple(categories[number][1] for number in numbers), tuple(numbers), pictures


def _read(images: Path, masks: Path, pictures: list[_Picture], problems: Problems) -> Iterator[SourceFrame]:
    # A thing has an id of its own among all pictures.
    before = [0, *accumulate(len(each.segments) for each in pictures)]
    files = [images / each.image for each in pictures]
    for index, frame in read_pictures(files, RATE, problems, inside=images):
        mask, truth = masks / pictures[index].mask, None
        try:
            expect_inside(mask, masks)
            truth = _truth(mask, pictures[index].segments, before[index])
        except SourceError as error:
            problems.tally(*UNREADABLE_TRUTH, str(error))
        yield replace(frame, truth=truth)


def _truth(mask: Path, segments: list[_Segment], before: int) -> Truth:
    """before: number of the segments of all pictures before."""
    colours = pack(read_picture(mask))
    classes = np.full(len(segments) + 1, _UNLABELLED, np.uint16)
    instances = np.zeros(len(segments) + 1, np.uint32)
    ordered = sorted(segments)
    for place, segment in enumerate(ordered):
        classes[place] = segment.class_id
        instances[place] = before + place + 1 if segment.is_thing else 0
    # The last place is for void, and for what the JSON does not know.
    listed = np.array([*(segment.colour for segment in ordered), -1])
    places = np.searchsorted(listed[:-1], colours).astype(np.intp)
    places = np.where(listed[places] == colours, places, len(segments))
    return Truth(classes[places], instances[places], is_still=True)
