"""Whether things keep their ids from camera to camera: `python -m bench.hand_over RIG...`.

The recordings have ground truth, and cameras of one world with the same stamps, as those that `python -m demo.record
--camera front=100 --camera left=100@90 RIG` makes. The cameras share their ids (`shared_ids`); above it stands the same
with ids of each camera's own.

A true thing belongs to the camera that found it last, until that one does not find it and another does.

1. It returns, by the rules of `eomt_ros.evaluation.metrics.returns`, where no camera found it for `LEAST_AWAY`: to the
   camera it belonged to, or to another.
2. It goes over where it belongs to another camera sooner than that. Its id is right, wrong or new by the same rule.
3. Its id switches where it is not that of the match before, in whichever camera.

A match counts where the camera sees enough of the thing, as everywhere. STQ is over the pictures of all cameras, in
which a thing is one.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eomt_ros.engine import Segmenter, SharedIds
from eomt_ros.evaluation.bag import Bag
from eomt_ros.evaluation.frame import Prediction
from eomt_ros.evaluation.ids import OUTCOMES
from eomt_ros.evaluation.metrics.identities import PredictedId
from eomt_ros.evaluation.metrics.objects import STANDARD_LIMITS
from eomt_ros.evaluation.metrics.overlap import Key, Overlap, overlap_of
from eomt_ros.evaluation.metrics.returns import LEAST_AWAY, Owners
from eomt_ros.evaluation.metrics.semantic import Confusion
from eomt_ros.evaluation.metrics.stq import Association, AssociationCounts, stq
from eomt_ros.evaluation.predictions import EnginePredictions
from eomt_ros.evaluation.sources.opening import open_sequences
from eomt_ros.evaluation.sources.truth import TruthSource
from eomt_ros.stamps import SECOND

IMAGES = "/image/compressed"
SAME, OTHER, OVER, AT_ONCE = "return to the same camera", "to another one", "go over", "in two at once"


class Coming(NamedTuple):
    """A thing that returns or goes over."""

    camera_before: int
    by_before: PredictedId
    left: float
    away: float


@dataclass
class Course:
    """A true thing so far."""

    camera: int | None = None
    """It belongs to; None before the first match."""
    by: PredictedId = (0, 0)
    left: float | None = None
    """Since when no camera finds it; None while one does."""
    coming: Coming | None = None
    """Found, and not yet seen enough of."""
    named: PredictedId | None = None
    """Its id when enough of it was seen."""
    in_view: int = 0
    """Moments."""
    switches: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By what happens (`SAME` and so on), and how its ids are then."""

    def update(
        self, thing: Key, begin: float, ids: Mapping[int, PredictedId], in_view: Collection[int], owners: Owners
    ) -> None:
        """Takes in a moment. ids: by the cameras that find it. in_view: the cameras that see enough of it."""
        self.in_view += bool(in_view)
        if not ids:
            self.left = begin if self.left is None else self.left
            return
        camera = self.camera if self.camera in ids else min(ids)
        if self.camera is not None:
            left = begin if self.left is None else self.left
            away = round(begin - left, 9)
            if away >= LEAST_AWAY or (camera != self.camera and self.coming is None):
                self.coming = Coming(self.camera, self.by, left, away)
        self.camera, self.by, self.left = camera, ids[camera], None
        if camera not in in_view:
            return
        if self.coming is not None:
            self._come(self.coming, owners.outcome(thing, self.by, self.coming.by_before, self.coming.left))
        self.coming = None
        self.switches += self.named not in (None, self.by)
        self.named = self.by
        found_in = ids.keys() & set(in_view)
        if len(found_in) > 1:
            self.counts[AT_ONCE, "right" if len({ids[each] for each in found_in}) == 1 else "new"] += 1

    def _come(self, coming: Coming, outcome: str) -> None:
        is_same = self.camera == coming.camera_before
        if coming.away >= LEAST_AWAY:
            self.counts[SAME if is_same else OTHER, outcome] += 1
        elif not is_same:
            self.counts[OVER, outcome] += 1


@dataclass
class Counts:
    """Of any number of recordings."""

    confusion: Confusion
    association: AssociationCounts = field(default_factory=AssociationCounts)
    switches: int = 0
    seconds: float = 0.0
    """In view, summed over things."""
    comings: Counter[tuple[str, str]] = field(default_factory=Counter)

    def row(self, ids: str) -> str:
        """A row of the table."""
        sq, aq = self.confusion.miou, self.association.aq
        cells = [ids, _number(30 * self.switches / self.seconds if self.seconds else None, 2)]
        cells += [_number(stq(sq, aq), 3), _number(aq, 3)]
        for what in (SAME, OTHER, OVER, AT_ONCE):
            numbers = [self.comings[what, outcome] for outcome in OUTCOMES]
            shares = [f"{number / max(sum(numbers), 1):.1%}" for number in numbers]
            cells.append(f"{sum(numbers)}: {' / '.join(shares[:1] if what == AT_ONCE else shares)}")
        return f"| {' | '.join(cells)} |"


class WorldScore:
    """Follows the true things of one world through the pictures of its cameras. classes: their number."""

    def __init__(self, classes: int) -> None:
        self._confusion = Confusion.empty(classes)
        self._association = Association()
        self._owners = Owners()
        self._courses: defaultdict[Key, Course] = defaultdict(Course)

    def update(self, begin: float, overlaps: Sequence[Overlap]) -> None:
        """Counts a moment: what each camera shows. begin: seconds from the start."""
        ids: defaultdict[Key, dict[int, PredictedId]] = defaultdict(dict)
        in_view: defaultdict[Key, set[int]] = defaultdict(set)
        for camera, overlap in enumerate(overlaps):
            self._confusion.add(Confusion.of(overlap, len(self._confusion.counts)))
            self._association.update(overlap)
            for row in np.flatnonzero(STANDARD_LIMITS.in_view(overlap)).tolist():
                in_view[overlap.truth.keys[row]].add(camera)
            for thing, match in overlap.matches.items():
                if thing.id:
                    ids[thing][camera] = match.epoch, match.id
        for thing in self._courses.keys() | ids.keys() | in_view.keys():
            self._courses[thing].update(thing, begin, ids[thing], in_view[thing], self._owners)
        for thing, found in ids.items():
            for by in found.values():
                self._owners.see(thing, by, begin)

    def add_to(self, counts: Counts, step: float) -> None:
        """Adds what was counted. step: seconds that a moment stands for."""
        counts.confusion.add(self._confusion)
        counts.association.add(self._association.counts())
        for course in self._courses.values():
            if course.in_view >= STANDARD_LIMITS.min_frames:
                counts.switches += course.switches
                counts.seconds += course.in_view * step
                counts.comings += course.counts


def count(path: Path, segmenter: Segmenter, counts: Counts, *, shared: bool, places: bool) -> None:
    """Adds a recording. shared: the cameras share their ids. Raises `ValueError` where their stamps differ."""
    with Bag(path) as bag:
        topics = sorted(topic for topic in bag.topics if topic.endswith(IMAGES))
    if len(topics) < 2:
        raise ValueError(f"{path} has {len(topics)} topics that end with {IMAGES}, expected those of several cameras")
    cameras = open_sequences([path], topics=topics, truth=TruthSource(), places=places)
    shared_ids = SharedIds() if shared else None
    predictions = [EnginePredictions(segmenter, places=places, shared_ids=shared_ids) for _ in cameras]
    for each, camera in zip(predictions, cameras, strict=True):
        each.start_sequence(camera.name)
    is_thing = np.array(segmenter.labels.is_thing, bool)
    score = WorldScore(len(is_thing))
    stamps = []
    for frames in zip(*(camera.frames(segmenter.labels.class_names) for camera in cameras), strict=True):
        stamps.append(frames[0].stamp)
        overlaps = []
        for number, (frame, each) in enumerate(zip(frames, predictions, strict=True)):
            if frame.stamp != stamps[-1]:
                raise ValueError(
                    f"{path}: the cameras' images have the stamps {stamps[-1]} and {frame.stamp} ns at once"
                )
            found = each.find(frame)
            if found is None or frame.truth is None:
                raise ValueError(f"{path}: no ground truth or result of {topics[number]} at {frame.stamp} ns")
            # Ids of different epochs are different ids, and so are those that cameras do not share.
            epoch = found.epoch if shared else found.epoch * len(cameras) + number
            overlaps.append(overlap_of(frame.truth, Prediction(found.semantic, found.panoptic, epoch), is_thing))
        score.update((stamps[-1] - stamps[0]) / SECOND, overlaps)
    score.add_to(counts, (stamps[-1] - stamps[0]) / SECOND / (len(stamps) - 1))


def rows(paths: Sequence[Path], segmenter: Segmenter, *, places: bool) -> Iterator[str]:
    """The lines of the table."""
    what = [f"{SAME}: {' / '.join(OUTCOMES)}", OTHER, OVER, f"{AT_ONCE}: one id"]
    columns = ["ids", "switches per 30 s", "STQ", "AQ", *what]
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for shared, name in ((False, "of each camera's own"), (True, "shared")):
        counts = Counts(Confusion.empty(len(segmenter.labels.class_names)))
        for path in paths:
            count(path, segmenter, counts, shared=shared, places=places)
        yield counts.row(name)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.hand_over", description=__doc__)
    parser.add_argument("rigs", nargs="+", type=Path, metavar="RIG", help="a bag of several cameras, with ground truth")
    parser.add_argument("--model", default="demo", help="folder, hub id or demo (default: %(default)s)")
    parser.add_argument(
        "--places", choices=("auto", "none"), default="auto", help="whether depth and odometry have a say in the ids"
    )
    asked = parser.parse_args()
    with Segmenter.load(asked.model, task="panoptic") as segmenter:
        for line in rows(asked.rigs, segmenter, places=asked.places == "auto"):
            print(line, flush=True)


if __name__ == "__main__":
    main()
