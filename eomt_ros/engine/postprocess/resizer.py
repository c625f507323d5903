"""The interface of `Tiled` and `FixedShape`, by which the tasks' rules resize and compare masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from eomt_ros.engine.postprocess.label_map import Winners
from eomt_ros.engine.postprocess.select import Candidates, Thresholds
from eomt_ros.engine.preprocess.geometry import Placement, Size

Decide = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Gets the sum of each map's probabilities over its mask, and the pixels of the mask, (n,) float32 each; gives scores,
and True for maps that are regions, (n,) each."""


class Resizer(Protocol):
    """Resizes maps to the image and finds the winner of each pixel, in float32, as Hugging Face's post-processing."""

    def gather(self, found: Candidates) -> Candidates:
        """The candidates to resize."""
        ...

    def win(self, logits: Tensor, size: Size, found: Candidates, thresholds: Thresholds) -> Winners:
        """A pixel goes to the map of the highest score times probability, if that probability reaches the mask
        threshold; a map is a region if what it wins, divided by the pixels of its mask, exceeds the overlap threshold.

        logits: (n, h, w) float32 of `found`, to be resized to `size`.
        """
        ...

    def cover(self, logits: Tensor, size: Size, found: Candidates, threshold: Tensor, decide: Decide) -> Winners:
        """A pixel goes to the last region whose mask has it. threshold: of the logits, () float32; else as `win`."""
        ...

    def sum_up(self, masks: Tensor, probabilities: Tensor, placement: Placement) -> Winners:
        """A pixel goes to the class of the highest sum, over the queries, of class probability times mask probability.
        The score of a class is the mean of that sum, at most 1, over its pixels.

        masks: (windows or 1, queries, h, w) float32, logits. probabilities: (windows or 1, queries, classes) float32.
        """
        ...
