"""VIPSeg and VSPW as they are published, so that the tables of papers can be remade by who has the data.

VIPSeg (github.com/VIPSeg-Dataset/VIPSeg-Dataset), at 720 lines in COCO's panoptic format, which papers use, or as it
is downloaded:

    VIPSeg_720P/  images/VIDEO/*.jpg  panomasksRGB/VIDEO/*.png  panoptic_gt_VIPSeg_{train,val,test}.json
    VIPSeg/       imgs/VIDEO/*.jpg    panomasks/VIDEO/*.png     {train,val,test}.txt

VSPW (github.com/VSPW-dataset/VSPW-dataset-download):

    VSPW_480p/    data/VIDEO/origin/*.jpg  data/VIDEO/mask/*.png  {train,val,test}.txt
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import Truth
from eomt_ros.evaluation.sources.dataset_truth import CLASS_COUNT, THINGS, CocoVideo, vipseg_truth, vspw_truth
from eomt_ros.evaluation.sources.files import read_pictures
from eomt_ros.evaluation.sources.image_files import PICTURE_SUFFIXES
from eomt_ros.evaluation.sources.sequence import FrameSequence, Problems, SourceFrame
from eomt_ros.regular_file import read_bytes

LARGEST_LIST, LARGEST_ANNOTATIONS = 1 << 20, 1 << 29
"""Bytes of a list of videos, and of a JSON of all their segments."""
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


@dataclass(frozen=True)
class DatasetLayout:
    """One of the ways in which the data sets lie in folders."""

    labels: str
    """The table in `config/labels`."""
    rate: float
    videos: Callable[[Path, str], list[_Video]]


def dataset_sequences(layout: DatasetLayout, path: Path, split: str) -> list[FrameSequence]:
    """The videos of one split (`train`, `val`, `test`) in the data set's order. Raises `SourceError`."""
    videos = layout.videos(path, split)
    if not videos:
        raise SourceError(f"{path}: the split {split} has no videos")
    class_names = _class_names(layout.labels)
    return [_sequence(video, layout.rate, class_names) for video in videos]


def dataset_layout(path: Path) -> DatasetLayout | None:
    """The layout of a data set in a folder; None where there is none."""
    if (path / "images").is_dir() and (path / "panomasksRGB").is_dir():
        return DatasetLayout("vipseg", VIPSEG_RATE, _vipseg_720p)
    if (path / "imgs").is_dir() and (path / "panomasks").is_dir():
        return DatasetLayout("vipseg", VIPSEG_RATE, _vipseg)
    if any((path / "data").glob("*/origin")):
        return DatasetLayout("vspw", VSPW_RATE, _vspw)
    return None


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
    return [_inside(name, file) for name in names]


def _inside(name: str, file: Path) -> str:
    """The name of a video, checked to be that of a folder in this data set, not of another place."""
    if Path(name).name != name or name == "..":
        raise SourceError(f"{file} names the video {reprlib.repr(name)}, expected a folder's name")
    return name


def _annotations(file: Path) -> dict[str, dict[str, list[tuple[int, int]]]]:
    """Segments and their categories, by video and by name of the frame."""
    try:
        content = json.loads(read_bytes(file, LARGEST_ANNOTATIONS))
        things = {category["id"] for category in content["categories"] if category["isthing"]}
        numbers = {category["id"] for category in content["categories"]}
        videos = {
            _inside(str(video["video_id"]), file): {
                Path(frame["file_name"]).stem: [
                    (int(segment["id"]), int(segment["category_id"])) for segment in frame["segments_info"]
                ]
                for frame in video["annotations"]
            }
            for video in content["annotations"]
        }
    except FileNotFoundError as error:
        there = ", ".join(sorted(each.name for each in file.parent.glob("panoptic_gt_VIPSeg_*.json"))) or "none"
        raise SourceError(f"{file} is missing; there are: {there}") from error
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise SourceError(f"{file} is not in COCO's panoptic video format: {repr(error)[:200]}") from error
    if numbers != set(range(CLASS_COUNT)) or things != set(THINGS):
        raise SourceError(f"{file} has other categories than VIPSeg's {CLASS_COUNT}, of which {len(THINGS)} are things")
    segments = [segment for frames in videos.values() for each in frames.values() for segment in each]
    if not all(0 <= number < 1 << 24 and category in numbers for number, category in segments):
        raise SourceError(f"{file} has segments of unknown categories, or whose ids are no colour (0 to 16777215)")
    return videos


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
