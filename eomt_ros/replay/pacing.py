"""When the next message of a bag may go out: in its time, and not too far ahead of the results."""

from __future__ import annotations

import threading
import time
from collections import deque

from eomt_ros.evaluation.counting import counted

LOOK_EVERY = 0.05  # s between two looks at whether to stop


class PlayError(Exception):
    """The bag cannot be played, nobody listens, or no results come; the message says which."""


class StoppedError(Exception):
    """Somebody wants the player to stop."""


class Timeline:
    """The bag's time beside that of this machine, `rate` times as fast; 0: as fast as the messages can go out.

    stop: see `Player`.
    """

    def __init__(self, rate: float, stop: threading.Event) -> None:
        self._rate = rate
        self._stop = stop
        self._start = self._next = 0
        self._origin = 0.0

    def begin(self, start: int) -> None:
        """Let the bag's time be `start`, in nanoseconds, at this moment."""
        self._start = self._next = start
        self._origin = time.monotonic()

    def wait_for(self, recorded: int) -> None:
        """Return when it is `recorded` in the bag. Raises StoppedError."""
        self._next = recorded
        due = self._origin + (recorded - self._start) * 1e-9 / self._rate if self._rate else 0.0
        if self._stop.wait(max(0.0, due - time.monotonic())):
            raise StoppedError

    def stand_still(self, seconds: float) -> None:
        """Leave out that many of the last seconds, in which the bag was held up."""
        self._origin += seconds

    @property
    def now(self) -> int:
        """The bag's time in nanoseconds; never past the message that goes out next."""
        if not self._rate:
            return self._next
        elapsed = (time.monotonic() - self._origin) * self._rate
        return min(self._start + round(elapsed * 1e9), self._next)


class Backlog:
    """The images that went out and have no result yet, oldest first: at most `limit`.

    A result settles its image and all before it, so that an image that gives none does not count for ever.
    stop: see `Player`.
    """

    def __init__(self, limit: int, stop: threading.Event) -> None:
        self._limit = limit
        self._stop = stop
        self._stamps: deque[int] = deque()
        self._settled = threading.Condition()

    def add(self, stamp: int) -> None:
        """Note an image that goes out."""
        with self._settled:
            self._stamps.append(stamp)

    def settle(self, stamp: int) -> None:
        """Note a result; any thread may."""
        with self._settled:
            if stamp in self._stamps:
                while self._stamps.popleft() != stamp:
                    pass
                self._settled.notify()

    def wait_for_room(self, patience: float) -> float:
        """Return when one more image may go out, with the seconds that it took.

        Raises PlayError when no result comes for `patience` seconds, and StoppedError.
        """
        begin = time.monotonic()
        with self._settled:
            while not self._settled.wait_for(lambda: len(self._stamps) < self._limit, LOOK_EVERY):
                if self._stop.is_set():
                    raise StoppedError
                if time.monotonic() < begin + patience:
                    continue
                count = len(self._stamps)
                raise PlayError(
                    f"no result came for {patience:g} s, while {counted(count, 'image waits', 'images wait')}, "
                    f"the oldest of stamp {self._stamps[0] * 1e-9:.3f} s"
                )
        return time.monotonic() - begin
