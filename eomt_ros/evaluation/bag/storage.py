"""The messages of a bag as they were recorded: through `rosbags`, and through `salvage` where the bag is damaged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from eomt_ros.evaluation.bag import salvage
from eomt_ros.evaluation.counting import counted


class BagError(Exception):
    """A bag, or a topic in it, that cannot be read; the message says which and why."""


class Recorded(NamedTuple):
    """A message as it was recorded."""

    topic: str
    time: int
    """Of the recording, in nanoseconds."""
    data: bytes


class Storage(Protocol):
    """The files of a bag, open."""

    topics: dict[str, str]
    """The type of every topic, such as `sensor_msgs/msg/Image`."""
    counts: dict[str, int]
    """How many messages every topic has."""
    seconds: float
    """From the first message to the last."""

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        """The messages of some topics; raises `BagError` where reading them ends too early."""
        ...

    def deserialize(self, topic: str, data: bytes) -> Any:
        """The message in `data`; raises `BagError` where it has none."""
        ...

    def close(self) -> None:
        """Closes the files."""
        ...


def open_storage(path: Path) -> tuple[Storage, list[str]]:
    """Opens a rosbag2 folder (with its metadata.yaml or without), a .mcap, a .db3 or a rosbag1 .bag file.

    Returns it, and what is wrong with it, a sentence each. Raises `BagError` where nothing can be read.
    """
    problems = []
    paths = [path]
    if path.is_dir() and not (path / "metadata.yaml").exists():
        paths = _files(path)
        problems.append(f"{path.name} has no metadata.yaml, as a recording has that was not ended; it was read without")
    logs = [file for file in _files(path) if salvage.unmerged_log(file)]
    if logs:
        reason = f"{logs[0].name} was not closed by what recorded it"
    else:
        try:
            return _Rosbags(paths), problems
        except OSError as error:
            raise BagError(f"{path} is not a bag that can be read: {error}") from error
        # Damaged bytes make rosbags raise almost anything, from its own errors to TypeError.
        except Exception as error:
            reason = _one_line(error)
    try:
        salvaged = _Salvage(_files(path))
    except OSError as error:
        raise BagError(f"{path} is not a bag that can be read: {error}") from error
    if not salvaged.counts:
        raise BagError(f"{path} is not a bag that can be read: {'; '.join(salvaged.faults) or reason}")
    count = sum(salvaged.counts.values())
    problems.append(
        f"{path.name} is damaged ({'; '.join(salvaged.faults) or reason}): {counted(count, 'message')} could be read"
    )
    return salvaged, problems


def is_bag(path: Path) -> bool:
    """Whether a path is a bag by its looks."""
    return path.suffix == ".bag" or (path / "metadata.yaml").exists() or bool(_files(path))


def _files(path: Path) -> list[Path]:
    """The storage files of a rosbag2, in the order of their numbers."""
    children = path.iterdir() if path.is_dir() else [path]
    return sorted((child for child in children if child.suffix in salvage.READERS), key=_by_number)


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sorts bag_10 after bag_9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


class _Rosbags:
    def __init__(self, paths: Sequence[Path]) -> None:
        # The definitions of Humble, which are those of later distributions too, for bags that carry none.
        self._reader = AnyReader(paths, default_typestore=get_typestore(Stores.ROS2_HUMBLE))
        self._reader.open()
        self.topics = {connection.topic: connection.msgtype for connection in self._reader.connections}
        counts: Counter[str] = Counter()
        for connection in self._reader.connections:
            counts[connection.topic] += connection.msgcount
        self.counts: dict[str, int] = counts
        self.seconds = self._reader.duration * 1e-9 if self._reader.message_count else 0.0

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        connections = [connection for connection in self._reader.connections if connection.topic in topics]
        messages = self._reader.messages(connections) if connections else iter(())
        count = 0
        while True:
            try:
                connection, time, data = next(messages)
            except StopIteration:
                return
            # As above: damage in the middle of a bag shows here.
            except Exception as error:
                raise BagError(f"reading ended after {counted(count, 'message')}: {_one_line(error)}") from error
            count += 1
            yield Recorded(connection.topic, time, data)

    def deserialize(self, topic: str, data: bytes) -> Any:
        try:
            return self._reader.deserialize(data, self.topics[topic])
        except Exception as error:
            raise BagError(f"a message of {len(data)} bytes is damaged: {_one_line(error)}") from error

    def close(self) -> None:
        self._reader.close()


class _Salvage:
    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._types = get_typestore(Stores.ROS2_HUMBLE)
        self.faults: list[str] = []
        self.topics: dict[str, str] = {}
        counts: Counter[str] = Counter()
        first, last = None, 0
        for file in files:
            for message in salvage.messages(file, self.faults):
                self.topics[message.topic] = message.kind
                counts[message.topic] += 1
                first = message.recorded if first is None else min(first, message.recorded)
                last = max(last, message.recorded)
        self.counts: dict[str, int] = counts
        self.seconds = 0.0 if first is None else (last - first) * 1e-9

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        for file in self._files:
            for message in salvage.messages(file, []):
                if message.topic in topics:
                    yield Recorded(message.topic, message.recorded, bytes(message.data))

    def deserialize(self, topic: str, data: bytes) -> Any:
        try:
            return self._types.deserialize_cdr(data, self.topics[topic])
        except Exception as error:
            raise BagError(f"a message of {len(data)} bytes is damaged: {_one_line(error)}") from error

    def close(self) -> None:
        """Nothing is open between two messages."""


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
