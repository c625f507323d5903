"""What one frame adds to mIoU and VPQ, and the two over any part of a run."""

from __future__ import annotations

from dataclasses import dataclass

from eomt_ros.evaluation.metrics.semantic import Confusion
from eomt_ros.evaluation.metrics.vpq import TubeCounts


@dataclass(frozen=True, eq=False)
class FrameScore:
    """What one frame adds to the counts."""

    confusion: Confusion
    tubes: TubeCounts | None
    """Of the windows that end with the frame; None where it has classes only."""

    @property
    def miou(self) -> float | None:
        """Of this frame alone; None where the ground truth is all unlabelled."""
        return self.confusion.miou


class IntervalScores:
    """mIoU and VPQ of some of a run's frames; windows belong where they end."""

    def __init__(self, classes: int) -> None:
        self.confusion = Confusion.empty(classes)
        self.tubes: TubeCounts | None = None

    def add(self, frame: FrameScore) -> None:
        """Counts one frame."""
        self._add(frame.confusion, frame.tubes)

    def merge(self, other: IntervalScores) -> None:
        """Counts the frames of another interval too."""
        self._add(other.confusion, other.tubes)

    @property
    def miou(self) -> float | None:
        """None where the ground truth is all unlabelled."""
        return self.confusion.miou

    @property
    def vpq(self) -> float | None:
        """None where there are classes only."""
        return None if self.tubes is None else self.tubes.vpq

    def _add(self, confusion: Confusion, tubes: TubeCounts | None) -> None:
        self.confusion.add(confusion)
        if tubes is not None:
            if self.tubes is None:
                self.tubes = TubeCounts(tubes.iou.shape[1])
            self.tubes.add(tubes)
