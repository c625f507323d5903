"""The overlay video of several cameras: the results of each drawn over its images, side by side."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from eomt_ros.evaluation.beside import Beside
from eomt_ros.evaluation.recorded import RecordedPredictions
from eomt_ros.evaluation.sources import FrameSequence
from eomt_ros.evaluation.video import VideoWriter
from eomt_ros.replay.tiles import side_by_side
from eomt_ros.video import TimedImage


def write_rig_video(
    path: Path,
    sequences: Sequence[FrameSequence],
    recorded: Path,
    labels: Path | None,
    max_gap: float,
    stop: threading.Event,
) -> str | None:
    """Write the video of several cameras of a bag, and say why it was given up, where it was.

    recorded: the bag with the results, labels and max_gap as for `RecordedPredictions`. stop: ends the video early.
    Raises `SourceError`.
    """
    video = Beside(path, partial(VideoWriter, quick=True))
    with ExitStack() as stack:
        videos: dict[str, Iterator[TimedImage]] = {}
        for sequence in sequences:
            # One for each, because one goes through a single sequence at a time.
            predictions = stack.enter_context(RecordedPredictions(recorded, [sequence], labels, max_gap=max_gap))
            videos[sequence.name] = stack.enter_context(closing(_pictures(sequence, predictions)))
        for page in side_by_side(videos):
            video.write(partial(VideoWriter.write, picture=page.image, stamp=page.stamp))
            if stop.is_set():
                break
    video.close()
    return video.problem


def _pictures(sequence: FrameSequence, predictions: RecordedPredictions) -> Generator[TimedImage, None, None]:
    predictions.start_sequence(sequence.name)
    for frame in sequence.frames():
        if (found := predictions.find(frame)) is not None:
            yield TimedImage(frame.stamp, found.plot(frame.image))
