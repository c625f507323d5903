"""Bags of ROS 1, read by `rosbags`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from rosbags.rosbag1 import Reader

from eomt_ros.evaluation.bag.contents import Channel, DamageError, note
from eomt_ros.evaluation.bag.types import one_line
from eomt_ros.printable import printable

ENCODING = "ros1"
"""The encoding of its messages."""


class Rosbag1File:
    """A .bag file, see `Contents`; open until it is closed. Raises `DamageError` where it is none, `OSError`."""

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path)
        try:
            self._reader.open()
        except OSError:
            raise
        # Damaged bytes make rosbags raise almost anything, from its own errors to TypeError.
        except Exception as error:
            raise DamageError(one_line(error)) from error
        self.close = self._reader.close
        self._connections = {connection.id: connection for connection in self._reader.connections}
        self.channels = {
            number: Channel(printable(each.topic), printable(each.msgtype), ENCODING, each.msgdef.data)
            for number, each in self._connections.items()
        }
        self.counts = Counter({number: each.msgcount for number, each in self._connections.items()})
        self.span = (self._reader.start_time, self._reader.end_time) if self.counts.total() else None

    def messages(self, channels: Collection[int], faults: list[str]) -> Iterator[tuple[int, int, bytes]]:
        """See `Contents`."""
        connections = [self._connections[number] for number in channels]
        messages = self._reader.messages(connections) if connections else iter(())
        try:
            for connection, time, data in messages:
                yield connection.id, time, data
        except OSError:
            raise
        except Exception as error:  # as above
            note(faults, one_line(error))
