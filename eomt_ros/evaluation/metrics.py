"""How right a segmentation is: of pixels (`SemanticScore`) and of objects and their ids (`ObjectScore`).

Both take a sequence frame by frame and keep counts only, so a sequence may be of any length.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer]
"""(H, W), unsigned: class ids, where the type's largest value (255, 65535) means unlabelled; or object ids, 0 none."""

MATCH_IOU = 0.5
"""Objects match above it; then at most one prediction can match an object, and one object a prediction."""


@dataclass(frozen=True)
class SemanticFigures:
    """How well classes are found, over all pixels that the ground truth labels."""

    miou: float
    """Mean IoU over the classes present in the ground truth; NaN where there is none."""
    class_iou: tuple[float, ...]
    """IoU per class; NaN where the ground truth does not have the class."""


class SemanticScore:
    """Counts pixels by true and predicted class, in one confusion matrix over everything."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        # The last column is for pixels that the prediction leaves unlabelled: missed, though nobody's false alarm.
        self._confusion = np.zeros((classes, classes + 1), np.int64)

    def update(self, truth: Labels, prediction: Labels) -> None:
        """Counts one frame's class images, both (H, W); what the truth leaves unlabelled is ignored.

        Raises `ValueError` where their shapes differ or a class id is not one of the classes.
        """
        _expect_same_shape(truth, prediction)
        counted = truth != _unlabelled(truth)
        rows = self._known(truth[counted], "ground truth")
        columns = self._known(prediction[counted], "prediction")
        cells = rows * (self._classes + 1) + columns
        self._confusion += np.bincount(cells, minlength=self._confusion.size).reshape(self._confusion.shape)

    def add(self, other: SemanticScore) -> None:
        """Counts the frames of another score of the same classes too."""
        self._confusion += other._confusion

    def figures(self) -> SemanticFigures:
        """The figures over all frames so far."""
        hits = np.diagonal(self._confusion)
        in_truth = self._confusion.sum(axis=1)
        union = in_truth + self._confusion[:, :-1].sum(axis=0) - hits
        iou = np.where(in_truth > 0, hits / np.maximum(union, 1), np.nan)
        present = iou[in_truth > 0]
        return SemanticFigures(float(present.mean()) if present.size else float("nan"), tuple(iou.tolist()))

    def _known(self, ids: Labels, whose: str) -> npt.NDArray[np.int64]:
        unlabelled = ids == _unlabelled(ids)
        known: npt.NDArray[np.int64] = np.where(unlabelled, 0, ids).astype(np.int64)
        if known.max(initial=0) >= self._classes:
            raise ValueError(
                f"{whose} has class id {known.max()}, expected 0 to {self._classes - 1} or {_unlabelled(ids)} "
                "(unlabelled): it was made with another list of classes"
            )
        known[unlabelled] = self._classes
        return known


@dataclass(frozen=True)
class Track:
    """What became of one object of the ground truth."""

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
    id_switches: int
    """Times it was matched by another id than at its match before."""
    fragmentations: int
    """Times it was found again after one or more frames in view in which it was not."""


@dataclass(frozen=True)
class ObjectFigures:
    """How well objects are found and followed."""

    objects: int
    objects_found: float
    """Share of the objects that were matched at least once; NaN without objects."""
    frames_found: float
    """Share of the objects' frames in view in which they were matched; NaN without objects."""
    object_seconds: float
    """How long the objects were in view, summed over objects."""
    id_switches: int
    fragmentations: int
    ids_per_object: float
    """Mean number of different ids that a found object was given; NaN where none was found."""

    @classmethod
    def of(cls, tracks: Iterable[Track], *, min_frames: int = 5) -> ObjectFigures:
        """Sums up the tracks of one or more sequences, without objects in view for fewer than `min_frames` frames."""
        counted = [track for track in tracks if track.frames >= min_frames]
        found = [track for track in counted if track.found]
        return cls(
            objects=len(counted),
            objects_found=_share(len(found), len(counted)),
            frames_found=_share(sum(track.found for track in counted), sum(track.frames for track in counted)),
            object_seconds=sum(track.seconds for track in counted),
            id_switches=sum(track.id_switches for track in counted),
            fragmentations=sum(track.fragmentations for track in counted),
            ids_per_object=_share(sum(track.ids for track in found), len(found)),
        )

    @property
    def switches_per_30_seconds(self) -> float:
        """Id switches per 30 seconds of one object in view; NaN without objects."""
        return _share(30 * self.id_switches, self.object_seconds)


class ObjectScore:
    """Follows the things of the ground truth through one sequence, and the ids that predictions give them.

    A prediction matches an object where they are of one class and overlap with an IoU above `MATCH_IOU`, pixels that
    the truth leaves unlabelled not counted. An object is in view where it has at least `min_area` pixels; smaller, it
    is ignored.
    """

    def __init__(self, *, min_area: int = 100) -> None:
        self._min_area = min_area
        self._courses: dict[int, _Course] = {}

    def update(
        self,
        truth_classes: Labels,
        truth_objects: Labels,
        classes: Labels,
        objects: Labels,
        *,
        seconds: float,
        epoch: int = 0,
    ) -> None:
        """Compares one frame, all images (H, W).

        truth_classes, truth_objects: the classes, and the ids of things (0 for stuff), which last the whole sequence.
        classes, objects: the same as predicted, where stuff may have ids too; a pixel's object is of the pixel's class.
        seconds: how long the frame stands for. epoch: ids of different epochs are different ids.

        Raises `ValueError` where the shapes differ.
        """
        for image in (truth_objects, classes, objects):
            _expect_same_shape(truth_classes, image)
        labelled = truth_classes != _unlabelled(truth_classes)
        truths = _regions(truth_objects[labelled], truth_classes[labelled])
        predictions = _regions(objects[labelled], classes[labelled])
        matches = _matches(truths, predictions)
        for number in range(1, len(truths.objects)):
            if truths.areas[number] < self._min_area:
                continue
            object_id = int(truths.objects[number])
            course = self._courses.setdefault(object_id, _Course(object_id, int(truths.classes[number])))
            match = matches.get(number)
            course.advance(None if match is None else (epoch, int(predictions.objects[match])), seconds)

    def tracks(self) -> list[Track]:
        """The objects that were in view so far, in the order in which they came."""
        return [course.track() for course in self._courses.values()]


@dataclass
class _Course:
    """One object's story so far; an identity is (epoch, id)."""

    object_id: int
    class_id: int
    frames: int = 0
    found: int = 0
    seconds: float = 0.0
    id_switches: int = 0
    fragmentations: int = 0
    identities: set[tuple[int, int]] = field(default_factory=set)
    last: tuple[int, int] | None = None
    lost: bool = False

    def advance(self, identity: tuple[int, int] | None, seconds: float) -> None:
        self.frames += 1
        self.seconds += seconds
        if identity is None:
            self.lost = self.last is not None
            return
        self.found += 1
        self.fragmentations += self.lost
        self.lost = False
        self.id_switches += self.last is not None and self.last != identity
        self.last = identity
        self.identities.add(identity)

    def track(self) -> Track:
        return Track(
            object_id=self.object_id,
            class_id=self.class_id,
            frames=self.frames,
            found=self.found,
            seconds=self.seconds,
            ids=len(self.identities),
            id_switches=self.id_switches,
            fragmentations=self.fragmentations,
        )


@dataclass(frozen=True)
class _Regions:
    """The objects of a frame under consecutive numbers; number 0 is for pixels without an object."""

    numbers: npt.NDArray[np.int64]
    """Per pixel."""
    objects: npt.NDArray[np.int64]
    """Ids by number."""
    classes: npt.NDArray[np.int64]
    areas: npt.NDArray[np.int64]


def _regions(objects: Labels, classes: Labels) -> _Regions:
    # By counting, because sorting all pixels, as numpy.unique does, takes many times longer.
    areas = np.bincount(objects, minlength=1)
    present = areas > 0
    present[0] = True
    number_of = np.cumsum(present) - 1
    class_of = np.zeros(len(areas), np.int64)
    class_of[objects] = classes
    ids = np.flatnonzero(present)
    return _Regions(number_of[objects], ids, class_of[ids], areas[ids])


def _matches(truths: _Regions, predictions: _Regions) -> dict[int, int]:
    """Numbers of true objects -> numbers of the predictions that match them."""
    shape = len(truths.objects), len(predictions.objects)
    pairs = truths.numbers * shape[1] + predictions.numbers
    common = np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)
    union = truths.areas[:, None] + predictions.areas[None, :] - common
    same_class = truths.classes[:, None] == predictions.classes[None, :]
    matching = same_class & (common > MATCH_IOU * union)
    matching[0, :] = matching[:, 0] = False
    rows, columns = np.nonzero(matching)
    return dict(zip(rows.tolist(), columns.tolist(), strict=True))


def _unlabelled(classes: Labels) -> int:
    return int(np.iinfo(classes.dtype).max)


def _expect_same_shape(first: Labels, second: Labels) -> None:
    if first.shape != second.shape:
        raise ValueError(f"images of one frame have shapes {first.shape} and {second.shape}, expected the same")


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
