"""What Ctrl-C does, and SIGTERM, which batch systems, containers and CI send in its place."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOPPED = 130
"""What a shell expects of a program that Ctrl-C ended."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Within the block SIGTERM raises KeyboardInterrupt too, so that what was begun is ended as it should be."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def first_sets(stop: threading.Event) -> Iterator[None]:
    """The first signal sets `stop`, so that work ends after the frame in hand; the second does what it did before."""

    def first(*_: object) -> None:
        restore()
        stop.set()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, first) for number in SIGNALS}
    try:
        yield
    finally:
        restore()
