"""Predictions of the engine; those that a node published and a robot recorded are in `recorded.py`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from eomt_ros.continuity import MAX_GAP
from eomt_ros.engine import EngineError, FrameResult, LateFrameError, Segmenter, SharedIds, Stream
from eomt_ros.engine.model.labels import Labels
from eomt_ros.engine.model.taxonomy import RobotLabels
from eomt_ros.engine.model.weights import weight_files
from eomt_ros.engine.postprocess.label_map import Region
from eomt_ros.engine.tracking.places import Locate, Places
from eomt_ros.evaluation.counting import Tally
from eomt_ros.evaluation.sources.sequence import FrameInSpace, SourceFrame
from eomt_ros.one_ahead import one_ahead
from eomt_ros.regular_file import sha256_of
from eomt_ros.stamps import SECOND


class Predictions(Protocol):
    """Gives the prediction for each frame of sequences, one after the other."""

    labels: Labels
    robot: RobotLabels
    """The same, with the model's that they are made of, which the ground truth has."""
    task: str
    model: str
    identity: str
    """Source of the ids, as in `InstanceArray`."""
    settings: Mapping[str, Any]
    """Settings that are needed to get the same predictions again."""

    def start_sequence(self, name: str) -> None:
        """Begins another sequence."""
        ...

    def find(self, frame: SourceFrame) -> FrameResult | None:
        """The prediction for the next frame of the sequence; None where there is none. Unknown timings are NaN."""
        ...

    def begin(self, frame: SourceFrame) -> Callable[[], FrameResult | None]:
        """Begins the next frame; what this gives does the rest of `find`, on any thread, while another begins the frame
        after it.
        """
        return partial(self.find, frame)

    def problems(self) -> list[str]:
        """Problems so far, a sentence each."""
        ...


def found_in(
    frames: Iterator[SourceFrame], predictions: Predictions
) -> Generator[tuple[SourceFrame, FrameResult | None], None, None]:
    """The frames with their predictions, each while a thread reads and begins the next one, which also closes them."""

    def begun() -> Generator[tuple[SourceFrame, Callable[[], FrameResult | None]], None, None]:
        with closing(frames):  # type: ignore[type-var]  # a generator
            for frame in frames:
                yield frame, predictions.begin(frame)

    with closing(one_ahead(begun())) as ahead:
        for frame, finish in ahead:
            yield frame, finish()


class EnginePredictions(Predictions):
    """Segments the frames, by the rules of the node, so that the results are the same to the last bit.

    with_masks: with whole masks, also where they cover each other. places: things get their ids by their places too,
    where a frame has depth and odometry, as in a node with depth and a fixed frame. shared_ids: those of several
    cameras, each of which has predictions of its own.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        *,
        max_gap: float = MAX_GAP,
        with_masks: bool = False,
        places: bool = True,
        shared_ids: SharedIds | None = None,
    ) -> None:
        self.labels, self.robot = segmenter.labels, segmenter.robot
        self.task = segmenter.task
        self.model = segmenter.name
        self.identity = segmenter.identity
        self.settings: Mapping[str, Any] = {
            **{name: value for name, value in asdict(segmenter.options).items() if name != "labels"},
            # It tells models apart whose names are the same.
            "weights_sha256": sha256_of(weight_files(segmenter.folder)),
            "device": segmenter.device,
            "backend": segmenter.backend,
            "precision": segmenter.precision,
            "threads": torch.get_num_threads(),
            "max_gap": max_gap,
            # Becomes "depth and odometry" with the first frame that has them.
            "places": "none",
        }
        self._wants_places = places and segmenter.uses_places
        self._segmenter = segmenter
        self._max_gap = max_gap
        self._with_masks = with_masks
        self._shared_ids = shared_ids
        self._stream: Stream
        self._warm = False
        self._late, self._failed, self._resets = Tally(), Tally(), Tally()

    def start_sequence(self, name: str) -> None:
        """Begins a new stream."""
        self._stream = self._segmenter.open_stream(max_gap=self._max_gap, shared_ids=self._shared_ids)

    def find(self, frame: SourceFrame) -> FrameResult | None:
        """Segments the next frame; None where it is late, and where the engine cannot, after which the stream begins
        anew.
        """
        return self.begin(frame)()

    def begin(self, frame: SourceFrame) -> Callable[[], FrameResult | None]:
        """Runs the network on the next frame, see `Segmenter.begin`; what this gives does the rest of `find`."""
        height, width, _ = frame.image.shape
        if not self._warm:
            self._warm = True
            self._warm_up(height, width)
        try:
            finish = self._begin(frame)
        except LateFrameError as error:
            self._late.add(str(error))
            return lambda: None
        except EngineError as error:
            self._failed.add(f"at {frame.stamp} ns: {error}")
            self._stream.forget_frames()
            return self._forget_ids
        return partial(self._finish, frame.stamp, finish)

    def _finish(self, stamp: int, finish: Callable[[], FrameResult]) -> FrameResult | None:
        try:
            result = finish()
        except EngineError as error:
            self._failed.add(f"at {stamp} ns: {error}")
            self._forget_ids()
            return None
        if result.reset_reason:
            self._resets.add(result.reset_reason)
        return result

    def _warm_up(self, height: int, width: int) -> None:
        self._segmenter.warm_up(height, width)

    def _begin(self, frame: SourceFrame) -> Callable[[], FrameResult]:
        stamp, locate = Fraction(frame.stamp, SECOND), self._locate(frame)
        return self._stream.begin(frame.image, stamp=stamp, locate=locate, with_masks=self._with_masks)

    def _locate(self, frame: SourceFrame) -> Locate | None:
        """What gives the places of the things in a frame; None where nothing can."""
        if frame.space is None or not self._wants_places:
            return None
        self.settings = {**self.settings, "places": "depth and odometry"}
        return partial(_places, frame.space)

    def _forget_ids(self) -> None:
        self._stream.forget_ids()

    def problems(self) -> list[str]:
        """Frames that were left out or could not be segmented, and breaks after which ids began anew."""
        return [
            *self._late.sentence("frame came late and was dropped", "frames came late and were dropped"),
            *self._failed.sentence("frame could not be segmented", "frames could not be segmented"),
            *self._resets.sentence(
                "break in the stream, after which ids began anew", "breaks in the stream, after which ids began anew"
            ),
        ]


def _places(space: FrameInSpace, index: np.ndarray, regions: Sequence[Region]) -> Places:
    # Here and not at the top: most recordings have no depth.
    from eomt_ros.space.glance import glance

    return Places(glance(index, regions, space.depth, space.pinhole, space.pose), space.jumps)
