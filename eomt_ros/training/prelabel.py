"""Labels by a model, to be corrected by a person: `eomt-ros dataset --prelabel`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eomt_ros.engine import Segmenter
from eomt_ros.engine.model.labels import Labels
from eomt_ros.evaluation.frame import LabelImage, Truth
from eomt_ros.evaluation.predictions import EnginePredictions
from eomt_ros.evaluation.sources.sequence import SourceFrame
from eomt_ros.training.errors import DatasetError


class ClassMap:
    """Brings class ids of a model's results to those of a data set, by their names; the others are unlabelled."""

    def __init__(self, of_model: Labels, class_names: Sequence[str]) -> None:
        ids = {name: number for number, name in enumerate(class_names)}
        self.unknown = tuple(name for name in of_model.class_names if name not in ids)
        """Classes that the data set does not have."""
        self.missing = tuple(name for name in class_names if name not in of_model.class_names)
        """Classes that the model does not have."""
        self._table = np.full(1 << 16, np.iinfo(np.uint16).max, np.uint16)
        self._table[: len(of_model.class_names)] = [
            ids.get(name, np.iinfo(np.uint16).max) for name in of_model.class_names
        ]

    def __call__(self, semantic: LabelImage) -> LabelImage:
        """(H, W) uint16 class ids of the data set, 65535 unlabelled."""
        return self._table[np.where(semantic == np.iinfo(semantic.dtype).max, np.iinfo(np.uint16).max, semantic)]


class Prelabels:
    """The engine's panoptic results as ground truth, with ids that last a recording.

    class_names: of the data set; a class has the pixels of the model's class of that name. Raises `DatasetError` where
    none has the name of one of the model's.
    """

    is_model = True

    def __init__(self, segmenter: Segmenter, class_names: Sequence[str]) -> None:
        self._predictions = EnginePredictions(segmenter)
        self._mapped = ClassMap(segmenter.labels, class_names)
        self._ids: dict[tuple[int, int], int] = {}
        if len(self._mapped.missing) == len(class_names):
            raise DatasetError(
                f"--prelabel {segmenter.name} has none of the data's classes, {_listed(class_names)}: its own are "
                f"{_listed(segmenter.labels.class_names)}; give --labels a table with such names"
            )

    def start_recording(self, name: str) -> None:
        """Begins another recording."""
        self._predictions.start_sequence(name)
        self._ids = {}

    def label(self, frame: SourceFrame) -> Truth | None:
        """The labels of the next frame of the recording, uint16 classes; None where the engine has none.

        Where the model tells things apart they have ids, which are never used again in the recording.
        """
        found = self._predictions.find(frame)
        if found is None:
            return None
        classes = self._mapped(found.semantic)
        if self._predictions.identity == "none":
            return Truth(classes)
        table = np.zeros(1 << 16, np.int32)
        for segment in found.segments:
            if segment.is_thing:
                table[segment.id] = self._ids.setdefault((found.epoch, segment.id), len(self._ids) + 1)
        return Truth(classes, table[found.panoptic])

    def problems(self) -> list[str]:
        """What went wrong, and the classes that only one side has, a sentence each."""
        problems = self._predictions.problems()
        if self._mapped.missing:
            problems.append(f"the model does not know {_listed(self._mapped.missing)}: nothing is labelled so yet")
        if self._mapped.unknown:
            problems.append(f"the data has no class {_listed(self._mapped.unknown)}: the model's are left unlabelled")
        return problems


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if names[8:] else "")
