"""Folders of recordings as an evaluation of several leaves them, without a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eomt_ros.engine import FrameResult, Timings
from eomt_ros.evaluation.results import Results, read_results
from eomt_ros.evaluation.run import EvaluationOptions, evaluate
from eomt_ros.evaluation.sources import TruthSource, open_sequences
from eomt_ros.evaluation.sources.sequence import SourceFrame
from eomt_ros.evaluation.true_masks import TrueMasks


class Imperfect(TrueMasks):
    """The ground truth moved by some pixels, with other ids now and then; the same of a frame in every run.

    worse: pixels by which it is moved farther, at most.
    """

    model = "imperfect"

    def __init__(self, worse: int = 0) -> None:
        super().__init__("demo")
        self.settings = {**self.settings, "device": "cpu", "precision": "float32"}
        self._worse = worse

    def find(self, frame: SourceFrame) -> FrameResult | None:
        """The prediction of a frame."""
        if frame.truth is None or frame.truth.instances is None:
            return None
        random = np.random.default_rng(frame.stamp + int(frame.image[0, 0, 0]))
        moved = random.integers(0, 5 + self._worse, 2)
        classes, instances = (np.roll(each, moved, (0, 1)) for each in (frame.truth.classes, frame.truth.instances))
        epoch = int(random.integers(0, 2))
        truth = replace(frame.truth, classes=classes, instances=instances)
        found = super().find(replace(frame, truth=truth))
        return found and replace(found, epoch=epoch, timings=Timings(*random.uniform(0.001, 0.02, 4).tolist()))


def evaluated(
    paths: Iterable[Path], out: Path, settings: Mapping[str, Any] | None = None, *, worse: int = 0
) -> Results:
    """Evaluates recordings as one run, into a folder that is made, and reads the results."""
    out.mkdir(parents=True)
    sequences = open_sequences(list(paths), truth=TruthSource())
    evaluate(sequences, Imperfect(worse), out, EvaluationOptions(settings or {}, video=False))
    return read_results(out)
