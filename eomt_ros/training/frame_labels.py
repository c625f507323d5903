"""The segments of one picture as files have them: colours of a PNG, entries, and run lengths of COCO."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.coco_masks import pycocotools_mask
from eomt_ros.training.annotation_files import ImageEntry, SegmentEntry
from eomt_ros.training.errors import DatasetError

SegmentImage = npt.NDArray[np.int32]
"""(H, W) segment ids, 0 unlabelled."""


@dataclass(frozen=True)
class FrameLabels:
    """What is written of the segments of one picture."""

    png: bytes
    """Their ids, R + 256 G + 65536 B."""
    segments: tuple[SegmentEntry, ...]
    """Those with pixels, with their areas and boxes."""
    run_lengths: tuple[dict[str, Any], ...]
    """The mask of each, `{"size": [height, width], "counts": str}`."""

    def instances(self, image: ImageEntry, ids: Iterator[int]) -> Iterator[dict[str, Any]]:
        """The segments as COCO instances; ids: where theirs come from.

        `attributes` repeats the track, because that is what tools keep, by a name that CVAT does not use itself.
        """
        for segment, run_lengths in zip(self.segments, self.run_lengths, strict=True):
            track = segment.track_id
            yield {
                "id": next(ids),
                "image_id": image.id,
                "video_id": image.video_id,
                "category_id": segment.category_id,
                "segmentation": run_lengths,
                "area": segment.area,
                "bbox": segment.bbox,
                "iscrowd": segment.iscrowd,
                **({} if track is None else {"track_id": track, "attributes": {"track": track}}),
            }


def panoptic_entry(image: ImageEntry, segments: Iterable[SegmentEntry]) -> dict[str, Any]:
    """The segments of a picture as COCO panoptic has them."""
    return {
        "image_id": image.id,
        "video_id": image.video_id,
        "file_name": labels_name(image.file_name),
        "segments_info": [_without_none(segment) for segment in segments],
    }


def labels_name(file_name: str) -> str:
    """The name of the PNG with the segments of a picture."""
    return f"{file_name.rpartition('.')[0]}.png"


def frame_labels(segments: SegmentImage, listed: Iterable[SegmentEntry]) -> FrameLabels:
    """What is written of an image of segment ids; listed: its segments, in any order, perhaps without a pixel.

    Raises `UserError` without pycocotools.
    """
    coco = pycocotools_mask()
    found: list[SegmentEntry] = []
    run_lengths: list[dict[str, Any]] = []
    for segment in listed:
        runs = coco.encode(np.asfortranarray(segments == segment.id, np.uint8))
        area = float(coco.area(runs))
        if area:
            found.append(replace(segment, area=area, bbox=tuple(coco.toBbox(runs).tolist())))
            run_lengths.append({"size": runs["size"], "counts": runs["counts"].decode("ascii")})
    colours = np.stack([segments >> 16, segments >> 8, segments], axis=-1).astype(np.uint8)  # OpenCV's order
    encoded, png = cv2.imencode(".png", colours)
    if not encoded:
        raise DatasetError(f"labels of {segments.shape[1]}x{segments.shape[0]} pixels cannot be written as PNG")
    return FrameLabels(png.tobytes(), tuple(found), tuple(run_lengths))


def _without_none(segment: SegmentEntry) -> dict[str, Any]:
    return {name: value for name, value in asdict(segment).items() if value is not None}
