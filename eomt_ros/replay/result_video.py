"""The overlay video of recorded results: those of each camera over its images, and what is known of them in metres."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from eomt_ros.evaluation.bag import Bag
from eomt_ros.evaluation.beside import Beside
from eomt_ros.evaluation.recorded import RecordedPredictions
from eomt_ros.evaluation.sources import FrameSequence
from eomt_ros.evaluation.video import Picture, VideoWriter
from eomt_ros.replay.space_view import SpaceView
from eomt_ros.replay.tiles import side_by_side
from eomt_ros.video import TimedImage

VIEW_SIDE = 480
"""Pixels of a bird's-eye view, at least; a smaller picture beside it is enlarged."""


@dataclass(frozen=True)
class ResultVideo:
    """What the video shows.

    recorded: the bag with the results. predictions_of: gives those of sequences.
    """

    recorded: Path
    predictions_of: Callable[[Sequence[FrameSequence]], RecordedPredictions]
    cameras: Mapping[str, str]
    """The node's name of each camera whose things are shown in metres, by the topic of its images."""
    fixed: bool
    """See `SpaceView`."""

    def write(self, path: Path, sequences: Sequence[FrameSequence], stop: threading.Event) -> str | None:
        """Write the video of the cameras of a bag, and say why it was given up, where it was.

        stop: ends the video early. Raises `SourceError`.
        """
        video = Beside(path, partial(VideoWriter, quick=True))
        with ExitStack() as stack:
            shown = {each.name: stack.enter_context(closing(self._pictures(each))) for each in sequences}
            pages: Iterable[TimedImage] = side_by_side(shown) if len(shown) > 1 else next(iter(shown.values()))
            for page in pages:
                video.write(partial(VideoWriter.write, picture=page.image, stamp=page.stamp))
                if stop.is_set():
                    break
        video.close()
        return video.problem

    def _pictures(self, sequence: FrameSequence) -> Generator[TimedImage, None, None]:
        # Predictions of its own, because one goes through a single sequence at a time.
        with self.predictions_of([sequence]) as predictions, Bag(self.recorded) as bag:
            predictions.start_sequence(sequence.name)
            camera, view = self.cameras.get(sequence.topic or ""), None
            for frame in sequence.frames():
                if (found := predictions.find(frame)) is None:
                    continue
                picture = found.plot(frame.image)
                if camera is not None:
                    side = max(VIEW_SIDE, picture.shape[0])
                    colors = predictions.labels.colors
                    view = view or SpaceView(bag, camera, side, colors, fixed=self.fixed)
                    picture = np.hstack([_of_height(picture, side), view.picture(frame)])
                yield TimedImage(frame.stamp, picture)


def _of_height(picture: Picture, height: int) -> Picture:
    if picture.shape[0] == height:
        return picture
    width = round(picture.shape[1] * height / picture.shape[0])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)
