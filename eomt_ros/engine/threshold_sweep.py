"""What other thresholds make of a stream's frames, from one pass of the network: no threshold is part of that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from eomt_ros.continuity import MAX_GAP, Admitted
from eomt_ros.engine.begun import Begun
from eomt_ros.engine.networks import StepResult
from eomt_ros.engine.pipeline import FrameOutput, Request, segmented
from eomt_ros.engine.results import FrameResult
from eomt_ros.engine.segmenter import Segmenter
from eomt_ros.engine.stream import State
from eomt_ros.engine.tracking.places import Locate
from eomt_ros.model_options import ModelOptions
from eomt_ros.stamps import Stamp

SWEPT = {
    "panoptic": ("score_threshold", "mask_threshold", "overlap_threshold"),
    "instance": ("score_threshold", "mask_threshold"),
    "semantic": (),
}
"""Thresholds that make a difference, by task."""


class ThresholdSweep:
    """A stream with the segmenter's own options, and beside it one for each of some others, with ids of its own.

    On a CPU the results equal those of separate runs to the last bit; a GPU that runs CUDA graphs may round otherwise.

    `stream`: the one with the segmenter's own. Raises `ValueError` for options that differ in more than thresholds.
    """

    def __init__(self, segmenter: Segmenter, others: Sequence[ModelOptions], *, max_gap: float = MAX_GAP) -> None:
        names = SWEPT[segmenter.task]
        own = segmenter.options
        for other in others:
            if replace(other, **{name: getattr(own, name) for name in names}) != own:
                raise ValueError(f"a sweep of the {segmenter.task} task has other values of {', '.join(names)} alone")
        self.stream = segmenter.open_stream(max_gap=max_gap)
        self._segmenter = segmenter
        self._others = [(segmenter.open_stream(max_gap=max_gap), other) for other in others]

    def begin(
        self,
        image: np.ndarray,
        *,
        stamp: Stamp | None = None,
        locate: Locate | None = None,
        with_masks: bool = False,
    ) -> Callable[[], tuple[FrameResult, list[FrameResult]]]:
        """Begins the next frame as `Stream.begin`; what this gives does the rest, and alone uses the streams of the
        others.

        It returns the result, and those of the others, which have no confidence and no segments' masks.
        """
        admitted = self.stream.admit(stamp)
        finish = self.stream.begin(image, stamp=admitted, locate=locate, with_masks=with_masks, with_logits=True)
        return partial(self._finish, finish, self.stream._state, image, admitted, locate)

    def _finish(
        self,
        finish: Callable[[], FrameResult],
        state: State,
        image: np.ndarray,
        admitted: Admitted,
        locate: Locate | None,
    ) -> tuple[FrameResult, list[FrameResult]]:
        found = finish()
        assert found.logits is not None
        step = self._segmenter._open_pipeline.active.step
        masks, classes = (torch.from_numpy(each)[None].to(step.device) for each in vars(found.logits).values())
        if state.memory is not None:
            classes = state.memory.class_logits
        answer = StepResult(masks, classes, step.first_queries)
        results = []
        for stream, options in self._others:
            begun = Begun.of(image, stream, admitted, locate, task=self._segmenter._task, step=step)
            request = Request([begun.frame], options, with_masks=False, with_logits=False, with_confidence=False)
            find = partial(segmented, self._segmenter._task, answer, begun.frame, request)
            queries = step.first_queries if state.queries is None else state.queries
            output = FrameOutput(find, None, queries, state.memory, math.nan, math.nan, math.nan)
            shown = begun.found(output)
            begun.advance(output, propagates=self._segmenter._family.propagates)
            results.append(self._segmenter._result(output, begun, request, shown))
        return replace(found, logits=None), results

    def forget_ids(self) -> None:
        """As `Stream.forget_ids`, in all streams."""
        self.stream.forget_ids()
        for stream, _ in self._others:
            stream.reset()
