"""What is asked of an evaluation, and the evaluation of opened recordings as asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eomt_ros.engine import Segmenter
from eomt_ros.errors import UserError
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.formats.names import YOUTUBE_VIS
from eomt_ros.evaluation.metrics import STANDARD_LIMITS, ObjectLimits
from eomt_ros.evaluation.output_folder import BAG
from eomt_ros.evaluation.predictions import Predictions
from eomt_ros.evaluation.recorded import RecordedPredictions
from eomt_ros.evaluation.run import EvaluationOptions
from eomt_ros.evaluation.slices import one_recording_slices
from eomt_ros.evaluation.sources import FrameSequence, TruthSource, open_sequences
from eomt_ros.evaluation.sweep import SIZE, Sweep, engine_predictions
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
    places: bool = True
    """Things get their ids by their places too, where a bag has depth and odometry."""
    save_bag: bool = False
    video: bool = True
    convention: Convention = Convention.STANDARD
    limits: ObjectLimits = STANDARD_LIMITS
    exports: tuple[str, ...] = ()
    """Formats to write the predictions in."""
    track_metrics: bool = False
    """Also count the metrics of TrackEval."""
    sweep: tuple[Sweep, ...] = ()
    """Other thresholds and sizes to score."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What else `metrics.json` is to say of the settings: the command."""

    @property
    def recorded(self) -> Path | None:
        """The bag with recorded predictions."""
        return None if self.predictions in ("", TRUTH) else Path(self.predictions)

    @property
    def models(self) -> tuple[ModelOptions, ...]:
        """The model, and the same at each of the other sizes to score."""
        sizes = {round(value) for sweep in self.sweep if sweep.option == SIZE for value in sweep.values}
        return self.model, *(replace(self.model, size=size) for size in sorted(sizes - {self.model.size}))

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
        places = self.places and not self.predictions
        return open_sequences(paths, topics=self.topics, truth=self.truth, split=self.split, places=places)

    def options(self, settings: Mapping[str, Any], tags: Sequence[str], **others: Any) -> EvaluationOptions:
        """The options of `run.evaluate` that are asked for, of one recording that has these tags.

        settings: beside those here. others: of the options, by their names.
        """
        return EvaluationOptions(
            {**self.settings, **settings, "tags": list(tags)},
            complete=lambda found: replace(found, slices=one_recording_slices(found, tags)),
            save_bag=self.save_bag,
            video=self.video,
            convention=self.convention,
            limits=self.limits,
            exports=self.exports,
            track_metrics=self.track_metrics,
            **others,
        )


def load_segmenters(models: tuple[ModelOptions, ...]) -> list[Segmenter]:
    """The models that are asked for. Raises `UserError` for options that do not go together, `EngineError`."""
    try:
        return list(map(Segmenter.load, models))
    except ValueError as error:
        raise UserError(str(error)) from error


@contextmanager
def opened_predictions(
    request: EvaluationRequest,
    sequences: Sequence[FrameSequence],
    load: Callable[[tuple[ModelOptions, ...]], Sequence[Segmenter]] = load_segmenters,
) -> Iterator[Predictions]:
    """The predictions that are asked for, of opened recordings, within a `with` block.

    load: gives the models of `EvaluationRequest.models`, where they run. Raises `UserError`, `OSError`.
    """
    asked, labels = request.model, Path(request.model.labels) if request.model.labels else None
    if request.predictions == TRUTH:
        yield TrueMasks(asked.model, labels, taxonomy=asked.taxonomy, classes=asked.classes)
    elif request.recorded is not None:
        with RecordedPredictions(
            request.recorded, sequences, labels, taxonomy=asked.taxonomy, classes=asked.classes
        ) as recorded:
            yield recorded
    else:
        masks = YOUTUBE_VIS in request.exports
        yield engine_predictions(load(request.models), request.sweep, with_masks=masks, places=request.places)
