"""Recordings of other machines that are kept on this one: no more than fit, and none is removed while it is in use.

Each entry is a folder with a lock file beside it, which says how many bytes are its. Whoever reads an entry holds the
lock together with other readers, whoever makes or removes it holds it alone, and the system lets go of the locks of a
process that dies. A reader waits for an entry that another process makes; one that finds no room waits for an entry in
use, and holds none itself, so that nobody waits for the other for ever.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from eomt_ros.evaluation.errors import SourceError

SPARE = 1 << 30
"""Bytes that are left free on the disk."""
_LOCK, _HALF = ".lock", ".half"


@dataclass(frozen=True)
class RecordingCache:
    """A folder that holds up to so many bytes of recordings; any number of processes may use it at once."""

    folder: Path
    most: int
    """Bytes."""

    @contextmanager
    def entry(self, key: str, size: int, fill: Callable[[Path], None]) -> Iterator[Path]:
        """The folder of an entry, which stays at least until the `with` block ends; made first where it is not there.

        key: the name of the entry, of letters and digits. size: bytes that it takes. fill: puts the entry's files into
        the empty folder it gets. Raises `SourceError` where there is no room, `OSError`, and what `fill` raises.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder, lock = self.folder / key, self._lock(key)
        while True:
            with _locked(lock, fcntl.LOCK_SH):
                if folder.is_dir():
                    os.utime(lock)
                    yield folder
                    return
            with _locked(lock, fcntl.LOCK_EX) as descriptor:
                if not folder.is_dir():
                    self._make_room(key, size, descriptor)
                    self._make(folder, fill, descriptor)

    def _lock(self, key: str) -> Path:
        return self.folder / f"{key}{_LOCK}"

    def _make(self, folder: Path, fill: Callable[[Path], None], descriptor: int) -> None:
        half = folder.with_suffix(_HALF)
        shutil.rmtree(half, ignore_errors=True)  # of a process that was killed
        try:
            half.mkdir()
            fill(half)
            half.rename(folder)
        except BaseException:
            os.ftruncate(descriptor, 0)
            raise
        finally:
            shutil.rmtree(half, ignore_errors=True)

    def _make_room(self, key: str, size: int, descriptor: int) -> None:
        """Removes entries, those first that were not used for the longest time, and reserves the bytes of a new one."""
        if size > self.most:
            raise SourceError(
                f"it has {_gigabytes(size)}, and the cache in {self.folder} at most {_gigabytes(self.most)}: allow more"
            )
        while True:
            with _locked(self.folder / _LOCK, fcntl.LOCK_EX):
                used = self._used(key)
                for other in list(used):
                    if self._fits(size, used):
                        break
                    if self._remove(other):
                        del used[other]
                if self._fits(size, used):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, str(size).encode(), 0)
                    return
            if not used:
                raise SourceError(f"it has {_gigabytes(size)}, and the disk of the cache in {self.folder} is full")
            with _locked(self._lock(next(iter(used))), fcntl.LOCK_EX):
                pass

    def _used(self, key: str) -> dict[str, int]:
        """The bytes of all other entries by their keys, those first that were not used for the longest time."""
        locks = [path for path in self.folder.glob(f"*{_LOCK}") if path.stem not in ("", _LOCK, key)]
        sizes = {
            path.stem: int(path.read_bytes() or 0) for path in sorted(locks, key=lambda path: path.stat().st_mtime)
        }
        return {key: size for key, size in sizes.items() if size}

    def _fits(self, size: int, used: dict[str, int]) -> bool:
        free = shutil.disk_usage(self.folder).free
        return sum(used.values()) + size <= self.most and free >= size + SPARE

    def _remove(self, key: str) -> bool:
        """Removes an entry; False where somebody uses it."""
        try:
            with _locked(self._lock(key), fcntl.LOCK_EX | fcntl.LOCK_NB) as descriptor:
                for folder in (self.folder / key, (self.folder / key).with_suffix(_HALF)):
                    shutil.rmtree(folder, ignore_errors=True)
                os.ftruncate(descriptor, 0)
        except BlockingIOError:
            return False
        return True


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[int]:
    """Holds the lock of a file, which is made where it is not there, and stays. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, kind)
        yield descriptor
    finally:
        os.close(descriptor)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
