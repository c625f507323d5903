"""How well objects, the things of the ground truth, are found, and whether they keep the ids that they are given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from eomt_ros.evaluation.metrics.identities import Identities, IdentityCounts
from eomt_ros.evaluation.metrics.overlap import Key, Overlap
from eomt_ros.evaluation.results import IdSpan


@dataclass(frozen=True)
class ObjectLimits:
    """Which objects count. Raises `ValueError`."""

    min_area: float = 0.001
    """Share of the image; where an object has less, it is out of view, and no ghost."""
    min_frames: int = 5
    """Objects in view for fewer frames are left out."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_area <= 1:
            raise ValueError(f"the least area of an object is {self.min_area}, expected a share of the image, 0 to 1")
        if self.min_frames < 1:
            raise ValueError(f"the least frames of an object are {self.min_frames}, expected 1 or more")


STANDARD_LIMITS = ObjectLimits()


@dataclass(frozen=True)
class Track:
    """What became of one object of the ground truth in one sequence."""

    object_id: int
    class_id: int
    frames: int
    """Frames in which the object was in view."""
    found: int
    """Those of them in which a prediction matched it."""
    seconds: float
    """How long it was in view."""
    ids: int
    """Different ids that it was given."""
    switches: tuple[float, ...]
    """When it was matched by another id than at its match before, in seconds from the start of the sequence."""
    fragmentations: int
    """Times it was found again after one or more frames in view in which it was not."""
    wrong_ids_after_reentry: int
    """Those of the switches before which it had been out of view."""
    seconds_to_first_detection: float | None
    """How long it was in view before it was first matched; None where it never was."""
    spans: tuple[IdSpan, ...]
    """When it was in view, and by which id it was matched."""


@dataclass(frozen=True)
class ObjectFigures:
    """How well objects are found and followed; what is said of no object is None."""

    objects: int
    objects_found: float | None
    """Share of the objects that were matched at least once."""
    frames_found: float | None
    """Share of the objects' frames in view in which they were matched."""
    object_seconds: float
    """How long the objects were in view, summed over objects."""
    id_switches: int
    switches_per_30_seconds: float | None
    """Id switches per 30 seconds of one object in view."""
    fragmentations: int
    wrong_ids_after_reentry: int
    seconds_to_first_detection: float | None
    """Median over the objects that were found."""
    things_precision: float | None
    """Share of the predicted things that matched an object."""
    ghosts_per_frame: float | None
    """Predicted things that matched none."""
    idf1: float | None
    shared_ids: int
    """Ids that were matched with more than one object."""

    @classmethod
    def of(cls, tracks: Iterable[Track], identities: IdentityCounts) -> ObjectFigures:
        """Sums up the tracks, and has the counts, of one or more sequences."""
        counted = list(tracks)
        seconds = sum(track.seconds for track in counted)
        switches = sum(len(track.switches) for track in counted)
        delays = [track.seconds_to_first_detection for track in counted if track.seconds_to_first_detection is not None]
        return cls(
            objects=len(counted),
            objects_found=_share(len(delays), len(counted)),
            frames_found=_share(sum(track.found for track in counted), sum(track.frames for track in counted)),
            object_seconds=seconds,
            id_switches=switches,
            switches_per_30_seconds=_share(30 * switches, seconds),
            fragmentations=sum(track.fragmentations for track in counted),
            wrong_ids_after_reentry=sum(track.wrong_ids_after_reentry for track in counted),
            seconds_to_first_detection=median(delays) if delays else None,
            things_precision=identities.precision,
            ghosts_per_frame=identities.ghosts_per_frame,
            idf1=identities.idf1,
            shared_ids=identities.shared_ids,
        )


class ObjectScore:
    """Follows the objects of one sequence, and the ids that predictions give them; keeps nothing per frame.

    A prediction matches an object where they are of one class and overlap with an IoU above 0.5, pixels that the truth
    leaves unlabelled not counted.
    """

    def __init__(self, limits: ObjectLimits) -> None:
        self._limits = limits
        self._identities = Identities()
        self._courses: dict[Key, _Course] = {}
        self._frame = 0

    def update(self, overlap: Overlap, *, begin: float, seconds: float) -> None:
        """Counts one frame. begin: seconds from the start of the sequence. seconds: how long the frame stands for."""
        smallest = self._limits.min_area * int(overlap.counts.sum())
        in_view = overlap.truth.are_things & (overlap.counts.sum(axis=1) >= smallest)
        self._identities.update(overlap, in_view, smallest)
        for key, is_in_view in zip(overlap.truth.keys, in_view.tolist(), strict=True):
            if is_in_view:
                course = self._courses.setdefault(key, _Course(key))
                course.advance(self._frame, overlap.matches.get(key), begin, seconds)
        self._frame += 1

    def tracks(self) -> list[Track]:
        """The objects that were in view for long enough so far, in the order in which they came."""
        epochs = {identity.epoch for course in self._courses.values() for identity in course.identities}
        return [course.track(name_epoch=len(epochs) > 1) for course in self._counted()]

    def identities(self) -> IdentityCounts:
        """What was predicted of those objects so far, and of none."""
        return self._identities.counts([course.key for course in self._counted()])

    def _counted(self) -> list[_Course]:
        return [course for course in self._courses.values() if course.frames >= self._limits.min_frames]


@dataclass
class _Span:
    begin: float
    end: float
    identity: Key | None


@dataclass
class _Course:
    """One object's story so far."""

    key: Key
    frames: int = 0
    found: int = 0
    seconds: float = 0.0
    fragmentations: int = 0
    wrong_ids_after_reentry: int = 0
    unseen_seconds: float = 0.0
    switches: list[float] = field(default_factory=list)
    spans: list[_Span] = field(default_factory=list)
    identities: set[Key] = field(default_factory=set)
    last: Key | None = None
    last_frame: int | None = None
    lost: bool = False
    was_away: bool = False
    """Out of view at some time since the last match."""

    def advance(self, frame: int, identity: Key | None, begin: float, seconds: float) -> None:
        """The object is in view in this frame, the `frame`-th of the sequence."""
        entered = self.last_frame != frame - 1
        self.was_away |= entered
        self._extend(identity, begin, begin + seconds, new=entered)
        self.last_frame = frame
        self.frames += 1
        self.seconds += seconds
        if identity is None:
            self.lost = self.last is not None
            self.unseen_seconds += seconds if self.last is None else 0.0
            return
        if self.last is not None and self.last != identity:
            self.switches.append(begin)
            self.wrong_ids_after_reentry += self.was_away
        self.found += 1
        self.fragmentations += self.lost
        self.lost = self.was_away = False
        self.last = identity
        self.identities.add(identity)

    def _extend(self, identity: Key | None, begin: float, end: float, *, new: bool) -> None:
        if not new:
            # Frames may stand for less than the time to the next one, where some were dropped.
            self.spans[-1].end = begin
        if not new and self.spans[-1].identity == identity:
            self.spans[-1].end = end
        else:
            self.spans.append(_Span(begin, end, identity))

    def track(self, *, name_epoch: bool) -> Track:
        """The story as it is told to others."""

        def name(identity: Key | None) -> str | None:
            if identity is None:
                return None
            return f"{identity.epoch}:{identity.id}" if name_epoch else str(identity.id)

        return Track(
            object_id=self.key.id,
            class_id=self.key.class_id,
            frames=self.frames,
            found=self.found,
            seconds=self.seconds,
            ids=len(self.identities),
            switches=tuple(self.switches),
            fragmentations=self.fragmentations,
            wrong_ids_after_reentry=self.wrong_ids_after_reentry,
            seconds_to_first_detection=None if self.last is None else self.unseen_seconds,
            spans=tuple(IdSpan(span.begin, span.end, name(span.identity)) for span in self.spans),
        )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
