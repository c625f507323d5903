"""Pictures of the frames that a model got most wrong: input, prediction and ground truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from eomt_ros.engine import Segment
from eomt_ros.engine.model.labels import Labels
from eomt_ros.engine.tracking.tracker import LARGEST_ID
from eomt_ros.evaluation.frame import Truth
from eomt_ros.evaluation.metrics.objects import FrameObjects
from eomt_ros.evaluation.output_folder import WORST_FOLDER
from eomt_ros.evaluation.wrong import WorstFrame
from eomt_ros.overlay import draw, to_jpeg

if TYPE_CHECKING:
    from eomt_ros.evaluation.video import Picture  # which needs a program for videos

FRAMES = 6
APART = 1.0
"""s between two of them at least: one bad moment is one frame."""
LONGEST_SIDE = 1280
"""Pixels; larger pictures are shrunk, so that the frames that are kept need little memory."""


@dataclass(frozen=True, eq=False)
class PicturedFrame:
    """A frame that was scored, with all that its pictures need."""

    sequence: str
    stamp: int
    """Nanoseconds."""
    seconds: float
    """From the start of the sequence."""
    miou: float
    image: Picture
    prediction: Picture
    """The image with the prediction drawn into it."""
    truth: Truth
    objects: FrameObjects | None = None
    """None where there are classes only."""


def by_miou(frame: PicturedFrame) -> tuple[float, ...]:
    """The lower, the worse."""
    return (frame.miou,)


def by_objects(frame: PicturedFrame) -> tuple[float, ...]:
    """The more is missed, a ghost, or has a new id, the worse; among equals the lower mIoU."""
    return (0 if frame.objects is None else -frame.objects.errors, frame.miou)


class WorstFrames:
    """Keeps those of the frames that it is offered for which `rank` is lowest."""

    def __init__(
        self,
        labels: Labels,
        longest_side: int = LONGEST_SIDE,
        rank: Callable[[PicturedFrame], tuple[float, ...]] = by_miou,
    ) -> None:
        self._rank = rank
        self._labels = labels
        self._longest_side = longest_side
        self._kept: list[PicturedFrame] = []
        """Worst first."""

    def offer(self, frame: PicturedFrame) -> None:
        """Keeps a frame, made smaller, if it is one of the worst so far."""
        near = [
            each
            for each in self._kept
            if each.sequence == frame.sequence and abs(each.seconds - frame.seconds) < APART - 1e-6
        ]
        rank = self._rank(frame)
        if any(self._rank(each) <= rank for each in near):
            return
        if not near and len(self._kept) == FRAMES and self._rank(self._kept[-1]) <= rank:
            return
        # Nothing is drawn or encoded yet: most of them will not be among the worst for long.
        instances = None if frame.truth.instances is None else self._small(frame.truth.instances)
        truth = Truth(self._small(frame.truth.classes), instances)
        image, prediction = self._small(frame.image), self._small(frame.prediction)
        small = replace(frame, image=image, prediction=prediction, truth=truth)
        kept = [each for each in self._kept if each not in near]
        self._kept = sorted([*kept, small], key=self._rank)[:FRAMES]

    def pictures(self) -> Iterator[tuple[PicturedFrame, dict[str, Picture]]]:
        """The frames, worst first, each with its pictures: input, prediction and truth."""
        for frame in self._kept:
            truth = draw(frame.image, DrawnTruth(frame.truth, self._labels), self._labels)
            yield frame, {"input": frame.image, "prediction": frame.prediction, "truth": truth}

    def write(self, out: Path, kind_of_worst: str = "") -> tuple[WorstFrame, ...]:
        """Writes their pictures into a folder of `out`, worst first.

        kind_of_worst: a word for their names, where there are pictures of other worst frames. Raises `OSError`.
        """
        if self._kept:
            (out / WORST_FOLDER).mkdir(exist_ok=True)
        frames = []
        for number, (frame, pictures) in enumerate(self.pictures(), start=1):
            paths = {kind: f"{WORST_FOLDER}/{number:02}_{kind_of_worst}{kind}.jpg" for kind in pictures}
            for kind, picture in pictures.items():
                (out / paths[kind]).write_bytes(to_jpeg(picture))
            objects = frame.objects
            worst = WorstFrame(
                sequence=frame.sequence,
                stamp=frame.stamp,
                seconds=frame.seconds,
                miou=frame.miou,
                input=paths["input"],
                prediction=paths["prediction"],
                truth=paths["truth"],
                missed=None if objects is None else objects.missed,
                ghosts=None if objects is None else objects.ghosts,
                switches=None if objects is None else objects.switches,
            )
            frames.append(worst)
        return tuple(frames)

    def _small(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        height, width = image.shape[:2]
        shrunk = self._longest_side / max(height, width)
        if shrunk >= 1:
            return image
        size = max(1, round(width * shrunk)), max(1, round(height * shrunk))
        # Labels cannot be mixed; pictures can.
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA if image.ndim == 3 else cv2.INTER_NEAREST)


class DrawnTruth:
    """The ground truth of a frame, to be drawn as a prediction is: things with their ids, the rest by class."""

    def __init__(self, truth: Truth, labels: Labels) -> None:
        count = len(labels.class_names)
        self.semantic = truth.classes
        classes = np.minimum(truth.classes, count).astype(np.int64)
        things = np.append(np.array(labels.is_thing, bool), False)
        ids = np.zeros_like(classes) if truth.instances is None else truth.instances.astype(np.int64)
        ids[~things[classes]] = 0
        codes, numbers = np.unique(ids * (count + 1) + classes, return_inverse=True)
        numbers = numbers.reshape(classes.shape)
        # A thing's own id where it can be drawn; else, and for what has none, the next number that is free.
        highest = int(ids.max(initial=0))
        free = highest if highest + len(codes) <= LARGEST_ID else 0
        drawn = np.zeros(len(codes), np.uint16)
        self.segments: list[Segment] = []
        for number, (identity, class_id) in enumerate(divmod(code, count + 1) for code in codes.tolist()):
            if class_id == count:
                continue  # unlabelled
            if not identity or free < highest:
                free += 1
                drawn[number] = free
            else:
                drawn[number] = identity
            self.segments.append(_segment(int(drawn[number]), class_id, identity > 0, numbers == number, labels))
        self.panoptic = drawn[numbers]


def _segment(number: int, class_id: int, is_thing: bool, mask: npt.NDArray[np.bool_], labels: Labels) -> Segment:
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    name = labels.class_names[class_id]
    return Segment(number, class_id, name, is_thing, 1.0, int(np.count_nonzero(mask)), (x, y, width, height), 0)
