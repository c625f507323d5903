"""Timing that a noisy machine cannot fool: ours and the reference take turns, and what counts is the median of their
ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table. Times are medians in milliseconds; None where there is nothing to compare with."""

    name: str
    ours_ms: float | None = None
    reference_ms: float | None = None
    ratio: float | None = None
    """Median over the pairs of reference time to ours."""
    ratio_low: float | None = None
    ratio_high: float | None = None
    """The lowest and the highest ratio of a pair."""
    pairs: int = 0
    note: str = ""


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(
    name: str, ours: Callable[[], object], reference: Callable[[], object], *, pairs: int = 9, note: str = ""
) -> Row:
    """Times both in turn, after a warm-up call of each."""
    ours(), reference()
    times = [(seconds(ours), seconds(reference)) for _ in range(pairs)]
    ratios = [theirs / our for our, theirs in times]
    return Row(
        name=name,
        ours_ms=1e3 * statistics.median(our for our, _ in times),
        reference_ms=1e3 * statistics.median(theirs for _, theirs in times),
        ratio=statistics.median(ratios),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
        pairs=pairs,
        note=note,
    )
