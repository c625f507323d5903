"""Where frames come from: bags, video files, pictures, or data sets, told apart by what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Sequence as Series
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from eomt_ros.evaluation.bag import Bag, BagError, Stamped
from eomt_ros.evaluation.bag.storage import is_bag
from eomt_ros.evaluation.sources.bags import bag_sequence
from eomt_ros.evaluation.sources.datasets import dataset_sequences, is_dataset
from eomt_ros.evaluation.sources.files import picture_sequence, pictures_in, video_sequence
from eomt_ros.evaluation.sources.image_files import PICTURE_SUFFIXES
from eomt_ros.evaluation.sources.sequence import Sequence, SourceError, SourceFrame
from eomt_ros.evaluation.sources.truth import TruthSource
from eomt_ros.evaluation.video import Picture
from eomt_ros.git_lfs import ADVICE, is_pointer


@dataclass(frozen=True)
class Source:
    """Frames, (H, W, 3) uint8 RGB with nanoseconds, to be gone through once."""

    frames: Iterator[Stamped[Picture]]
    count: int | None
    """None where it is not known beforehand."""
    problems: list[str]
    """What is wrong with the input and could be worked around; complete when the last frame was read."""


@contextmanager
def open_sequences(
    paths: Series[Path], *, topic: str | None = None, truth: TruthSource | None = None, split: str = "val"
) -> Iterator[list[Sequence]]:
    """Opens recordings: each bag, video, or folder of pictures is one; pictures that are named singly are one together.

    A folder that is laid out as VIPSeg or VSPW stands for the videos of one of its splits. Each is opened and closed
    again here, so that a wrong one is found before the first is gone through, and opened once more for its frames.

    topic: that of the images in a bag; None: that of its only camera. truth: where the ground truth is; None where none
    is wanted (`TruthSource()` looks in the usual topics). split: of a data set, `train`, `val` or `test`.
    Raises `SourceError`.
    """
    groups = _grouped(paths)
    names = _names([group[0] for group in groups])
    yield [
        sequence
        for group, name in zip(groups, names, strict=True)
        for sequence in _open(group, name, topic, _own_truth(truth, name, alone=len(groups) == 1), split)
    ]


@contextmanager
def open_source(paths: Series[Path], topic: str | None = None) -> Iterator[Source]:
    """Opens one recording for its frames alone, see `open_sequences`. Raises `SourceError`."""
    with open_sequences(paths, topic=topic) as sequences:
        if len(sequences) != 1:
            names = ", ".join(sequence.name for sequence in sequences[:5])
            raise SourceError(f"expected one recording at a time, got {len(sequences)}: {names}")
        sequence = sequences[0]
        frames = (Stamped(frame.stamp, frame.image) for frame in sequence.frames())
        yield Source(frames, sequence.count, sequence.problems)


def _open(paths: list[Path], name: str, topic: str | None, truth: TruthSource | None, split: str) -> list[Sequence]:
    path = paths[0]
    if is_bag(path):
        return [_bag(Bag(path), name, topic, truth)]
    if topic is not None:
        raise SourceError(f"a topic (--topic {topic}) is for bags, and {path} is none")
    if truth is not None and (truth.classes_topic or truth.instances_topic):
        raise SourceError(f"topics of ground truth (--truth-classes, --truth-instances) are for bags, {path} is none")
    truth = TruthSource() if truth is None else truth
    if is_dataset(path):
        if truth.folder is not None:
            raise SourceError(f"--truth {truth.folder}: {path} is a data set, which has its own ground truth")
        return dataset_sequences(path, split)
    if not path.is_dir():
        _check(path)
    if path.is_dir() or _is_picture(path):
        return [picture_sequence(pictures_in(path) if path.is_dir() else paths, name, truth)]
    return [video_sequence(path, name, truth)]


def _bag(bag: Bag, name: str, topic: str | None, truth: TruthSource | None) -> Sequence:
    try:
        with bag:
            sequence = bag_sequence(bag, name, topic=topic, truth=truth)
    except BagError as error:
        raise SourceError(str(error)) from error

    def read(problems: list[str]) -> Iterator[SourceFrame]:
        try:
            with bag:
                yield from read_open(problems)
        except BagError as error:
            raise SourceError(str(error)) from error
        finally:
            sequence.incomplete |= bag.broken_off

    read_open, sequence.read = sequence.read, read
    return sequence


def _check(path: Path) -> None:
    """Raises `SourceError` for a file that is none, or not the one that was meant."""
    try:
        if is_pointer(path):
            raise SourceError(f"{path} {ADVICE}")
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def _grouped(paths: Series[Path]) -> list[list[Path]]:
    """The paths of each recording."""
    for path in paths:
        if not path.exists():
            raise SourceError(f"{path} does not exist")
    pictures = [path for path in paths if _is_picture(path)]
    return [[path] for path in paths if not _is_picture(path)] + ([pictures] if pictures else [])


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.is_dir()


def _names(paths: list[Path]) -> list[str]:
    """A short name for each, and where two would be alike the whole path; a path given twice is told by a number."""
    short = Counter(path.resolve().stem for path in paths)
    names = [path.resolve().stem if short[path.resolve().stem] == 1 else str(path) for path in paths]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: place + 1].count(name)})"
        for place, name in enumerate(names)
    ]


def _own_truth(truth: TruthSource | None, name: str, *, alone: bool) -> TruthSource | None:
    """The ground truth of one recording: if there are several, in a folder of its name."""
    if truth is None or truth.folder is None:
        return truth
    if truth.classes_topic or truth.instances_topic:
        raise SourceError(f"--truth {truth.folder} and topics of ground truth exclude each other: give one of them")
    return truth if alone else replace(truth, folder=truth.folder / name)
