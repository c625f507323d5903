"""The ROS 2 domains of the tests: each process of a run has its own, `pytest -n` runs several side by side."""

from __future__ import annotations

import os

PER_PROCESS = 3
HIGHEST = 101
"""Domains above it collide with the ports that Linux hands out to programs."""


def domain(number: int) -> str:
    """One of this process's, as ROS_DOMAIN_ID. number: 0 to `PER_PROCESS` - 1."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")  # gw0, gw1, ..., children of the process that runs the tests
    run = os.getpid() if worker is None else os.getppid()
    place = 0 if worker is None else int(worker.removeprefix("gw"))
    return str(1 + (run + PER_PROCESS * place + number) % HIGHEST)
