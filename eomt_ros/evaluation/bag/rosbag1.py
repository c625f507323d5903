"""Bags of ROS 1, read by `rosbags`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from rosbags.rosbag1 import Reader

from eomt_ros.evaluation.bag.contents import BagError, Recorded
from eomt_ros.evaluation.bag.types import Types, one_line
from eomt_ros.evaluation.counting import counted
from eomt_ros.printable import printable


class Rosbag1:
    """A .bag file, see `Storage`. Raises `BagError`, `OSError`."""

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path)
        try:
            self._reader.open()
        except OSError:
            raise
        # Damaged bytes make rosbags raise almost anything, from its own errors to TypeError.
        except Exception as error:
            raise BagError(f"{path} is not a bag that can be read: {one_line(error)}") from error
        self.topics = {
            printable(connection.topic): printable(connection.msgtype) for connection in self._reader.connections
        }
        self.counts: Counter[str] = Counter()
        for connection in self._reader.connections:
            self.counts[printable(connection.topic)] += connection.msgcount
        self.seconds = self._reader.duration * 1e-9 if self._reader.message_count else 0.0
        self._types = Types({printable(each.msgtype): each.msgdef.data for each in self._reader.connections}, ros1=True)

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        """See `Storage`."""
        connections = [connection for connection in self._reader.connections if printable(connection.topic) in topics]
        messages = self._reader.messages(connections) if connections else iter(())
        count = 0
        while True:
            try:
                connection, time, data = next(messages)
            except StopIteration:
                return
            except Exception as error:  # as above
                raise BagError(f"reading ended after {counted(count, 'message')}: {one_line(error)}") from error
            count += 1
            yield Recorded(printable(connection.topic), time, data)

    def deserialize(self, topic: str, data: bytes) -> Any:
        """See `Storage`."""
        return self._types.message(self.topics[topic], data)

    def close(self) -> None:
        """See `Storage`."""
        self._reader.close()
