"""When a frame does not continue the stream, so that queries and identities start anew, and when it comes too late.

Time is judged by the stamps of all frames that come, also of those that are left out then, for a rate or because the
network is slower: a gap is one of the camera. The rules, once per frame, for the node and the evaluation alike:

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

Size = tuple[int, int]
"""Height and width."""

PATIENCE = 2 * SECOND
NOMINAL_PERIOD = SECOND // 10
"""Nanoseconds that a late frame counts for if its stamp does not say."""


class Admitted(NamedTuple):
    """A frame that may be processed."""

    stamp: int | None
    """Nanoseconds; None where the driver gave none."""
    stretch: int
    """How often time has jumped before it."""
    begun_by: str
    """What the last jump was."""


UNTIMED = Admitted(None, 0, "")


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

    def admit(self, stamp: int, max_gap: float) -> Admitted | None:
        """Judges the next frame, of `stamp` nanoseconds; None where it is late.

        max_gap: seconds that may be between two frames; 0 for any.
        """
        near = tolerance(max_gap)
        last = self._last = stamp if self._last is None else self._last
        step = stamp - last
        if stamp == 0 and last > near:
            return Admitted(None, self._stretch, self._begun_by)
        if 0 <= step <= near or (last == 0 and step > 0):
            return self._go_on(stamp)
        returns = self._other is not None and abs(stamp - self._other) <= near and last - self._heard <= near
        if (-near <= step < 0 or (returns and self._returned)) and not self._is_too_late(stamp):
            if returns:
                self._other, self._heard = stamp, last
            return None
        self._other, self._heard, self._returned = last, stamp, returns
        if step < 0 or max_gap > 0:
            self._jump(step, stamp, max_gap)
        admitted = self._go_on(stamp)
        self._slow = step > 0
        return admitted

    def why_late(self) -> str:
        """What is wrong with the frame that was late."""
        assert self._last is not None
        assert self._late is not None
        step = self._late - self._last
        order = f"{-step / SECOND:.3f} s before" if step < 0 else f"{step / SECOND:.3f} s after"
        return f"its stamp, {_seconds(self._late)}, is {order} that of the newest image"

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


class Scene:
    """Remembers the last frame that was processed, and names what breaks the stream at the next one."""

    def __init__(self) -> None:
        self._stretch: int | None = None
        self._size: Size | None = None

    def broken_by(self, frame: Admitted, size: Size) -> str | None:
        """Return why this frame does not continue the stream, or None if it does, and remember the frame."""
        last_stretch, self._stretch = self._stretch, frame.stretch
        last_size, self._size = self._size, size
        if last_size is not None and last_size != size:
            return f"the image size changed from {_width_by_height(last_size)} to {_width_by_height(size)}"
        return frame.begun_by if last_stretch not in (None, frame.stretch) else None


def tolerance(max_gap: float) -> int:
    """Nanoseconds by which a frame may be older than the one before and be late, not the begin of another time."""
    return round(max_gap * SECOND) or SECOND


def _seconds(stamp: int) -> str:
    return f"{stamp / SECOND:.3f}"


def _width_by_height(size: Size) -> str:
    return f"{size[1]}x{size[0]}"
