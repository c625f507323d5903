"""Works on the next item while the one before is in use."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def one_ahead(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """The items, each while the next one is made on a thread of its own, which makes and closes them all.

    An error of an item comes in its place. The thread ends with the items, or where this is closed.
    """
    with ThreadPoolExecutor(1, "ahead") as thread:
        try:
            coming = thread.submit(next, items, None)
            while (item := coming.result()) is not None:
                coming = thread.submit(next, items, None)
                yield item
        finally:
            try:
                closed = thread.submit(items.close)
            except RuntimeError:  # the interpreter ends, and has ended the thread
                return
            closed.result()
