"""Timing on a noisy machine: ours and the reference take turns, and the median of their ratios counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One line of the table. Times are medians in milliseconds; None where there is nothing to tell or compare."""

    name: str
    ours_ms: float | None = None
    reference_ms: float | None = None
    ratio: float | None = None
    """Median over the pairs of reference time to ours."""
    ratio_low: float | None = None
    ratio_high: float | None = None
    """The lowest and the highest ratio of a pair."""
    ours_low_ms: float | None = None
    ours_high_ms: float | None = None
    """The shortest and the longest of our times."""
    pairs: int = 0
    """Number of measured times."""
    growth_mib: float | None = None
    differing: int | None = None
    """Number of pixels in which ours and the reference differ, where that is what is measured."""
    note: str = ""
    runs: str = ""
    """The backend and the precision of our network; empty where none runs, or not one alone."""
    target: str = ""
    met: bool | None = None
    """True if the target is met; None without a target."""

    @classmethod
    def of(
        cls, name: str, ours: Sequence[float], reference: Sequence[float] = (), *, note: str = "", runs: str = ""
    ) -> Row:
        """A row from seconds; where there is a reference, its times belong to ours in pairs."""
        ratios = [their / our for our, their in zip(ours, reference, strict=True)] if reference else []
        return cls(
            name,
            ours_ms=1e3 * statistics.median(ours),
            reference_ms=1e3 * statistics.median(reference) if reference else None,
            ratio=statistics.median(ratios) if ratios else None,
            ratio_low=min(ratios, default=None),
            ratio_high=max(ratios, default=None),
            ours_low_ms=1e3 * min(ours),
            ours_high_ms=1e3 * max(ours),
            pairs=len(ours),
            note=note,
            runs=runs,
        )


def seconds(work: Callable[[], object]) -> float:
    """Duration of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(
    name: str, ours: Callable[[], object], reference: Callable[[], object], *, pairs: int = 9, note: str = ""
) -> Row:
    """Times both in turns, after a warm-up call of each."""
    return Row.of(name, *in_turns(seconds, ours, reference, pairs), note=note)


def in_turns(measure: Callable[[T], float], ours: T, reference: T, pairs: int) -> tuple[list[float], list[float]]:
    """The seconds of each, so many times in turns after one that does not count."""
    times = [(measure(ours), measure(reference)) for _ in range(pairs + 1)][1:]
    return [first for first, _ in times], [second for _, second in times]


def repeat(name: str, ours: Callable[[], object], *, times: int = 9, note: str = "") -> Row:
    """Times what has no reference, after a warm-up call."""
    ours()
    return Row.of(name, [seconds(ours) for _ in range(times)], note=note)
