"""All metrics together, of a run and of its parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.exact import median_seconds
from eomt_ros.evaluation.frame import ObjectsInMetres, Prediction, Truth
from eomt_ros.evaluation.ids import ObjectTimeline
from eomt_ros.evaluation.metrics import mvc, vpq
from eomt_ros.evaluation.metrics.breakdown import SINGLE_FRAMES, Breakdown, by_class
from eomt_ros.evaluation.metrics.identities import IdentityCounts
from eomt_ros.evaluation.metrics.metres import MetreCells, MetreScore, metre_figures
from eomt_ros.evaluation.metrics.mvc import Consistency, WindowCounts
from eomt_ros.evaluation.metrics.objects import STANDARD_LIMITS, FrameObjects, ObjectCounts, ObjectLimits, ObjectScore
from eomt_ros.evaluation.metrics.overlap import Flags, overlap_of
from eomt_ros.evaluation.metrics.returns import ReturnCounts
from eomt_ros.evaluation.metrics.semantic import Confusion
from eomt_ros.evaluation.metrics.stq import Association, AssociationCounts, authors_sq, stq
from eomt_ros.evaluation.metrics.vpq import TubeCounts, Tubes
from eomt_ros.evaluation.results import Figures, GroundMap
from eomt_ros.evaluation.rows import ObjectRow

MOST_MAPS = 20
"""Sequences that a report shows from above."""


@dataclass(eq=False)
class PartialScores:
    """The counts behind mIoU and VPQ, of one frame or of any number of them."""

    confusion: Confusion
    tubes: TubeCounts | None = None
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
                self.tubes = TubeCounts.empty(other.tubes.iou.shape[1])
            self.tubes.add(other.tubes)

    @property
    def miou(self) -> float | None:
        """mIoU; None where the ground truth is all unlabelled."""
        return self.confusion.miou

    @property
    def pq(self) -> float | None:
        """VPQ of single frames; None where there are classes only, or nothing was counted."""
        return None if self.tubes is None else self.tubes.quality()[SINGLE_FRAMES]

    @property
    def vpq(self) -> float | None:
        """VPQ; None where there are classes only."""
        return None if self.tubes is None else self.tubes.vpq


@dataclass(eq=False)
class ScoreCounts:
    """All that is counted of any number of sequences; figures are those of the sum, in whatever order it is taken."""

    partial: PartialScores
    windows: WindowCounts = field(default_factory=WindowCounts)
    association: AssociationCounts = field(default_factory=AssociationCounts)
    objects: ObjectCounts = field(default_factory=ObjectCounts)
    ids: IdentityCounts = field(default_factory=IdentityCounts)
    breakdown: Breakdown | None = None
    """None where there are classes only."""
    metres: MetreCells | None = None
    """None where nothing was known in metres."""
    returns: ReturnCounts | None = None
    """None where there are classes only."""

    @classmethod
    def empty(cls, classes: int) -> ScoreCounts:
        """Makes one of no sequence."""
        return cls(PartialScores.empty(classes))

    def add(self, other: ScoreCounts) -> None:
        """Adds other sequences."""
        self.partial.add(other.partial)
        self.windows.add(other.windows)
        self.association.add(other.association)
        self.objects.add(other.objects)
        self.ids += other.ids
        if other.breakdown is not None:
            self.breakdown = self.breakdown or Breakdown.empty(len(self.partial.confusion.counts))
            self.breakdown.add(other.breakdown)
        if other.metres is not None:
            self.metres = self.metres or MetreCells()
            self.metres.add(other.metres)
        if other.returns is not None:
            self.returns = self.returns or ReturnCounts.of([])
            self.returns.add(other.returns)

    def figures(self, class_names: Sequence[str], is_thing: Flags, convention: Convention) -> Figures:
        """The figures of all that was counted. class_names, is_thing: by class id."""
        confusion, tubes = self.partial.confusion, self.partial.tubes
        mvc8, mvc16 = (self.windows.mvc(length, convention) for length in mvc.MVC_WINDOWS)
        of_classes = Figures(
            miou=confusion.miou,
            class_iou=dict(zip(class_names, confusion.class_iou, strict=True)),
            vpq_by_window={str(length): None for length in vpq.VPQ_WINDOWS},
            mvc8=mvc8,
            mvc16=mvc16,
        )
        if tubes is None:
            return of_classes
        sq = confusion.miou if convention is Convention.STANDARD else authors_sq(confusion)
        by_window = zip(vpq.VPQ_WINDOWS, tubes.quality(), strict=True)
        objects, ids = self.objects, self.ids
        return replace(
            of_classes,
            vpq=tubes.vpq,
            vpq_things=vpq.mean(tubes.quality(is_thing)),
            vpq_stuff=vpq.mean(tubes.quality(~is_thing)),
            vpq_by_window={str(length): value for length, value in by_window},
            by_class=by_class(tubes, class_names),
            by_size={} if self.breakdown is None else self.breakdown.by_size(),
            stq=stq(sq, self.association.aq),
            sq=sq,
            aq=self.association.aq,
            objects=objects.objects,
            objects_found=_share(objects.found, objects.objects),
            frames_found=_share(objects.frames_found, objects.frames),
            object_seconds=objects.nanoseconds * 1e-9,
            id_switches=objects.switches,
            switches_per_30_seconds=_share(30 * objects.switches, objects.nanoseconds * 1e-9),
            fragmentations=objects.fragmentations,
            wrong_ids_after_reentry=objects.wrong_ids_after_reentry,
            seconds_to_first_detection=median_seconds(objects.delays),
            things_precision=_share(ids.matched, ids.predicted),
            ghosts_per_frame=_share(ids.predicted - ids.matched, ids.frames),
            idf1=_share(2 * ids.agreed, ids.true + ids.predicted),
            shared_ids=ids.shared_ids,
            objects_in_metres=None if self.metres is None else metre_figures(self.metres, class_names),
            returns=None if self.returns is None else self.returns.figures(),
            returns_right=None if self.returns is None else self.returns.share("right"),
            returns_wrong=None if self.returns is None else self.returns.share("wrong"),
        )


@dataclass(frozen=True)
class _Sequence:
    """What follows a sequence."""

    name: str
    partial: PartialScores
    windows: WindowCounts
    association: Association
    objects: ObjectScore
    breakdown: Breakdown
    metres: MetreScore

    def counts(self) -> ScoreCounts:
        return ScoreCounts(
            self.partial,
            self.windows,
            self.association.counts(),
            self.objects.counts(),
            self.objects.id_counts(),
            None if self.partial.tubes is None else self.breakdown,
            self.metres.cells if self.metres.is_measured else None,
            None if self.partial.tubes is None else self.objects.return_counts(),
        )


class Scores:
    """All metrics over any number of sequences, each of any length: keeps counts, and the frames of the longest window.

    class_names, is_thing: by class id. limits: which objects count.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        is_thing: Sequence[bool],
        convention: Convention = Convention.STANDARD,
        limits: ObjectLimits = STANDARD_LIMITS,
    ) -> None:
        if len(class_names) != len(is_thing):
            raise ValueError(
                f"{len(class_names)} class names, but is_thing has {len(is_thing)}, expected one per class"
            )
        self._class_names = tuple(class_names)
        self._is_thing = np.array(is_thing, bool)
        self._convention = convention
        self._limits = limits
        self._sequences: list[_Sequence] = []

    def start_sequence(self, name: str) -> None:
        """Begins another sequence; ids and windows start anew."""
        self._consistency = Consistency(self._convention)
        self._tubes = Tubes(self._is_thing)
        classes = len(self._class_names)
        self._sequences.append(
            _Sequence(
                name,
                PartialScores.empty(classes),
                self._consistency.counts,
                Association(self._convention),
                ObjectScore(self._limits),
                Breakdown.empty(classes),
                MetreScore(),
            )
        )

    def update(
        self,
        truth: Truth,
        prediction: Prediction,
        *,
        begin: float,
        seconds: float,
        objects: ObjectsInMetres | None = None,
    ) -> PartialScores:
        """Counts the next frame of the sequence.

        begin: seconds from the start of the sequence. seconds: how long the frame stands for. objects: the same frame's
        in metres; None where these are not known.

        Raises `ValueError`, and counts nothing, where the images differ in shape or have unknown class ids.
        """
        if not self._sequences:
            raise RuntimeError("update was called before start_sequence")
        overlap = overlap_of(truth, prediction, self._is_thing)
        if truth.is_still:
            self._tubes = Tubes(self._is_thing)
        else:
            self._consistency.update(truth.classes, prediction.classes)
        tubes = None
        if overlap.has_segments:
            tubes = self._tubes.update(overlap)
            self._sequences[-1].association.update(overlap, truth.listed_first)
            self._sequences[-1].objects.update(overlap, begin=begin, seconds=seconds)
            self._sequences[-1].breakdown.add(Breakdown.of(overlap, len(self._class_names)))
            if objects is not None:
                in_view = self._sequences[-1].objects.in_view
                self._sequences[-1].metres.update(overlap, in_view, objects, begin=begin)
        else:
            # A window has no hole.
            self._tubes = Tubes(self._is_thing)
        score = PartialScores(Confusion.of(overlap, len(self._class_names)), tubes)
        self._sequences[-1].partial.add(score)
        return score

    def counts(self) -> ScoreCounts:
        """The counts of all frames so far."""
        counts = ScoreCounts.empty(len(self._class_names))
        for sequence in self._sequences:
            counts.add(sequence.counts())
        return counts

    def figures(self) -> Figures:
        """The figures of all frames so far."""
        return self._figures(self.counts())

    def figures_by_sequence(self) -> list[Figures]:
        """The figures of each sequence so far."""
        return [self._figures(sequence.counts()) for sequence in self._sequences]

    @property
    def shift(self) -> int:
        """Number by which the ids of the true classes seem to be too large, see `Confusion`."""
        confusion = Confusion.empty(len(self._class_names))
        for sequence in self._sequences:
            confusion.add(sequence.partial.confusion)
        return confusion.shift

    def timelines(self) -> list[ObjectTimeline]:
        """The objects of all sequences so far."""
        return [
            timeline
            for sequence in self._sequences
            for timeline in sequence.objects.timelines(sequence.name, self._class_names)
        ]

    def object_rows(self) -> Iterator[ObjectRow]:
        """The objects of all sequences so far, in numbers."""
        for sequence in self._sequences:
            yield from sequence.objects.rows(sequence.name, self._class_names)

    @property
    def frame_objects(self) -> FrameObjects:
        """What became of the objects in the last frame that had some."""
        return self._sequences[-1].objects.frame

    def maps(self) -> list[GroundMap]:
        """The maps of the first sequences that have figures in metres, `MOST_MAPS` at most."""
        measured = [sequence for sequence in self._sequences if sequence.metres.is_measured]
        return [each.metres.sketch.map(each.name, self._class_names) for each in measured[:MOST_MAPS]]

    def id_switches(self, sequence: str, begin: float, end: float) -> int:
        """Number of id switches in a part of a sequence, from `begin` to before `end`, in seconds."""
        courses = [course for each in self._sequences if each.name == sequence for course in each.objects.courses]
        return sum(begin <= switch < end for course in courses for switch in course.switches)

    def _figures(self, counts: ScoreCounts) -> Figures:
        return counts.figures(self._class_names, self._is_thing, self._convention)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
