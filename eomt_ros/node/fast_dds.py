"""Fast DDS, the usual middleware: it loses large images unless it is told to make room for them in shared memory, and
a process that is killed leaves its share of that behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

PATIENCE = 20.0  # s for a tool that takes a fifth of one

VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Of Fast DDS 3, and of those before it."""


def profile_variables(profile: Path) -> dict[str, str]:
    """Environment variables that make `profile` (config/fastdds.xml) hold; none where the user has one of their own."""
    if any(name in os.environ for name in VARIABLES):
        return {}
    before_fast_dds_3 = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    return {VARIABLES[before_fast_dds_3]: str(profile)}


def free_shared_memory_of_the_dead() -> None:
    """Remove what processes that were killed left in shared memory, which would be full one day.

    By Fast DDS's own tool, where it is installed: locks tell it which owner is gone, and it knows its version's names.
    """
    if (tool := shutil.which("fastdds")) is None:
        return
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run([tool, "shm", "clean"], capture_output=True, check=False, timeout=PATIENCE)
