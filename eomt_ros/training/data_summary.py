"""How much a data set has of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eomt_ros.training.annotation_files import SPLITS, PanopticEntries, read_panoptic
from eomt_ros.training.dataset import classes_of


@dataclass(frozen=True)
class PartSummary:
    """The part of a data set for training, or the one for validation."""

    videos: int
    frames: int
    pixels: Mapping[str, int]
    """By class, all of them, crowds left out; as are `things`."""
    things: Mapping[str, int]
    """Different things by class of things; where nobody tracked them, those of every frame by their segment ids."""
    labelled: float
    """Share of all pixels that have a class."""


@dataclass(frozen=True)
class DataSummary:
    """A data set."""

    folder: str
    parts: Mapping[str, PartSummary]
    """`train` and `val`."""


def summary_of(folder: Path) -> DataSummary:
    """Counts what the annotations of a data set list. Raises `DatasetError`."""
    return DataSummary(str(folder), {split: _part(read_panoptic(folder, split)) for split in SPLITS})


def _part(entries: PanopticEntries) -> PartSummary:
    classes = classes_of(entries)
    pixels: Counter[int] = Counter()
    things: set[tuple[int, int, bool, int]] = set()
    images = {image.id: image for image in entries.images}
    area = 0
    for frame in entries.annotations:
        image = images[frame.image_id]
        area += image.width * image.height
        for segment in frame.segments_info:
            if segment.iscrowd:
                continue
            class_id = segment.category_id - 1
            pixels[class_id] += round(segment.area)
            untracked = segment.track_id is None
            number = segment.id if segment.track_id is None else segment.track_id
            things.add((class_id, image.video_id, untracked, number))
    counts = Counter(class_id for class_id, *_ in things)
    return PartSummary(
        videos=len({images[frame.image_id].video_id for frame in entries.annotations}),
        frames=len(entries.annotations),
        pixels={each.name: pixels[number] for number, each in enumerate(classes)},
        things={each.name: counts[number] for number, each in enumerate(classes) if each.is_thing},
        labelled=pixels.total() / area if area else 0.0,
    )
