"""Objects, the things of the ground truth: when they are found, and which ids they are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from eomt_ros.evaluation.ids import IdSpan, ObjectTimeline
from eomt_ros.evaluation.metrics.identities import IdentityCounts, IdMatches
from eomt_ros.evaluation.metrics.overlap import Flags, Key, Overlap
from eomt_ros.evaluation.metrics.returns import ReturnCounts, ReturnScore
from eomt_ros.evaluation.rows import ObjectRow


@dataclass(frozen=True)
class ObjectLimits:
    """The smallest objects that count. Raises `ValueError`."""

    min_area: float = 0.001
    """Share of the image; where an object has less, it is out of view, and no ghost."""
    min_frames: int = 5
    """Objects in view for fewer frames are left out."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_area <= 1:
            raise ValueError(f"the least area of an object is {self.min_area}, expected a share of the image, 0 to 1")
        if self.min_frames < 1:
            raise ValueError(f"the least frames of an object are {self.min_frames}, expected 1 or more")

    def in_view(self, overlap: Overlap) -> Flags:
        """(true,) the segments of a frame that are things of which enough is seen."""
        return overlap.truth.are_things & (overlap.areas >= self.min_area * overlap.areas.sum())


STANDARD_LIMITS = ObjectLimits()


@dataclass
class ObjectCounts:
    """The objects of any number of sequences."""

    objects: int = 0
    frames: int = 0
    """In view, summed over objects; as is all that follows."""
    frames_found: int = 0
    nanoseconds: int = 0
    """In view."""
    switches: int = 0
    fragmentations: int = 0
    wrong_ids_after_reentry: int = 0
    delays: Counter[int] = field(default_factory=Counter)
    """Nanoseconds to the first detection, of the objects that were found."""

    def add(self, other: ObjectCounts) -> None:
        """Adds the objects of another count."""
        self.delays.update(other.delays)
        for each in fields(self):
            if each.name != "delays":
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    @property
    def found(self) -> int:
        """Objects that were matched at least once."""
        return self.delays.total()


@dataclass(frozen=True)
class FrameObjects:
    """The objects of one frame, those included that are in view for too few frames to count elsewhere."""

    in_view: int
    found: int
    ghosts: int
    switches: int
    """Objects with another id than before."""

    @property
    def missed(self) -> int:
        """Objects in view that no prediction matched."""
        return self.in_view - self.found

    @property
    def errors(self) -> int:
        """What is missed, what is a ghost, and what has a new id."""
        return self.missed + self.ghosts + self.switches


@dataclass
class ObjectCourse:
    """The story of one object of the ground truth in one sequence, so far."""

    key: Key
    frames: int = 0
    """Frames in which the object was in view."""
    found: int = 0
    """Frames in view in which a prediction matched it."""
    nanoseconds: int = 0
    """Time in view."""
    area: float = 0.0
    """Share of the image that it covers, summed over frames in view."""
    switches: list[float] = field(default_factory=list)
    """Times at which it was matched by another id than before, in seconds from the start of the sequence."""
    fragmentations: int = 0
    """Times it was found again after one or more frames in view in which it was not."""
    wrong_ids_after_reentry: int = 0
    """Number of switches before which it had been out of view."""
    matches: list[tuple[float, float, Key | None]] = field(default_factory=list)
    """(begin, end, predicted thing): the times in view, and what matched it."""
    _unseen: int = 0
    """Nanoseconds in view before the first match."""
    _last: Key | None = None
    _last_frame: int | None = None
    _lost: bool = False
    _was_away: bool = False
    """Out of view at some time since the last match."""

    @property
    def delay(self) -> int | None:
        """Nanoseconds in view before it was first matched; None where it never was."""
        return None if self._last is None else self._unseen

    def advance(self, frame: int, match: Key | None, begin: float, seconds: float, area: float) -> bool:
        """Counts a frame in which the object is in view, the `frame`-th of the sequence; True where it has a new id.

        area: share of the image that it covers.
        """
        entered = self._last_frame != frame - 1
        self._was_away |= entered
        self._extend(match, begin, begin + seconds, new=entered)
        self._last_frame = frame
        self.frames += 1
        nanoseconds = round(seconds * 1e9)
        self.nanoseconds += nanoseconds
        self.area += area
        if match is None:
            self._lost = self._last is not None
            self._unseen += nanoseconds if self._last is None else 0
            return False
        switched = self._last is not None and self._last != match
        if switched:
            self.switches.append(begin)
            self.wrong_ids_after_reentry += self._was_away
        self.found += 1
        self.fragmentations += self._lost
        self._lost = self._was_away = False
        self._last = match
        return switched

    def _extend(self, match: Key | None, begin: float, end: float, *, new: bool) -> None:
        if not new:
            # Frames may stand for less than the time to the next one, where some were dropped.
            start, _, before = self.matches.pop()
            if before == match:
                begin = start
            else:
                self.matches.append((start, begin, before))
        self.matches.append((begin, end, match))


class ObjectScore:
    """Follows the objects of one sequence, and the ids that predictions give them; keeps nothing per frame.

    A prediction matches an object where they are of one class and overlap with an IoU above 0.5, pixels that the truth
    leaves unlabelled not counted.
    """

    def __init__(self, limits: ObjectLimits) -> None:
        self._limits = limits
        self._ids = IdMatches()
        self._returns = ReturnScore()
        self._courses: dict[Key, ObjectCourse] = {}
        self._frame = 0
        self.in_view: list[Key] = []
        """The objects in view in the last frame."""
        self.frame = FrameObjects(0, 0, 0, 0)
        """What became of them."""

    def update(self, overlap: Overlap, *, begin: float, seconds: float) -> None:
        """Counts one frame. begin: seconds from the start of the sequence. seconds: how long the frame stands for."""
        pixels, areas = int(overlap.areas.sum()), overlap.areas
        in_view = self._limits.in_view(overlap)
        self.in_view = [key for key, is_in_view in zip(overlap.truth.keys, in_view.tolist(), strict=True) if is_in_view]
        ghosts = self._ids.update(overlap, self.in_view, self._limits.min_area * pixels)
        self._returns.update(overlap, self.in_view, begin)
        found = switches = 0
        for key, area in zip(self.in_view, areas[in_view].tolist(), strict=True):
            match = overlap.matches.get(key)
            course = self._courses.setdefault(key, ObjectCourse(key))
            switches += course.advance(self._frame, match, begin, seconds, area / pixels)
            found += match is not None
        self.frame = FrameObjects(len(self.in_view), found, ghosts, switches)
        self._frame += 1

    @property
    def courses(self) -> list[ObjectCourse]:
        """The objects that were in view for long enough so far, in the order in which they came."""
        return [course for course in self._courses.values() if course.frames >= self._limits.min_frames]

    def counts(self) -> ObjectCounts:
        """Counts those objects."""
        courses = self.courses
        return ObjectCounts(
            objects=len(courses),
            frames=sum(course.frames for course in courses),
            frames_found=sum(course.found for course in courses),
            nanoseconds=sum(course.nanoseconds for course in courses),
            switches=sum(len(course.switches) for course in courses),
            fragmentations=sum(course.fragmentations for course in courses),
            wrong_ids_after_reentry=sum(course.wrong_ids_after_reentry for course in courses),
            delays=Counter(course.delay for course in courses if course.delay is not None),
        )

    def id_counts(self) -> IdentityCounts:
        """Counts what was predicted of those objects so far, and of none."""
        return self._ids.counts([course.key for course in self.courses])

    def return_counts(self) -> ReturnCounts:
        """Counts how often those objects came back so far."""
        return self._returns.counts(course.key for course in self.courses)

    def rows(self, sequence: str, class_names: Sequence[str]) -> list[ObjectRow]:
        """Each of those objects in numbers."""
        returns = {course.key: self._returns.counts([course.key]).figures() for course in self.courses}
        return [
            ObjectRow(
                sequence=sequence,
                object_id=course.key.id,
                class_name=class_names[course.key.class_id],
                first_seconds=course.matches[0][0],
                last_seconds=course.matches[-1][1],
                seconds_in_view=course.nanoseconds * 1e-9,
                area=course.area / course.frames,
                frames=course.frames,
                frames_found=course.found,
                recall=course.found / course.frames,
                seconds_to_first_detection=None if course.delay is None else course.delay * 1e-9,
                ids=len({match for _, _, match in course.matches if match is not None}),
                id_switches=len(course.switches),
                fragmentations=course.fragmentations,
                wrong_ids_after_reentry=course.wrong_ids_after_reentry,
                returns=returns[course.key].returned,
                returns_right=returns[course.key].right,
                returns_wrong=returns[course.key].wrong,
            )
            for course in self.courses
        ]

    def timelines(self, sequence: str, class_names: Sequence[str]) -> list[ObjectTimeline]:
        """The time in view and the ids of those objects, for people."""
        matches = [match for course in self._courses.values() for _, _, match in course.matches]
        several = len({match.epoch for match in matches if match is not None}) > 1

        def name(match: Key | None) -> str | None:
            if match is None:
                return None
            return f"{match.epoch}:{match.id}" if several else str(match.id)

        return [
            ObjectTimeline(
                sequence,
                course.key.id,
                class_names[course.key.class_id],
                tuple(
                    IdSpan(begin, end, name(match), self._returns.of(course.key).get(begin))
                    for begin, end, match in course.matches
                ),
            )
            for course in self.courses
        ]
