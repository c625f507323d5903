"""A data set with the labels that an annotation tool gave back.

The pictures of the file get exactly the annotations there; other pictures stay as they are. Files are written beside,
in a folder whose renaming decides that they are the data set's; then they are moved to their places. Where that was
interrupted, the data set cannot be opened before it is finished.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from eomt_ros.evaluation.coco_masks import Mask, MaskError, coco_mask
from eomt_ros.evaluation.counting import counted
from eomt_ros.training.annotation_files import (
    ANNOTATIONS,
    LABELS,
    SPLITS,
    UNFINISHED,
    EntriesFile,
    FrameEntry,
    ImageEntry,
    PanopticEntries,
    SegmentEntry,
    expect_inside,
    instances_file,
    panoptic_file,
    read_annotations,
    read_panoptic,
)
from eomt_ros.training.corrected_tracks import PaintedFrame, VideoTracks
from eomt_ros.training.corrections_file import CorrectedSegment, read_corrections
from eomt_ros.training.dataset import expect_consistent, labelled_frame
from eomt_ros.training.errors import DatasetError
from eomt_ros.training.frame_labels import FrameLabels, SegmentImage, frame_labels, labels_name, panoptic_entry
from eomt_ros.training.leftovers import side_folder


@dataclass(frozen=True)
class Correction:
    """What was corrected, in segments of all pictures."""

    pictures: int
    changed: int = 0
    """Segments of which pixels, or what they are, changed."""
    added: int = 0
    deleted: int = 0
    emptied: int = 0
    """Pictures of the file that had segments, and have none now."""
    hidden: int = 0
    """Annotations that others cover wholly, or that have no pixel in the picture."""

    def text(self) -> str:
        """The counts in one line, and a line for each warning."""
        segments = [f"{self.changed:,} changed", f"{self.added:,} added", f"{self.deleted:,} deleted"]
        lines = [f"{counted(self.pictures, 'picture')} of the file; segments: {', '.join(segments)}"]
        if self.emptied:
            lines.append(f"warning: {counted(self.emptied, 'picture')} had labels and have none in the file")
        if self.hidden:
            lines.append(f"warning: {counted(self.hidden, 'annotation')} without a pixel that can be seen, left out")
        return "\n".join(lines)


def correct(folder: Path, file: Path) -> Correction:
    """Gives the pictures in a file of COCO instances the annotations there; later ones lie on top of earlier ones.

    Raises `DatasetError` where the file or the data set is not as it should be, `OSError`; the data set is then as it
    was.
    """
    finish_interrupted(folder)
    entries = {split: read_panoptic(folder, split) for split in SPLITS}
    expect_consistent(folder, entries)
    images = [image for each in entries.values() for image in each.images]
    corrected = read_corrections(file, images, entries["train"].categories)
    side = side_folder(folder, UNFINISHED)
    instances = {split: _instances(folder, split) for split in SPLITS}
    ids = count(1 + max((_id_of(each) for split in instances.values() for each in split), default=0))
    done: Counter[str] = Counter()
    try:
        (side / ANNOTATIONS).mkdir(parents=True)
        for split, each in entries.items():
            if any(image.file_name in corrected for image in each.images):
                rewriting = _Rewriting(folder, side, each, corrected, done)
                entries[split] = rewriting.write(split, instances[split], ids)
        expect_consistent(folder, entries)
        side.rename(folder / UNFINISHED)
    finally:
        shutil.rmtree(side, ignore_errors=True)
    finish_interrupted(folder)
    return Correction(len(corrected), **done)


def finish_interrupted(folder: Path) -> None:
    """Moves the files of corrections that were decided, and not finished, to their places."""
    side = folder / UNFINISHED
    if not side.exists():
        return
    expect_inside(folder, side)
    for kind in (LABELS, ANNOTATIONS):
        for path in sorted((side / kind).rglob("*")):
            target = folder / path.relative_to(side)
            if path.is_file():
                expect_inside(folder, target)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
    shutil.rmtree(side)


class _Rewriting:
    """The files of one split, written to one side."""

    def __init__(
        self,
        folder: Path,
        side: Path,
        entries: PanopticEntries,
        corrected: Mapping[str, Sequence[CorrectedSegment]],
        done: Counter[str],
    ) -> None:
        self._folder = folder
        self._side = side
        self._entries = entries
        self._corrected = corrected
        self._done = done
        self._is_thing = [bool(category.isthing) for category in entries.categories]
        self._listed = {frame.image_id: frame.segments_info for frame in entries.annotations}

    def write(self, split: str, instances: Sequence[Mapping[str, Any]], ids: Iterator[int]) -> PanopticEntries:
        """Writes the split; instances: its annotations so far, ids: for those that are new."""
        of_image: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for annotation in instances:
            of_image[annotation["image_id"]].append(annotation)
        frames = []
        with (
            EntriesFile(panoptic_file(self._side, split)) as panoptic,
            EntriesFile(instances_file(self._side, split)) as own_instances,
        ):
            for image, labels in self._frames(of_image):
                segments = labels.segments if isinstance(labels, FrameLabels) else labels
                annotations = labels.instances(image, ids) if isinstance(labels, FrameLabels) else of_image[image.id]
                panoptic.add(panoptic_entry(image, segments))
                frames.append(FrameEntry(image.id, labels_name(image.file_name), segments))
                for annotation in annotations:
                    own_instances.add(annotation)
            for file in (panoptic, own_instances):
                file.finish(self._entries.images, self._entries.videos, self._entries.categories)
        return replace(self._entries, annotations=tuple(frames))

    def _frames(
        self, of_image: Mapping[int, Any]
    ) -> Iterator[tuple[ImageEntry, FrameLabels | tuple[SegmentEntry, ...]]]:
        """All annotated pictures, video by video, with what is new, or with their entries where nothing is."""
        videos: dict[int, list[ImageEntry]] = defaultdict(list)
        for image in sorted(self._entries.images, key=lambda image: (image.video_id, image.frame_id)):
            videos[image.video_id].append(image)
        for images in videos.values():
            tracks = self._tracks(images)
            for place, image in enumerate(images):
                listed = self._listed.get(image.id, ())
                drawn = self._corrected.get(image.file_name)
                if drawn is not None:
                    yield image, self._corrected_labels(image, drawn, tracks.entries(place))
                elif listed and image.id not in of_image:
                    yield image, frame_labels(self._segments(image), listed)  # for the instances that are lost
                elif image.id in self._listed:
                    yield image, listed

    def _tracks(self, images: Sequence[ImageEntry]) -> VideoTracks:
        changes = [image.file_name in self._corrected for image in images]
        listed = [self._listed.get(image.id, ()) for image in images]
        tracks = VideoTracks(self._is_thing, [each for frame in listed for each in frame])
        for place, image in enumerate(images):
            segments = self._segments(image) if any(changes[place : place + 2]) else None
            drawn = self._corrected.get(image.file_name)
            painted = None if drawn is None else self._painted(image, drawn)
            tracks.add(PaintedFrame(segments, listed[place], painted, drawn or ()))
        return tracks

    def _corrected_labels(
        self, image: ImageEntry, drawn: Sequence[CorrectedSegment], entries: Sequence[SegmentEntry]
    ) -> FrameLabels:
        painted = self._painted(image, drawn)
        segments = np.array([0, *(entry.id for entry in entries)], np.int32)[painted]
        labels = frame_labels(segments, {entry.id: entry for entry in entries}.values())
        target = self._side / LABELS / labels_name(image.file_name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(labels.png)
        before = self._segments(image)
        known = {each.id: _meaning(each) for each in self._listed.get(image.id, ())}
        now = {each.id: _meaning(each) for each in labels.segments}
        self._done["added"] += len(now.keys() - known.keys())
        self._done["deleted"] += len(known.keys() - now.keys())
        for segment in now.keys() & known.keys():
            same = now[segment] == known[segment] and np.array_equal(segments == segment, before == segment)
            self._done["changed"] += not same
        self._done["emptied"] += bool(known) and not now
        self._done["hidden"] += len(drawn) - int(np.count_nonzero(np.unique(painted)))
        return labels

    def _painted(self, image: ImageEntry, drawn: Sequence[CorrectedSegment]) -> SegmentImage:
        """(H, W) 1 + the place of the annotation on top."""
        painted = np.zeros((image.height, image.width), np.int32)
        for place, each in enumerate(drawn, 1):
            try:
                painted[self._mask(image, each)] = place
            except MaskError as error:
                raise DatasetError(f"{each.where} {error}") from error
        return painted

    def _mask(self, image: ImageEntry, drawn: CorrectedSegment) -> Mask:
        """The mask of an annotation; of a box alone that of the segment which it is the box of.

        CVAT's export finds no polygon around masks that are one pixel wide, and leaves their box.
        """
        if not drawn.segmentation and isinstance(drawn.box, list) and len(drawn.box) == 4:
            for each in self._listed.get(image.id, ()):
                if each.category_id == drawn.class_id + 1 and _near(each.bbox, drawn.box):
                    return self._segments(image) == each.id
        return coco_mask(drawn.segmentation, image.height, image.width)

    def _segments(self, image: ImageEntry) -> SegmentImage:
        """The segment ids of a picture as they were."""
        listed = self._listed.get(image.id)
        if listed is None:
            return np.zeros((image.height, image.width), np.int32)
        return labelled_frame(self._folder, "", image, listed).read_segments()


def _meaning(segment: SegmentEntry) -> tuple[int, int, int | None]:
    return segment.category_id, segment.iscrowd, segment.track_id


def _near(box: Sequence[float], other: Sequence[Any]) -> bool:
    """True for boxes that are the same but for rounding."""
    return len(box) == 4 and all(
        isinstance(value, int | float) and abs(own - value) <= 1 for own, value in zip(box, other, strict=True)
    )


def _instances(folder: Path, split: str) -> list[Mapping[str, Any]]:
    """The annotations in the file of instances; none where it is not there or damaged, so that it is made anew."""
    path = instances_file(folder, split)
    expect_inside(folder, path)
    try:
        annotations = read_annotations(path).get("annotations")
    except DatasetError:
        return []
    there = annotations if isinstance(annotations, list) else []
    return [each for each in there if isinstance(each, dict) and type(each.get("image_id")) is int]


def _id_of(annotation: Mapping[str, Any]) -> int:
    number = annotation.get("id")
    return number if type(number) is int else 0
