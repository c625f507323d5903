"""mIoU and the IoU of each class, over all pixels that the ground truth labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eomt_ros.evaluation.metrics.overlap import Counts, Overlap


@dataclass(eq=False)
class Confusion:
    """Pixels by true and predicted class, over any number of frames."""

    counts: Counts
    """(classes, classes + 1) pixels; the last column has those that the prediction leaves unlabelled, which are missed,
    but no false alarm."""

    @classmethod
    def empty(cls, classes: int) -> Confusion:
        """Makes one without any pixels."""
        return cls(np.zeros((classes, classes + 1), np.int64))

    @classmethod
    def of(cls, overlap: Overlap, classes: int) -> Confusion:
        """Makes that of one frame."""
        counts = np.zeros((classes + 1, classes + 1), np.int64)
        np.add.at(counts, (overlap.truth.classes[:, None], overlap.prediction.classes[None, :]), overlap.counts)
        return cls(counts[:-1])

    def add(self, other: Confusion) -> None:
        """Adds the pixels of another confusion."""
        self.counts += other.counts

    @property
    def class_iou(self) -> tuple[float | None, ...]:
        """IoU per class; None where the ground truth does not have the class."""
        hits = np.diagonal(self.counts)
        in_truth = self.counts.sum(axis=1)
        union = in_truth + self.counts[:, :-1].sum(axis=0) - hits
        iou = hits / np.maximum(union, 1)
        return tuple(value if area else None for value, area in zip(iou.tolist(), in_truth.tolist(), strict=True))

    @property
    def miou(self) -> float | None:
        """Mean IoU over the classes that the ground truth has; None where it has none."""
        present = [iou for iou in self.class_iou if iou is not None]
        return sum(present) / len(present) if present else None

    @property
    def shift(self) -> int:
        """Number by which the true ids seem too large: 1 where they count from 1 and the predicted from 0; else 0.

        It is not 0 where for most pixels, and for two classes at least, the ids agree only when they are shifted.
        """
        counts = self.counts[:, :-1]
        for shift in (1, -1):
            shifted = np.diagonal(counts, -shift)
            areas = self.counts.sum(axis=1)[max(shift, 0) : len(counts) + min(shift, 0)]
            agree = shifted.sum() > max(areas.sum() / 2, 2 * np.trace(counts))
            if agree and np.count_nonzero(2 * shifted > areas) >= 2:
                return shift
        return 0
