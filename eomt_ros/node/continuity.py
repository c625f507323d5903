"""When a frame does not continue the stream, so that queries and identities must start anew."""

from __future__ import annotations


class Continuity:
    """Remembers the last frame's stamp and size, and names what breaks the stream at the next one."""

    def __init__(self) -> None:
        self._stamp: float | None = None
        self._size: tuple[int, int] | None = None

    def broken_by(self, stamp: float | None, size: tuple[int, int], max_gap: float) -> str | None:
        """Return why this frame does not continue the stream, or None if it does, and remember the frame.

        stamp: seconds, None for a driver that does not stamp (only the size is compared then); size: (height, width);
        max_gap: seconds between stamps, 0 for any.
        """
        reason = self._size_change(size) or self._time_jump(stamp, max_gap)
        self._size = size
        if stamp is not None:
            self._stamp = stamp
        return reason

    def _size_change(self, size: tuple[int, int]) -> str | None:
        if self._size in (None, size):
            return None
        return f"the image size changed from {_width_by_height(self._size)} to {_width_by_height(size)}"

    def _time_jump(self, stamp: float | None, max_gap: float) -> str | None:
        if stamp is None or self._stamp is None:
            return None
        step = stamp - self._stamp
        if step < 0:
            return f"time jumped back by {-step:.3f} s, from {self._stamp:.3f} to {stamp:.3f}"
        if 0 < max_gap < step:
            return f"a gap of {step:.3f} s between frames exceeds max_gap ({max_gap} s)"
        return None


def _width_by_height(size: tuple[int, int] | None) -> str:
    return "none" if size is None else f"{size[1]}x{size[0]}"
