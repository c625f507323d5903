"""Messages out of a bag, one at a time: rosbag2 (SQLite, MCAP) and rosbag1, without ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from eomt_ros.evaluation.bag import rosbag1
from eomt_ros.evaluation.bag.contents import BagError, Channel, Contents, Recorded, note
from eomt_ros.evaluation.bag.storage import open_files
from eomt_ros.evaluation.bag.types import Types
from eomt_ros.evaluation.counting import counted
from eomt_ros.printable import printable
from eomt_ros.stamps import SECOND

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CDR = "cdr"

YEAR = 365 * 24 * 3600 * SECOND
"""Nanoseconds; a clock whose stamps are below it began with a simulation, or with the machine."""

_Content = TypeVar("_Content")


@dataclass(frozen=True, eq=False)
class Stamped(Generic[_Content]):
    """Something of one moment."""

    stamp: int
    """Nanoseconds, from the message's header, or of the recording where the header has no stamp; 0 is a stamp only if
    the topic counts from a start."""
    content: _Content


class Bag:
    """A bag, open for reading within a `with` block. Its iterators hold little of it each, and may run side by side.

    path: a rosbag2 folder, a single .mcap or .db3 file (packed or not), or a rosbag1 .bag file. Of a damaged or
    unfinished rosbag2 what is there is read, and `problems` says so. Raises `BagError`.
    """

    topics: dict[str, str]
    """The type of every topic, such as `sensor_msgs/msg/Image`; of several types of a topic, the first."""
    problems: list[str]
    """Faults of the bag when it was opened, a sentence each."""
    seconds: float
    """From the first message of the recording to the last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._first_stamps: dict[str, int] = {}

    def __enter__(self) -> Bag:
        self.problems = []
        faults: list[str] = []
        with ExitStack() as resources:
            try:
                self._files = open_files(self.path, resources, self.problems, faults)
            except OSError as error:
                raise BagError(f"{self.path} is not a bag that can be read: {error.strerror or error}") from error
            channels = [channel for file in self._files for channel in file.channels.values()]
            if not channels or (faults and not any(file.counts.total() for file in self._files)):
                reason = "; ".join(faults) or "it has no topics"
                raise BagError(f"{self.path} is not a bag that can be read: {reason}")
            is_ros1 = all(channel.encoding == rosbag1.ENCODING for channel in channels)
            if is_ros1 and not isinstance(self._files[0], rosbag1.Rosbag1File):
                raise BagError(f"{self.path} has messages of ROS 1, not read from MCAP: give the .bag it was made from")
            self._resources = resources.pop_all()
        self._encoding = rosbag1.ENCODING if is_ros1 else CDR
        self._types = Types({each.kind: each.definition for each in channels if each.definition}, ros1=is_ros1)
        self.topics = {channel.topic: self._type(channel) for channel in reversed(channels)}
        self._counts: Counter[str] = Counter()
        for file in self._files:
            for number in self._numbers(file, self.topics):
                self._counts[file.channels[number].topic] += file.counts[number]
        times = [time for file in self._files for time in file.span or ()]
        self.seconds = (max(times) - min(times)) * 1e-9 if times else 0.0
        if faults:
            read = counted(self._counts.total(), "message")
            self.problems.append(f"{self.path.name} is damaged ({'; '.join(faults)}): {read} could be read")
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    @property
    def image_topics(self) -> list[str]:
        """The topics of images, raw or compressed."""
        return sorted(topic for topic, kind in self.topics.items() if kind in IMAGE_TYPES)

    @property
    def listed_images(self) -> str:
        """The same with their numbers of messages, for an error."""
        listed = ", ".join(f"{topic} ({counted(self.count(topic), 'message')})" for topic in self.image_topics)
        return printable(listed) or "no image topics"

    def count(self, topic: str) -> int:
        """The number of messages of a topic, 0 if the bag does not have it."""
        return self._counts[topic]

    def is_older(self, topic: str) -> bool:
        """True if a topic has messages of ours without fields that they have in this version."""
        return self._types.is_older(self.topics[topic])

    def recorded(self, topics: Collection[str]) -> Iterator[Recorded]:
        """The messages of some topics in the order of the recording, still serialized.

        Raises `BagError` where the bag does not have one of them, and at the end where not all could be read.
        """
        for topic in topics:
            if topic not in self.topics:
                raise BagError(
                    f"{self.path} has no topic {topic}; it has {printable(', '.join(sorted(self.topics))) or 'none'}"
                )
        count, faults = 0, list[str]()
        for file in self._files:
            try:
                for number, time, data in file.messages(self._numbers(file, topics), faults):
                    count += 1
                    yield Recorded(file.channels[number].topic, time, data)
            except OSError as error:
                note(faults, str(error))
        expected = sum(self._counts[topic] for topic in set(topics))
        if count != expected:
            reasons = "; ".join(faults) or "the bag's own count is wrong, or it was changed"
            of = f"{count:,} of {counted(expected, 'message')}"
            raise BagError(f"{self.path}: {of} could be read: {reasons}")

    def message(self, recorded: Recorded) -> Stamped[Any]:
        """Deserializes a message. Raises `BagError` where it is damaged."""
        try:
            message = self._types.message(self.topics[recorded.topic], recorded.data)
        except BagError as error:
            raise BagError(f"{self.path}: {recorded.topic}: {error}") from error
        stamp = _stamp(message)
        if stamp is None or (stamp == 0 and not self.counts_from_zero(recorded.topic)):
            stamp = recorded.time
        return Stamped(stamp, message)

    def messages(self, topic: str) -> Iterator[Stamped[Any]]:
        """The messages of a topic, in the order of the recording. Raises `BagError` where there is no such topic."""
        return map(self.message, self.recorded([topic]))

    def counts_from_zero(self, topic: str) -> bool:
        """True if a stamp of 0 is a time, because the stamps of the topic count from a start, as in a simulation."""
        return 0 < self._first_stamp(topic) < YEAR

    def is_unstamped(self, topic: str) -> bool:
        """True if no header of a topic has a stamp, as from a driver that gives none."""
        return not self._first_stamp(topic)

    def expect_images(self, topic: str, option: str) -> None:
        """Raises `BagError` where a topic that the user named by an option has no images."""
        kind = self.topics.get(topic)
        if kind is None:
            fault = f"{self.path} has no such topic"
        elif kind not in IMAGE_TYPES:
            fault = f"{self.path}: {topic} is {kind}, expected one of {', '.join(IMAGE_TYPES)}"
        elif not self.count(topic):
            fault = f"{self.path} has no messages of it"
        else:
            return
        raise BagError(f"{option} {topic}: {fault}; it has {self.listed_images}")

    def _first_stamp(self, topic: str) -> int:
        """The first stamp of a topic that is not 0; 0 where there is none."""
        if topic not in self._first_stamps:
            self._first_stamps[topic] = next(filter(None, self._stamps(topic)), 0)
        return self._first_stamps[topic]

    def _stamps(self, topic: str) -> Iterator[int]:
        """The stamps of a topic, as far as they can be read."""
        for file in self._files:
            with suppress(OSError):
                for _, _, data in file.messages(self._numbers(file, [topic]), []):
                    with suppress(BagError):
                        yield _stamp(self._types.message(self.topics[topic], data)) or 0

    def _numbers(self, file: Contents, topics: Collection[str]) -> list[int]:
        return [
            number
            for number, channel in file.channels.items()
            if channel.topic in topics and self._type(channel) == self.topics[channel.topic]
        ]

    def _type(self, channel: Channel) -> str:
        """The type of a channel; of another encoding than the bag's, a name that no reader asks for."""
        if channel.encoding == self._encoding:
            return channel.kind
        return f"{channel.kind} as {channel.encoding or 'nothing known'}"


def _stamp(message: Any) -> int | None:
    """The header's stamp in nanoseconds; None without a header."""
    header = getattr(message, "header", None)
    return None if header is None else int(header.stamp.sec * SECOND + header.stamp.nanosec)
