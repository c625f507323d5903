"""Frames on a GPU: one upload, one launch, one download each, and the next one on its way meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from eomt_ros.engine.backends.backend import StepResult
from eomt_ros.engine.backends.torch_backend import TorchBackend
from eomt_ros.engine.cuda.capture import Capture
from eomt_ros.engine.cuda.jpeg import Decode
from eomt_ros.engine.cuda.plan import Plan
from eomt_ros.engine.cuda.queues import Mark, Queues
from eomt_ros.engine.cuda.slot import Paint, Slot
from eomt_ros.engine.cuda.step import Inputs, WholeStep
from eomt_ros.engine.device import free_devices, is_device_failure, is_out_of_memory
from eomt_ros.engine.errors import first_line
from eomt_ros.engine.pipeline import Frame, PlainFrames, Recipe, Request, Started, scored, segmented
from eomt_ros.engine.postprocess.fixed_shape import Report, Task
from eomt_ros.engine.postprocess.label_map import Painted, Regions, label_type
from eomt_ros.engine.postprocess.rle import encode_mask
from eomt_ros.engine.postprocess.videomt import check_finite, fuse, fused_classes
from eomt_ros.engine.preprocess.geometry import Placement, Size
from eomt_ros.engine.preprocess.pixels import Channels, Image, Preprocessor, rows_of
from eomt_ros.engine.stream import Memory

log = logging.getLogger(__name__)

FIRST_MOST = 16
"""Segments that a frame has room for, until one has more: each costs as much as a hundredth of a small network."""
MOST_PLANS = 4
"""Kinds of frames that memory is kept for. More of them - images of ever other sizes - go step by step."""

MOST_WITHOUT = 32
"""Kinds of frames that are known to have no room on the device."""

Layout = tuple[Size, Channels, int]
"""Of an image: its size, the order and the number of its channels."""


class Kind(NamedTuple):
    """What a plan depends on."""

    images: tuple[Layout, ...]
    with_confidence: bool
    most: int


class GpuFrames:
    """Whole frames as CUDA graphs, one for each kind of frame that comes, captured when the first of it is served.

    What a graph does not serve goes the plain way: more segments than it has room for, masks that overlap, a size too
    many, a frame that no memory is left for.
    """

    def __init__(
        self,
        step: TorchBackend,
        preprocess: Preprocessor,
        recipe: Recipe,
        queues: Queues,
        capture: Capture | None,
        decode: Decode | None,
        *,
        compile: bool,
    ) -> None:
        self._step = step
        self._preprocess = preprocess
        self._recipe = recipe
        self._queues = queues
        self._capture = capture
        self._decode = decode
        self._compile = compile
        self._plain = PlainFrames(step, preprocess, recipe)
        self._plans: dict[Kind, Plan] = {}
        self._without: set[Kind] = set()
        self._full = False
        self._given_up = False
        self._lock = threading.Lock()
        self._launching = threading.Lock()
        limit = recipe.top_k if recipe.top_k and recipe.task == "instance" else step.first_queries.shape[1]
        self._limit = recipe.classes if recipe.task == "semantic" else limit
        self._most = recipe.classes if recipe.task == "semantic" else min(FIRST_MOST, limit)

    def start(self, request: Request) -> Started:
        """Uploads the images and launches the network, without waiting for either."""
        # An instance's mask is whole also where another covers it, which the images do not show.
        if self._given_up or (request.with_masks and self._recipe.task == "instance"):
            return self._plain.start(request)
        begin = time.perf_counter()
        rows = [rows_of(image) for image in request.images]
        layouts = tuple(map(_layout, rows))
        try:
            with self._queues.beginning():
                plan = self._plan(layouts, request.with_confidence)
                if plan is None:
                    return self._plain.start(request)
                return self._started(plan, [image for image, _ in rows], request, begin)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                return self._give_up(error, request)
        # Out here, where the error no longer holds what there was no memory for.
        plan = None
        self._make_do(layouts, request.with_confidence)
        return self._plain.start(request)

    def _make_do(self, images: tuple[Layout, ...], with_confidence: bool) -> None:
        """Frees what other frames have of a device that is full; this kind of frame goes step by step from now on."""
        with self._lock:
            self._plans.clear()
            if len(self._without) >= MOST_WITHOUT:
                self._without.clear()
            self._without.add(Kind(images, with_confidence, self._most))
        free_devices()
        log.warning("no memory is left for whole frames on the device: they go step by step, which is slower")

    def _give_up(self, error: RuntimeError, request: Request) -> Started:
        """Whatever does not work here on somebody's GPU must not cost a robot its eyes: the plain way is left."""
        if is_device_failure(error):
            raise error
        self._given_up = True
        log.warning("frames go step by step from now on, which is slower; please report this: %s", first_line(error))
        log.debug("whole frames do not work", exc_info=error)
        return self._plain.start(request)

    def decode_jpeg(self, data: bytes) -> Tensor | None:
        """A JPEG on the GPU, (H, W, 3) uint8 RGB; None where there is no decoder, or it cannot read this one."""
        if self._decode is None or self._given_up:
            return None
        try:
            with self._queues.beginning():
                return self._decode(data)
        except RuntimeError as error:
            if is_device_failure(error) or is_out_of_memory(error):
                raise
            log.debug("JPEG decoded on the CPU: %s", first_line(error))
            return None

    def settle(self) -> bool:
        """Waits until frames of the kinds that have come so far are compiled, and says whether any had to be."""
        with self._lock:
            plans = list(self._plans.values())
        for plan in plans:
            plan.settle()
        return self._compile

    def _started(self, plan: Plan, images: Sequence[Image], request: Request, begin: float) -> GpuStarted:
        queues, slot = self._queues, plan.take()
        slot.write(images, self._numbers(request))
        queues.upload.do(slot.upload)
        queues.compute.after(queues.upload.mark())
        next_queries = [torch.empty_like(each) for each in request.queries]
        shape = (1, next_queries[0].shape[1], self._recipe.classes + 1)
        remembers = self._recipe.score_memory > 0
        memories = [torch.empty(shape, device=self._step.device) if remembers else None for _ in images]
        before = [None if memory is None else memory.class_logits for memory in request.memories]
        try:
            plan.launch(slot, request.queries, before, next_queries, memories)
        except RuntimeError:
            # Others get this memory now, and the device must not be writing to it any more.
            queues.upload.mark().wait()
            raise
        queues.download.after(queues.compute.mark())
        queues.download.do(slot.download_reports)
        following = [
            None if made is None else Memory(made, 1 + (0 if memory is None else memory.frames))
            for made, memory in zip(memories, request.memories, strict=True)
        ]
        return GpuStarted(
            self._recipe,
            request,
            plan,
            slot,
            queues,
            next_queries,
            following,
            self._make_room,
            self._give_up,
            time.perf_counter() - begin,
        )

    def _numbers(self, request: Request) -> list[float]:
        settings = request.settings
        parts = [Memory.part(memory, self._recipe.score_memory) for memory in request.memories]
        return [settings.score_threshold, settings.mask_threshold, settings.overlap_threshold, *parts]

    def _plan(self, images: tuple[Layout, ...], with_confidence: bool) -> Plan | None:
        """The plan for a kind of frame; None where there is none and no room for one more."""
        with self._lock:
            kind = Kind(images, with_confidence, self._most)
            if kind in self._without:
                return None
            plan = self._plans.get(kind)
            if plan is None and len(self._plans) < MOST_PLANS:
                plan = self._plans[kind] = self._made(kind)
            if plan is None and not self._full:
                self._full = True
                log.warning(
                    "images of more than %d kinds (numbers of cameras, sizes): the others go step by step, which is "
                    "slower; resize the images before, or use a segmenter for each size",
                    MOST_PLANS,
                )
            return plan

    def _made(self, kind: Kind) -> Plan:
        recipe, device = self._recipe, self._step.device
        tasks = [
            Task(recipe.task, recipe.place(size), kind.most, recipe.top_k, recipe.score_masks, kind.with_confidence)
            for size, _, _ in kind.images
        ]
        channels = [order for _, order, _ in kind.images]
        queries = self._step.first_queries
        count = len(kind.images)
        memories = None
        if recipe.score_memory:
            memories = torch.zeros(count, queries.shape[1], recipe.classes + 1, device=device)
        inputs = Inputs(
            images=tuple(torch.zeros(*size, depth, dtype=torch.uint8, device=device) for size, _, depth in kind.images),
            numbers=torch.zeros(3 + count, dtype=torch.float64, device=device),
            queries=queries.repeat(count, 1, 1),
            memories=memories,
        )
        return Plan(
            WholeStep(self._step, self._preprocess, tasks, channels),
            inputs,
            self._queues,
            self._capture,
            self._step.constants,
            recipe.classes,
            self._launching,
            compile=self._compile,
        )

    def _make_room(self, candidates: int) -> None:
        """For frames with so many candidates."""
        with self._lock:
            if candidates <= self._most:
                return
            self._most = min(self._limit, max(2 * self._most, candidates))
            self._plans.clear()  # they have less room
        log.info("frames have room for %d segments from now on", self._most)


_LOST: list[Slot] = []
"""Memory of frames that a device failed."""


class GpuStarted:
    """Frames on their way through a GPU."""

    def __init__(
        self,
        recipe: Recipe,
        request: Request,
        plan: Plan,
        slot: Slot,
        queues: Queues,
        next_queries: Sequence[Tensor],
        memories: Sequence[Memory | None],
        make_room: Callable[[int], None],
        give_up: Callable[[RuntimeError, Request], Started],
        prepared: float,
    ) -> None:
        self.next_queries = next_queries
        self.memories = memories
        self._recipe = recipe
        self._request = request
        self._plan = plan
        self._slot: Slot | None = slot
        self._queues = queues
        self._make_room = make_room
        self._give_up = give_up
        self._prepared = prepared
        self._mark: Mark = queues.download.mark()

    def finish(self) -> list[Frame]:
        """Waits for what the host has to know, and makes segments of it."""
        try:
            with self._queues.beginning():
                return self._finished()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            again = self._give_up(error, self._request)
            self.next_queries, self.memories = again.next_queries, again.memories
            return again.finish()

    def _finished(self) -> list[Frame]:
        begin = time.perf_counter()
        self._mark.wait()
        computed = time.perf_counter() - begin
        assert self._slot is not None
        assert self._slot.outputs is not None
        frames = []
        for index, (host, output) in enumerate(zip(self._slot.host_reports, self._slot.outputs, strict=True)):
            begin = time.perf_counter()
            report = Report.read(host.numpy())
            answer = StepResult(output.mask_logits, output.class_logits, output.next_queries)
            if not report.masks_finite:
                check_finite("mask", answer.mask_logits)
            if not report.classes_finite:
                check_finite("class", answer.class_logits)
            task = self._plan.whole.tasks[index]
            regions: Regions
            if report.candidates > task.most:
                self._make_room(report.candidates)
                answered = scored(answer, self.memories[index])
                regions = segmented(self._recipe, answered, task.placement, self._request)
            else:
                regions = self._regions(index, report, task.placement)
            frames.append(Frame(regions, answer, self._prepared, computed, time.perf_counter() - begin))
        return frames

    def release(self) -> None:
        """Gives the memory to the next frames, when the device is done with it."""
        if self._slot is None:
            return
        slot, self._slot = self._slot, None
        try:
            self._mark.wait()
        except RuntimeError:
            # Whoever needs the frame is told. Its memory may still be in use, or cannot even be freed on a lost device.
            _LOST.append(slot)
            return
        self._plan.give_back(slot)

    def paint(self, index: int, tables: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        """A frame's images of these names of `Paint`, (H, W) each of its table's type."""
        assert self._slot is not None
        assert self._slot.outputs is not None
        paint, output = self._slot.paints[index], self._slot.outputs[index]
        paint.write(tables)
        self._queues.paint.do(lambda: paint.run(list(tables), output))
        self._mark = self._queues.paint.mark()
        self._mark.wait()
        return [paint.read(name, table.dtype.type) for name, table in tables.items()]

    def _regions(self, index: int, report: Report, placement: Placement) -> GpuRegions:
        fuse_stuff = self._request.settings.fuse_stuff and self._recipe.task == "panoptic"
        candidates = [(each.query, each.class_id, each.score) for each in report.segments]
        segments = fuse(candidates, range(len(candidates)), fused_classes(self._recipe.is_thing, fuse_stuff))
        places = [[report.segments[number].maps[0] for number in segment.maps] for segment in segments]
        regions = GpuRegions(
            size=placement.image,
            queries=tuple(segment.query for segment in segments),
            class_ids=tuple(segment.class_id for segment in segments),
            scores=tuple(segment.score for segment in segments),
            areas=tuple(sum(report.areas[number] for number in segment.maps) for segment in segments),
            boxes=tuple(_around([report.boxes[number] for number in segment.maps]) for segment in segments),
            masks=None,
            places=places,
            rows=self._plan.whole.tasks[index].most,
            classes=self._recipe.classes,
            task=self._recipe.task,
            with_confidence=self._request.with_confidence,
            paint=lambda tables: self.paint(index, tables),
        )
        return regions.with_masks() if self._request.with_masks else regions


@dataclass(frozen=True, eq=False, kw_only=True)
class GpuRegions(Regions):
    """One frame's segments, whose pixels are on the device."""

    places: Sequence[Sequence[int]]
    """Of each segment's candidates in the table."""
    rows: int
    """Of the table."""
    classes: int
    task: str
    with_confidence: bool
    paint: Callable[[Mapping[int, np.ndarray]], list[np.ndarray]]

    def seen(self) -> np.ndarray:
        """(H, W) integers: 0 none, i + 1 where segment i is seen; all 0 in the semantic task."""
        if self.task == "semantic":
            return np.zeros(self.size, np.uint8)
        return self._numbered()

    def painted(self, ids: Sequence[int]) -> Painted:
        """The label images, with an id for each segment, or without any in the semantic task."""
        kind = label_type(self.classes)
        tables = {Paint.CLASSES: self._table(self.class_ids, kind, np.iinfo(kind).max)}
        if self.task != "semantic":
            tables[Paint.IDS] = self._table(ids, np.uint16, 0)
        if self.with_confidence:
            tables[Paint.CONFIDENCE] = self._table([1] * len(self.places), np.uint8, 0)
        images = dict(zip(tables, self.paint(tables), strict=True))
        panoptic = images[Paint.IDS] if Paint.IDS in images else np.zeros(self.size, np.uint16)
        return Painted(images[Paint.CLASSES], panoptic, images.get(Paint.CONFIDENCE))

    def with_masks(self) -> GpuRegions:
        """With run lengths."""
        index = self._numbered()
        masks = tuple(
            encode_mask(index[y : y + height, x : x + width] == number)
            for number, (x, y, width, height) in enumerate(self.boxes, start=1)
        )
        return GpuRegions(**{**vars(self), "masks": masks})

    def _numbered(self) -> np.ndarray:
        numbers = range(1, len(self.places) + 1)
        (image,) = self.paint({Paint.IDS: self._table(numbers, np.uint16, 0)})
        return image

    def _table(self, values: Sequence[int], kind: type[np.uint8] | type[np.uint16], none: int) -> np.ndarray:
        table = np.full(1 + self.rows, none, kind)
        for places, value in zip(self.places, values, strict=True):
            for place in places:
                table[1 + place] = value
        return table


def _layout(rows: tuple[Image, Channels]) -> Layout:
    image, channels = rows
    return (image.shape[0], image.shape[1]), channels, image.shape[2]


def _around(boxes: Sequence[tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    """The smallest box with all of these in it."""
    x, y = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return x, y, right - x, bottom - y
