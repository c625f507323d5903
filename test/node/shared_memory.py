"""Which shared memory of Fast DDS belongs to which process: other programs on the machine have theirs beside it."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest
from rclpy.utilities import get_rmw_implementation_identifier

fast_dds = pytest.mark.skipif(
    get_rmw_implementation_identifier() != "rmw_fastrtps_cpp", reason="shared memory is looked at as Fast DDS names it"
)
_LOCK = re.compile(r"/dev/shm/fast(dds|rtps)_[0-9a-f]{16}_el")


def segments_of(*pids: int) -> set[Path]:
    """The segments that the processes own, and their locks; none of a process that has ended."""
    # Only the owner keeps the lock's file open; whoever reads from a segment maps that, too.
    locks = {link for pid in pids for link in _open_files(pid) if _LOCK.fullmatch(link)}
    return {Path(name) for lock in locks for name in (lock, lock.removesuffix("_el"))}


def family(pid: int) -> list[int]:
    """A process and all below it; nothing if it has ended."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def left(segments: set[Path]) -> list[Path]:
    """Those that are still there."""
    return sorted(path for path in segments if path.exists())


def _open_files(pid: int) -> list[str]:
    links = []
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            links.append(str(entry.readlink()))
    except OSError:  # the process ended, or closed a file
        pass
    return links
