"""Writes predictions in the formats that published scripts read, each into a folder of its name: `--export`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from eomt_ros.engine import FrameResult
from eomt_ros.errors import UserError
from eomt_ros.evaluation.beside import Beside
from eomt_ros.evaluation.coco_masks import pycocotools_mask
from eomt_ros.evaluation.formats.exported import Export, ExportedClasses, ExportedFrame, ExportedVideo
from eomt_ros.evaluation.formats.names import KITTI_MOTS, YOUTUBE_VIS
from eomt_ros.evaluation.formats.panoptic import CocoPanoptic, VipsegPanoptic
from eomt_ros.evaluation.formats.tracks import KittiMots, YoutubeVis, expect_kitti_classes
from eomt_ros.evaluation.output_folder import EXPORTS
from eomt_ros.evaluation.predictions import Predictions
from eomt_ros.evaluation.sources.sequence import FrameSequence, SourceFrame

FORMATS: dict[str, Callable[[Path, ExportedClasses], AbstractContextManager[Export]]] = {
    "coco-panoptic": CocoPanoptic,
    "vipseg": VipsegPanoptic,
    YOUTUBE_VIS: YoutubeVis,
    KITTI_MOTS: KittiMots,
}
"""By the names in `names.py`."""


class Exports:
    """Takes the frames of sequences with their predictions, within a `with` block; after it all files are whole.

    formats: of `FORMATS`. out: the folder that gets a folder with them. A file that cannot be written costs its format,
    and is told in `problems`. Raises `UserError` where predictions cannot be written in one of the formats.
    """

    def __init__(
        self, formats: Sequence[str], out: Path, predictions: Predictions, sequences: Sequence[FrameSequence]
    ) -> None:
        labels = predictions.labels
        for name in formats:
            option = f"--export {name}"
            if predictions.task == "semantic":
                raise UserError(f"{option} is of segments with ids, which the semantic task does not have")
            if name in (YOUTUBE_VIS, KITTI_MOTS):
                pycocotools_mask()
            if name == KITTI_MOTS:
                expect_kitti_classes(option, labels.class_names)
        numbering = sequences[0].numbering if sequences else None
        classes = ExportedClasses.of(labels, numbering, are_the_models=predictions.robot.are_the_models)
        self._writers = [
            Beside(out / EXPORTS / name, partial(_opened, FORMATS[name], classes)) for name in dict.fromkeys(formats)
        ]
        self._videos = 0

    def __enter__(self) -> Exports:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.close()

    @property
    def are_there(self) -> bool:
        """True if something was written."""
        return any(writer.is_there for writer in self._writers)

    def start_sequence(self, sequence: FrameSequence) -> None:
        """Begins another sequence."""
        self._video = ExportedVideo.of(sequence, self._videos)
        self._videos += 1
        self._next = 0

    def add(self, frame: SourceFrame, found: FrameResult) -> None:
        """Writes the next frame of the sequence that has a prediction."""
        video = self._video
        place = video.frames.get(frame.name, self._next)
        self._next = place + 1
        exported = ExportedFrame(video, place, frame.name or f"{place:06}")
        for writer in self._writers:
            writer.write(lambda export: export.add(exported, found))

    def end_sequence(self) -> None:
        """Ends the sequence."""
        video, frames = self._video, max(self._next, len(self._video.frames))
        for writer in self._writers:
            writer.write(lambda export: export.end_video(video, frames))

    def problems(self) -> list[str]:
        """Why formats were given up, a sentence each."""
        return [writer.problem for writer in self._writers if writer.problem]


def _opened(
    make: Callable[[Path, ExportedClasses], AbstractContextManager[Export]], classes: ExportedClasses, folder: Path
) -> AbstractContextManager[Export]:
    return make(folder, classes)
