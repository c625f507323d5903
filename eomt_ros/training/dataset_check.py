"""What is wrong with a data set: all of it, each kind of thing in one line with the first place."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eomt_ros.engine.errors import listed
from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.sources.sequence import Problems
from eomt_ros.printable import printable
from eomt_ros.training.annotation_files import (
    IMAGES,
    LABELS,
    SPLITS,
    ImageEntry,
    PanopticEntries,
    SegmentEntry,
    panoptic_file,
    read_panoptic,
)
from eomt_ros.training.annotation_flaws import entry_flaws, image_flaws
from eomt_ros.training.dataset import classes_of, labelled_frame
from eomt_ros.training.errors import DatasetError
from eomt_ros.training.frame_labels import SegmentImage, labels_name
from eomt_ros.training.instances_check import InstancesCheck

MOST_NAMES = 10
"""Names in one line."""


@dataclass(frozen=True)
class DatasetCheck:
    """What was found."""

    errors: tuple[str, ...]
    """Sentences about what has to be mended before training."""
    warnings: tuple[str, ...]
    """Sentences about what is likely to be a mistake, or makes the training worse."""
    summary: str
    """What was looked at."""

    def text(self) -> str:
        """All of it, a line for each."""
        found = ", ".join([counted(len(self.errors), "error"), counted(len(self.warnings), "warning")])
        lines = [f"error: {each}" for each in self.errors] + [f"warning: {each}" for each in self.warnings]
        return "\n".join([*lines, f"{self.summary}: {found}"])


def check_dataset(folder: Path, looked: Callable[[], object] = lambda: None) -> DatasetCheck:
    """Looks at every file of a data set.

    looked: is called after every picture. Raises `DatasetError` where there is no data set, or no pycocotools.
    """
    if not any(panoptic_file(folder, split).exists() for split in SPLITS):
        read_panoptic(folder, SPLITS[0])
    return _Checking(folder, looked).run()


class _Checking:
    def __init__(self, folder: Path, looked: Callable[[], object]) -> None:
        self._folder = folder
        self._looked = looked
        self._errors = Problems()
        self._warnings = Problems()
        self._pixels: dict[str, Counter[int]] = {split: Counter() for split in SPLITS}
        """Of each category id."""
        self._contents: dict[bytes, dict[str, str]] = defaultdict(dict)
        """For the content of each picture a picture with it, by split."""
        self._expected: set[Path] = set()

    def run(self) -> DatasetCheck:
        """Checks the entries, then the pictures one by one, then what is there of each class."""
        entries: dict[str, PanopticEntries] = {}
        for split in SPLITS:
            try:
                entries[split] = read_panoptic(self._folder, split)
            except DatasetError as error:
                self._errors.append(str(error))
        for split, each in entries.items():
            self._check_split(split, each)
        if len(entries) == len(SPLITS):
            self._check_together(entries["train"], entries["val"])
        self._check_contents()
        self._check_classes(entries)
        self._check_files()
        frames = [len(each.annotations) for each in entries.values()]
        videos = sum(len(each.videos) for each in entries.values())
        summary = f"{self._folder}: {counted(videos, 'video')}, {counted(sum(frames), 'labelled picture')}"
        return DatasetCheck(tuple(self._errors), tuple(self._warnings), summary)

    def _check_split(self, split: str, entries: PanopticEntries) -> None:
        file = panoptic_file(self._folder, split).name
        for flaw in entry_flaws(entries):
            self._errors.tally(flaw.one, flaw.many, f"{file}: {flaw.example}")
        instances = InstancesCheck(self._folder, split, entries.categories, self._errors, self._warnings)
        listed = {frame.image_id: frame.segments_info for frame in entries.annotations}
        videos = {video.id: video for video in entries.videos}
        for image in entries.images:
            if any(image_flaws([image], videos)):
                instances.leave_out(image)
            else:
                segments = self._check_picture(split, image, listed.get(image.id))
                instances.check(image, segments, listed.get(image.id, ()))
            self._looked()
        instances.end()

    def _check_picture(
        self, split: str, image: ImageEntry, listed: Sequence[SegmentEntry] | None
    ) -> SegmentImage | None:
        """Returns the segment ids of a picture; None where there are none, or damaged ones."""
        frame = labelled_frame(self._folder, "", image, tuple(listed or ()))
        self._expected |= {frame.image, frame.labels}
        try:
            content = hashlib.sha256(frame.read_image().tobytes()).digest()
            self._contents[content].setdefault(split, image.file_name)
        except DatasetError as error:
            self._errors.tally("picture cannot be used", "pictures cannot be used", str(error))
        if listed is None:
            self._warnings.tally("picture has no labels", "pictures have no labels", image.file_name)
            return None
        try:
            segments = frame.read_segments()
        except DatasetError as error:
            self._errors.tally("picture has labels of no use", "pictures have labels of no use", str(error))
            return None
        if not segments.any():
            what = "has labels in which everything is unlabelled"
            self._warnings.tally(f"picture {what}", f"pictures {what.replace('has', 'have')}", image.file_name)
        numbers, areas = np.unique(segments, return_counts=True)
        area_of = dict(zip(numbers.tolist(), areas.tolist(), strict=True))
        for each in listed:
            if each.id not in area_of:
                where = f"segment {each.id} of {labels_name(image.file_name)}"
                self._warnings.tally("segment has no pixel", "segments have no pixel", where)
            elif not each.iscrowd:
                self._pixels[split][each.category_id] += area_of[each.id]
        return segments

    def _check_together(self, train: PanopticEntries, val: PanopticEntries) -> None:
        if classes_of(train) != classes_of(val):
            self._errors.append("panoptic_train.json and panoptic_val.json have different categories")
        for name in sorted({video.name for video in train.videos} & {video.name for video in val.videos}):
            self._errors.tally("video is in training and in validation", "videos are in both parts", printable(name))
        if not val.annotations:
            self._warnings.append("there is nothing to validate with: no video is in validation")
        sizes = Counter((video.width, video.height) for video in (*train.videos, *val.videos))
        if len(sizes) > 1:
            shown = ", ".join(f"{width}x{height}" for (width, height), _ in sizes.most_common(MOST_NAMES))
            self._warnings.append(f"the videos have {len(sizes)} sizes: {shown}")

    def _check_contents(self) -> None:
        for files in self._contents.values():
            if len(files) > 1:
                self._errors.tally(
                    "picture of training is in validation too", "pictures of training are in validation too",
                    f"{files['train']} and {files['val']}",
                )  # fmt: skip

    def _check_classes(self, entries: dict[str, PanopticEntries]) -> None:
        if "train" not in entries:
            return
        train, val = self._pixels["train"], self._pixels["val"]
        names = {category.id: category.name for category in entries["train"].categories}
        if not train:
            self._errors.append("nothing is labelled in training")
            return
        absent = [name for number, name in names.items() if number not in train]
        if absent:
            have = counted(len(absent), "class has", "classes have")
            self._warnings.append(f"{have} no pixel in training: {listed(absent, MOST_NAMES)}")
        unseen = [name for number, name in names.items() if number in train and val and number not in val]
        if unseen:
            self._warnings.append(
                f"{counted(len(unseen), 'class is', 'classes are')} not in validation, so nobody will know how well "
                f"the network finds them: {listed(unseen, MOST_NAMES)}"
            )
        if len(names) == 1:
            self._warnings.append(
                f"there is one class only, {listed(list(names.values()), MOST_NAMES)}: it will be found everywhere"
            )

    def _check_files(self) -> None:
        for kind in (IMAGES, LABELS):
            for path in sorted((self._folder / kind).glob("*/*")):
                if path not in self._expected:
                    self._warnings.tally(
                        "file belongs to no entry", "files belong to no entry", str(path.relative_to(self._folder))
                    )
