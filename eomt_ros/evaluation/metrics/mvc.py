"""Video consistency (Miao et al., VSPW, 2021): predictions should stay the same where the ground truth does.

In every window of C consecutive frames of a sequence, VC is the share of the pixels with a constant true class that
have a constant predicted class too, right or wrong. mVC is its mean over all windows of all sequences; windows without
such pixels are left out. As in VSPW's own program mVC16 is of the windows of 16 frames alone; the script published with
VidEoMT takes those of 8 into its mean too (`Convention.PUBLISHED`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.exact import ONE, exact
from eomt_ros.evaluation.frame import LabelImage
from eomt_ros.evaluation.metrics.overlap import unlabelled

MVC_WINDOWS = (8, 16)
"""Frames per window."""

Ages = npt.NDArray[np.uint8]
"""(H, W) number of frames for which a pixel has kept its class, at most the length of the longest window."""


@dataclass
class WindowCounts:
    """The shares of the windows of any number of sequences, by window length."""

    shares: dict[int, int] = field(default_factory=lambda: dict.fromkeys(MVC_WINDOWS, 0))
    """Their sum, in parts of `ONE`."""
    windows: dict[int, int] = field(default_factory=lambda: dict.fromkeys(MVC_WINDOWS, 0))

    def count(self, shares: dict[int, float]) -> None:
        """Counts a window of each of some lengths."""
        for length, share in shares.items():
            self.shares[length] += exact(share)
            self.windows[length] += 1

    def add(self, other: WindowCounts) -> None:
        """Adds the windows of another count."""
        for length in MVC_WINDOWS:
            self.shares[length] += other.shares[length]
            self.windows[length] += other.windows[length]

    def mvc(self, length: int, convention: Convention) -> float | None:
        """The mean over all windows of that length; None where there was none."""
        published = convention is Convention.PUBLISHED
        lengths = [other for other in MVC_WINDOWS if other <= length] if published else [length]
        windows = sum(self.windows[each] for each in lengths)
        return sum(self.shares[each] for each in lengths) / ONE / windows if windows else None


class Consistency:
    """Follows the classes of pixels through a sequence; remembers one frame and two ages per pixel.

    The published script leaves out the last window of every video, counts what is unlabelled as a class, and takes the
    windows of 8 into the mean over those of 16.
    """

    def __init__(self, convention: Convention = Convention.STANDARD) -> None:
        self.counts = WindowCounts()
        self._published = convention is Convention.PUBLISHED
        self._begin()

    def _begin(self) -> None:
        self._frames = 0
        self._before: tuple[LabelImage, LabelImage] | None = None
        self._held_back: dict[int, float] = {}

    def update(self, truth: LabelImage, prediction: LabelImage) -> None:
        """Counts the windows that end with this frame; both (H, W) class ids."""
        if self._before is None or self._before[0].shape != truth.shape:
            self._begin()
            self._truth, self._prediction = np.ones(truth.shape, np.uint8), np.ones(truth.shape, np.uint8)
        else:
            _age(self._truth, self._before[0], truth)
            _age(self._prediction, self._before[1], prediction)
        if not self._published:
            self._truth *= truth != unlabelled(truth)
        self._before = truth.copy(), prediction.copy()
        self._frames += 1
        self.counts.count(self._held_back)
        shares = {length: self._share(length) for length in MVC_WINDOWS if length <= self._frames}
        known = {length: share for length, share in shares.items() if share is not None}
        if self._published:
            self._held_back = known
        else:
            self.counts.count(known)

    def _share(self, length: int) -> float | None:
        constant = self._truth >= length
        area = int(np.count_nonzero(constant))
        return int(np.count_nonzero(constant & (self._prediction >= length))) / area if area else None


def _age(ages: Ages, before: LabelImage, now: LabelImage) -> None:
    np.minimum(ages, MVC_WINDOWS[-1] - 1, out=ages)
    ages *= before == now
    ages += 1
