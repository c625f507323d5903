"""The two ways in which masks are resized to the image and compared there, as the rules of the tasks see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from eomt_ros.engine.postprocess.label_map import Extent
from eomt_ros.engine.postprocess.select import Candidates, Thresholds
from eomt_ros.engine.preprocess.geometry import Placement, Size

Decide = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From the sum of each map's probabilities over its mask, and the pixels of the mask, (n,) float32 each: the scores and
which of them are regions, (n,) each."""


class Won(NamedTuple):
    """Maps of which each pixel has one winner."""

    winner: Tensor
    confidence: Tensor | None
    """As in `Winners`."""
    passes: Tensor
    """(n,) bool: which maps are regions."""
    extent: Extent
    """Of what each map wins and shows."""


class Covered(NamedTuple):
    """Masks of which the later lie over the earlier."""

    winner: Tensor
    confidence: Tensor | None
    """As in `Winners`."""
    scores: Tensor
    passes: Tensor
    """(n,) each, from `Decide`."""
    extent: Extent
    """Of the whole masks."""
    whole: np.ndarray | None = None
    """(n, H, W) bool, the masks; None where they are not asked for."""


class Summed(NamedTuple):
    """Classes of which each pixel has one winner."""

    winner: Tensor
    confidence: Tensor | None
    """As in `Winners`."""
    totals: Tensor
    """(classes,): the sum of the winner's values, each 1 at most, over the pixels that a class wins."""
    extent: Extent


class Way(Protocol):
    """Resizes and compares. The arithmetic is float32, as in Hugging Face's post-processing."""

    def gather(self, found: Candidates) -> Candidates:
        """The candidates to resize."""
        ...

    def win(self, logits: Tensor, size: Size, found: Candidates, thresholds: Thresholds) -> Won:
        """A pixel goes to the map of the highest score times probability, if that probability reaches the mask
        threshold; a map is a region if what it wins, divided by the pixels of its mask, exceeds the overlap threshold.

        logits: (n, h, w) float32 of `found`, to be resized to `size`.
        """
        ...

    def cover(self, logits: Tensor, size: Size, found: Candidates, threshold: Tensor, decide: Decide) -> Covered:
        """A pixel goes to the last region whose mask has it. threshold: of the logits, () float32; else as `win`."""
        ...

    def sum_up(self, masks: Tensor, probabilities: Tensor, placement: Placement) -> Summed:
        """A pixel goes to the class of the highest sum, over the queries, of class probability times mask probability.

        masks: (windows or 1, queries, h, w) float32, logits. probabilities: (windows or 1, queries, classes) float32.
        """
        ...
