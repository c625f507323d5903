"""Frames of data sets for training: decoded, kept within a bound of memory, damaged ones skipped and counted."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from eomt_ros.engine.errors import UnfitImageError
from eomt_ros.engine.preprocess.geometry import Fit
from eomt_ros.training.dataset import Dataset, DatasetClass, DatasetError, LabelledFrame, LabelledSegment

MOST_BYTES = 2**30
"""Of decoded frames in one process: 2,600 of 424x240, 290 of 1280x720. One that is not among them costs a few
milliseconds of a loading thread, or some tens."""
BACKGROUND = -1
"""The class of what is labelled and that no query shall show: stuff, in the instance task."""

_log = logging.getLogger(__name__)


class AskedSegment(NamedTuple):
    """A segment as a network is asked for it."""

    key: int
    """Segments of one key are one."""
    class_id: int
    track: int
    """-1 for none."""


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """A frame's pixels."""

    segments: tuple[LabelledSegment, ...]
    image: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""
    places: npt.NDArray[np.signedinteger]
    """(H, W) places in `segments`; -1 unlabelled."""


class Footage:
    """The training videos of a data set, with their classes as those that are trained.

    classes: those that are trained; others of the same name are the same, and what else the data set has is unlabelled.
    Raises `DatasetError` where no frame has anything that is asked.
    """

    def __init__(self, dataset: Dataset, classes: Sequence[DatasetClass], task: str) -> None:
        self.folder = dataset.folder
        self.videos = tuple(video.frames for video in dataset.train if video.frames)
        places = {each.name: place for place, each in enumerate(classes)}
        self._class_of = [places.get(each.name) for each in dataset.classes]
        self._is_thing = [each.is_thing and task != "semantic" for each in classes]
        self._asks_stuff = task != "instance"
        self.labelled = self._labelled()
        """Places of all frames in which something is asked: of their videos, and in those."""

    def asked(self, segment: LabelledSegment) -> AskedSegment | None:
        """What the network is asked of a segment: things one by one, stuff by classes; None for nothing."""
        class_id = self._class_of[segment.class_id]
        if class_id is None or segment.crowd:
            return None
        if self._is_thing[class_id]:
            return AskedSegment(segment.id, class_id, -1 if segment.track is None else segment.track)
        class_id = class_id if self._asks_stuff else BACKGROUND
        return AskedSegment(-1 - class_id, class_id, -1)  # ids are above 0

    def things(self, classes: Collection[int]) -> frozenset[int]:
        """Those of some classes that are asked one by one."""
        return frozenset(class_id for class_id in classes if self._is_thing[class_id])

    def showing(self, classes: Collection[int]) -> list[tuple[int, int]]:
        """The places of all frames in which one of these classes is asked, as in `labelled`."""
        return [place for place in self.labelled if any(each.class_id in classes for each in self._asked_in(*place))]

    def _asked_in(self, video: int, index: int) -> Iterator[AskedSegment]:
        return filter(None, map(self.asked, self.videos[video][index].segments))

    def _labelled(self) -> list[tuple[int, int]]:
        found = [
            (place, index)
            for place, frames in enumerate(self.videos)
            for index in range(len(frames))
            if any(self._asked_in(place, index))
        ]
        if not found:
            raise DatasetError(
                f"{self.folder} has nothing to train on: of {sum(map(len, self.videos))} training pictures none has a "
                "segment of a class that is trained; label some, or name classes as the other data set does"
            )
        return found


class FrameLoader:
    """Reads frames, keeps those that were read last, and goes round damaged ones; for several threads at once.

    fit: how the engine places an image; what it refuses is as good as damaged.
    """

    def __init__(self, fit: Fit, most_bytes: int = MOST_BYTES) -> None:
        self.damaged: dict[Path, DatasetError] = {}
        """What could not be read, and why."""
        self._fit = fit
        self._left = most_bytes
        self._frames: OrderedDict[Path, DecodedFrame] = OrderedDict()
        self._lock = threading.Lock()

    def nearest(self, frames: Sequence[LabelledFrame], index: int) -> DecodedFrame:
        """The frame at a place of a video, or the nearest one that can be read.

        Raises `DatasetError` where there is none.
        """
        try:
            return self.read(frames[index])
        except DatasetError as error:
            for other in sorted(range(len(frames)), key=lambda place: abs(place - index))[1:]:
                try:
                    return self.read(frames[other])
                except DatasetError:
                    continue
            raise error

    def read(self, frame: LabelledFrame) -> DecodedFrame:
        """A frame, from memory or from its files.

        Raises `DatasetError` that names the file, of which there is a warning the first time.
        """
        with self._lock:
            if frame.image in self.damaged:
                raise self.damaged[frame.image]
            if frame.image in self._frames:
                self._frames.move_to_end(frame.image)
                return self._frames[frame.image]
        try:
            decoded = decode_frame(frame)
            self._fit(decoded.image.shape[:2])
        except (DatasetError, UnfitImageError) as error:
            reason = error if isinstance(error, DatasetError) else DatasetError(f"{frame.image}: {error}")
            with self._lock:
                if frame.image not in self.damaged:
                    self.damaged[frame.image] = reason
                    _log.warning("%s; it is skipped, number %d of this process", reason, len(self.damaged))
            raise reason from error
        self._keep(frame.image, decoded)
        return decoded

    def _keep(self, path: Path, decoded: DecodedFrame) -> None:
        with self._lock:
            if path not in self._frames:
                self._frames[path] = decoded
                self._left -= _bytes_of(decoded)
            while self._left < 0:
                self._left += _bytes_of(self._frames.popitem(last=False)[1])


def decode_frame(frame: LabelledFrame) -> DecodedFrame:
    """A frame from its files. Raises `DatasetError` that names the file."""
    image, segments = frame.read()
    count = len(frame.segments)
    table = np.full(max((segment.id for segment in frame.segments), default=0) + 1, -1, np.min_scalar_type(-1 - count))
    table[[segment.id for segment in frame.segments]] = np.arange(count)
    return DecodedFrame(frame.segments, image, table.take(segments))


def _bytes_of(decoded: DecodedFrame) -> int:
    return decoded.image.nbytes + decoded.places.nbytes
