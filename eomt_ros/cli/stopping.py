"""How programs end early: by an error that is for the user, by Ctrl-C, or by SIGTERM, which batch systems send."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eomt_ros.errors import UserError
from eomt_ros.extras import missing

STOPPED = 130
"""The exit code that a shell expects of a program that Ctrl-C ended."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
ONE_PRESS = 1.0
"""Seconds within which two signals are one press of Ctrl-C: from the terminal, and from `ros2 launch`."""
TOO_EARLY = "stopped before there was anything to evaluate"


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


class StopSignals:
    """Ends the replay at the first Ctrl-C or SIGTERM, and the scoring of what came until then at a later one.

    Within the `with` block; signals are heeded between two steps only, so that no process is left behind.
    """

    def __init__(self) -> None:
        self.for_replay = threading.Event()
        self.for_scores = threading.Event()
        self._first = math.inf
        self._at_once = False
        self._scoring = False

    def __enter__(self) -> StopSignals:
        self._before = {number: signal.signal(number, self._signalled) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within this block a signal raises StoppedError: it may take long, and leaves nothing."""
        self._at_once = True
        try:
            if self.for_replay.is_set():
                raise StoppedError(TOO_EARLY)
            yield
        finally:
            self._at_once = False

    def begin_scoring(self) -> None:
        """The replay is over: also the first signal ends the scoring."""
        self._scoring = True

    def _signalled(self, *_: object) -> None:
        another = time.monotonic() > self._first + ONE_PRESS
        if another or (self._scoring and not self.for_replay.is_set()):
            self.for_scores.set()
        if not self.for_replay.is_set():
            self._first = time.monotonic()
            self.for_replay.set()
        if self._at_once:
            raise StoppedError(TOO_EARLY)
