"""What all formats need: classes and videos with the numbers that a data set gives them, and the segments of frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from eomt_ros.engine import FrameResult
from eomt_ros.engine.model.labels import Labels
from eomt_ros.engine.postprocess.rle import Box
from eomt_ros.evaluation.coco_masks import pycocotools_mask
from eomt_ros.evaluation.metrics.overlap import Flags, Key
from eomt_ros.evaluation.sources.sequence import FrameSequence, Numbering


@dataclass(frozen=True)
class ExportedClasses:
    """The classes of predictions, by class id."""

    names: tuple[str, ...]
    is_thing: Flags
    numbers: tuple[int, ...]
    """Those of the data set's categories, or from 1 where it is none."""

    @classmethod
    def of(cls, labels: Labels, numbering: Numbering | None, *, are_the_models: bool) -> ExportedClasses:
        """are_the_models: a robot's own classes have no numbers in a data set."""
        numbers = tuple(range(1, len(labels.class_names) + 1))
        if numbering is not None and are_the_models:
            numbers = numbering.categories
        return cls(labels.class_names, np.array(labels.is_thing, bool), numbers)

    def categories(self) -> list[dict[str, Any]]:
        """As COCO has them."""
        entries = zip(self.numbers, self.names, self.is_thing.tolist(), strict=True)
        return [{"id": number, "name": name, "isthing": int(thing)} for number, name, thing in entries]


@dataclass(frozen=True)
class ExportedVideo:
    """A sequence, and how it is called."""

    name: str
    """As a folder may be called."""
    number: int
    """In the data set, else from 1."""
    frames: Mapping[str, int] = field(default_factory=dict)
    """The places of all frames by their names, where these are known beforehand."""
    pictures: Sequence[int] = ()
    """The data set's numbers of frames, where it has some."""

    @classmethod
    def of(cls, sequence: FrameSequence, place: int) -> ExportedVideo:
        """place: of the sequence among all, from 0."""
        name, numbering = sequence.name.strip("/").replace("/", "_"), sequence.numbering
        if numbering is None:
            return cls(name, place + 1)
        number = numbering.video if isinstance(numbering.video, int) else place + 1
        return cls(name, number, {each: at for at, each in enumerate(numbering.frames)}, numbering.pictures)


class ExportedFrame(NamedTuple):
    """A frame that has a prediction."""

    video: ExportedVideo
    place: int
    """Among all frames of the video, from 0."""
    name: str


class Export(Protocol):
    """Writes one format; what a failed write leaves is removed by the caller."""

    def add(self, frame: ExportedFrame, found: FrameResult) -> None:
        """Adds the next frame of the video. Raises `OSError`."""
        ...

    def end_video(self, video: ExportedVideo, frames: int) -> None:
        """Ends a video of so many frames. Raises `OSError`."""
        ...


class ShownSegments(NamedTuple):
    """The segments of a frame, N, as the metrics of an evaluation take them."""

    places: npt.NDArray[np.intp]
    """(H, W) place of the pixel's segment in what follows, N where there is none."""
    keys: list[Key]
    areas: list[int]
    """Pixels."""

    def mask(self, place: int) -> npt.NDArray[np.bool_]:
        """(H, W)"""
        return self.places == place

    def box(self, place: int) -> Box:
        """The box around a segment."""
        x, y, width, height = cv2.boundingRect(self.mask(place).view(np.uint8))
        return x, y, width, height


def shown_segments(found: FrameResult, is_thing: Flags) -> ShownSegments:
    """Things by class and id, stuff by class; is_thing: by class id."""
    classes = found.semantic.astype(np.int64)
    of_things = np.append(is_thing, False)[np.minimum(classes, len(is_thing))]
    ids = np.where(of_things, found.panoptic, 0).astype(np.int64)
    none = (classes >= len(is_thing)) | (of_things & (ids == 0))
    codes = np.where(none, -1, classes << 32 | ids).ravel()
    # Sorted stretch by stretch: pixels are many times as many.
    starts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
    lengths = np.diff(starts, append=codes.size)
    distinct, numbers = np.unique(codes[starts], return_inverse=True)
    count = int(np.count_nonzero(distinct >= 0))
    numbers = np.where(codes[starts] < 0, count, numbers - (len(distinct) - count))
    areas = np.bincount(numbers, lengths, minlength=count)[:count]
    keys = [Key(code >> 32, found.epoch, code & 0xFFFFFFFF) for code in distinct.tolist() if code >= 0]
    return ShownSegments(np.repeat(numbers, lengths).reshape(classes.shape), keys, areas.astype(int).tolist())


def run_lengths(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """A mask as COCO has it, to be written as JSON."""
    found = pycocotools_mask().encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": found["counts"].decode("ascii")}
