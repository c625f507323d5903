"""Which query is to show which segment: Hungarian matching over a clip, with the identity kept along a stream."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from eomt_ros.training.clips import Clip
from eomt_ros.training.loading import BACKGROUND
from eomt_ros.training.settings import TrainingSettings


class Identities:
    """The queries of one stream's segments, which last while the stream is played.

    A segment keeps the first query that shows it, while it is followed: a thing by its track, stuff, and a thing
    without a track that is the only one of its class, by its class. Until one shows it, it is matched anew in every
    clip. The query is free again `forget_after` frames after the segment was last seen, or earlier where newcomers find
    no free one: first that of what is out of view for the longest.
    Published trainings do the same within one clip (`VideoHungarianMatcher_Consistent` in tue-mps/videomt).
    """

    def __init__(self, forget_after: int) -> None:
        self._forget_after = forget_after
        self._frames = 0
        self._query_of: dict[int, int] = {}
        self._last_seen: dict[int, int] = {}

    def state(self) -> dict[str, Any]:
        """What `restore` needs: plain values only."""
        return {"frames": self._frames, "query_of": dict(self._query_of), "last_seen": dict(self._last_seen)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on with what another one knew."""
        self._frames = state["frames"]
        self._query_of, self._last_seen = dict(state["query_of"]), dict(state["last_seen"])

    def follow(self, clip: Clip) -> dict[int, int]:
        """Goes on to the next clip of the stream: the queries of its segments that are followed already, by place."""
        if clip.cut:
            self._frames = 0
            self._query_of, self._last_seen = {}, {}
        self._frames += len(clip.segments)
        keys = keys_of(clip)
        self._last_seen.update(dict.fromkeys((key for key in keys.values() if key in self._query_of), self._frames))
        for key, seen in list(self._last_seen.items()):
            if self._frames - seen > self._forget_after:
                self._forget(key)
        return {place: self._query_of[key] for place, key in keys.items() if key in self._query_of}

    def free(self, queries: int, wanted: int) -> list[int]:
        """Those of so many queries that no segment has; at least `wanted` if segments out of view have so many."""
        out_of_view = sorted((seen, key) for key, seen in self._last_seen.items() if seen < self._frames)
        for _, key in out_of_view[: max(0, wanted - queries + len(self._query_of))]:
            self._forget(key)
        taken = set(self._query_of.values())
        return [query for query in range(queries) if query not in taken]

    def record(self, clip: Clip, query_of: Mapping[int, int], shown: Collection[int]) -> None:
        """Notes the queries of the clip's segments, by place; those without an identity are forgotten.

        shown: the segments that their query shows. Others that are new stay newcomers: asked of a query that will never
        be the one that takes it, a thing was learnt by none (demo/README.md, "Night and pallets").
        """
        for place, key in keys_of(clip).items():
            if place in query_of and (key in self._query_of or place in shown):
                self._query_of[key] = query_of[place]
                self._last_seen[key] = self._frames

    def _forget(self, key: int) -> None:
        del self._query_of[key], self._last_seen[key]


def keys_of(clip: Clip) -> dict[int, int]:
    """By what the clip's segments are known again, by place: their track, else -1 - class where that is unique."""
    classes, tracks = clip.classes.tolist(), clip.tracks.tolist()
    untracked = [class_id for class_id, track in zip(classes, tracks, strict=True) if track < 0]
    keys = {}
    for place, (class_id, track) in enumerate(zip(classes, tracks, strict=True)):
        if class_id != BACKGROUND and (track >= 0 or untracked.count(class_id) == 1):
            keys[place] = track if track >= 0 else -1 - class_id
    return keys


def match(costs: Tensor, kept: Mapping[int, int], free: Sequence[int], newcomers: Sequence[int]) -> dict[int, int]:
    """The query of each segment, by place: those that are kept, and for the newcomers the free ones that cost least
    together. Newcomers for whom there are none go without.

    costs: (queries, segments). What is not finite is taken last, as `EomtHungarianMatcher` in Hugging Face transformers
    does: a network that fails is found by its loss.
    """
    worst = torch.finfo(costs.dtype).max
    table = torch.nan_to_num(costs[list(free)][:, list(newcomers)], nan=worst, posinf=worst, neginf=worst)
    rows, columns = linear_sum_assignment(table.cpu().numpy())
    return {**kept, **{newcomers[column]: free[row] for row, column in zip(rows, columns, strict=True)}}


def pair_costs(
    logits: Tensor,
    class_logits: Tensor,
    labels: Tensor,
    asked: Tensor,
    visible: Tensor,
    classes: Tensor,
    settings: TrainingSettings,
) -> Tensor:
    """What it costs that a query shows a segment, (queries, segments): the mean over the frames in which it is seen.

    logits: (frames, queries, points). class_logits: (frames, queries, classes + 1). labels: (frames, points, segments)
    shares, asked: (frames, points), see `Votes.shares`. visible: (frames, segments) bool. classes: (segments,).
    Source: `EomtHungarianMatcher` in Hugging Face transformers, of which it is the same for one frame.
    """
    compared = asked.sum(1)[:, None, None].clamp(min=1)
    cross_entropy = ((F.softplus(logits) @ asked[:, :, None]) - logits @ labels) / compared
    probability = logits.sigmoid()
    sizes = probability @ asked[:, :, None] + labels.sum(1)[:, None]
    dice = 1 - (2 * probability @ labels + 1) / (sizes + 1)
    likelihood = class_logits.softmax(-1)[:, :, classes]
    cost = settings.mask_weight * cross_entropy + settings.dice_weight * dice - settings.class_weight * likelihood
    seen = visible[:, None]
    return cost.masked_fill(~seen, 0).sum(0) / seen.sum(0).clamp(min=1)
