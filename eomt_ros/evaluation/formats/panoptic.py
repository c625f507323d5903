"""COCO's panoptic format: a JSON of segments, and a PNG of each frame whose colours are their ids.

coco-panoptic/  panoptic.json  panoptic/VIDEO/FRAME.png     `annotations` of frames, as panopticapi reads them
vipseg/         pred.json      pan_pred/VIDEO/FRAME.png     of videos with frames in them, as VIPSeg's scripts do
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from eomt_ros.engine import FrameResult
from eomt_ros.evaluation.formats.exported import ExportedClasses, ExportedFrame, ExportedVideo, shown_segments
from eomt_ros.evaluation.metrics.overlap import Key

MOST_IDS = 1 << 24
"""Colours."""


class CocoPanoptic:
    """Writes the frames of all videos as pictures of one data set; whole at the end of the `with` block."""

    json_name, pictures = "panoptic.json", "panoptic"

    def __init__(self, folder: Path, classes: ExportedClasses) -> None:
        self._folder = folder
        self._classes = classes
        self._images: list[dict[str, Any]] = []
        self._begin_video()

    def __enter__(self) -> CocoPanoptic:
        self._folder.mkdir(parents=True)
        # Entry by entry: an hour's segments need no memory.
        self._file = (self._folder / self.json_name).open("w", encoding="utf-8")
        self._file.write('{"annotations": [')
        self._separator = "\n"
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            rest = {"images": self._images, "categories": self._classes.categories()}
            self._file.write("\n]," + json.dumps(rest, ensure_ascii=False)[1:] + "\n")

    def add(self, frame: ExportedFrame, found: FrameResult) -> None:
        """Writes the PNG of a frame and its segments. Raises `OSError`."""
        name = f"{frame.video.name}/{frame.name}"
        picture = frame.video.pictures[frame.place] if frame.video.pictures else name
        height, width = found.semantic.shape
        entry = {"id": picture, "file_name": f"{name}.jpg", "height": height, "width": width}
        self._images.append({**entry, "video_id": frame.video.number, "frame_id": frame.place})
        segments = self._write_png(self._folder / self.pictures / f"{name}.png", found)
        self._write({"image_id": picture, "file_name": f"{name}.png", "segments_info": segments})

    def end_video(self, video: ExportedVideo, frames: int) -> None:
        """Ends a video; ids begin anew."""
        self._begin_video()

    def _begin_video(self) -> None:
        self._ids: dict[Key, int] = {}

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(self._separator + json.dumps(entry, ensure_ascii=False))
        self._separator = ",\n"

    def _write_png(self, path: Path, found: FrameResult) -> list[dict[str, Any]]:
        """Writes a PNG, and returns the segments in it."""
        shown = shown_segments(found, self._classes.is_thing)
        ids = [self._id(key) for key in shown.keys]
        colours = np.array([*ids, 0], np.uint32)[shown.places]
        blue, green, red = ((colours >> shift).astype(np.uint8) for shift in (16, 8, 0))
        _, png = cv2.imencode(".png", np.dstack([blue, green, red]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png.tobytes())
        return [
            {
                "id": number,
                "category_id": self._classes.numbers[key.class_id],
                "isthing": int(self._classes.is_thing[key.class_id]),
                "iscrowd": 0,
                "area": area,
                "bbox": shown.box(place),
            }
            for place, (number, key, area) in enumerate(zip(ids, shown.keys, shown.areas, strict=True))
        ]

    def _id(self, key: Key) -> int:
        """Of stuff by its class, of things from there on, the same for the whole video."""
        if not key.id:
            return key.class_id + 1
        number = self._ids.setdefault(key, len(self._classes.names) + 1 + len(self._ids))
        if number >= MOST_IDS:
            raise OSError(f"a video has more than {MOST_IDS} ids, which PNG files have no colours for")
        return number


class VipsegPanoptic(CocoPanoptic):
    """Writes the frames of each video together."""

    json_name, pictures = "pred.json", "pan_pred"
    _is_begun = False
    """True once the video has a place in the file."""

    def add(self, frame: ExportedFrame, found: FrameResult) -> None:
        """Writes the PNG of a frame and its segments. Raises `OSError`."""
        path = self._folder / self.pictures / frame.video.name / f"{frame.name}.png"
        segments = self._write_png(path, found)
        self._begin(frame.video)
        self._write({"image_id": frame.name, "file_name": path.name, "segments_info": segments})

    def end_video(self, video: ExportedVideo, frames: int) -> None:
        """Ends a video, which may have no frame. Raises `OSError`."""
        self._begin(video)
        self._file.write("\n]}")
        self._separator = ",\n"
        super().end_video(video, frames)

    def _begin(self, video: ExportedVideo) -> None:
        if not self._is_begun:
            self._is_begun = True
            head = json.dumps({"video_id": video.name, "annotations": []}, ensure_ascii=False)
            self._file.write(self._separator + head.removesuffix("]}"))
            self._separator = "\n"

    def _begin_video(self) -> None:
        super()._begin_video()
        self._is_begun = False
