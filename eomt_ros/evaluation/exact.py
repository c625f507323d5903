"""Sums of shares that depend neither on their order nor on how they are divided among machines."""

from __future__ import annotations

from collections import Counter
from statistics import median

ONE = 1 << 53
"""Parts of 1: a share from 0.5 on is a whole number of them, and a smaller one is rounded to one."""


def exact(share: float) -> int:
    """A share, or a sum of some, in parts of `ONE`; these are whole numbers, whose sums are exact."""
    return round(share * ONE)


def median_seconds(nanoseconds: Counter[int]) -> float | None:
    """The median of durations, each with how often it occurred; None where there is none."""
    return median(nanoseconds.elements()) * 1e-9 if nanoseconds else None
