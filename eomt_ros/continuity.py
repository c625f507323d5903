"""The time of a camera's frames: which frame does not continue the stream, and which comes too late.

Time is judged by the stamps of all frames that come, also of those that are left out then, for a rate or because the
network is slower: a gap is one of the camera. The rules, once per frame, for Python, node and evaluation alike:

1. Up to `max_gap` after the frame before, the stream goes on. So it does where the stamp is the same again.
2. A frame that is older than the one before, by up to `tolerance`, is late and dropped: drivers and networks swap some.
3. Any other step is a jump. It begins a new stretch, in which nothing is remembered of the frames before.
4. What goes on where the stretch before ended is a jump, too, but late where it has been one already and both go on:
   two publishers that take turns, with clocks of their own.
5. Where for `PATIENCE` nothing comes but late frames, by their own stamps, time has jumped back after all.
6. A stamp of 0 is no stamp, but of a driver that gives none; unless the stamps beside it are near, as in a simulation.
"""

from __future__ import annotations

from typing import NamedTuple

from eomt_ros.stamps import SECOND

MAX_GAP = 2.0
"""Seconds that may be between two frames of a stream, unless a user says otherwise."""
PATIENCE = 2 * SECOND
NOMINAL_PERIOD = SECOND // 10
"""Nanoseconds that a late frame counts for if its stamp does not say."""


class LateFrameError(ValueError):
    """A frame is older than the one before it in its stream; the message says by how much."""


class Admitted(NamedTuple):
    """A frame that may be processed."""

    stamp: int | None
    """Nanoseconds; None where the driver gave none."""
    stretch: int
    """How often time has jumped before it."""
    begun_by: str
    """The last jump, in words."""


class Continuity:
    """Goes through the stamps of a camera's frames, in the order in which they come."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._stretch = 0
        self._begun_by = ""
        self._slow = False  # nothing came since the last gap
        self._late: int | None = None  # the last late frame since one that was not, and the time that they took
        self._late_for = 0
        self._other: int | None = None  # the end of the stretch before, and how far this one was when it was heard of
        self._heard = 0
        self._returned = False  # this stretch goes on where the one before that ended

    def admit(self, stamp: int, max_gap: float) -> Admitted:
        """Judges the next frame, of `stamp` nanoseconds; raises `LateFrameError` where it is late.

        max_gap: seconds that may be between two frames; 0 for any.
        """
        near = tolerance(max_gap)
        last = self._last = stamp if self._last is None else self._last
        step = stamp - last
        if stamp == 0 and last > near:
            return self.untimed()
        if 0 <= step <= near or (last == 0 and step > 0):
            return self._go_on(stamp)
        returns = self._other is not None and abs(stamp - self._other) <= near and last - self._heard <= near
        if (-near <= step < 0 or (returns and self._returned)) and not self._is_too_late(stamp):
            if returns:
                self._other, self._heard = stamp, last
            raise LateFrameError(_late(step, stamp))
        self._other, self._heard, self._returned = last, stamp, returns
        if step < 0 or max_gap > 0:
            self._jump(step, stamp, max_gap)
        admitted = self._go_on(stamp)
        self._slow = step > 0
        return admitted

    def untimed(self) -> Admitted:
        """A frame whose driver gave no stamp: it continues the stream."""
        return Admitted(None, self._stretch, self._begun_by)

    def _go_on(self, stamp: int) -> Admitted:
        self._last = stamp
        self._slow = False
        self._late, self._late_for = None, 0
        return Admitted(stamp, self._stretch, self._begun_by)

    def _is_too_late(self, stamp: int) -> bool:
        before, self._late = self._late, stamp
        if before is not None:
            self._late_for += stamp - before if stamp > before else NOMINAL_PERIOD
        return self._late_for > PATIENCE

    def _jump(self, step: int, stamp: int, max_gap: float) -> None:
        self._stretch += 1
        if step < 0:
            times = f"from {_seconds(stamp - step)} to {_seconds(stamp)}"
            self._begun_by = f"time jumped back by {-step / SECOND:.3f} s, {times}"
        else:
            self._begun_by = f"a gap of {step / SECOND:.3f} s between frames exceeds max_gap ({max_gap} s)"
            self._begun_by += "; so did the one before: for a camera this slow, raise it" if self._slow else ""


def tolerance(max_gap: float) -> int:
    """Nanoseconds by which a frame may be older than the one before and be late, not the begin of another time."""
    return round(max_gap * SECOND) or SECOND


def _late(step: int, stamp: int) -> str:
    order = f"{-step / SECOND:.3f} s before" if step < 0 else f"{step / SECOND:.3f} s after"
    return f"its stamp, {_seconds(stamp)}, is {order} that of the newest image"


def _seconds(stamp: int) -> str:
    return f"{stamp / SECOND:.3f}"
