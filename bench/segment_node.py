"""The node as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import randint

from eomt_ros.node.fast_dds import VARIABLES, profile_variables

ROOT = Path(__file__).parent.parent
PROFILE = ROOT / "config" / "fastdds.xml"
PATIENCE = 60.0
"""Seconds that it gets to end."""


def isolated() -> dict[str, str]:
    """Environment variables that keep topics to this machine and away from other programs."""
    return {**os.environ, "ROS_DOMAIN_ID": str(randint(1, 100)), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


def isolated_with(*, profile: bool) -> dict[str, str]:
    """The same, with the Fast DDS profile that ships with the package or without any."""
    environment = {name: value for name, value in isolated().items() if name not in VARIABLES}
    return {**environment, **profile_variables(PROFILE)} if profile else environment


@contextmanager
def segment_node(environment: dict[str, str], namespace: str = "/", **parameters: str) -> Iterator[int]:
    """Runs the node with some parameters; gives its process id. Raises `RuntimeError` if it ended by itself."""
    command = [sys.executable, "-m", "eomt_ros.node.segment_node", "--ros-args", "-r", f"__ns:={namespace}"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            yield process.pid
        finally:
            ended = process.poll() is not None
            if not ended:
                process.send_signal(signal.SIGINT)
                process.wait(PATIENCE)
            log.seek(0)
            if ended or process.returncode:
                raise RuntimeError(f"the node ended with {process.returncode} and said:\n{log.read()}")
