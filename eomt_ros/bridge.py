"""The cv_bridge that is installed here, if it works."""

from __future__ import annotations

import functools
import importlib.util
import logging
import signal
import subprocess
import sys
from typing import Any

import numpy as np

_log = logging.getLogger(__name__)

_TRIAL_TIMEOUT = 30.0  # s
_TRIAL = """
import sys
from cv_bridge import CvBridge
from sensor_msgs.msg import Image
for encoding in sys.argv[1:]:
    CvBridge().imgmsg_to_cv2(Image(height=4, width=4, step=32, encoding=encoding, data=bytes(128)), "rgb8")
"""


@functools.cache
def working_cv_bridge(encodings: tuple[str, ...]) -> Any:
    """The installed `cv_bridge.CvBridge()`, or None where there is none that converts all these encodings to rgb8."""
    if importlib.util.find_spec("cv_bridge") is None:
        return None
    fault = _fault(encodings)
    if fault is not None:
        _log.warning("cv_bridge is installed but does not work (%s); images are converted through OpenCV", fault)
        return None
    from cv_bridge import CvBridge

    return CvBridge()


def _fault(encodings: tuple[str, ...]) -> str | None:
    """The fault that shows when every conversion is tried in a process of its own; None where all work.

    Built for NumPy 1 it imports under NumPy 2 with a mere complaint, and its first conversion takes the process down.
    """
    command = [sys.executable, "-c", _TRIAL, *encodings]
    try:
        trial = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TRIAL_TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"no answer within {_TRIAL_TIMEOUT:.0f} s"
    if trial.returncode < 0:
        return (
            f"{signal.Signals(-trial.returncode).name}: it was probably built for another NumPy than {np.__version__}"
        )
    return trial.stderr.strip().splitlines()[-1] if trial.returncode else None
