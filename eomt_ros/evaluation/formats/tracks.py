"""Formats of things alone:

youtube-vis/  results.json   a track for each id, with its masks in all frames, as YouTube-VIS' servers take them
              videos.json    the videos and categories that these are of
kitti-mots/   data/VIDEO.txt  a line for each thing in a frame: frame, id, class, height, width, run lengths
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from eomt_ros.engine import FrameResult
from eomt_ros.errors import UserError
from eomt_ros.evaluation.formats.exported import (
    ExportedClasses,
    ExportedFrame,
    ExportedVideo,
    run_lengths,
    shown_segments,
)
from eomt_ros.evaluation.metrics.overlap import Key

LONGEST_VIDEO = 10_000
"""Frames of a video in YouTube-VIS' format, in which each track has a place for each of them."""
KITTI_CLASSES = {"car": 1, "pedestrian": 2, "person": 2}
"""KITTI MOTS' numbers of classes, by the names that models have for them."""


@dataclass
class _Track:
    masks: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By frame."""
    scores: list[float] = field(default_factory=list)
    classes: dict[int, float] = field(default_factory=dict)
    """Class ids with the sum of their scores."""


class YoutubeVis:
    """Writes the tracks of each video at its end. A track has its mean score, and the class that has most of it."""

    def __init__(self, folder: Path, classes: ExportedClasses) -> None:
        self._folder = folder
        self._classes = classes
        self._tracks: dict[tuple[int, int], _Track] = {}
        self._videos: list[dict[str, Any]] = []
        self._names: list[str] = []
        self._size = 0, 0

    def __enter__(self) -> YoutubeVis:
        self._folder.mkdir(parents=True)
        self._file = (self._folder / "results.json").open("w", encoding="utf-8")
        self._separator = "["
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.write("]\n" if self._separator != "[" else "[]\n")
        content = {"videos": self._videos, "categories": self._classes.categories()}
        (self._folder / "videos.json").write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")

    def add(self, frame: ExportedFrame, found: FrameResult) -> None:
        """Keeps the things of a frame, with their whole masks where they have some. Raises `OSError`."""
        if frame.place >= LONGEST_VIDEO:
            raise OSError(f"{frame.video.name} is longer than {LONGEST_VIDEO:,} frames, which this format is not for")
        self._size = found.semantic.shape
        self._names += [""] * (frame.place + 1 - len(self._names))
        self._names[frame.place] = f"{frame.video.name}/{frame.name}"
        for segment in found.segments:
            if not segment.is_thing:
                continue
            track = self._tracks.setdefault((found.epoch, segment.id), _Track())
            track.masks[frame.place] = run_lengths(found.mask_of(segment))
            track.scores.append(segment.score)
            track.classes[segment.class_id] = track.classes.get(segment.class_id, 0.0) + segment.score

    def end_video(self, video: ExportedVideo, frames: int) -> None:
        """Writes the tracks of a video. Raises `OSError`."""
        for track in self._tracks.values():
            entry = {
                "video_id": video.number,
                "category_id": self._classes.numbers[max(track.classes, key=lambda each: track.classes[each])],
                "score": sum(track.scores) / len(track.scores),
                "segmentations": [track.masks.get(place) for place in range(frames)],
            }
            self._file.write(f"{self._separator}\n{json.dumps(entry)}")
            self._separator = ","
        names = [*self._names, *[""] * (frames - len(self._names))]
        height, width = self._size
        entry = {"id": video.number, "name": video.name, "length": frames, "height": height, "width": width}
        self._videos.append({**entry, "file_names": names})
        self._tracks, self._names = {}, []


class KittiMots:
    """Writes the cars and the people of each video into a file of its own."""

    def __init__(self, folder: Path, classes: ExportedClasses) -> None:
        self._data = folder / "data"
        self._classes = classes
        self._numbers = {
            class_id: KITTI_CLASSES[name.lower()]
            for class_id, name in enumerate(classes.names)
            if name.lower() in KITTI_CLASSES and classes.is_thing[class_id]
        }
        self._file: TextIO | None = None
        self._ids: dict[Key, int] = {}

    def __enter__(self) -> KittiMots:
        self._data.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, frame: ExportedFrame, found: FrameResult) -> None:
        """Writes the things of a frame; masks do not cover each other. Raises `OSError`."""
        if self._file is None:
            self._file = self._path(frame.video).open("w", encoding="ascii")
        shown = shown_segments(found, self._classes.is_thing)
        for place, key in enumerate(shown.keys):
            if key.class_id in self._numbers:
                number = self._ids.setdefault(key, len(self._ids) + 1)
                mask = run_lengths(shown.mask(place))
                height, width = mask["size"]
                head = f"{frame.place} {number} {self._numbers[key.class_id]} {height} {width}"
                self._file.write(f"{head} {mask['counts']}\n")

    def end_video(self, video: ExportedVideo, frames: int) -> None:
        """Ends a video; ids begin anew. Raises `OSError`."""
        if self._file is None:
            self._path(video).touch()
        else:
            self._file.close()
        self._file, self._ids = None, {}

    def _path(self, video: ExportedVideo) -> Path:
        return self._data / f"{video.name}.txt"


def expect_kitti_classes(option: str, class_names: Sequence[str]) -> None:
    """Raises `UserError` where a model knows none of KITTI MOTS' classes."""
    if not {name.lower() for name in class_names} & KITTI_CLASSES.keys():
        raise UserError(f"{option}: the model has none of the classes {', '.join(KITTI_CLASSES)}")
