"""Files that anybody may have made: only regular ones are opened, and never more is read than was agreed on.

A pipe would be waited for without end, and a device such as /dev/zero would be read without end. Links are followed,
because the hub's cache is made of them, but where they end there has to be a regular file. A Git LFS pointer, which a
clone without Git LFS has in place of a large file, is refused too. A file on another machine is regular.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from eomt_ros.remote_path import RemotePath

_GIT_LFS_POINTER = b"version https://git-lfs"
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: str | Path) -> BinaryIO:
    """Opens a file for reading. Raises `OSError` where it is missing, cannot be read, or is no regular file."""
    _check(path, os.stat(path))  # before it is opened, which some devices act on
    return open(path, "rb", opener=_at_once)


def read_bytes(path: str | Path, most: int) -> bytes:
    """Reads a whole file. Raises `OSError` as `open_regular`, and where that is more than `most` bytes."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > most else file.read(most + 1)  # some that are made as they are read have no size
    if max(size, len(content)) > most:
        raise OSError(errno.EFBIG, f"it has {max(size, len(content))} bytes, expected at most {most}", str(path))
    return content


def expect_regular(path: str | Path) -> int:
    """The size of a file, bytes, as it says itself. Raises `OSError` as `open_regular`."""
    if isinstance(path, RemotePath):
        return path.size
    with open_regular(path) as file:
        return os.fstat(file.fileno()).st_size


def sha256_of(paths: Iterable[Path]) -> str:
    """SHA-256 of the content of files, one after the other. Raises `OSError` as `open_regular`."""
    digest = hashlib.sha256()
    for path in paths:
        with open_regular(path) as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _at_once(path: str, flags: int) -> int:
    """Opens without waiting for a writer, should a pipe have taken the file's place since it was looked at."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        _check(path, os.fstat(descriptor))
        if os.read(descriptor, len(_GIT_LFS_POINTER)) == _GIT_LFS_POINTER:
            pointer = "it is a Git LFS pointer, not the file itself: get that with `git lfs pull`"
            raise OSError(errno.EINVAL, pointer, str(path))
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: str | Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no file")
        raise OSError(errno.EINVAL, f"it is {kind}, expected a regular file", str(path))
