"""Selects the pairs of query and class that can be segments, by score: only those are resized to the image."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

Threshold = float | Tensor
"""0..1; a tensor, () float64, where nothing may wait for the host."""


class Thresholds(NamedTuple):
    """The thresholds of a frame."""

    score: Threshold
    mask: Threshold
    overlap: Threshold


class Candidates(NamedTuple):
    """Pairs of query and class, (n,) each. Only those that are present count."""

    queries: Tensor
    """int64."""
    class_ids: Tensor
    """int64."""
    scores: Tensor
    """float32."""
    present: Tensor
    """bool."""


def likely_queries(probabilities: Tensor, threshold: Threshold) -> Candidates:
    """Every query with its likeliest class; present where that is not "no object" and above the threshold.

    probabilities: (queries, classes + 1) float32, the last one "no object".
    """
    scores, class_ids = probabilities.max(-1)
    present = (class_ids != probabilities.shape[1] - 1) & (scores > threshold)
    return Candidates(torch.arange(len(scores), device=scores.device), class_ids, scores, present)


def likely_pairs(probabilities: Tensor, threshold: Threshold, top_k: int) -> Candidates:
    """The `top_k` likeliest pairs, the likeliest last, so that none covers it; 0: every query with its likeliest class.

    Present where the probability reaches the threshold: a mean mask probability lowers a score, never raises it.
    probabilities: (queries, classes) float32.
    """
    if top_k:
        scores, pairs = probabilities.flatten().topk(min(top_k, probabilities.numel()))
        scores, pairs = scores.flip(0), pairs.flip(0)
        classes = probabilities.shape[1]
        queries, class_ids = torch.div(pairs, classes, rounding_mode="floor"), pairs % classes
    else:
        scores, class_ids = probabilities.max(-1)
        queries = torch.arange(len(scores), device=scores.device)
    return Candidates(queries, class_ids, scores, scores >= threshold)


def summed_classes(totals: Tensor, areas: Tensor) -> Candidates:
    """Every class; present where it has pixels, with the mean over them as its score. totals, areas: (n,)."""
    classes = torch.arange(len(areas), device=areas.device)
    return Candidates(torch.full_like(classes, -1), classes, totals / areas.clamp(min=1), areas > 0)


def compacted(found: Candidates) -> Candidates:
    """The candidates that are present. Waits for the device."""
    return Candidates(*(part[found.present] for part in found))


def in_table(found: Candidates, places: int) -> Candidates:
    """Puts the candidates that are present into the first places of a table of a fixed length, as many as fit.

    Does not wait for the device.
    """
    order = found.present.cumsum(0)
    # All others go to the place after the last, which is cut off.
    to = torch.where(found.present & (order <= places), order - 1, places)

    def moved(values: Tensor) -> Tensor:
        return values.new_zeros(places + 1).scatter_(0, to, values)[:places]

    present = torch.arange(places, device=order.device) < order[-1]
    return Candidates(moved(found.queries), moved(found.class_ids), moved(found.scores) * present, present)
