"""Data sets as they are published, so that the tables of papers can be remade by who has the data.

VIPSeg (github.com/VIPSeg-Dataset/VIPSeg-Dataset), at 720 lines in COCO's panoptic format, which papers use, or as it
is downloaded:

    VIPSeg_720P/  images/VIDEO/*.jpg  panomasksRGB/VIDEO/*.png  panoptic_gt_VIPSeg_{train,val,test}.json
    VIPSeg/       imgs/VIDEO/*.jpg    panomasks/VIDEO/*.png     {train,val,test}.txt

VSPW (github.com/VSPW-dataset/VSPW-dataset-download):

    VSPW_480p/    data/VIDEO/origin/*.jpg  data/VIDEO/mask/*.png  {train,val,test}.txt

YouTube-VIS and COCO panoptic: see `youtube_vis.py` and `coco_panoptic.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import Truth
from eomt_ros.evaluation.sources.annotations import folder_name, read_annotations
from eomt_ros.evaluation.sources.coco_panoptic import coco_panoptic_sequences, is_coco_panoptic
from eomt_ros.evaluation.sources.dataset_truth import (
    CLASS_COUNT,
    NUMBERS,
    THINGS,
    CocoVideo,
    vipseg_truth,
    vspw_truth,
)
from eomt_ros.evaluation.sources.files import read_pictures
from eomt_ros.evaluation.sources.image_files import PICTURE_SUFFIXES
from eomt_ros.evaluation.sources.sequence import FrameSequence, Numbering, Problems, SourceFrame
from eomt_ros.evaluation.sources.youtube_vis import is_youtube_vis, youtube_vis_sequences
from eomt_ros.regular_file import read_bytes

LARGEST_LIST = 1 << 20
"""Bytes of a list of videos."""
VIPSEG_RATE, VSPW_RATE = 5.0, 15.0
"""Labelled frames per second, as the papers say."""


@dataclass(frozen=True)
class _Video:
    """One video of a data set; names: of its frames, None: all pictures there are."""

    name: str
    images: Path
    masks: Path
    truth: Callable[[Path], Truth]
    names: list[str] | None = None


DatasetLayout = Callable[[Path, str], list[FrameSequence]]
"""The videos in a folder that are of one split (`train`, `val`, `test`)."""


def dataset_sequences(layout: DatasetLayout, path: Path, split: str) -> list[FrameSequence]:
    """The videos of one split in the data set's order. Raises `SourceError`."""
    sequences = layout(path, split)
    if not sequences:
        raise SourceError(f"{path}: the split {split} has no videos")
    return sequences


def dataset_layout(path: Path) -> DatasetLayout | None:
    """The layout of a data set in a folder; None where there is none."""
    if (path / "images").is_dir() and (path / "panomasksRGB").is_dir():
        return partial(_sequences, _vipseg_720p, "vipseg", VIPSEG_RATE)
    if (path / "imgs").is_dir() and (path / "panomasks").is_dir():
        return partial(_sequences, _vipseg, "vipseg", VIPSEG_RATE)
    if any((path / "data").glob("*/origin")):
        return partial(_sequences, _vspw, "vspw", VSPW_RATE)
    if is_youtube_vis(path):
        return youtube_vis_sequences
    return coco_panoptic_sequences if is_coco_panoptic(path) else None


def _sequences(
    videos: Callable[[Path, str], list[_Video]], labels: str, rate: float, path: Path, split: str
) -> list[FrameSequence]:
    """labels: the table in `config/labels`."""
    class_names = _class_names(labels)
    return [_sequence(video, rate, class_names) for video in videos(path, split)]


def _vspw(path: Path, split: str) -> list[_Video]:
    folders = {name: path / "data" / name for name in _listed(path, split)}
    return [_Video(name, folder / "origin", folder / "mask", vspw_truth) for name, folder in folders.items()]


def _vipseg(path: Path, split: str) -> list[_Video]:
    return [
        _Video(name, path / "imgs" / name, path / "panomasks" / name, vipseg_truth) for name in _listed(path, split)
    ]


def _vipseg_720p(path: Path, split: str) -> list[_Video]:
    return [
        _Video(
            name,
            path / "images" / name,
            path / "panomasksRGB" / name,
            CocoVideo(segments).truth,
            list(segments),
        )
        for name, segments in _annotations(path / f"panoptic_gt_VIPSeg_{split}.json").items()
    ]


def _listed(path: Path, split: str) -> list[str]:
    file = path / f"{split}.txt"
    try:
        names = read_bytes(file, LARGEST_LIST).decode("utf-8").split()
    except FileNotFoundError as error:
        there = ", ".join(sorted(each.stem for each in path.glob("*.txt"))) or "none"
        raise SourceError(f"{file} is missing, which lists the videos; there are lists for: {there}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{file} cannot be read: {error}") from error
    return [folder_name(name, file) for name in names]


def _annotations(file: Path) -> dict[str, dict[str, list[tuple[int, int]]]]:
    """Segments and their categories, by video and by name of the frame."""
    numbers, things, videos = read_annotations(file, "in COCO's panoptic video format", partial(_parsed, file=file))
    if numbers != set(range(CLASS_COUNT)) or things != set(THINGS):
        raise SourceError(f"{file} has other categories than VIPSeg's {CLASS_COUNT}, of which {len(THINGS)} are things")
    segments = [segment for frames in videos.values() for each in frames.values() for segment in each]
    if not all(0 <= number < 1 << 24 and category in numbers for number, category in segments):
        raise SourceError(f"{file} has segments of unknown categories, or whose ids are no colour (0 to 16777215)")
    return videos


def _parsed(content: Any, file: Path) -> tuple[set[int], set[int], dict[str, dict[str, list[tuple[int, int]]]]]:
    """The categories, those of things, and the segments."""
    videos = {
        folder_name(str(video["video_id"]), file): {
            Path(frame["file_name"]).stem: [
                (int(segment["id"]), int(segment["category_id"])) for segment in frame["segments_info"]
            ]
            for frame in video["annotations"]
        }
        for video in content["annotations"]
    }
    numbers = {category["id"] for category in content["categories"]}
    return numbers, {category["id"] for category in content["categories"] if category["isthing"]}, videos


def _sequence(video: _Video, rate: float, class_names: tuple[str, ...]) -> FrameSequence:
    if not video.images.is_dir():
        raise SourceError(f"{video.images} is missing, which the data set's list of videos asks for")
    files = {file.stem: file for file in sorted(video.images.iterdir()) if file.suffix.lower() in PICTURE_SUFFIXES}
    names = list(files) if video.names is None else video.names
    return FrameSequence(
        video.name,
        partial(_read, [files.get(name, video.images / f"{name}.jpg") for name in names], video, rate),
        count=len(names),
        seconds=len(names) / rate,
        truth=str(video.masks),
        class_names=class_names,
        numbering=Numbering(video.name, tuple(names), NUMBERS),
    )


def _read(files: list[Path], video: _Video, rate: float, problems: Problems) -> Iterator[SourceFrame]:
    for index, frame in read_pictures(files, rate, problems):
        truth = None
        try:
            truth = video.truth(video.masks / f"{files[index].stem}.png")
        except SourceError as error:
            problems.tally("frame has no ground truth", "frames have no ground truth", str(error))
        yield replace(frame, truth=truth)


def _class_names(labels: str) -> tuple[str, ...]:
    from eomt_ros.engine.model.labels import load_labels  # here, because it brings torch along
    from eomt_ros.package_data import shipped

    return load_labels(shipped("config/labels", "config/labels") / f"{labels}.yaml").class_names
