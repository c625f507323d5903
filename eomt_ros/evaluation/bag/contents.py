"""The content of one file of a bag, whatever its format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import NamedTuple, Protocol

from eomt_ros.evaluation.errors import SourceError
from eomt_ros.printable import printable

LARGEST_MESSAGE = 1 << 29
"""Bytes of a message, or of a chunk of them: a length above it is garbage, or made to fill the memory."""
MOST_FAULTS = 3
"""Most sentences about one bag: on a bad disk every chunk may be damaged."""


class BagError(SourceError):
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
    """Messages of every channel, as far as they can be read."""
    span: tuple[int, int] | None
    """Times of the first and the last message, in nanoseconds; None without any."""

    def messages(self, channels: Collection[int], faults: list[str]) -> Iterator[tuple[int, int, bytes]]:
        """The messages of some channels in the order of their times: channel, time, content.

        Leaves out what is damaged, and says so in `faults`, at the end at the latest. Raises `OSError`.
        """
        ...


def note(faults: list[str], fault: str) -> None:
    """Adds a sentence, up to `MOST_FAULTS` of them."""
    if len(faults) < MOST_FAULTS:
        faults.append(printable(fault))
