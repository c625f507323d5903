"""mIoU and VPQ of one frame, and of any part of a run."""

from __future__ import annotations

from eomt_ros.evaluation.metrics.semantic import Confusion
from eomt_ros.evaluation.metrics.vpq import TubeCounts


class PartialScores:
    """The counts behind mIoU and VPQ, of one frame or of any number of them."""

    def __init__(self, confusion: Confusion, tubes: TubeCounts | None = None) -> None:
        self.confusion = confusion
        self.tubes = tubes
        """Of the windows that end with these frames; None where they have classes only."""

    @classmethod
    def empty(cls, classes: int) -> PartialScores:
        """Makes one without any frame."""
        return cls(Confusion.empty(classes))

    def add(self, other: PartialScores) -> None:
        """Adds the frames of another part."""
        self.confusion.add(other.confusion)
        if other.tubes is not None:
            if self.tubes is None:
                self.tubes = TubeCounts(other.tubes.iou.shape[1])
            self.tubes.add(other.tubes)

    @property
    def miou(self) -> float | None:
        """mIoU; None where the ground truth is all unlabelled."""
        return self.confusion.miou

    @property
    def vpq(self) -> float | None:
        """VPQ; None where there are classes only."""
        return None if self.tubes is None else self.tubes.vpq
