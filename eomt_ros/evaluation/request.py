"""What is asked of an evaluation, and the evaluation of opened recordings as asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eomt_ros.engine import Segmenter
from eomt_ros.errors import UserError
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.formats.names import YOUTUBE_VIS
from eomt_ros.evaluation.metrics import STANDARD_LIMITS, ObjectLimits
from eomt_ros.evaluation.output_folder import BAG
from eomt_ros.evaluation.predictions import EnginePredictions, Predictions
from eomt_ros.evaluation.recorded import RecordedPredictions
from eomt_ros.evaluation.results import Results
from eomt_ros.evaluation.run import EvaluationOptions, evaluate
from eomt_ros.evaluation.sources import FrameSequence, TruthSource, open_sequences
from eomt_ros.evaluation.true_masks import TrueMasks
from eomt_ros.model_options import ModelOptions

TRUTH = "truth"
"""The value of `EvaluationRequest.predictions` that is no bag."""


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """The model and all that decides what is counted, of one recording or of many; other processes can be sent it."""

    model: ModelOptions = field(default_factory=ModelOptions)
    topics: tuple[str, ...] = ()
    """Of the images in a bag; none: that of its only camera."""
    truth: TruthSource = field(default_factory=TruthSource)
    split: str = "val"
    """Of a data set."""
    predictions: str = ""
    """Bag with what a node published, instead of running the model; `TRUTH`: the ground truth; empty: the model."""
    save_bag: bool = False
    video: bool = True
    convention: Convention = Convention.STANDARD
    limits: ObjectLimits = STANDARD_LIMITS
    exports: tuple[str, ...] = ()
    """Formats to write the predictions in."""
    track_metrics: bool = False
    """Also count the metrics of TrackEval."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What else `metrics.json` is to say of the settings: the command."""

    @property
    def recorded(self) -> Path | None:
        """The bag with recorded predictions."""
        return None if self.predictions in ("", TRUTH) else Path(self.predictions)

    def of_recording(self, name: str) -> EvaluationRequest:
        """The same for one of many: its ground truth and its recorded predictions are in folders of its name.

        Predictions may also be in the folder that an evaluation with `save_bag` has left.
        """
        truth, recorded = self.truth, self.recorded
        if truth.folder is not None:
            truth = replace(truth, folder=truth.folder / name)
        if recorded is None:
            return replace(self, truth=truth)
        saved = recorded / name / BAG
        return replace(self, truth=truth, predictions=str(saved if saved.is_dir() else recorded / name))

    def open(self, paths: Sequence[Path]) -> list[FrameSequence]:
        """Opens recordings as `open_sequences`. Raises `SourceError`."""
        return open_sequences(paths, topics=self.topics, truth=self.truth, split=self.split)


def load_segmenter(options: ModelOptions) -> Segmenter:
    """The model that the options ask for. Raises `UserError` for options that do not go together, `EngineError`."""
    try:
        return Segmenter.load(options)
    except ValueError as error:
        raise UserError(str(error)) from error


def evaluate_request(
    request: EvaluationRequest,
    sequences: Sequence[FrameSequence],
    out: Path,
    *,
    settings: Mapping[str, Any],
    stop: threading.Event,
    load: Callable[[ModelOptions], Segmenter] = load_segmenter,
    complete: Callable[[Results], Results] = lambda found: found,
    quiet: bool = False,
) -> Results:
    """Evaluates opened recordings as `run.evaluate` does, with the predictions that are asked for.

    settings: beside the request's own. load: gives the model, which the caller closes. Raises `UserError`, `OSError`.
    """
    asked, labels = request.model, Path(request.model.labels) if request.model.labels else None
    with ExitStack() as stack:
        predictions: Predictions
        if request.predictions == TRUTH:
            predictions = TrueMasks(asked.model, labels, taxonomy=asked.taxonomy, classes=asked.classes)
        elif request.recorded is not None:
            predictions = stack.enter_context(
                RecordedPredictions(request.recorded, sequences, labels, taxonomy=asked.taxonomy, classes=asked.classes)
            )
        else:
            predictions = EnginePredictions(load(asked), with_masks=YOUTUBE_VIS in request.exports)
        return evaluate(
            sequences,
            predictions,
            out,
            EvaluationOptions(
                {**request.settings, **settings},
                save_bag=request.save_bag,
                video=request.video,
                convention=request.convention,
                limits=request.limits,
                complete=complete,
                stop=stop,
                quiet=quiet,
                exports=request.exports,
                track_metrics=request.track_metrics,
            ),
        )
