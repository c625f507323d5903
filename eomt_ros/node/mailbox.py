"""Hand-over of images from the subscriptions, which never wait, to the worker, and of its results to a next one."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

ASK_AGAIN = 0.02  # s

_Sender = TypeVar("_Sender")
_Item = TypeVar("_Item")


class Mailbox(Generic[_Sender, _Item]):
    """A queue of at most `capacity` items for each sender, in which the oldest gives way: 1 is "the newest wins"."""

    def __init__(self, senders: Iterable[_Sender], capacity: int) -> None:
        self._queues: dict[_Sender, deque[_Item]] = {sender: deque() for sender in senders}
        self._capacity = capacity
        self._closed = False
        self._changed = threading.Condition()
        self._since = 0.0  # when the first item came that waits, by time.monotonic

    def put(self, sender: _Sender, item: _Item) -> int:
        """Add `item` without waiting and return how many older items of its sender it pushed out."""
        with self._changed:
            if not any(self._queues.values()):
                self._since = time.monotonic()
            self._queues[sender].append(item)
            self._changed.notify()
            return self._shrink(sender)

    def take(self, window: Callable[[], float] = lambda: 0.0) -> dict[_Sender, _Item] | None:
        """Wait for an item, and return the oldest of each sender that has one.

        window: gives how long an item waits for those of the senders that have none (s); asked when there is an item,
        because it may change until then. Returns None once the mailbox is closed, whatever it still holds.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._queues.values()))
            left = self._since + window() - time.monotonic()
            self._changed.wait_for(lambda: self._closed or all(self._queues.values()), max(0.0, left))
            if self._closed:
                return None
            return {sender: queue.popleft() for sender, queue in self._queues.items() if queue}

    def take_due(self, is_due: Callable[[_Sender, _Item], bool], *, newest: bool) -> tuple[_Sender, _Item, int] | None:
        """Wait for an item that is due, and return its sender, it, and how many older ones of its sender it pushed out.

        is_due: asked at every `put` and `wake`, and every `ASK_AGAIN`. newest: the newest that is due overtakes the
        older ones; else all go in order, and one that is not due holds up those behind it. The senders take turns.
        Returns None once the mailbox is closed, whatever it still holds.
        """
        with self._changed:
            while not self._closed:
                for sender, queue in self._queues.items():
                    candidates = list(queue) if newest else list(queue)[:1]
                    due = [number for number, item in enumerate(candidates) if is_due(sender, item)]
                    if due:
                        for _ in range(due[-1]):
                            queue.popleft()
                        self._queues[sender] = self._queues.pop(sender)
                        return sender, queue.popleft(), due[-1]
                self._changed.wait(ASK_AGAIN if any(self._queues.values()) else None)
            return None

    def wake(self) -> None:
        """Let `take_due` ask again."""
        with self._changed:
            self._changed.notify_all()

    def resize(self, capacity: int) -> dict[_Sender, int]:
        """Change the capacity and return how many items of each sender were pushed out by it."""
        with self._changed:
            self._capacity = capacity
            return {sender: self._shrink(sender) for sender in self._queues}

    def close(self) -> None:
        """End all waiting: `take` returns None from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _shrink(self, sender: _Sender) -> int:
        queue = self._queues[sender]
        excess = max(0, len(queue) - self._capacity)
        for _ in range(excess):
            queue.popleft()
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
