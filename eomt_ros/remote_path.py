"""A file on another machine in the place of one on the disk, for readers that only open it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path, PosixPath, PurePosixPath
from typing import IO, Any


class RemotePath(PosixPath):
    """A regular file that is opened through a function; its text is the URL.

    Nothing else than its name, its size and its content can be asked for: it has no folder.
    """

    url: str
    """Without what is secret in it."""
    size: int
    """Bytes."""
    opened: Callable[[], IO[bytes]]
    """Opens it for reading; what is read raises `OSError` where the connection breaks."""

    @staticmethod
    def of(url: str, name: str, size: int, opened: Callable[[], IO[bytes]]) -> RemotePath:
        """The path of a file of so many bytes. name: what it is called here."""
        # Not in the constructor: those of paths take nothing but text before Python 3.12.
        path = RemotePath(PurePosixPath(url).parent / name)
        path.url, path.size, path.opened = url, size, opened
        return path

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, below: str | os.PathLike[str]) -> Path:  # type: ignore[override]
        """A path that nothing is at, as below every file."""
        return Path(*self.parts, below)

    def with_segments(self, *segments: str | os.PathLike[str]) -> Path:  # type: ignore[override]
        """A path that is made of this one, which is none of a remote file."""
        return Path(*segments)

    def open(self, *_: object, **__: object) -> IO[Any]:  # type: ignore[override]
        """Opens it for reading bytes, however it is asked."""
        return self.opened()

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Says that it is a regular file of its size, and no more."""
        return os.stat_result((stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, self.size, 0, 0, 0))

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """True: it was there when the path was made."""
        return True

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """False."""
        return False

    def is_symlink(self) -> bool:
        """False."""
        return False

    def resolve(self, strict: bool = False) -> RemotePath:
        """The path itself."""
        return self
