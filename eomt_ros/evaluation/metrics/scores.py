"""All metrics of a run, fed frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.metrics import mvc, vpq
from eomt_ros.evaluation.metrics.identities import IdentityCounts
from eomt_ros.evaluation.metrics.intervals import FrameScore, IntervalScores
from eomt_ros.evaluation.metrics.mvc import Consistency
from eomt_ros.evaluation.metrics.objects import STANDARD_LIMITS, ObjectFigures, ObjectLimits, ObjectScore, Track
from eomt_ros.evaluation.metrics.overlap import overlap_of
from eomt_ros.evaluation.metrics.semantic import Confusion
from eomt_ros.evaluation.metrics.stq import Association, authors_sq, stq
from eomt_ros.evaluation.metrics.vpq import Tubes
from eomt_ros.evaluation.results import ObjectTimeline


@dataclass(frozen=True)
class Figures:
    """What `Results` says of the predictions, under the same names; None where it cannot be known."""

    miou: float | None
    class_iou: Mapping[str, float | None]
    vpq: float | None
    vpq_things: float | None
    vpq_stuff: float | None
    vpq_by_window: Mapping[str, float | None]
    stq: float | None
    sq: float | None
    aq: float | None
    mvc8: float | None
    mvc16: float | None
    objects: int | None
    objects_found: float | None
    frames_found: float | None
    object_seconds: float | None
    id_switches: int | None
    switches_per_30_seconds: float | None
    fragmentations: int | None
    wrong_ids_after_reentry: int | None
    seconds_to_first_detection: float | None
    things_precision: float | None
    ghosts_per_frame: float | None
    idf1: float | None
    shared_ids: int | None


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
        self._all = IntervalScores(len(class_names))
        self._consistency = Consistency(convention)
        self._ended_tracks: list[tuple[str, Track]] = []
        self._ended_tubes = (0.0, 0)
        self._ended_identities = IdentityCounts()
        self._limits = limits
        self._objects = ObjectScore(limits)
        self._sequence: str | None = None

    def start_sequence(self, name: str) -> None:
        """What follows has nothing to do with the frames before; ids and windows start anew."""
        if self._sequence is not None:
            self._ended_tracks = self._tracks()
            self._ended_tubes = self._association_total()
            self._ended_identities += self._objects.identities()
        self._sequence = name
        self._consistency.start_sequence()
        self._windows = Tubes(self._is_thing)
        self._association = Association(self._convention)
        self._objects = ObjectScore(self._limits)

    def update(self, truth: Truth, prediction: Prediction, *, begin: float, seconds: float) -> FrameScore:
        """Counts the next frame of the sequence.

        begin: seconds from the start of the sequence. seconds: how long the frame stands for.

        Raises `ValueError`, and counts nothing, where the images differ in shape or have unknown class ids.
        """
        if self._sequence is None:
            raise RuntimeError("update was called before start_sequence")
        overlap = overlap_of(truth, prediction, self._is_thing)
        self._consistency.update(truth.classes, prediction.classes)
        tubes = None
        if overlap.has_segments:
            tubes = self._windows.update(overlap)
            self._association.update(overlap, truth.listed_first)
            self._objects.update(overlap, begin=begin, seconds=seconds)
        else:
            # A window has no hole.
            self._windows = Tubes(self._is_thing)
        score = FrameScore(Confusion.of(overlap, len(self._class_names)), tubes)
        self._all.add(score)
        return score

    def figures(self) -> Figures:
        """The figures of all frames so far."""
        confusion, tubes = self._all.confusion, self._all.tubes
        class_iou = dict(zip(self._class_names, confusion.class_iou, strict=True))
        sq = confusion.miou if self._convention is Convention.STANDARD else authors_sq(confusion)
        mvc8, mvc16 = (self._consistency.mvc(length) for length in mvc.MVC_WINDOWS)
        if tubes is None:
            nothing: dict[str, Any] = {field.name: None for field in fields(Figures)}
            nothing["vpq_by_window"] = {str(length): None for length in vpq.VPQ_WINDOWS}
            return Figures(**{**nothing, "miou": confusion.miou, "class_iou": class_iou, "mvc8": mvc8, "mvc16": mvc16})
        total, count = self._association_total()
        aq = total / count if count else None
        return Figures(
            miou=confusion.miou,
            class_iou=class_iou,
            vpq=tubes.vpq,
            vpq_things=vpq.mean(tubes.quality(self._is_thing)),
            vpq_stuff=vpq.mean(tubes.quality(~self._is_thing)),
            vpq_by_window={str(length): value for length, value in zip(vpq.VPQ_WINDOWS, tubes.quality(), strict=True)},
            stq=stq(sq, aq),
            sq=sq,
            aq=aq,
            mvc8=mvc8,
            mvc16=mvc16,
            **vars(
                ObjectFigures.of(
                    (track for _, track in self._tracks()), self._ended_identities + self._objects.identities()
                )
            ),
        )

    @property
    def shift(self) -> int:
        """By how much the ids of the true classes seem to be too large, see `Confusion`."""
        return self._all.confusion.shift

    def timelines(self) -> list[ObjectTimeline]:
        """The objects of all sequences so far."""
        return [
            ObjectTimeline(sequence, track.object_id, self._class_names[track.class_id], track.spans)
            for sequence, track in self._tracks()
        ]

    def id_switches(self, sequence: str, begin: float, end: float) -> int:
        """Those of the id switches that fall into a part of a sequence, from `begin` to before `end`, in seconds."""
        return sum(
            begin <= switch < end for name, track in self._tracks() if name == sequence for switch in track.switches
        )

    def _tracks(self) -> list[tuple[str, Track]]:
        if self._sequence is None:
            return []
        return [*self._ended_tracks, *((self._sequence, track) for track in self._objects.tracks())]

    def _association_total(self) -> tuple[float, int]:
        if self._sequence is None:
            return 0.0, 0
        (ended, ended_count), (total, count) = self._ended_tubes, self._association.total()
        return ended + total, ended_count + count
