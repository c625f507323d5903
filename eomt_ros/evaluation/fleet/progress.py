"""What a run over many recordings tells while it goes on: a bar or lines, and a line for each recording in a log."""

from __future__ import annotations

import datetime
import sys
import time
from pathlib import Path

from tqdm import tqdm

from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.fleet.outcome import FAILED, Outcome
from eomt_ros.printable import printable


class FleetProgress:
    """Recordings done, frames per second, time left and failures, within a `with` block.

    total: recordings. kept: those of them that are done already. log: gets a line for each that ends.
    """

    def __init__(self, total: int, kept: int, log: Path) -> None:
        self.failed = 0
        self._log = log
        self._frames = 0
        self._bar = tqdm(total=total, initial=kept, unit="recording", disable=not sys.stderr.isatty())
        self._total, self._kept, self._ended = total, kept, 0
        self._began = time.monotonic()

    def __enter__(self) -> FleetProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def ended(self, outcome: Outcome) -> None:
        """Counts a recording. Raises `OSError` where the log cannot be written."""
        self._ended += 1
        self._frames += outcome.frames
        self.failed += outcome.state == FAILED
        line = log_line(outcome)
        self._write(line)
        rate = self._frames / max(time.monotonic() - self._began, 1e-9)
        so_far = f"{rate:.1f} frames/s, {self.failed} failed"
        if self._bar.disable:
            print(f"{line}  ({self._share()}, {so_far})", file=sys.stderr, flush=True)
        else:
            if outcome.error:
                self._bar.write(line, file=sys.stderr)
            self._bar.set_postfix_str(so_far, refresh=False)
            self._bar.update()

    def _share(self) -> str:
        done = self._kept + self._ended
        left = (time.monotonic() - self._began) / self._ended * (self._total - done)
        return f"{done:,} of {counted(self._total, 'recording')}, {tqdm.format_interval(left)} left"

    def _write(self, line: str) -> None:
        now = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        try:
            with self._log.open("a", encoding="utf-8", errors="replace") as file:
                file.write(f"{now}  {line}\n")
        except OSError as error:
            raise OSError(f"{self._log} cannot be written: {error.strerror}") from error


def log_line(outcome: Outcome) -> str:
    """Name, state, and the figures or the reason, in one line."""
    attempts = "" if outcome.attempts == 1 else f"attempt {outcome.attempts}: "
    parts = [printable(outcome.name), outcome.state]
    if outcome.state != FAILED:
        rate = outcome.frames / outcome.seconds if outcome.seconds else 0.0
        parts += [counted(outcome.frames, "frame"), f"{rate:.1f} frames/s"]
        parts += [] if outcome.miou is None else [f"mIoU {outcome.miou:.3f}"]
    if outcome.error or attempts:
        parts.append(attempts + printable(outcome.error))
    return "  ".join(parts)
