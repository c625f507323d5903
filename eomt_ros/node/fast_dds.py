"""Fast DDS, the usual middleware, loses large images unless it is told to make room for them."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Of Fast DDS 3, and of those before it."""


def profile_variables(profile: Path) -> dict[str, str]:
    """Environment variables that make `profile` (config/fastdds.xml) hold; none where the user has one of their own."""
    if any(name in os.environ for name in VARIABLES):
        return {}
    before_fast_dds_3 = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    return {VARIABLES[before_fast_dds_3]: str(profile)}
