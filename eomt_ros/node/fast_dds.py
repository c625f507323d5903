"""Fast DDS, the usual middleware: it loses large images unless it is told to make room for them in shared memory, and
a process that is killed leaves its share of that behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
SEGMENT_LOCK = re.compile("fast(dds|rtps)_[0-9a-z]{16}_el")
SETTLED = 1.0  # s after which a new segment's owner has surely locked it

VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Of Fast DDS 3, and of those before it."""


def profile_variables(profile: Path) -> dict[str, str]:
    """Environment variables that make `profile` (config/fastdds.xml) hold; none where the user has one of their own."""
    if any(name in os.environ for name in VARIABLES):
        return {}
    before_fast_dds_3 = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    return {VARIABLES[before_fast_dds_3]: str(profile)}


def free_shared_memory_of_the_dead() -> None:
    """Remove the segments that processes that were killed left in shared memory, which would be full one day.

    Fast DDS keeps a lock on a file beside each segment (SharedMemSegment and RobustExclusiveLock in its sources). Its
    own tool, `fastdds shm clean`, takes away ports too, also those that another process is about to open, which then
    gets no messages through them. A port has 50 kB, and its name is used again.
    """
    for lock in SHARED_MEMORY.glob("fast*_el"):
        # Another user's cannot be removed, and another process may be faster.
        with contextlib.suppress(OSError):
            if SEGMENT_LOCK.fullmatch(lock.name) and time.time() - lock.stat().st_mtime > SETTLED:
                _remove_if_dead(lock)


def own_shared_memory() -> list[Path]:
    """This process's segments and their locks."""
    own = []
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # another thread closes it
            lock = file.readlink()
            # Only its owner keeps the file of a lock open.
            if lock.parent == SHARED_MEMORY and SEGMENT_LOCK.fullmatch(lock.name):
                own += [lock.with_name(lock.name.removesuffix("_el")), lock]
    return own


def _remove_if_dead(lock: Path) -> None:
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises OSError while the owner lives
        lock.with_name(lock.name.removesuffix("_el")).unlink(missing_ok=True)
        lock.unlink()
