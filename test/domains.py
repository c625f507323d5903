"""The ROS 2 domains of the tests: each process of a run has its own, `pytest -n` runs several side by side."""

from __future__ import annotations

import os
from enum import IntEnum

HIGHEST = 101
"""Domains above it collide with the ports that Linux hands out to programs."""


class Of(IntEnum):
    """Whose domain it is; the numbers of a process's."""

    ITSELF = 0
    NODES = 1
    REPLAYS = 2


def domain(of: Of) -> str:
    """One of this process's, as ROS_DOMAIN_ID."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")  # gw0, gw1, ..., children of the process that runs the tests
    run = os.getpid() if worker is None else os.getppid()
    place = 0 if worker is None else int(worker.removeprefix("gw"))
    return str(1 + (run + len(Of) * place + of) % HIGHEST)
