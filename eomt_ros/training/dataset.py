"""Data sets of labelled pictures, as `eomt-ros dataset` writes them and as training reads them.

    DATA/
      images/<video>/<frame>.jpg|png     pictures
      panoptic/<video>/<frame>.png       segment ids, R + 256 G + 65536 B, 0 unlabelled
      annotations/panoptic_{train,val}.json, instances_{train,val}.json

What is read here are the panoptic annotations; those of instances are for annotation tools (`corrections.py`).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eomt_ros.engine.model.labels import Labels
from eomt_ros.evaluation.label_image import LabelImageError, decode_png
from eomt_ros.picture_files import (
    JPEG_START,
    PNG_START,
    ImageError,
    decode_colour_png,
    decode_jpeg,
    jpeg_size,
    png_size,
)
from eomt_ros.regular_file import read_bytes, sha256_of
from eomt_ros.training.annotation_files import (
    IMAGES,
    LABELS,
    SPLITS,
    ImageEntry,
    PanopticEntries,
    SegmentEntry,
    expect_inside,
    panoptic_file,
    read_panoptic,
)
from eomt_ros.training.annotation_flaws import entry_flaws
from eomt_ros.training.errors import DatasetError
from eomt_ros.training.frame_labels import SegmentImage, labels_name

__all__ = ["Dataset", "DatasetClass", "DatasetError", "LabelledFrame", "LabelledSegment", "LabelledVideo"]

LARGEST_FILE = 1 << 29
"""Bytes of a picture."""
CHECK = "`eomt-ros dataset --check` says all that is wrong"


@dataclass(frozen=True)
class DatasetClass:
    """A class of a data set; its class id is its place among them."""

    name: str
    is_thing: bool
    color: tuple[int, int, int]
    """RGB, 0..255."""


@dataclass(frozen=True)
class LabelledSegment:
    """A segment of one frame."""

    id: int
    """Its value in the frame's image of segments; lasts within the video."""
    class_id: int
    track: int | None
    """The same for a thing in all frames of the video, another one for each; None for stuff and what is not tracked."""
    crowd: bool
    """True for things that nobody told apart: neither trained on nor scored."""


@dataclass(frozen=True)
class LabelledFrame:
    """A picture with its labels."""

    video: str
    index: int
    """Place in the video."""
    stamp: int
    """Nanoseconds."""
    image: Path
    labels: Path
    height: int
    width: int
    segments: tuple[LabelledSegment, ...]

    def read(self) -> tuple[npt.NDArray[np.uint8], SegmentImage]:
        """The picture, (H, W, 3) uint8 RGB, and its segment ids, (H, W) int32, 0 unlabelled.

        Raises `DatasetError` that names the file which is missing, damaged, of another size, or has other segments.
        """
        return self.read_image(), self.read_segments()

    def read_image(self) -> npt.NDArray[np.uint8]:
        """The picture alone, see `read`."""
        data = _content(self.image)
        what = str(self.image)
        try:
            if data.startswith(JPEG_START):
                self._expect_size(self.image, jpeg_size(what, data))
                return np.asarray(decode_jpeg(what, data), np.uint8)
            if data.startswith(PNG_START):
                self._expect_size(self.image, png_size(what, data))
                return np.asarray(decode_colour_png(what, data), np.uint8)
        except ImageError as error:
            raise DatasetError(str(error)) from error
        raise DatasetError(f"{what} is neither JPEG nor PNG")

    def read_segments(self) -> SegmentImage:
        """The segment ids alone, see `read`."""
        data = _content(self.labels)
        what = str(self.labels)
        try:
            if not data.startswith(PNG_START):
                raise ImageError(f"{what} is no PNG")
            self._expect_size(self.labels, png_size(what, data))
            segments = decode_png(data, colours=True).astype(np.int32, copy=False)
        except ImageError as error:
            raise DatasetError(str(error)) from error
        except LabelImageError as error:
            raise DatasetError(f"{what} is {error}") from error
        listed = np.zeros(max(int(segments.max()), *(each.id for each in self.segments), 0) + 1, bool)
        listed[[0, *(each.id for each in self.segments)]] = True
        unlisted = ~listed[segments]
        if unlisted.any():
            raise DatasetError(f"{what} has the segment {segments[unlisted][0]}, which the annotations do not list")
        return segments

    def _expect_size(self, path: Path, size: tuple[int, int]) -> None:
        if size != (self.height, self.width):
            raise DatasetError(
                f"{path} is {size[1]}x{size[0]}, expected {self.width}x{self.height} as the annotations say"
            )


@dataclass(frozen=True)
class LabelledVideo:
    """The frames of one video, in the order of time."""

    name: str
    frames: tuple[LabelledFrame, ...]


@dataclass(frozen=True)
class Dataset:
    """A data set; no video is in both parts."""

    folder: Path
    classes: tuple[DatasetClass, ...]
    train: tuple[LabelledVideo, ...]
    val: tuple[LabelledVideo, ...]
    fingerprint: str
    """SHA-256 over the panoptic annotations, and the names and sizes of all pictures and labels, hexadecimal."""

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """Opens the data set in a folder, without reading its pictures; those without an annotation are left out.

        Raises `DatasetError` where the annotations contradict themselves, files are missing, a name or a link leads out
        of the folder, or nothing is labelled that could be trained on.
        """
        entries = {split: read_panoptic(folder, split) for split in SPLITS}
        expect_consistent(folder, entries)
        train, val = (videos_of(folder, entries[split]) for split in SPLITS)
        if not any(not each.crowd for video in train for frame in video.frames for each in frame.segments):
            raise DatasetError(f"{panoptic_file(folder, 'train')} has no segments, so there is nothing to train on")
        frames = [frame for video in (*train, *val) for frame in video.frames]
        digest = hashlib.sha256(sha256_of(panoptic_file(folder, split) for split in SPLITS).encode())
        for path, size in _sizes(folder, frames).items():
            digest.update(f"{path} {size}\n".encode())
        return cls(folder, classes_of(entries["train"]), train, val, digest.hexdigest())


def labels_of(name: str, classes: Sequence[DatasetClass], task: str) -> Labels:
    """The label table of a network with these classes; name: the table's."""
    return Labels(
        name,
        tuple(each.name for each in classes),
        tuple(each.is_thing for each in classes),
        tuple(each.color for each in classes),
        task,
    )


def expect_consistent(folder: Path, entries: Mapping[str, PanopticEntries]) -> None:
    """Raises `DatasetError` for the first flaw in the entries of the splits; without one, `videos_of` takes them."""
    for split, each in entries.items():
        for flaw in entry_flaws(each):
            raise DatasetError(f"{panoptic_file(folder, split)}: {flaw.example} ({CHECK})")
    if classes_of(entries["train"]) != classes_of(entries["val"]):
        raise DatasetError(f"{panoptic_file(folder, 'val')} has other categories than {panoptic_file(folder, 'train')}")
    for name in sorted(set.intersection(*({video.name for video in each.videos} for each in entries.values()))):
        raise DatasetError(f"{folder}: the video {name} is in train and in val, expected in one of them ({CHECK})")


def classes_of(entries: PanopticEntries) -> tuple[DatasetClass, ...]:
    """The classes of a file of annotations."""
    return tuple(DatasetClass(each.name, bool(each.isthing), each.color) for each in entries.categories)


def videos_of(folder: Path, entries: PanopticEntries) -> tuple[LabelledVideo, ...]:
    """The videos with annotated pictures, in the order of the file; the entries have to be consistent."""
    images = {image.id: image for image in entries.images}
    frames: dict[int, list[LabelledFrame]] = defaultdict(list)
    names = {video.id: video.name for video in entries.videos}
    for frame in entries.annotations:
        image = images[frame.image_id]
        frames[image.video_id].append(labelled_frame(folder, names[image.video_id], image, frame.segments_info))
    return tuple(
        LabelledVideo(name, tuple(sorted(frames[number], key=lambda frame: frame.index)))
        for number, name in names.items()
        if number in frames
    )


def labelled_frame(folder: Path, video: str, image: ImageEntry, segments: tuple[SegmentEntry, ...]) -> LabelledFrame:
    """A frame out of its entries."""
    return LabelledFrame(
        video,
        image.frame_id,
        image.stamp,
        folder / IMAGES / image.file_name,
        folder / LABELS / labels_name(image.file_name),
        image.height,
        image.width,
        tuple(LabelledSegment(each.id, each.category_id - 1, each.track_id, bool(each.iscrowd)) for each in segments),
    )


def _content(path: Path) -> bytes:
    folder = path.parents[2]
    try:
        expect_inside(folder, path)
        return read_bytes(path, LARGEST_FILE)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error


def _sizes(folder: Path, frames: list[LabelledFrame]) -> dict[str, int]:
    """Bytes of the frames' files by their names in the data set; all are there and inside of it."""
    sizes: dict[str, int] = {}
    inside: set[Path] = set()
    for frame in frames:
        for path in (frame.image, frame.labels):
            try:
                found = path.lstat()
            except OSError as error:
                raise DatasetError(f"{path} cannot be read: {error.strerror} ({CHECK})") from error
            if path.parent not in inside or stat.S_ISLNK(found.st_mode):
                expect_inside(folder, path)
                inside.add(path.parent)
                found = os.stat(path)
            sizes[path.relative_to(folder).as_posix()] = found.st_size
    return sizes
