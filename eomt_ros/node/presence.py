"""Keeps threads whose work cannot be interrupted out of ROS while the process ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Presence:
    """Knows whether a thread uses ROS or is away in work of its own; it begins in ROS.

    A handle of ROS that is in use is not destroyed, and a process that then ends leaves its shared memory behind. So
    the end first waits until the thread is away, and keeps it there.
    """

    def __init__(self) -> None:
        self._in_ros = threading.Lock()
        self._in_ros.acquire()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Within the block the thread leaves ROS alone; it returns from it only if nobody has called `end`."""
        self.leave()
        try:
            yield
        finally:
            self._in_ros.acquire()

    def leave(self) -> None:
        """Be away for good: the thread is done."""
        self._in_ros.release()

    def end(self, patience: float) -> None:
        """Wait until the thread is away, at most `patience` seconds, and keep it away; for another thread to call."""
        self._in_ros.acquire(timeout=patience)
