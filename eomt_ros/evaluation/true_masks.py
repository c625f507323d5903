"""The ground truth as predictions: what perfect masks and ids would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from eomt_ros.engine import FrameResult, Segment
from eomt_ros.engine.model.labels import load_labels
from eomt_ros.engine.model.taxonomy import robot_labels
from eomt_ros.evaluation.counting import Tally
from eomt_ros.evaluation.frame import LabelImage
from eomt_ros.evaluation.predictions import Predictions
from eomt_ros.evaluation.recorded import NOT_TIMED, labels_named
from eomt_ros.evaluation.sources.sequence import SourceFrame

LARGEST_ID = np.iinfo(np.uint16).max


class TrueMasks(Predictions):
    """Predicts the ground truth of each frame, see `Predictions`.

    model: its name says which of the shipped tables of classes is used. labels: another table. taxonomy, classes: as in
    `ModelOptions`. Raises `SourceError` where there is none, `LabelsError`.
    """

    task, model, identity = "panoptic", "ground truth", "query"

    def __init__(
        self, model: str, labels: Path | None = None, *, taxonomy: str = "", classes: Sequence[str] = ()
    ) -> None:
        of_model = labels_named(model) if labels is None else load_labels(labels)
        self.robot = robot_labels(of_model, taxonomy, classes)
        self.labels = self.robot.labels
        self.settings: Mapping[str, Any] = {"task": self.task, "predictions": "truth"}
        self._without = Tally()
        self._ages: dict[int, int] = {}

    def start_sequence(self, name: str) -> None:
        """Begins another sequence."""
        self._ages = {}

    def find(self, frame: SourceFrame) -> FrameResult | None:
        """The ground truth of the frame; None where it has none with ids of things."""
        truth = frame.truth
        if truth is None or truth.instances is None or truth.instances.max(initial=0) > LARGEST_ID:
            self._without.add(f"{frame.stamp} ns")
            return None
        # What no class of results is made of is no prediction either.
        panoptic = np.where(truth.classes < len(self.labels.class_names), truth.instances, 0).astype(np.uint16)
        segments = [self._segment(truth.classes, panoptic, number) for number in np.unique(panoptic).tolist() if number]
        return FrameResult(truth.classes, panoptic, None, segments, 0, NOT_TIMED, self.labels)

    def problems(self) -> list[str]:
        """Frames that were left out so far, in a sentence."""
        what = f"no ground truth with ids of things from 1 to {LARGEST_ID}, and was left out"
        return self._without.sentence(f"frame has {what}", f"frames have {what.replace('was', 'were')}")

    def _segment(self, classes: LabelImage, panoptic: LabelImage, number: int) -> Segment:
        mask = np.equal(panoptic, number)
        class_id = int(np.bincount(classes[mask]).argmax())
        age = self._ages[number] = self._ages.get(number, -1) + 1
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        return Segment(
            id=number,
            class_id=class_id,
            class_name=self.labels.class_names[class_id],
            is_thing=self.labels.is_thing[class_id],
            score=1.0,
            area=int(np.count_nonzero(mask)),
            box=(x, y, width, height),
            age=age,
        )
