"""Hand-over of images from the subscription, which never waits, to the worker."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Mailbox(Generic[_Item]):
    """A queue of at most `capacity` items in which the oldest gives way: 1 is "the newest wins"."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[_Item] = deque()
        self._capacity = capacity
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: _Item) -> int:
        """Add `item` without waiting and return how many older items it pushed out."""
        with self._changed:
            self._items.append(item)
            self._changed.notify()
            return self._shrink()

    def take(self) -> _Item | None:
        """Wait for the oldest item and return it, or None once the mailbox is closed, whatever it still holds."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            return None if self._closed else self._items.popleft()

    def resize(self, capacity: int) -> int:
        """Change the capacity and return how many items were pushed out by it."""
        with self._changed:
            self._capacity = capacity
            return self._shrink()

    def close(self) -> None:
        """End all waiting: `take` returns None from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _shrink(self) -> int:
        excess = max(0, len(self._items) - self._capacity)
        for _ in range(excess):
            self._items.popleft()
        return excess


class Pacer:
    """Decides which frames to take so that no more than `rate` per second are taken on average.

    A frame that comes late leaves its lateness to the next ones (at most one period), so a 15 Hz camera with jitter
    keeps its 15 Hz at `rate` 15, and a 30 Hz camera gives 20 Hz at `rate` 20.
    """

    def __init__(self) -> None:
        self._due = float("-inf")

    def admits(self, now: float, rate: float) -> bool:
        """Say whether the frame that arrived at `now` (s, any steady clock) is taken; rate in Hz, 0 takes all."""
        if rate == 0:
            return True
        if now < self._due:
            return False
        self._due = max(self._due + 1 / rate, now)
        return True
