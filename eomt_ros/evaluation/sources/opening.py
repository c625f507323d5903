"""Opens recordings: bags, video files, pictures and data sets, told apart by their names and layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from eomt_ros.evaluation.bag.storage import is_bag
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.sources.bags import BagCamera, bag_sequences
from eomt_ros.evaluation.sources.cameras import camera_names
from eomt_ros.evaluation.sources.datasets import dataset_layout, dataset_sequences
from eomt_ros.evaluation.sources.files import picture_sequence, pictures_in, video_sequence
from eomt_ros.evaluation.sources.image_files import PICTURE_SUFFIXES
from eomt_ros.evaluation.sources.sequence import FrameSequence
from eomt_ros.evaluation.sources.truth import TruthSource
from eomt_ros.regular_file import expect_regular


def open_sequences(
    paths: Sequence[Path],
    *,
    topics: Sequence[str] = (),
    truth: TruthSource | None = None,
    split: str = "val",
    places: bool = False,
) -> list[FrameSequence]:
    """Opens recordings: each bag, video, or folder of pictures is one; pictures that are named singly are one together.

    A folder that is laid out as a data set (see `datasets.py`) stands for the videos of one of its splits. Each is
    opened and closed again here, so that a wrong one is found before the first is gone through, and opened once more
    for its frames.

    topics: those of the images in a bag, each a sequence of its own, called by its camera; none: that of the only
    camera. truth: where the ground truth is; None where none is wanted (`TruthSource()` looks in the usual topics).
    split: of a data set, `train`, `val` or `test`. places: whether depth and odometry of a bag are wanted, for the
    places of things; they are read where there are true boxes, too. Raises `SourceError`.
    """
    groups = _grouped(paths)
    names = _names([group[0] for group in groups])
    several = len(groups) > 1
    found: list[FrameSequence] = []
    for group, name in zip(groups, names, strict=True):
        if is_bag(group[0]):
            cameras = _cameras(topics, truth, name, several=several)
            found += bag_sequences(group[0], name, [camera._replace(places=places) for camera in cameras])
        else:
            found += _open(group, name, topics, _own_truth(truth, name, several=several), split)
    return found


def _cameras(topics: Sequence[str], truth: TruthSource | None, name: str, *, several: bool) -> list[BagCamera]:
    """The cameras of a bag of that name. several: there are several recordings."""
    if len(topics) <= 1:
        return [BagCamera(name, topics[0] if topics else None, _own_truth(truth, name, several=several))]
    cameras = []
    for camera, topic in zip(camera_names(topics), topics, strict=True):
        sequence = f"{name} {camera}" if several else camera
        own = None if truth is None else truth.of_camera(camera)
        cameras.append(BagCamera(sequence, topic, _own_truth(own, sequence, several=True)))
    return cameras


def _open(
    paths: list[Path], name: str, topics: Sequence[str], truth: TruthSource | None, split: str
) -> list[FrameSequence]:
    path = paths[0]
    if topics:
        raise SourceError(f"a topic (--topic {topics[0]}) is for bags, and {path} is none")
    if truth is not None and (truth.classes_topic or truth.instances_topic):
        raise SourceError(f"topics of ground truth (--truth-classes, --truth-instances) are for bags, {path} is none")
    truth = TruthSource() if truth is None else truth
    if layout := dataset_layout(path):
        if truth.folder is not None:
            raise SourceError(f"--truth {truth.folder}: {path} is a data set, which has its own ground truth")
        return dataset_sequences(layout, path, split)
    if path.is_dir():
        return [picture_sequence(pictures_in(path), name, truth)]
    try:
        expect_regular(path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    return [picture_sequence(paths, name, truth) if _is_picture(path) else video_sequence(path, name, truth)]


def _grouped(paths: Sequence[Path]) -> list[list[Path]]:
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


def _own_truth(truth: TruthSource | None, name: str, *, several: bool) -> TruthSource | None:
    """The ground truth of one sequence: of several, that in a folder of its name."""
    if truth is None or truth.folder is None:
        return truth
    if truth.classes_topic or truth.instances_topic:
        raise SourceError(f"--truth {truth.folder} and topics of ground truth exclude each other: give one of them")
    return replace(truth, folder=truth.folder / name) if several else truth
