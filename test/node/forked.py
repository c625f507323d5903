"""The node's process, forked from one that has loaded torch already: many start in the time of one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["eomt_ros.node.segment_node", "eomt_ros.node.camera", "eomt_ros.node.worker"])


class ForkedNode:
    """A process of `segment_node`, with what `subprocess.Popen` offers of it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        reader, writer = multiprocessing.Pipe(duplex=False)
        self._process = _forks.Process(target=_run, args=(list(command), dict(environment), writer))
        self._process.start()
        writer.close()
        self.pid = self._process.pid or 0
        self.stdout = os.fdopen(os.dup(reader.fileno()))
        reader.close()

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """The exit code, once there is one. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("segment_node", timeout)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it by force."""
        self._process.kill()


def _run(command: Sequence[str], environment: Mapping[str, str], output: Connection) -> None:
    from eomt_ros.node.segment_node import main

    os.environ.update(environment)
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    sys.argv = list(command)
    main()
