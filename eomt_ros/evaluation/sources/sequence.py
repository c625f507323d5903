"""The frames of one recording, in order, with the ground truth where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.frame import Labels, Truth


class SourceError(Exception):
    """Frames that cannot be had; the message says which and why."""


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """A picture and what is known about it."""

    stamp: int
    """Nanoseconds."""
    image: npt.NDArray[np.uint8]
    """(H, W, 3) RGB, not to be written to."""
    truth: Truth | None
    """None where the frame cannot be scored."""


@dataclass
class Tally:
    """Counts what went wrong in the same way, and keeps the first example."""

    count: int = 0
    example: str = ""

    def add(self, example: str) -> None:
        """One more."""
        self.count += 1
        self.example = self.example or example

    def sentence(self, one: str, many: str) -> list[str]:
        """The count, what it is that was counted, and the example; nothing where nothing was counted."""
        return [f"{counted(self.count, one, many)}; first: {self.example}"] if self.count else []


@dataclass(eq=False)
class Sequence:
    """One recording: a bag, a video, pictures, or a video of a data set."""

    name: str
    """Different from those of the other sequences that were opened with it."""
    read: Callable[[list[str]], Iterator[SourceFrame]]
    """Reads the frames from the start; adds what is wrong with them to the list it gets, at its end at the latest."""
    count: int | None = None
    """How many frames there are; None where that is not known beforehand."""
    seconds: float | None = None
    """How long it is; None where that is not known beforehand."""
    topic: str | None = None
    """That of the images, in a bag."""
    truth: str | None = None
    """Where the ground truth comes from: topics or a folder; None where there is none."""
    class_names: tuple[str, ...] | None = None
    """The classes of the ground truth, where the data set has its own: a model must know the same, in this order."""
    incomplete: bool = False
    """Reading the frames ended too early, which `problems` or the error said."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with the input and can be worked around, a sentence each; grows until the last frame was read."""

    def frames(self, class_count: int | None = None) -> Iterator[SourceFrame]:
        """Goes through the frames. Those whose ground truth has another size than the image come without it.

        class_count: how many classes the model has; ground truth with others is left out too, and all is accepted
        where it is None.
        Raises `SourceError` where nothing more can be read and what was read so far is not worth much.
        """
        sizes, classes = Tally(), Tally()
        frames = self.read(self.problems)
        try:
            with closing(frames):  # type: ignore[type-var]  # they are generators
                for frame in frames:
                    truth = frame.truth
                    if truth is not None and (wrong := _wrong_size(frame.image, truth)):
                        sizes.add(f"at {frame.stamp} ns {wrong}")
                        truth = None
                    if truth is not None and class_count is not None:
                        unknown = unknown_class(truth.classes, class_count)
                        if unknown is not None:
                            unlabelled = np.iinfo(truth.classes.dtype).max
                            expected = f"expected 0 to {class_count - 1}, or {unlabelled} for unlabelled"
                            classes.add(f"at {frame.stamp} ns class {unknown}, {expected}")
                            truth = None
                    yield frame if truth is frame.truth else SourceFrame(frame.stamp, frame.image, truth)
        finally:
            self.problems += sizes.sentence(
                "frame is not scored: the ground truth has another size",
                "frames are not scored: the ground truth has another size",
            )
            self.problems += classes.sentence(
                "frame is not scored: the ground truth has a class that the model does not have",
                "frames are not scored: the ground truth has a class that the model does not have",
            )


def unknown_class(classes: Labels, class_count: int) -> int | None:
    """The first class id in (H, W) `classes` that is neither below `class_count` nor unlabelled; None without any."""
    if classes.size == 0 or classes.max() < class_count:
        return None
    unknown = classes[(classes >= class_count) & (classes != np.iinfo(classes.dtype).max)]
    return int(unknown[0]) if unknown.size else None


def _wrong_size(image: npt.NDArray[np.uint8], truth: Truth) -> str:
    height, width = image.shape[:2]
    for what, labels in (("classes", truth.classes), ("instance ids", truth.instances)):
        if labels is not None and labels.shape != (height, width):
            return f"the {what} are {labels.shape[1]}x{labels.shape[0]}, the image {width}x{height}"
    return ""
