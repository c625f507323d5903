"""Files beside the figures: a full disk, or an encoder that refuses, costs such a file, but not the figures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Generic, TypeVar

from eomt_ros.video import VideoError

Writer = TypeVar("Writer")
FAILURES = (OSError, VideoError)


class Beside(Generic[Writer]):
    """A file or a folder at `path`, opened by `make` when the first is written to it.

    Where that or a later step fails it is removed, which also makes room on a full disk, and `problem` says why.
    """

    def __init__(self, path: Path, make: Callable[[Path], AbstractContextManager[Writer]]) -> None:
        self.problem: str | None = None
        self.path = path
        self._make = make
        self._opened = ExitStack()
        self._writer: Writer | None = None

    @property
    def is_there(self) -> bool:
        """True if something was written, and nothing failed."""
        return self._writer is not None and self.problem is None

    def write(self, write: Callable[[Writer], None]) -> None:
        """Calls `write` with the writer, unless it has failed before."""
        if self.problem is not None:
            return
        try:
            if self._writer is None:
                self._writer = self._opened.enter_context(self._make(self.path))
            write(self._writer)
        except FAILURES as error:
            self._fail(error)

    def close(self) -> None:
        """Closes the file; does nothing where it is closed."""
        try:
            self._opened.close()
        except FAILURES as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.problem = f"{self.path.name} was given up: {error}"
        with suppress(*FAILURES):
            self._opened.close()
        if self._writer is None:
            return  # what is there is somebody else's
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
