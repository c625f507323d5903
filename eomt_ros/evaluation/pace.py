"""Time within a sequence, from the stamps of its frames."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_STEP = 2 * 10**9
"""ns that a frame stands for at most: after a longer gap nobody knows what was in view."""
NOMINAL_STEP = 10**8
"""ns that a frame stands for where no stamp says it: a camera that does not stamp, a frame alone."""


@dataclass(frozen=True)
class FrameTime:
    """Time of a frame in its sequence, and how long the frame stands for."""

    begin: float
    """Seconds from the start of the sequence; where stamps jump back, time goes on."""
    seconds: float
    """To the next frame; where that is not known or too far, as long as the frame before, the first `NOMINAL_STEP`."""
    shown: int
    """Nanoseconds from the start, of a clock that has no gaps."""


class Pace:
    """Turns stamps into times. A frame's time is known when the next frame is: it comes out one push later."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._begin = 0
        self._shown = 0
        self._step = NOMINAL_STEP
        self.repeated = 0
        """Frames with the stamp of the frame before."""

    def push(self, stamp: int) -> FrameTime | None:
        """Takes the next frame's stamp, in nanoseconds; returns the time of the frame before, None at the first."""
        last, self._last = self._last, stamp
        if last is None:
            return None
        step = stamp - last
        self.repeated += step == 0
        if 0 < step <= LONGEST_STEP:
            self._step = step
        moment = self._moment()
        self._begin += step if step > 0 else self._step
        self._shown += self._step
        return moment

    def end(self) -> FrameTime | None:
        """The time of the last frame, if there was one."""
        last, self._last = self._last, None
        return None if last is None else self._moment()

    def _moment(self) -> FrameTime:
        return FrameTime(self._begin / 10**9, self._step / 10**9, self._shown)
