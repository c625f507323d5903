"""Predictions of the engine; those that a node published and a robot recorded are in `recorded.py`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import torch

from eomt_ros.continuity import Continuity, Scene
from eomt_ros.engine import EngineError, Segmenter, Stream, Timings
from eomt_ros.engine.model.labels import Labels
from eomt_ros.engine.model.weights import weight_files
from eomt_ros.evaluation.frame import Prediction
from eomt_ros.evaluation.sources.sequence import SourceFrame, Tally
from eomt_ros.overlay import Drawable
from eomt_ros.regular_file import open_regular
from eomt_ros.stamps import SECOND

MAX_GAP = 2.0
"""s without a frame after which the next epoch begins: the node's default."""


class Found(Drawable, Protocol):
    """The prediction for one frame; a `FrameResult` is one."""

    @property
    def epoch(self) -> int:
        """Ids are comparable within one epoch only."""
        ...

    @property
    def timings(self) -> Timings | None:
        """Of the engine; None where they are not known."""
        ...


class Predictions(Protocol):
    """Gives the prediction for each frame of sequences, one after the other."""

    labels: Labels
    task: str
    model: str
    identity: str
    """Source of the ids, as in `InstanceArray`."""
    settings: Mapping[str, Any]
    """Settings that are needed to get the same predictions again."""

    def start_sequence(self, name: str) -> None:
        """Begins another sequence."""
        ...

    def find(self, frame: SourceFrame) -> Found | None:
        """The prediction for the next frame of the sequence; None where there is none."""
        ...

    def problems(self) -> list[str]:
        """Problems so far, a sentence each."""
        ...


class EnginePredictions:
    """Segments the frames, by the rules of the node, so that the results are the same to the last bit."""

    def __init__(self, segmenter: Segmenter, *, max_gap: float = MAX_GAP) -> None:
        self.labels = segmenter.labels
        self.task = segmenter.task
        self.model = segmenter.name
        self.identity = segmenter.identity
        self.settings: Mapping[str, Any] = {
            "task": segmenter.task,
            "weights_sha256": _digest(segmenter.folder),
            "device": segmenter.device,
            "backend": segmenter.backend,
            "precision": segmenter.precision,
            "threads": torch.get_num_threads(),
            "score_threshold": segmenter.score_threshold,
            "mask_threshold": segmenter.mask_threshold,
            "overlap_threshold": segmenter.overlap_threshold,
            "score_memory": segmenter.score_memory,
            "top_k": segmenter.top_k,
            "fit": segmenter.fit,
            "fuse_stuff": segmenter.fuse_stuff,
            "max_gap": max_gap,
        }
        self._segmenter = segmenter
        self._max_gap = max_gap
        self._stream: Stream
        self._continuity: Continuity
        self._scene: Scene
        self._warm = False
        self._late, self._failed, self._resets = Tally(), Tally(), Tally()

    def start_sequence(self, name: str) -> None:
        """Begins a new stream."""
        self._stream = self._segmenter.open_stream()
        self._continuity = Continuity()
        self._scene = Scene()

    def find(self, frame: SourceFrame) -> Found | None:
        """Segments the next frame; None where it is late, and where the engine cannot, after which the stream begins
        anew.
        """
        height, width, _ = frame.image.shape
        if not self._warm:
            self._warm = True
            self._segmenter.warm_up(height, width)
        admitted = self._continuity.admit(frame.stamp, self._max_gap)
        if admitted is None:
            self._late.add(self._continuity.why_late())
            return None
        if broken_by := self._scene.broken_by(admitted, (height, width)):
            self._resets.add(broken_by)
            self._stream.reset()
        stamp = None if admitted.stamp is None else Fraction(admitted.stamp, SECOND)
        try:
            return self._segmenter.segment(frame.image, self._stream, stamp=stamp)
        except EngineError as error:
            self._failed.add(f"at {frame.stamp} ns: {error}")
            self._stream.reset()
            return None

    def problems(self) -> list[str]:
        """Frames that were left out or could not be segmented, and breaks after which ids began anew."""
        return [
            *self._late.sentence("frame came late and was dropped", "frames came late and were dropped"),
            *self._failed.sentence("frame could not be segmented", "frames could not be segmented"),
            *self._resets.sentence(
                "break in the stream, after which ids began anew", "breaks in the stream, after which ids began anew"
            ),
        ]


def prediction(found: Found, task: str) -> Prediction:
    """The prediction in the form that metrics take."""
    return Prediction(found.semantic, None if task == "semantic" else found.panoptic, found.epoch)


def _digest(folder: Path) -> str:
    """SHA-256 of a checkpoint's weights: it tells models apart whose names are the same."""
    digest = hashlib.sha256()
    for path in weight_files(folder):
        with open_regular(path) as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
