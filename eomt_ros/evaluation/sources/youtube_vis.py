"""YouTube-VIS (youtube-vos.org), OVIS (songbai.site/ovis), and other data sets in their format:

    ytvis_2019/  {train,valid,test}/JPEGImages/VIDEO/*.jpg  {train,valid,test}.json
    ytvis_2021/  {train,valid,test}/JPEGImages/VIDEO/*.jpg  {train,valid,test}/instances.json
    OVIS/        {train,valid,test}/VIDEO/*.jpg             annotations_{train,valid,test}.json

A JSON without annotations, as those of `valid` and `test` are published, gives pictures without a ground truth.
Class ids are the places of the categories by their numbers, as the published models are trained.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eomt_ros.evaluation.coco_masks import MaskError, coco_mask
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import Truth
from eomt_ros.evaluation.sources.annotations import folder_name, read_annotations, relative_path
from eomt_ros.evaluation.sources.files import read_pictures
from eomt_ros.evaluation.sources.sequence import FrameSequence, Numbering, Problems, SourceFrame
from eomt_ros.evaluation.sources.truth import UNREADABLE_TRUTH

RATE = 6.0
"""Frames per second of YouTube-VIS: every fifth of a video."""
MOST_TRACKS = 2**16 - 1
_SPLITS = ("train", "valid", "val", "test")
_UNLABELLED = 2**16 - 1


@dataclass(frozen=True, eq=False)
class _Track:
    id: int
    """From 1 in each video; 0 of a crowd."""
    class_id: int
    masks: list[Any]
    """One of each frame, None where it is not seen."""


@dataclass(frozen=True, eq=False)
class _Video:
    number: int
    files: list[Path]
    """Below the folder of pictures."""
    tracks: list[_Track]


def is_youtube_vis(path: Path) -> bool:
    """True if a folder is laid out as above."""
    return any((path / split / "JPEGImages").is_dir() or _ovis(path, split).is_file() for split in _SPLITS)


def youtube_vis_sequences(path: Path, split: str) -> list[FrameSequence]:
    """The videos of a split, `valid` for `val` too, in the order of the JSON. Raises `SourceError`."""
    file, images = _places(path, split)
    categories, videos = read_annotations(file, "in YouTube-VIS' format", partial(_parsed, file=file))
    names = tuple(categories.values())
    has_truth = any(video.tracks for video in videos.values())
    return [
        FrameSequence(
            name,
            partial(_read, images, video, has_truth),
            count=len(video.files),
            seconds=len(video.files) / RATE,
            truth=str(file) if has_truth else None,
            class_names=names,
            numbering=Numbering(video.number, tuple(each.stem for each in video.files), tuple(categories)),
        )
        for name, video in videos.items()
    ]


def _places(path: Path, split: str) -> tuple[Path, Path]:
    """The JSON of a split, and the folder of its pictures."""
    names = ("valid", "val") if split in ("valid", "val") else (split,)
    for name in names:
        folder = path / name
        images = folder / "JPEGImages" if (folder / "JPEGImages").is_dir() else folder
        for file in (folder / "instances.json", path / f"{name}.json", _ovis(path, name)):
            if file.is_file() and images.is_dir():
                return file, images
    there = [each for each in _SPLITS if (path / each).is_dir()]
    raise SourceError(
        f"{path} has no split {split} with its annotations ({names[0]}/instances.json, {names[0]}.json or "
        f"annotations_{names[0]}.json); there are folders for: {', '.join(there) or 'none'}"
    )


def _ovis(path: Path, split: str) -> Path:
    return path / f"annotations_{split}.json"


def _parsed(content: Any, file: Path) -> tuple[dict[int, str], dict[str, _Video]]:
    """Names of the categories by number, and the videos by name."""
    categories = dict(sorted((int(each["id"]), str(each["name"])) for each in content["categories"]))
    class_ids = {number: class_id for class_id, number in enumerate(categories)}
    by_number: dict[int, _Video] = {}
    videos: dict[str, _Video] = {}
    for entry in content["videos"]:
        files = [Path(relative_path(str(name), file)) for name in entry["file_names"]]
        if not files:
            continue
        video = by_number[int(entry["id"])] = _Video(int(entry["id"]), files, [])
        videos[folder_name(files[0].parts[0], file)] = video
    counted: defaultdict[int, int] = defaultdict(int)
    for entry in content.get("annotations") or ():
        number, masks = int(entry["video_id"]), list(entry["segmentations"])
        if number not in by_number:
            continue
        if len(masks) != len(by_number[number].files):
            raise ValueError(f"a track of video {number} has {len(masks)} masks, the video has other frames")
        counted[number] += 1
        track = 0 if entry.get("iscrowd") else counted[number]
        by_number[number].tracks.append(_Track(track, class_ids[int(entry["category_id"])], masks))
    if max(counted.values(), default=0) > MOST_TRACKS or len(categories) >= _UNLABELLED:
        raise ValueError(f"more than {MOST_TRACKS} tracks of a video, or as many categories")
    return categories, videos


def _read(images: Path, video: _Video, has_truth: bool, problems: Problems) -> Iterator[SourceFrame]:
    files = [images / file for file in video.files]
    for index, frame in read_pictures(files, RATE, problems, inside=images):
        truth = None
        try:
            truth = _truth(video.tracks, index, frame.image.shape[:2]) if has_truth else None
        except MaskError as error:
            problems.tally(*UNREADABLE_TRUTH, f"a mask of {files[index]} {error}")
        yield replace(frame, truth=truth)


def _truth(tracks: list[_Track], index: int, shape: tuple[int, ...]) -> Truth:
    """Where masks cover each other, the smaller one is seen."""
    height, width = shape
    masks = [(coco_mask(track.masks[index], height, width), track) for track in tracks if track.masks[index]]
    classes, instances = np.full(shape, _UNLABELLED, np.uint16), np.zeros(shape, np.uint16)
    for mask, track in sorted(masks, key=lambda each: -np.count_nonzero(each[0])):
        classes[mask], instances[mask] = track.class_id, track.id
    return Truth(classes, instances, is_exhaustive=True)
