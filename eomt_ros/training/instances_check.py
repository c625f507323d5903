"""What is wrong with a data set's annotations as instances, which annotation tools read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eomt_ros.evaluation.coco_masks import MaskError, coco_mask, reaches_outside
from eomt_ros.evaluation.json_file import JsonFileError, from_json
from eomt_ros.evaluation.sources.sequence import Problems
from eomt_ros.printable import printable
from eomt_ros.training.annotation_files import (
    CategoryEntry,
    ImageEntry,
    SegmentEntry,
    expect_inside,
    instances_file,
    read_annotations,
)
from eomt_ros.training.corrections_file import ForeignAnnotation, ForeignFile
from eomt_ros.training.errors import DatasetError
from eomt_ros.training.frame_labels import SegmentImage


class InstancesCheck:
    """Compares the instances of one split with its panoptic labels, picture by picture."""

    def __init__(
        self, folder: Path, split: str, categories: Sequence[CategoryEntry], errors: Problems, warnings: Problems
    ) -> None:
        """errors, warnings: get a sentence for each kind of thing that is wrong."""
        self._file = instances_file(folder, split)
        self._errors = errors
        self._warnings = warnings
        self._of_image: dict[int, list[ForeignAnnotation]] = defaultdict(list)
        self._names: dict[int, str] = {}
        self._categories = {category.name: category for category in categories}
        self._is_there = False
        try:
            expect_inside(folder, self._file)
            content = from_json(ForeignFile, read_annotations(self._file))
        except (DatasetError, JsonFileError) as error:
            self._warnings.append(
                f"{error if isinstance(error, DatasetError) else f'{self._file}: {error}'}: annotation tools have "
                "nothing to read, though training has"
            )
            return
        self._is_there = True
        self._names = {category.id: category.name for category in content.categories}
        for annotation in content.annotations:
            self._of_image[annotation.image_id].append(annotation)

    def check(self, image: ImageEntry, segments: SegmentImage | None, listed: Sequence[SegmentEntry]) -> None:
        """Checks the annotations of a picture. segments: its panoptic labels; None where they are missing."""
        own = self._of_image.pop(image.id, [])
        if not self._is_there:
            return
        where = printable(image.file_name)
        classes = np.zeros((image.height, image.width), np.int32)
        painted = np.zeros((image.height, image.width), np.int32)
        under = np.zeros((image.height, image.width), bool)
        for place, annotation in enumerate(own, 1):
            category = self._categories.get(self._names.get(annotation.category_id, ""))
            if category is None:
                what = f"category_id {annotation.category_id}, which panoptic annotations have not"
                self._error(
                    "annotation is of an unknown class", "annotations are of unknown classes", f"{where}: {what}"
                )
                continue
            try:
                mask = coco_mask(annotation.segmentation, image.height, image.width)
                if reaches_outside(annotation.segmentation, image.height, image.width):
                    self._warn(
                        "annotation reaches outside its picture", "annotations reach outside their pictures", where
                    )
            except MaskError as error:
                self._error("annotation has no mask", "annotations have no mask", f"that of {where} {error}")
                continue
            if not mask.any():
                self._warn("annotation has an empty mask", "annotations have empty masks", where)
            if category.isthing and (mask & under).any():
                self._warn("thing lies on another", "things lie on others", f"{where}, annotation of {category.name}")
            under = under | mask if category.isthing else under & ~mask
            painted[mask], classes[mask] = place, category.id
        if segments is not None and not _equal(painted, classes, segments, listed):
            self._warn(
                "picture has instances that differ from its panoptic labels, which are what training reads",
                "pictures have instances that differ from their panoptic labels, which are what training reads",
                f"{where}; --corrections {self._file} takes the instances over",
            )

    def leave_out(self, image: ImageEntry) -> None:
        """Leaves a picture unchecked."""
        self._of_image.pop(image.id, None)

    def end(self) -> None:
        """All pictures were checked."""
        for image_id, left in self._of_image.items():
            for _ in left:
                self._error(
                    "annotation is of an unknown picture", "annotations are of unknown pictures", f"image_id {image_id}"
                )

    def _error(self, one: str, many: str, example: str) -> None:
        self._errors.tally(one, many, f"{self._file.name}: {example}")

    def _warn(self, one: str, many: str, example: str) -> None:
        self._warnings.tally(one, many, f"{self._file.name}: {example}")


def _equal(
    painted: SegmentImage, classes: SegmentImage, segments: SegmentImage, listed: Sequence[SegmentEntry]
) -> bool:
    """True where both part the picture alike, into segments of the same classes."""
    category_of = np.zeros(int(segments.max()) + 1, np.int32)
    for each in listed:
        if each.id < len(category_of):
            category_of[each.id] = each.category_id
    if not np.array_equal(category_of[segments], classes):
        return False
    base = len(category_of)
    pairs = [divmod(pair, base) for pair in np.unique(painted.astype(np.int64) * base + segments).tolist()]
    return len({one for one, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)
