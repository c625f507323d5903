"""Times of frames: whole nanoseconds, so that differences do not depend on when a clock began to count."""

from __future__ import annotations

import math
from fractions import Fraction
from numbers import Rational

SECOND = 10**9
"""Nanoseconds."""

Stamp = float | Fraction
"""Seconds."""


def nanoseconds(stamp: Stamp | None) -> int | None:
    """A caller's stamp in nanoseconds; None stays None.

    A float is rounded to microseconds: since 1970 it holds no more than a quarter of one, and the same frames must have
    the same differences on any clock. A rational number, such as `Fraction(n, 10**9)`, is taken to the nanosecond.
    Raises `ValueError` for what is not finite.
    """
    if stamp is None:
        return None
    if isinstance(stamp, Rational):
        return round(Fraction(stamp) * SECOND)
    if not math.isfinite(stamp):
        raise ValueError(f"stamp is {stamp!r}, expected seconds, or None where the time is not known")
    return round(Fraction(float(stamp)) * 10**6) * 1000
