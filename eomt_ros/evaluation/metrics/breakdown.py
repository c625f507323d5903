"""Where things go wrong: by size, and as which class they are found.

PQ of the segments of single frames is SQ * RQ (Kirillov et al., Panoptic Segmentation, 2019): how well what is found is
outlined, and how much is found and there. A true thing counts under its own size, a predicted one that matches none
under its own. Sizes have COCO's names and limits, 32x32 and 96x96 of 640x480 pixels, here as shares of the image.

Things are also matched whatever their classes, by the same IoU: so a thing that is found under another class is told
from one that is missed. Numbers of things are summed over frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.exact import ONE, exact
from eomt_ros.evaluation.metrics.overlap import Counts, Flags, Overlap, iou_above_match, matched_iou, spared
from eomt_ros.evaluation.metrics.vpq import VPQ_WINDOWS, TubeCounts
from eomt_ros.evaluation.wrong import SegmentFigures

SIZES = {"tiny": "below 0.1 %", "small": "0.1 to 0.33 %", "medium": "0.33 to 3 %", "large": "3 % and more"}
"""Names of sizes, and the share of the image that a thing covers."""
SINGLE_FRAMES = VPQ_WINDOWS.index(1)
"""Row of `TubeCounts` whose tubes are the segments of frames."""


@dataclass(eq=False)
class Breakdown:
    """The things of any number of frames, by size and by what they are taken for."""

    iou: npt.NDArray[np.object_]
    """(sizes, classes), summed over matched things. Python's integers, in parts of `ONE`."""
    matched: Counts
    """(sizes, classes); as are the next two."""
    only_true: Counts
    only_predicted: Counts
    taken_for: Counts
    """(classes + 1, classes + 1) true things by the class they are found as, the last column for those that are missed;
    the last row has predicted things that match nothing."""

    @classmethod
    def empty(cls, classes: int) -> Breakdown:
        """Makes one without any thing."""
        shape = len(SIZES), classes
        matched, only_true, only_predicted = (np.zeros(shape, np.int64) for _ in range(3))
        taken_for = np.zeros((classes + 1, classes + 1), np.int64)
        return cls(np.zeros(shape, object), matched, only_true, only_predicted, taken_for)

    @classmethod
    def of(cls, overlap: Overlap, classes: int) -> Breakdown:
        """Makes that of one frame."""
        found = cls.empty(classes)
        truth, prediction = overlap.truth, overlap.prediction
        iou = matched_iou(overlap.counts, truth, prediction) * truth.are_things[:, None]
        is_spared = spared(overlap.counts, truth, prediction)
        pixels = int(overlap.counts.sum())
        true_size = _sizes(overlap.counts.sum(axis=1), pixels)
        predicted_size = _sizes(overlap.counts.sum(axis=0), pixels)
        rows, columns = np.nonzero(iou)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            place = true_size[row], truth.classes[row]
            found.iou[place] += exact(iou[row, column])
            found.matched[place] += 1
        missed = truth.are_things & ~iou.any(axis=1)
        ghosts = prediction.are_things & ~iou.any(axis=0) & ~is_spared
        np.add.at(found.only_true, (true_size[missed], truth.classes[missed]), 1)
        np.add.at(found.only_predicted, (predicted_size[ghosts], prediction.classes[ghosts]), 1)
        found._count_classes(overlap, is_spared)
        return found

    def add(self, other: Breakdown) -> None:
        """Adds the things of other frames."""
        self.iou += other.iou
        self.matched += other.matched
        self.only_true += other.only_true
        self.only_predicted += other.only_predicted
        self.taken_for += other.taken_for

    def by_size(self) -> dict[str, SegmentFigures]:
        """The figures of things of each size that there is."""
        counts = (each.sum(axis=1).tolist() for each in (self.iou, self.matched, self.only_true, self.only_predicted))
        return _figures(SIZES, zip(*counts, strict=True))

    def _count_classes(self, overlap: Overlap, is_spared: Flags) -> None:
        truth, prediction = overlap.truth, overlap.prediction
        things = np.ix_(truth.are_things, prediction.are_things)
        match = iou_above_match(overlap.counts, truth)[things] > 0
        true_class = truth.classes[truth.are_things]
        predicted_class = prediction.classes[prediction.are_things]
        rows, columns = np.nonzero(match)
        np.add.at(self.taken_for, (true_class[rows], predicted_class[columns]), 1)
        np.add.at(self.taken_for[:, -1], true_class[~match.any(axis=1)], 1)
        alone = ~match.any(axis=0) & ~is_spared[prediction.are_things]
        np.add.at(self.taken_for[-1], predicted_class[alone], 1)


def by_class(tubes: TubeCounts, class_names: Sequence[str]) -> dict[str, SegmentFigures]:
    """The figures of the segments of each class that there is, frame by frame."""
    parts = (tubes.iou, tubes.matched, tubes.only_true, tubes.only_predicted)
    return _figures(class_names, zip(*(part[SINGLE_FRAMES].tolist() for part in parts), strict=True))


def _figures(names: Iterable[str], counts: Iterable[tuple[int, int, int, int]]) -> dict[str, SegmentFigures]:
    """counts: of each, the IoU summed over matched segments, these, and those that are only true or predicted."""
    return {
        name: SegmentFigures(
            true=matched + missed,
            predicted=matched + ghosts,
            matched=matched,
            pq=iou / ONE / (matched + (missed + ghosts) / 2),
            sq=iou / ONE / matched if matched else None,
            rq=matched / (matched + (missed + ghosts) / 2),
            recall=matched / (matched + missed) if matched + missed else None,
            precision=matched / (matched + ghosts) if matched + ghosts else None,
        )
        for name, (iou, matched, missed, ghosts) in zip(names, counts, strict=True)
        if matched + missed + ghosts
    }


def _sizes(areas: Counts, pixels: int) -> Counts:
    """Index in `SIZES` of areas in an image of so many pixels."""
    return (1000 * areas >= pixels).astype(np.int64) + (300 * areas >= pixels) + (100 * areas >= 3 * pixels)
