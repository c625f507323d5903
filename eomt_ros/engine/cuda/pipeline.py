"""Frames on a GPU: upload, launch, download, and one wait.

There is a graph of the network for each size of batch, and one of the post-processing for each size of image, so that
sizes add up and do not multiply.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from eomt_ros.engine.backends.torch_backend import TorchBackend
from eomt_ros.engine.cuda.capture import Capture, Tensors
from eomt_ros.engine.cuda.graph import Graph
from eomt_ros.engine.device import free_devices, is_device_failure, is_out_of_memory
from eomt_ros.engine.errors import NotFiniteError, first_line
from eomt_ros.engine.networks import StepResult
from eomt_ros.engine.pipeline import (
    Find,
    FrameInput,
    FrameOutput,
    Request,
    StepwisePipeline,
    Task,
    answered,
    done,
    preprocessed,
    remembered,
    run_network,
    scored,
    segmented,
)
from eomt_ros.engine.postprocess.fixed_shape import FixedShape
from eomt_ros.engine.postprocess.frame import check_finite, winners_of
from eomt_ros.engine.postprocess.label_map import LabelMap, Winners
from eomt_ros.engine.postprocess.select import Thresholds
from eomt_ros.engine.preprocess.geometry import Placement
from eomt_ros.engine.preprocess.pixels import Preprocessor

log = logging.getLogger(__name__)

PLACES = 64
"""Candidates that a graph has room for; frames with more are post-processed without a graph."""
MOST_GRAPHS = 16
"""Graphs that are kept, enough for each number of up to eight cameras and as many sizes of images; the least recently
used goes, and is captured anew where it is needed again."""


class CudaPipeline:
    """Runs the network and the post-processing as CUDA graphs, captured when the first frame of a size is served.

    Frames run without graphs where there are more candidates than places, where masks of instances are asked for or
    needed for an ignore mask, and from the first failure of a graph on.
    """

    def __init__(self, step: TorchBackend, preprocess: Preprocessor, task: Task, capture: Capture | None) -> None:
        self._step = step
        self._preprocess = preprocess
        self._task = task
        self._capture = capture
        self._stepwise = StepwisePipeline(step, preprocess, task)
        self._graphs: OrderedDict[Hashable, Graph] = OrderedDict()
        self._given_up = False
        self._lock = threading.Lock()
        limit = task.top_k if task.top_k and task.name == "instance" else step.first_queries.shape[1]
        self._places = min(PLACES, limit)

    def __call__(self, request: Request) -> list[FrameOutput | NotFiniteError]:
        """Runs the frames; see `Pipeline`."""
        # An instance's mask is whole also where another covers it, which the label map does not show.
        whole = request.with_masks or any(frame.seen is not None for frame in request.frames)
        if self._given_up or (whole and self._task.name == "instance"):
            return self._stepwise(request)
        try:
            with self._lock, _default_stream(self._step.device):
                return self._run(request)
        except RuntimeError as error:
            # Whatever fails here on somebody's GPU must not cost a robot its eyes.
            if is_device_failure(error):
                raise
            if is_out_of_memory(error) and len(request.frames) > 1:
                self._drop_new_graphs()
                raise  # for fewer at a time there may be memory, graphs included
            if is_out_of_memory(error):
                log.warning("no memory is left for CUDA graphs: frames run without them, which is slower")
            else:
                log.warning(
                    "CUDA graphs fail: frames run without them from now on, which is slower; please report: %s",
                    first_line(error),
                )
                log.debug("graphs do not work", exc_info=error)
        # Out here, where the error no longer holds what there was no memory for.
        self._given_up = True
        self._graphs.clear()
        free_devices()
        return self._stepwise(request)

    def _run(self, request: Request) -> list[FrameOutput | NotFiniteError]:
        begin = time.perf_counter()
        pixels = preprocessed(self._preprocess, request)
        prepared = time.perf_counter()
        outputs = run_network(self._network, pixels, [frame.queries for frame in request.frames])
        memories = remembered(request, outputs, self._task.score_memory)
        answers = [scored(*each) for each in zip(outputs, memories, strict=True)]
        placements = [frame.placement for frame in request.frames]
        options = request.options
        thresholds = options.score_threshold, options.mask_threshold, options.overlap_threshold
        numbers = torch.tensor(thresholds, dtype=torch.float64)
        labels = [self._labels(*each, numbers) for each in zip(answers, placements, strict=True)]
        _wait(self._step.device)
        before = prepared - begin, time.perf_counter() - prepared
        frames = []
        for index, output in enumerate(outputs):
            checked = partial(self._checked, labels[index], answers[index], request.frames[index], request)
            frames.append(answered(checked, output, memories[index], request, before))
        return frames

    def _network(self, pixels: Tensor, queries: Tensor) -> StepResult:
        """One step of the network; the next step of as many frames overwrites the result."""
        inputs = pixels, queries
        return StepResult(*self._graph(("network", pixels.shape), self._step, inputs, self._step.constants)(*inputs))

    def _labels(self, answer: StepResult, placement: Placement, numbers: Tensor) -> list[Tensor]:
        """Starts the post-processing of a frame and the copy of its result to the host, for `_label_map`."""
        inputs = answer.mask_logits, answer.class_logits, numbers.to(answer.mask_logits.device)
        step = LabelStep(self._task, placement, self._places)
        graph = self._graph(("labels", placement.image, answer.mask_logits.shape), step, inputs)
        return [_start_copy(part) for part in graph(*inputs)]

    def _checked(self, labels: Sequence[Tensor], answer: StepResult, frame: FrameInput, request: Request) -> Find:
        return done(self._label_map(labels, answer, frame, request))

    def _label_map(self, labels: Sequence[Tensor], answer: StepResult, frame: FrameInput, request: Request) -> LabelMap:
        winner, confidence, table, head = labels
        candidates, masks_finite, classes_finite = head.tolist()
        if not masks_finite:
            check_finite("mask", answer.mask_logits)
        if not classes_finite:
            check_finite("class", answer.class_logits)
        if candidates > self._places:
            return segmented(self._task, answer, frame, request)
        return LabelMap.of(
            Winners(winner, confidence if request.with_confidence else None, table),
            self._task.classes,
            task=self._task.name,
            fuse_stuff=request.options.fuse_stuff,
            seen=frame.seen,
            with_masks=request.with_masks,
        )

    def _drop_new_graphs(self) -> None:
        """Drops graphs that have never run: they hold their inputs."""
        with self._lock:
            for key in [key for key, graph in self._graphs.items() if not graph.is_captured]:
                del self._graphs[key]

    def _graph(
        self,
        key: Hashable,
        function: Callable[..., Tensors],
        inputs: Sequence[Tensor],
        constants: Callable[[], Sequence[Tensor]] = tuple,
    ) -> Graph:
        graph = self._graphs.get(key)
        if graph is None:
            if len(self._graphs) >= MOST_GRAPHS:
                self._graphs.popitem(last=False)
            graph = self._graphs[key] = Graph(function, inputs, self._capture, constants)
        self._graphs.move_to_end(key)
        return graph


@dataclass(frozen=True)
class LabelStep:
    """The post-processing of images of one size as a function of tensors that never waits for the host."""

    task: Task
    placement: Placement
    places: int
    """For candidates."""

    def __call__(self, mask_logits: Tensor, class_logits: Tensor, numbers: Tensor) -> Tensors:
        """mask_logits, class_logits: as in `postprocess`. numbers: (3,) float64, the thresholds.

        Returns winner, confidence and table of `Winners`, and (3,) int32: how many candidates there were, and whether
        the mask logits and the class logits are finite.
        """
        resizer = FixedShape(self.places)
        task, thresholds = self.task, Thresholds(*numbers.unbind())
        rules, more = task.family.rules, task.of_instances
        found = winners_of(resizer, mask_logits, class_logits, self.placement, thresholds, task.name, rules, **more)
        # Where a sum overflows float32 although its parts are finite, the host looks again.
        finite = [logits.sum(dtype=torch.float32).isfinite().int() for logits in (mask_logits, class_logits)]
        head = torch.stack([resizer.candidates(mask_logits.device).int(), *finite])
        assert found.confidence is not None
        return found.winner, found.confidence, found.table, head


def _default_stream(device: torch.device) -> AbstractContextManager[object]:
    """Makes the default stream the current one: there the frames of all segmenters of a process follow each other."""
    return torch.cuda.stream(torch.cuda.default_stream(device)) if device.type == "cuda" else nullcontext()


def _start_copy(part: Tensor) -> Tensor:
    """Copies to the host, where it is whole after `_wait`."""
    return torch.empty(part.shape, dtype=part.dtype, pin_memory=part.is_cuda).copy_(part, non_blocking=True)


def _wait(device: torch.device) -> None:
    """Waits until the device has done all that it was given; asleep, since a robot needs its cores elsewhere."""
    if device.type == "cuda":
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record()
        event.synchronize()
