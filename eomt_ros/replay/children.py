"""Child processes: watched while they run, and none left behind."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from eomt_ros.errors import UserError
from eomt_ros.node.fast_dds import free_shared_memory_of_the_dead
from eomt_ros.printable import printable

TAIL_LINES = 15
_PATIENCE = 5.0  # s that a process gets to end by itself


class ChildError(UserError):
    """A process failed, or did not do what it was started for; the message says what, with its last words."""


class Child:
    """A process with its output in a file; it ends with the `with` block at the latest.

    ends: it is meant to end by itself before the block.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, *, ends: bool = False) -> None:
        self._name = name
        self._log = log
        self._ends = ends
        with log.open("wb") as output:
            # In a session of its own, because Ctrl-C is for the whole: its owner then ends its processes in order.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def tell(self, line: str) -> None:
        """Write a line to the process's standard input."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, and `check` says so
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def check(self) -> None:
        """Raise ChildError if the process ended and should not have, or failed."""
        if self.code is not None and not (self._ends and self.code == 0):
            raise self.failure(f"ended with code {self.code}")

    def failure(self, what: str) -> ChildError:
        """An error that tells what happened to the process, with the last lines that it printed."""
        lines = self._log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return ChildError(
            "\n    ".join(
                [f"{self._name} {what}; it printed at last:", *(map(printable, lines) if lines else ["nothing"])]
            )
        )

    def stop(self) -> int:
        """End the process, as Ctrl-C does, and by force if that does not help; returns its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            return self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
            free_shared_memory_of_the_dead()
            return code
