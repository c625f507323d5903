"""An event that a signal can set, whichever thread of the process the kernel hands it to."""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import suppress


class SignalledEvent:
    """An event that the main thread waits for, and that handlers of signals and other threads set; one in a process.

    Python runs a handler in the main thread only, and one that waits for a lock (`threading.Event`) does not wake for a
    signal that another thread was interrupted by, such as one of the middleware's: the process would not end.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._waiting, self._waking = socket.socketpair()
        self._waking.setblocking(False)
        signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)

    def set(self) -> None:
        """Let `wait` return, now and from now on."""
        self._event.set()
        with suppress(BlockingIOError):  # it wakes already
            self._waking.send(b"\0")

    def wait(self) -> None:
        """Wait until it is set; the handlers of signals run meanwhile."""
        while not self._event.is_set():
            self._waiting.recv(1)
