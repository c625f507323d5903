"""A thread that works off a mailbox, and that a process can leave behind when it ends."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any

from eomt_ros.node.mailbox import Mailbox
from eomt_ros.node.presence import Presence


class MailboxThread(ABC):
    """Works until its mailbox is closed."""

    def __init__(self, name: str, mailbox: Mailbox[Any, Any]) -> None:
        self._mailbox = mailbox
        self._presence = Presence()
        # A daemon, because a frame can take longer than a user who pressed Ctrl-C waits.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to take from the mailbox."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more, and wait for what is in work."""
        self._mailbox.close()
        self._thread.join()

    def abandon(self, patience: float) -> None:
        """Publish nothing more, not what is in work either; waits at most `patience` seconds for what goes out."""
        self._mailbox.close()
        self._presence.end(patience)

    @abstractmethod
    def _work(self) -> bool:
        """Take something from the mailbox and process it; False where the mailbox is closed."""

    def _run(self) -> None:
        while self._work():
            pass
        self._presence.leave()
