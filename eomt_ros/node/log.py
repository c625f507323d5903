"""The node's log: messages that repeat with every frame are thinned out, records of the engine are passed on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from eomt_ros.printable import printable

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger

LONGEST_RECORD = 1000  # characters of a record of the engine
AT_ONCE = 10  # messages of a kind that are logged as they come
PERIOD = 10.0  # s, in which one more may be logged


class _Kind(NamedTuple):
    allowed: float
    since: float
    untold: int


class SparingLog:
    """Logs the first messages of a kind, then one in `PERIOD` with the number of those left out; for one thread.

    clock: seconds.
    """

    def __init__(self, logger: RcutilsLogger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def warning(self, kind: str, message: str) -> None:
        """Log a warning, if it is due; kind: one of a few that the program knows, never a text from the network."""
        if (told := self._due(kind, message)) is not None:
            self._logger.warning(told)

    def error(self, kind: str, message: str) -> None:
        """Log an error, if it is due; kind: see `warning`."""
        if (told := self._due(kind, message)) is not None:
            self._logger.error(told)

    def _due(self, kind: str, message: str) -> str | None:
        now = self._clock()
        last = self._kinds.get(kind, _Kind(AT_ONCE, now, 0))
        allowed = min(AT_ONCE, last.allowed + (now - last.since) / PERIOD)
        if allowed < 1:
            self._kinds[kind] = _Kind(allowed, now, last.untold + 1)
            return None
        self._kinds[kind] = _Kind(allowed - 1, now, 0)
        return f"{message} (and {last.untold:,} more of this kind, not told)" if last.untold else message


class RosLogHandler(logging.Handler):
    """Passes the engine's log on to the node's."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record; rclpy insists on one severity per line of code."""
        message = printable(record.getMessage(), LONGEST_RECORD)
        if record.levelno >= logging.ERROR:
            self._logger.error(message)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(message)
        else:
            self._logger.info(message)
