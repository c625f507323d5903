"""Frames of recordings, picked and labelled, into a data set.

A first pass over the recordings, where it is needed, sees all frames and chooses; the second one labels and writes.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from eomt_ros.engine.model.labels import Labels
from eomt_ros.engine.model.taxonomy import RobotLabels
from eomt_ros.evaluation.counting import Tally
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import Truth
from eomt_ros.evaluation.predictions import EnginePredictions
from eomt_ros.evaluation.progress import Progress
from eomt_ros.evaluation.sources.sequence import FrameSequence, Problems, SourceFrame, frame_count
from eomt_ros.training.annotation_files import TRAIN
from eomt_ros.training.choosing import FramePick, PickOptions, chosen
from eomt_ros.training.dataset import DatasetClass
from eomt_ros.training.dataset_writer import DatasetWriter
from eomt_ros.training.errors import DatasetError
from eomt_ros.training.hard_frames import MEASURES, FramePlace, HardFrames
from eomt_ros.training.prelabel import ClassMap
from eomt_ros.training.splitting import Part, SeenFrame, VideoNames, in_stretches, parted, whole_parts

PICKED = "picked.csv"
"""The file in a data set that says why each of its frames was picked."""


class Labeller(Protocol):
    """Gives the labels of the frames of recordings."""

    is_model: bool
    """Whether the labels are a model's, which takes all frames of a recording in turn."""

    def start_recording(self, name: str) -> None:
        """Begins another recording."""
        ...

    def label(self, frame: SourceFrame) -> Truth | None:
        """The labels of the next frame; None where it has none."""
        ...

    def problems(self) -> list[str]:
        """Problems so far, a sentence each."""
        ...


class TrueLabels:
    """The ground truth of the recordings.

    keeps_others: whether frames without one come too, with nothing labelled, for somebody to label them.
    """

    is_model = False

    def __init__(self, *, keeps_others: bool = False) -> None:
        self._keeps_others = keeps_others

    def start_recording(self, name: str) -> None:
        """Begins another recording."""

    def label(self, frame: SourceFrame) -> Truth | None:
        """The ground truth, if it says anything about the frame."""
        truth = frame.truth
        if truth is not None and (truth.classes != np.iinfo(truth.classes.dtype).max).any():
            return truth
        return Truth(np.full(frame.image.shape[:2], 255, np.uint8)) if self._keeps_others else None

    def problems(self) -> list[str]:
        """None: the recordings tell them."""
        return []


class FoundFrame(NamedTuple):
    """A frame of the recordings, and where it belongs."""

    place: FramePlace
    stretch: int
    frame: SourceFrame


@dataclass
class WrittenDataset:
    """How writing went."""

    problems: list[str]
    """What was wrong with the recordings and could be worked around, a sentence each."""
    is_complete: bool
    """False where reading one of the recordings ended too early."""


class Picking:
    """Makes a data set of recordings.

    classes: of the data; where there is ground truth `classes.model` are those of that. hard: the model by which frames
    are hard, None where that is not asked.
    """

    def __init__(
        self,
        sequences: Sequence[FrameSequence],
        classes: RobotLabels,
        labeller: Labeller,
        options: PickOptions,
        hard: EnginePredictions | None = None,
    ) -> None:
        self._sequences = sequences
        self._classes = classes
        self._labeller = labeller
        self._options = options
        self._hard = hard
        self._without = Tally()

    def write(self, folder: Path) -> WrittenDataset:
        """Picks, labels and writes. Raises `DatasetError` where no frame has labels or can be written, `OSError`."""
        parts = whole_parts(self._sequences, self._options.val)
        picks: dict[FramePlace, FramePick] | None = None
        problems = [each.problems for each in self._sequences]
        if parts is None or self._options.picks:
            parts, picks = self._survey(parts)
            problems = [Problems() for _ in self._sequences]  # the second pass finds the same
        names, frames, rows = VideoNames(), Counter[str](), list[list[Any]]()
        with DatasetWriter(folder, dataset_classes(self._classes.labels)) as writer:
            for found, part, truth in self._labelled(parts, picks, problems):
                video = names.of(part, found.stretch)
                stamp = found.frame.stamp
                writer.add(video, part.split, stamp, found.frame.image, truth.classes, truth.instances)
                if picks is not None:
                    recording = self._sequences[part.recording].name
                    rows.append([video, frames[video], part.split, recording, stamp, *_reasons(picks[found.place])])
                frames[video] += 1
            if not frames:
                raise DatasetError("; ".join(["no frame has labels, so nothing is written", *self._problems()]))
        if picks is not None and self._options.picks:
            _write_picked(folder / PICKED, rows)
        wanted = self._options.hard or 0
        few = (
            [] if picks is None or len(picks) >= wanted else [f"--hard {wanted}: there are {len(picks)} frames in all"]
        )
        return WrittenDataset([*self._problems(), *few], not any(each.problems.incomplete for each in self._sequences))

    def _labelled(
        self, parts: Sequence[Part], picks: dict[FramePlace, FramePick] | None, problems: Sequence[Problems]
    ) -> Iterator[tuple[FoundFrame, Part, Truth]]:
        """The frames that are wanted."""
        total = None if picks is None or self._labeller.is_model else len(picks)
        with Progress(frame_count(self._sequences) if total is None else total) as progress:
            for number, sequence in enumerate(self._sequences):
                own = [part for part in parts if part.recording == number]
                last = max((place.number for place in picks or () if place.recording == number), default=-1)
                self._labeller.start_recording(sequence.name)
                for found in self._read(number, problems[number]):
                    if picks is not None and found.place.number > last:
                        break
                    part = next((each for each in own if each.has(found.place.number)), None)
                    is_wanted = part is not None and (picks is None or found.place in picks)
                    if not is_wanted and not self._labeller.is_model:
                        continue
                    truth = self._labeller.label(found.frame)
                    progress.update()
                    if part is None or not is_wanted:
                        continue
                    if truth is None:
                        self._without.add(f"{sequence.name} at {found.frame.stamp} ns")
                    else:
                        yield found, part, truth

    def _survey(self, parts: list[Part] | None) -> tuple[list[Part], dict[FramePlace, FramePick]]:
        """Goes through all frames and chooses. parts: of the recordings; None where the only one has to be parted."""
        names = self._classes.labels.class_names
        measured = None
        if self._hard is not None:
            measured = HardFrames(names, ClassMap(self._hard.labels, names))
        seen: list[list[SeenFrame]] = []
        with Progress(frame_count(self._sequences)) as progress:
            for number in range(len(self._sequences)):
                teaches = parts is None or parts[number].split == TRAIN
                seen.append(list(self._look(number, measured if teaches else None, progress)))
        if parts is None:
            share = self._options.val
            assert isinstance(share, float)
            parts = [
                part
                for number, (sequence, frames) in enumerate(zip(self._sequences, seen, strict=True))
                for part in parted(number, sequence.name, frames, share)
            ]
        return parts, chosen(parts, seen, self._options, measured)

    def _look(self, number: int, measured: HardFrames | None, progress: Progress) -> Iterator[SeenFrame]:
        """The frames of a recording, which are measured on the way."""
        hard = self._hard if measured is not None else None
        if hard is not None:
            hard.start_sequence(self._sequences[number].name)
        last = -1
        for place, stretch, frame in self._read(number, self._sequences[number].problems):
            truth = None if self._labeller.is_model else self._labeller.label(frame)
            if truth is None and not self._labeller.is_model:
                self._without.add(f"{self._sequences[number].name} at {frame.stamp} ns")
            if measured is not None and hard is not None:
                if stretch != last:
                    measured.start_video()
                last = stretch
                if found := hard.find(frame):
                    measured.add(place, frame.stamp, found, truth)
            progress.update()
            yield SeenFrame(place.number, stretch, frame.stamp, self._labeller.is_model or truth is not None)

    def _read(self, number: int, problems: Problems) -> Iterator[FoundFrame]:
        """The frames of a recording; one that breaks off has ended."""
        sequence = replace(self._sequences[number], problems=problems)
        robot = self._classes
        if self._labeller.is_model:
            frames = sequence.frames()
        else:
            frames = sequence.frames(robot.model.class_names, None if robot.are_the_models else robot.class_ids)
        try:
            with closing(frames):  # type: ignore[type-var]  # a generator
                for index, stretch, frame in in_stretches(frames, problems):
                    yield FoundFrame(FramePlace(number, index), stretch, frame)
        except SourceError as error:
            problems.incomplete = True
            problems.append(str(error))

    def _problems(self) -> list[str]:
        alone = len(self._sequences) == 1
        of_hard = [] if self._hard is None else self._hard.problems()
        return [
            *(each if alone else f"{one.name}: {each}" for one in self._sequences for each in one.problems),
            *self._without.sentence("frame has no labels and was left out", "frames have no labels and were left out"),
            *self._labeller.problems(),
            *(each for each in of_hard if each not in self._labeller.problems()),
        ]


def dataset_classes(labels: Labels) -> list[DatasetClass]:
    """The classes of a data set that has those of a label table."""
    entries = zip(labels.class_names, labels.is_thing, labels.colors, strict=True)
    return [DatasetClass(*entry) for entry in entries]


def _reasons(pick: FramePick) -> list[Any]:
    hard = pick.hard
    if hard is None:
        return [pick.reason, *[""] * (1 + len(MEASURES))]
    return [pick.reason, *(f"{value:.4g}" for value in (hard.hardness, *hard.measures.values()))]


def _write_picked(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["video", "frame", "split", "recording", "stamp", "reason", "hardness", *MEASURES])
        table.writerows(rows)
