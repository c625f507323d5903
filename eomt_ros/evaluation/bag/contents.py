"""What the files of a rosbag2 hold, whatever their format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import NamedTuple, Protocol

from eomt_ros.printable import printable

LARGEST = 1 << 29
"""Bytes of a message, or of a chunk of them: a length above it is garbage, or made to fill the memory."""
MOST_FAULTS = 3
"""Sentences about one bag: of a bad disk every chunk may be damaged."""


class BagError(Exception):
    """A bag, or a topic in it, that cannot be read; the message says which and why."""


class DamageError(Exception):
    """A part of a file that is not what its format says; the message says where."""


class Recorded(NamedTuple):
    """A message as it was recorded."""

    topic: str
    time: int
    """Of the recording, in nanoseconds."""
    data: bytes


class Channel(NamedTuple):
    """Messages of one type on one topic."""

    topic: str
    kind: str
    """Such as `sensor_msgs/msg/Image`."""
    encoding: str
    """`cdr` for what ROS 2 understands."""
    definition: str
    """Of the type, as .msg files; empty where the file has none."""


class Contents(Protocol):
    """A file that was looked through, and can be read any number of times, side by side too."""

    channels: dict[int, Channel]
    counts: Counter[int]
    """How many messages every channel has, as far as they can be read."""
    span: tuple[int, int] | None
    """The times of the first and the last message, in nanoseconds; None without any."""
    faults: list[str]
    """What is wrong with the file, a sentence each."""

    def messages(self, channels: Collection[int], faults: list[str]) -> Iterator[tuple[int, int, bytes]]:
        """The messages of some channels in the order of their times: channel, time, content.

        What is damaged is left out and said in `faults`, at the end at the latest. Raises `OSError`.
        """
        ...


def note(faults: list[str], fault: str) -> None:
    """Adds a sentence if there are not enough of them."""
    if len(faults) < MOST_FAULTS:
        faults.append(printable(fault))
