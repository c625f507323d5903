"""How programs end early: by an error that is for the user, by Ctrl-C, or by SIGTERM, which batch systems send."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eomt_ros.errors import UserError
from eomt_ros.extras import missing

STOPPED = 130
"""The exit code that a shell expects of a program that Ctrl-C ended."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(KeyboardInterrupt):
    """Somebody wants to stop, and nothing came so far that is worth keeping."""


def exit_code_of(program: str, run: Callable[[], int | None]) -> int:
    """Runs a program to its exit code: `run`'s, 1 after an error that is for the user, 130 where it was stopped."""
    try:
        return run() or 0
    except KeyboardInterrupt as error:
        print(f"{program}: {str(error) or 'stopped'}", file=sys.stderr)
        return STOPPED
    except ImportError as error:
        if (error.name or "").startswith("eomt_ros"):
            raise
        print(f"{program}: {missing(error, 'evaluation')}", file=sys.stderr)
    except (UserError, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
    return 1


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
