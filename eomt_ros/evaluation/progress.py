"""Progress of a long piece of work."""

from __future__ import annotations

import math
import sys
import time

from tqdm import tqdm

EVERY = 10.0
"""s between two lines."""


class Progress:
    """A bar in a terminal, within a `with` block; elsewhere, under `ros2 launch` for example, a line now and then.

    total: frames; None where it is not known. quiet: frames are counted, and nothing is shown.
    """

    def __init__(self, total: int | None, *, every: float = EVERY, quiet: bool = False) -> None:
        self.frames = 0
        self._total = total
        self._every = math.inf if quiet else every
        # A bar has a semaphore, of which a process that is ended, as those of a fleet are, would leave a complaint.
        self._bar = tqdm(total=total, unit="frame") if sys.stderr.isatty() and not quiet else None
        self._told = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, frames: int = 1) -> None:
        """Counts frames that are done."""
        self.frames += frames
        if self._bar is not None:
            self._bar.update(frames)
        elif time.monotonic() >= self._told + self._every:
            self._told = time.monotonic()
            of_total = "" if self._total is None else f" of {self._total:,}"
            print(f"frame {self.frames:,}{of_total}", file=sys.stderr, flush=True)
