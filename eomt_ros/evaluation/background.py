"""Work that is done beside the engine: one thread, a few items behind at most."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _End:
    """Follows the last item."""


class Background(Generic[Item]):
    """Calls `work` with one item after the other in a thread, within a `with` block, at whose end all are done.

    What `work` raises is raised by the next `put`, or at the end of the block; after it no item is worked on. A block
    that is left by an exception leaves what still waits.
    waiting: items that may wait; `put` waits for a place.
    """

    def __init__(self, work: Callable[[Item], None], *, waiting: int) -> None:
        self._work = work
        self._queue: queue.Queue[Item | _End] = queue.Queue(waiting)
        self._failure: BaseException | None = None
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)

    def __enter__(self) -> Background[Item]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abandoned = error is not None
        self._queue.put(_End())
        self._thread.join()
        if error is None and self._failure is not None:
            raise self._failure

    def put(self, item: Item) -> None:
        """Hands over an item."""
        if self._failure is not None:
            raise self._failure
        self._queue.put(item)

    def _run(self) -> None:
        # Until the last item also after a failure, or `put` would wait for ever.
        while not isinstance(item := self._queue.get(), _End):
            if self._failure is not None or self._abandoned:
                continue
            try:
                self._work(item)
            except BaseException as error:
                self._failure = error
