"""The frames of one recording, in order, with the ground truth where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.counting import Tally
from eomt_ros.evaluation.frame import LabelImage, TrueObject, Truth
from eomt_ros.evaluation.label_image import LabelImageError
from eomt_ros.evaluation.sources.truth_map import ClassIds, TruthMap

if TYPE_CHECKING:
    from eomt_ros.space.pinhole import Pinhole
    from eomt_ros.space.pose import Pose


class UnfitError(Exception):
    """A ground truth that cannot be used; reason: what it has in common with others, detail: what is wrong with it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, eq=False)
class FrameInSpace:
    """What is known about a picture in metres."""

    depth: npt.NDArray[np.float32]
    """(H, W) of the picture's size, in metres, NaN where unknown."""
    pinhole: Pinhole
    """The view of this size."""
    pose: Pose
    """The camera's optical frame in one that does not move."""
    truth: Mapping[int, TrueObject] | None
    """The true boxes there, by the ids in the ground truth's image; None where there are none."""
    jumps: int = 0
    """How often the pose has jumped so far, as where a robot finds itself anew."""


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """A picture and what is known about it."""

    stamp: int
    """Nanoseconds."""
    image: npt.NDArray[np.uint8]
    """(H, W, 3) RGB, not to be written to."""
    truth: Truth | None = None
    """None where the frame cannot be scored."""
    space: FrameInSpace | None = None
    """None where the recording has no depth or odometry of the frame, or where they are not wanted."""
    name: str = ""
    """Of its file, without the suffix; empty in bags and videos."""


@dataclass(frozen=True)
class Numbering:
    """How a data set numbers a video and its classes, which its own programs go by."""

    video: int | str
    frames: tuple[str, ...]
    """Names of all frames, in order."""
    categories: tuple[int, ...]
    """The number of each class."""
    pictures: tuple[int, ...] = ()
    """The number of each frame, where frames have some."""


class Problems(list[str]):
    """Sentences about what is wrong with an input and can be worked around."""

    def __init__(self, sentences: Iterable[str] = ()) -> None:
        super().__init__(sentences)
        self.incomplete = False
        """Reading the input ended too early, which one of the sentences or an error said."""
        self._tallies: dict[str, tuple[int, Tally]] = {}

    def tally(self, one: str, many: str, example: str) -> None:
        """Counts something that may go wrong often, in one sentence with the first example."""
        if one not in self._tallies:
            self._tallies[one] = len(self), Tally()
            self.append("")
        place, tally = self._tallies[one]
        tally.add(example)
        (self[place],) = tally.sentence(one, many)


@dataclass(eq=False)
class FrameSequence:
    """One recording: a camera of a bag, a video, pictures, or a video of a data set."""

    name: str
    """Different from those of the other sequences that were opened with it."""
    read: Callable[[Problems], Iterator[SourceFrame]]
    """Reads the frames from the start; adds what is wrong with them to the list it gets, at its end at the latest."""
    count: int | None = None
    """Number of frames; None where that is not known beforehand."""
    seconds: float | None = None
    """Duration; None where that is not known beforehand."""
    bag: str = ""
    """Name of its bag, which the other cameras there share; empty of a video, of pictures, and in a data set."""
    topic: str | None = None
    """Topic of the images, in a bag."""
    truth: str | None = None
    """Topics or folder of the ground truth; None where there is none."""
    truth_map: TruthMap = field(default_factory=TruthMap)
    """Meaning of the values in the ground truth."""
    class_names: tuple[str, ...] | None = None
    """The classes of the ground truth, where the data set has its own: a model must know the same, in this order."""
    numbering: Numbering | None = None
    """None where it is of no data set."""
    problems: Problems = field(default_factory=Problems)
    """Grows until the last frame was read."""

    def frames(
        self, class_names: Sequence[str] | None = None, class_ids: Sequence[int] | None = None
    ) -> Iterator[SourceFrame]:
        """Goes through the frames. Those whose ground truth does not fit come without it.

        class_names: of the model, for whose ids the ground truth is made; None leaves the ground truth as it is.
        class_ids: the ids that these classes have in results, -1 for what is unlabelled there; None for the same.
        Raises `SourceError` where nothing more can be read and what was read so far is not worth much, or the map of
        the ground truth has a class that the model does not have.
        """
        of_model = None if class_names is None else ClassIds(self.truth_map, class_names)
        frames = self.read(self.problems)
        with closing(frames):  # type: ignore[type-var]  # they are generators
            for frame in frames:
                truth, at = frame.truth, f"at {frame.stamp} ns"
                try:
                    if truth is not None:
                        _expect_size(frame.image, truth)
                    if truth is not None and of_model is not None:
                        classes, other = of_model.of(truth.classes)
                        if other is not None:
                            has = "values that --truth-map does not name, which are unlabelled"
                            self.problems.tally(f"frame has {has}", f"frames have {has}", f"{other} {at}")
                        _expect_known(classes, of_model.count)
                        truth = replace(truth, classes=classes if class_ids is None else _mapped(classes, class_ids))
                except (UnfitError, LabelImageError) as error:
                    reason = error.reason if isinstance(error, UnfitError) else "it cannot be read"
                    unused = f"ground truth is not used: {reason}"
                    self.problems.tally(f"frame's {unused}", f"frames' {unused}", f"{at} {error}")
                    truth = None
                yield replace(frame, truth=truth)


def frame_count(sequences: Sequence[FrameSequence]) -> int | None:
    """The number of frames of all sequences together; None where that is not known of one beforehand."""
    return sum(each.count or 0 for each in sequences) if all(each.count for each in sequences) else None


def _mapped(classes: LabelImage, class_ids: Sequence[int]) -> LabelImage:
    """(H, W) class ids that become others, -1 unlabelled."""
    unlabelled = np.iinfo(classes.dtype).max
    table = np.full(unlabelled + 1, unlabelled, classes.dtype)
    table[: len(class_ids)] = [unlabelled if class_id < 0 else class_id for class_id in class_ids]
    return table[classes]


def _expect_size(image: npt.NDArray[np.uint8], truth: Truth) -> None:
    height, width = image.shape[:2]
    for what, labels in (("classes", truth.classes), ("instance ids", truth.instances)):
        if labels is not None and labels.shape != (height, width):
            raise UnfitError(
                "it has another size",
                f"the {what} are {labels.shape[1]}x{labels.shape[0]}, the image {width}x{height}",
            )


def _expect_known(classes: LabelImage, class_count: int) -> None:
    if classes.size == 0 or classes.max() < class_count:
        return
    unlabelled = np.iinfo(classes.dtype).max
    unknown = classes[(classes >= class_count) & (classes != unlabelled)]
    if unknown.size:
        meaning = (
            "offset=-1 if classes are numbered from 1" if unknown[0] == class_count else f"ignore={unknown[0]} if none"
        )
        raise UnfitError(
            "it has an unknown class",
            f"class {unknown[0]}, expected 0 to {class_count - 1}, or {unlabelled} for unlabelled; "
            f"--truth-map says what it means ({meaning})",
        )
