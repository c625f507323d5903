"""Data sets as they are written: to one side, and to their place when they are whole."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import simplejpeg

from eomt_ros.evaluation.frame import LabelImage
from eomt_ros.training.annotation_files import (
    ANNOTATIONS,
    IMAGES,
    LABELS,
    LARGEST_SEGMENT,
    SPLITS,
    CategoryEntry,
    EntriesFile,
    ImageEntry,
    SegmentEntry,
    VideoEntry,
    instances_file,
    panoptic_file,
)
from eomt_ros.training.annotation_flaws import class_flaws, is_video_name
from eomt_ros.training.dataset import DatasetClass
from eomt_ros.training.errors import DatasetError
from eomt_ros.training.frame_labels import SegmentImage, frame_labels, labels_name, panoptic_entry
from eomt_ros.training.leftovers import side_folder

QUALITY = 95
"""Of JPEG: what is lost is below the noise that training adds."""


@dataclass
class _VideoSoFar:
    id: int
    name: str
    split: str
    height: int
    width: int
    stamps: list[int] = field(default_factory=list)
    things: dict[tuple[int, int], int] = field(default_factory=dict)
    """Class id and instance id -> segment id."""


class DatasetWriter:
    """Writes a data set within its `with` block, whose end renames the folder; an error there leaves nothing.

    Segment ids last a video: the class id + 1 for stuff, and larger ones for things, whose track_id is the same. Things
    of class images without instance ids are one segment a class; where there are instance ids, things without one (0)
    are a crowd. Pictures become JPEG (quality 95) of full colour resolution.

    Raises `DatasetError` where the folder exists and is not empty, or classes are none; `OSError`.
    """

    def __init__(self, folder: Path, classes: Sequence[DatasetClass]) -> None:
        self._folder = folder
        self._categories = tuple(
            CategoryEntry(number, each.name, int(each.is_thing), each.color) for number, each in enumerate(classes, 1)
        )
        for flaw in class_flaws(self._categories):
            raise DatasetError(f"{folder}: {flaw.example}")
        self._is_thing = np.array([each.is_thing for each in classes], bool)
        self._videos: dict[str, _VideoSoFar] = {}
        self._images: dict[str, list[ImageEntry]] = {split: [] for split in SPLITS}
        self._image_count = 0
        self._annotation_ids = count(1)

    def __enter__(self) -> DatasetWriter:
        if self._folder.exists() and (not self._folder.is_dir() or any(self._folder.iterdir())):
            raise DatasetError(f"{self._folder} exists: give another folder for the data set, or remove it")
        self._side = side_folder(self._folder.parent, f".{self._folder.name}")
        (self._side / ANNOTATIONS).mkdir(parents=True)
        self._open = ExitStack()
        self._panoptic, self._instances = (
            {split: self._open.enter_context(EntriesFile(file(self._side, split))) for split in SPLITS}
            for file in (panoptic_file, instances_file)
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._open:
                if kind is None:
                    self._finish()
            if kind is None:
                self._side.rename(self._folder)
        finally:
            shutil.rmtree(self._side, ignore_errors=True)

    def add(
        self,
        video: str,
        split: str,
        stamp: int,
        image: npt.NDArray[np.uint8],
        class_ids: LabelImage,
        instances: LabelImage | None,
    ) -> None:
        """Adds the next frame of a video; frames of several videos may come in turns.

        split: `train` or `val`. stamp: nanoseconds. image: (H, W, 3) RGB. class_ids: (H, W) uint8 or uint16, 255 or
        65535 unlabelled. instances: (H, W) ids of things that last the video, 0 none; None where nobody told them
        apart. Raises `DatasetError` that names the video and the stamp, `OSError`.
        """
        try:
            place = self._place(video, split, stamp, image)
            segments, listed = self._segments(place, class_ids, instances)
        except _UnfitFrameError as error:
            raise DatasetError(f"video {video} at {stamp} ns {error}") from error
        name = f"{video}/{len(place.stamps):06}.jpg"
        labels = frame_labels(segments, listed)
        pixels = np.ascontiguousarray(image)
        jpeg = simplejpeg.encode_jpeg(pixels, quality=QUALITY, colorspace="RGB", colorsubsampling="444")
        for folder, file, content in ((IMAGES, name, jpeg), (LABELS, labels_name(name), labels.png)):
            path = self._side / folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        entry = ImageEntry(
            self._image_count + 1, name, place.width, place.height, place.id, len(place.stamps), int(stamp)
        )
        self._panoptic[split].add(panoptic_entry(entry, labels.segments))
        for annotation in labels.instances(entry, self._annotation_ids):
            self._instances[split].add(annotation)
        self._images[split].append(entry)
        self._image_count += 1
        place.stamps.append(stamp)

    def _place(self, video: str, split: str, stamp: int, image: npt.NDArray[np.uint8]) -> _VideoSoFar:
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(f"image is {image.shape} {image.dtype}, expected (H, W, 3) uint8")
        if not is_video_name(video):
            raise _UnfitFrameError("cannot be written: a video's name has to be that of a folder")
        height, width = image.shape[:2]
        place = self._videos.setdefault(video, _VideoSoFar(len(self._videos) + 1, video, split, height, width))
        if place.split != split:
            raise _UnfitFrameError(f"belongs to {split}, and earlier frames to {place.split}: a video is in one split")
        if (height, width) != (place.height, place.width):
            raise _UnfitFrameError(
                f"is {width}x{height}, and earlier frames {place.width}x{place.height}: a video has one size"
            )
        if place.stamps and stamp <= place.stamps[-1]:
            raise _UnfitFrameError(f"comes after the frame at {place.stamps[-1]} ns, expected the order of time")
        return place

    def _segments(
        self, place: _VideoSoFar, class_ids: LabelImage, instances: LabelImage | None
    ) -> tuple[SegmentImage, list[SegmentEntry]]:
        for what, labels in (("classes", class_ids), ("instance ids", instances)):
            if labels is not None and labels.shape != (place.height, place.width):
                raise _UnfitFrameError(f"has {what} of shape {labels.shape}, and is {place.width}x{place.height}")
        classes = len(self._categories)
        unlabelled = int(np.iinfo(class_ids.dtype).max)
        is_labelled = class_ids != unlabelled
        largest = int(class_ids.max(initial=0, where=is_labelled))
        if largest >= classes:
            raise _UnfitFrameError(f"has class {largest}, expected 0 to {classes - 1}, or {unlabelled} unlabelled")
        known = np.where(is_labelled, class_ids.astype(np.int64), classes)
        ids = np.zeros(known.shape, np.int64) if instances is None else instances.astype(np.int64)
        of_things = np.append(self._is_thing, False)
        codes, place_of = np.unique(np.where(of_things[known], ids, 0) * (classes + 1) + known, return_inverse=True)
        segments = np.zeros(len(codes), np.int32)
        listed = []
        for number, code in enumerate(codes.tolist()):
            instance, class_id = divmod(code, classes + 1)
            if class_id == classes:
                continue
            crowd = bool(self._is_thing[class_id]) and instance == 0 and instances is not None
            thing = (class_id, instance)
            segment = class_id + 1 if instance == 0 else place.things.setdefault(thing, classes + 1 + len(place.things))
            if segment > LARGEST_SEGMENT:
                raise _UnfitFrameError(f"has more things than there are segment ids, {LARGEST_SEGMENT}")
            segments[number] = segment
            listed.append(SegmentEntry(segment, class_id + 1, int(crowd), segment if instance else None))
        return segments[place_of].reshape(known.shape), listed

    def _finish(self) -> None:
        if not self._image_count:
            raise DatasetError(f"{self._folder} is not written: there are no frames")
        for split in SPLITS:
            videos = [
                VideoEntry(each.id, each.name, each.width, each.height, len(each.stamps))
                for each in self._videos.values()
                if each.split == split
            ]
            for file in (self._panoptic[split], self._instances[split]):
                file.finish(self._images[split], videos, self._categories)


class _UnfitFrameError(Exception):
    """A frame that cannot be added; the text goes on after its video and stamp."""
