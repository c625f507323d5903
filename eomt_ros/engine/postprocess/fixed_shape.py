"""Post-processing in steps whose shapes do not depend on what is seen, so that a CUDA graph can hold them.

Classes, segments, masks and scores are those of `postprocess`, which looks where a query can matter and resizes there:
the host has to be told, and waits. Here the queries that are sure of something move to the front of a table of a fixed
length, and those are resized to the whole image, with torch's own resize, as Hugging Face does on the same device. What
the table has no room for, and masks, are for `postprocess` again.

Everything is a tensor until `Report` reads the few numbers that the host needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eomt_ros.engine.postprocess.label_map import Segment
from eomt_ros.engine.postprocess.rle import Box
from eomt_ros.engine.preprocess.geometry import Placement

CHUNK = 1 << 23
"""Values that are resized at a time, 32 MiB of them: they stay in the cache of a large GPU."""
COLUMNS = 9
"""Of the report: query, class, score, whether it is a segment, area, x, y, width, height."""


@dataclass(frozen=True)
class Task:
    """What is known of a frame before it comes."""

    name: str
    """ "semantic", "instance" or "panoptic"."""
    placement: Placement
    most: int
    """Candidates that the table has room for; in the semantic task all classes."""
    top_k: int
    score_masks: bool
    """As in `postprocess`."""
    with_confidence: bool


class Thresholds(NamedTuple):
    """What may change from frame to frame, each () float64."""

    score: Tensor
    mask: Tensor
    overlap: Tensor


class Maps(NamedTuple):
    """A frame's segmentation before its segments have ids."""

    owner: Tensor
    """(H, W) uint8: 0 none, else 1 + the candidate that the pixel belongs to; int16 above 254 candidates."""
    report: Tensor
    """(1 + candidates, `COLUMNS`) float64: how many queries were candidates, and whether the mask and the class logits
    are finite; then each candidate.
    """
    confidence: Tensor | None
    """(H, W) uint8, the probability of the pixel's candidate times 255."""


class Candidates(NamedTuple):
    """The queries that can be segments, in the first places of the table. The others are query 0 with score 0."""

    number: Tensor
    """(): how many there are, also where the table has no room for them all."""
    queries: Tensor
    """(most,) int64."""
    class_ids: Tensor
    """(most,) int64."""
    scores: Tensor
    """(most,) float32."""
    present: Tensor
    """(most,) bool."""


class Extent(NamedTuple):
    """Where each map has pixels."""

    rows: Tensor
    """(n, H) int64: how many in a row."""
    columns: Tensor
    """(n, W) bool: whether there are any in a column."""

    @classmethod
    def of(cls, masks: Tensor) -> Extent:
        """masks: (n, H, W) bool."""
        return cls(masks.sum(2), masks.any(1))


def dense(mask_logits: Tensor, class_logits: Tensor, task: Task, thresholds: Thresholds) -> Maps:
    """Segments one frame. Logits as in `postprocess`, on any device; nothing here waits for the host."""
    probabilities = class_logits.float().softmax(-1)
    masks = mask_logits.float()
    if task.name == "semantic":
        maps = _semantic(masks, probabilities[..., :-1], task)
    elif task.name == "instance":
        maps = _instance(masks[0], probabilities[0, :, :-1], task, thresholds)
    else:
        maps = _panoptic(masks[0], probabilities[0], task, thresholds)
    # The sum of a huge half-precision mask overflows in no float32 that matters; the host looks again where it does.
    maps.report[0, 1] = mask_logits.sum(dtype=torch.float32).isfinite()
    maps.report[0, 2] = class_logits.sum(dtype=torch.float32).isfinite()
    return maps


def _panoptic(mask_logits: Tensor, probabilities: Tensor, task: Task, thresholds: Thresholds) -> Maps:
    scores, class_ids = probabilities.max(-1)
    sure = (class_ids != probabilities.shape[1] - 1) & (scores > thresholds.score.float())
    everyone = torch.arange(len(scores), device=scores.device)
    found = _chosen(sure, everyone, class_ids, scores, task.most)

    contest = _Contest()
    pixels = []
    for start, values in _resized(task.placement.masks(mask_logits[found.queries]), task.placement):
        probability = values.sigmoid_()
        shown = probability >= thresholds.mask.float()
        pixels.append(shown.sum((1, 2)))
        weights = found.scores[start : start + len(values), None, None]
        contest.enter(start, probability.mul_(weights), shown)
    owner, highest, shown = contest.result()

    won, extents = [], []
    for names in _names(task.most, owner):
        wins = owner == names
        won.append(wins.sum((1, 2)))
        extents.append(Extent.of(wins.logical_and_(shown)))
    extent = _together(extents)
    # Divided in float32, compared in float64, as by Hugging Face.
    ratio = (torch.cat(won).float() / torch.cat(pixels).clamp(min=1).float()).double()
    passes = found.present & (extent.rows.sum(1) > 0) & (ratio > thresholds.overlap)
    return Maps(_small(owner * shown, task.most), _report(found, passes, extent), _levels(highest, task))


def _instance(mask_logits: Tensor, probabilities: Tensor, task: Task, thresholds: Thresholds) -> Maps:
    classes = probabilities.shape[1]
    if task.top_k:
        scores, pairs = probabilities.flatten().topk(min(task.top_k, probabilities.numel()))
        scores, pairs = scores.flip(0), pairs.flip(0)  # the likeliest last, so that it is not covered
        queries, class_ids = torch.div(pairs, classes, rounding_mode="floor"), pairs % classes
    else:
        scores, class_ids = probabilities.max(-1)
        queries = torch.arange(len(scores), device=scores.device)
    found = _chosen(scores >= thresholds.score.float(), queries, class_ids, scores, task.most)
    masks = task.placement.masks(mask_logits[found.queries])
    threshold = thresholds.mask.float().logit()

    totals, inside, extents = [], [], []
    for _, values in _resized(masks, task.placement):
        mask = values > threshold
        totals.append(values.sigmoid_().mul_(mask).sum((1, 2)))
        extents.append(Extent.of(mask))
        inside.append(mask)
    extent = _together(extents)
    areas = extent.rows.sum(1)
    rescored = found
    if task.score_masks:
        rescored = found._replace(scores=found.scores * (torch.cat(totals) / (areas.float() + 1e-6)))
    passes = found.present & (areas > 0) & (rescored.scores.double() >= thresholds.score)

    owner = inside[0].new_zeros(task.placement.image, dtype=torch.int16)
    for names, mask in zip(_names(task.most, owner), inside, strict=True):
        shown = names * passes[names[:, 0, 0].long() - 1, None, None]
        owner = torch.maximum(owner, (mask * shown).amax(0))
    highest = None
    if task.with_confidence:
        highest = torch.zeros(task.placement.image, device=owner.device)
        for start, values in _resized(masks, task.placement):
            names = torch.arange(start + 1, start + 1 + len(values), device=owner.device)[:, None, None]
            weights = found.scores[start : start + len(values), None, None]
            highest += values.sigmoid_().mul_(weights).mul_(owner == names).sum(0)
    return Maps(_small(owner, task.most), _report(rescored, passes, extent), _levels(highest, task))


def _semantic(masks: Tensor, probabilities: Tensor, task: Task) -> Maps:
    contest = _Contest()
    for start, values in _resized(_sums(masks, probabilities, task.placement), task.placement):
        contest.enter(start, values)
    owner, highest, _ = contest.result()
    confidence = highest.clamp(max=1)
    totals, extents = [], []
    for names in _names(task.most, owner):
        wins = owner == names
        totals.append((wins * confidence).sum((1, 2)))
        extents.append(Extent.of(wins))
    extent = _together(extents)
    areas = extent.rows.sum(1)
    classes = torch.arange(task.most, device=owner.device)
    found = Candidates(
        number=areas.new_zeros(()),
        queries=torch.full_like(classes, -1),
        class_ids=classes,
        scores=torch.cat(totals) / areas.clamp(min=1),
        present=areas > 0,
    )
    return Maps(_small(owner, task.most), _report(found, found.present, extent), _levels(confidence, task))


def _sums(masks: Tensor, probabilities: Tensor, placement: Placement) -> Tensor:
    """Of each class, over the queries, class probability times mask probability, (classes, h, w)."""
    if placement.between is None:
        return torch.matmul(probabilities.mT, masks.sigmoid().flatten(2))[0].view(-1, *masks.shape[2:])
    sums = []
    for mask, each in zip(masks, probabilities, strict=True):
        resized = placement.masks(mask).sigmoid()
        sums.append(torch.matmul(each.T, resized.flatten(1)).view(-1, *resized.shape[1:]))
    return placement.stitched(sums) if placement.windows else sums[0]


def _chosen(sure: Tensor, queries: Tensor, class_ids: Tensor, scores: Tensor, most: int) -> Candidates:
    """The sure ones in the first places, in their order."""
    order = sure.cumsum(0)
    # Those that are not sure, and those that have no room, all go to the place after the last, which is cut off.
    places = torch.where(sure & (order <= most), order - 1, most)
    present = torch.arange(most, device=sure.device) < order[-1]

    def moved(values: Tensor) -> Tensor:
        return values.new_zeros(most + 1).scatter_(0, places, values)[:most]

    return Candidates(order[-1], moved(queries), moved(class_ids), moved(scores) * present, present)


class _Contest:
    """Which of many maps is the highest in each pixel, the first of equal ones; they come a few at a time."""

    def __init__(self) -> None:
        self._owner: Tensor | None = None
        self._highest: Tensor
        self._shown: Tensor

    def enter(self, start: int, values: Tensor, shown: Tensor | None = None) -> None:
        """values: (n, H, W), of the maps from `start` on. shown: (n, H, W) bool, whether the winner is to be seen."""
        highest, first = values.max(0)
        seen = torch.ones_like(highest, dtype=torch.bool) if shown is None else shown.gather(0, first[None])[0]
        owner = first.to(torch.int16) + (start + 1)
        if self._owner is None:
            self._owner, self._highest, self._shown = owner, highest, seen
            return
        better = highest > self._highest
        self._owner = torch.where(better, owner, self._owner)
        self._highest = torch.where(better, highest, self._highest)
        self._shown = torch.where(better, seen, self._shown)

    def result(self) -> tuple[Tensor, Tensor, Tensor]:
        """1 + the highest map, (H, W) int16, its value, and whether it is to be seen."""
        assert self._owner is not None
        return self._owner, self._highest, self._shown


def _resized(maps: Tensor, placement: Placement) -> Iterator[tuple[int, Tensor]]:
    """The maps, (n, h, w), at the image's size, a few at a time with the number of the first; to be overwritten."""
    for start, stop in _spans(len(maps), placement.image):
        yield start, F.interpolate(maps[None, start:stop], placement.image, mode="bilinear")[0]


def _names(maps: int, image: Tensor) -> Iterator[Tensor]:
    """1 + the number of each map, (n, 1, 1) int16, as many at a time as are resized."""
    for start, stop in _spans(maps, image.shape):
        yield torch.arange(start + 1, stop + 1, dtype=torch.int16, device=image.device)[:, None, None]


def _spans(maps: int, size: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    step = max(1, CHUNK // (size[0] * size[1]))
    return ((start, min(start + step, maps)) for start in range(0, maps, step))


def _together(extents: list[Extent]) -> Extent:
    return Extent(*map(torch.cat, zip(*extents, strict=True)))


def _report(found: Candidates, passes: Tensor, extent: Extent) -> Tensor:
    y, height = _reach(extent.rows > 0)
    x, width = _reach(extent.columns)
    columns = (found.queries, found.class_ids, found.scores, passes, extent.rows.sum(1), x, y, width, height)
    head = torch.zeros(1, COLUMNS, dtype=torch.float64, device=passes.device)
    head[0, 0] = found.number
    return torch.cat([head, torch.stack([column.double() for column in columns], 1)])


def _reach(used: Tensor) -> tuple[Tensor, Tensor]:
    """The first place with pixels, and how many places there are to the last one; used: (n, places) bool."""
    places = torch.arange(used.shape[1], device=used.device)
    first = torch.where(used, places, used.shape[1]).amin(1)
    return first, torch.where(used, places, -1).amax(1) + 1 - first


def _small(owner: Tensor, maps: int) -> Tensor:
    return owner.to(torch.uint8) if maps <= 254 else owner


def _levels(probability: Tensor | None, task: Task) -> Tensor | None:
    if probability is None or not task.with_confidence:
        return None
    return (probability * 255 + 0.5).to(torch.uint8)


@dataclass(frozen=True)
class Report:
    """What the host has to know of a frame."""

    candidates: int
    """How many queries were candidates, whether or not there was room for them."""
    masks_finite: bool
    classes_finite: bool
    """False also where a sum overflows."""
    segments: tuple[Segment, ...]
    """Those that passed; `maps` is their place in the table."""
    areas: tuple[int, ...]
    boxes: tuple[Box, ...]

    @classmethod
    def read(cls, report: np.ndarray) -> Report:
        """report: that of `Maps`, on the host."""
        count, masks_finite, classes_finite = report[0, :3].tolist()
        segments, areas, boxes = [], [], []
        for place in report[1:, 3].nonzero()[0].tolist():
            query, class_id, score, _, area, *box = report[1 + place].tolist()
            segments.append(Segment(int(query), int(class_id), score, [place]))
            areas.append(int(area))
            x, y, width, height = map(int, box)
            boxes.append((x, y, width, height))
        return cls(int(count), bool(masks_finite), bool(classes_finite), tuple(segments), tuple(areas), tuple(boxes))
