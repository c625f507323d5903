"""Images, label images and messages out of a bag, one at a time: rosbag2 (SQLite, MCAP) and rosbag1, without ROS."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.bag.contents import BagError, Recorded
from eomt_ros.evaluation.bag.storage import Storage, open_storage
from eomt_ros.evaluation.frame import LabelImage
from eomt_ros.evaluation.label_image import LabelImageError, decode_labels
from eomt_ros.images import ImageError, decode
from eomt_ros.printable import printable

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")

YEAR = 365 * 24 * 3600 * 10**9
"""ns: stamps below it are of a clock that began with a simulation, or a machine."""

Content = TypeVar("Content")


@dataclass(frozen=True, eq=False)
class Stamped(Generic[Content]):
    """Something of one moment."""

    stamp: int
    """Nanoseconds, from the message's header; of the recording where the header has none, which a 0 is unless the
    topic counts from there."""
    content: Content


class Bag:
    """A bag, open for reading within a `with` block. Its iterators hold little of it each, and may run side by side.

    path: a rosbag2 folder, a single .mcap or .db3 file (packed or not), or a rosbag1 .bag file. Of a damaged or
    unfinished rosbag2 what is there is read, and `problems` says so. Raises `BagError`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        """What was wrong with the bag when it was opened, a sentence each."""
        self.broken_off = False
        """Reading some of its messages ended too early."""
        self._storage: Storage
        self._first_stamps: dict[str, int] = {}

    def __enter__(self) -> Bag:
        self._storage, self.problems = open_storage(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._storage.close()

    @property
    def topics(self) -> dict[str, str]:
        """The type of every topic, such as `sensor_msgs/msg/Image`."""
        return self._storage.topics

    @property
    def image_topics(self) -> list[str]:
        """The topics of images, raw or compressed."""
        return sorted(topic for topic, kind in self.topics.items() if kind in IMAGE_TYPES)

    @property
    def seconds(self) -> float:
        """From the first message of the recording to the last."""
        return self._storage.seconds

    def count(self, topic: str) -> int:
        """The number of messages of a topic, 0 if the bag does not have it."""
        return self._storage.counts.get(topic, 0)

    def recorded(self, topics: Collection[str]) -> Iterator[Recorded]:
        """The messages of some topics in the order of the recording, still serialized.

        Raises `BagError` where the bag does not have one of them, and at the end where not all could be read.
        """
        for topic in topics:
            if topic not in self.topics:
                raise BagError(
                    f"{self.path} has no topic {topic}; it has {printable(', '.join(sorted(self.topics))) or 'none'}"
                )
        try:
            yield from self._storage.messages(topics)
        except BagError as error:
            self.broken_off = True
            raise BagError(f"{self.path}: {error}") from error

    def message(self, recorded: Recorded) -> Stamped[Any]:
        """What `recorded` says. Raises `BagError` where it is damaged."""
        try:
            message = self._storage.deserialize(recorded.topic, recorded.data)
        except BagError as error:
            raise BagError(f"{self.path}: {recorded.topic}: {error}") from error
        stamp = _stamp(message)
        if stamp is None or (stamp == 0 and not self.counts_from_zero(recorded.topic)):
            stamp = recorded.time
        return Stamped(stamp, message)

    def counts_from_zero(self, topic: str) -> bool:
        """Whether a stamp of 0 is one, because those of the topic count from a start, as in a simulation."""
        return 0 < self._first_stamp(topic) < YEAR

    def is_unstamped(self, topic: str) -> bool:
        """Whether all headers of a topic are empty, as from a driver that does not stamp."""
        return not self._first_stamp(topic)

    def _first_stamp(self, topic: str) -> int:
        """The first that is not 0 in the headers of a topic; 0 where there is none."""
        if topic not in self._first_stamps:
            self._first_stamps[topic] = next(filter(None, self._stamps(topic)), 0)
        return self._first_stamps[topic]

    def _stamps(self, topic: str) -> Iterator[int]:
        """Those in the headers of a topic, as far as they can be read."""
        with suppress(BagError):
            for recorded in self._storage.messages([topic]):
                with suppress(BagError):
                    yield _stamp(self._storage.deserialize(topic, recorded.data)) or 0

    def messages(self, topic: str) -> Iterator[Stamped[Any]]:
        """The messages of a topic, in the order of the recording. Raises `BagError` where there is no such topic."""
        return map(self.message, self.recorded([topic]))

    def images(self, topic: str) -> Iterator[Stamped[npt.NDArray[np.uint8]]]:
        """The pictures of an Image or CompressedImage topic, (H, W, 3) uint8 RGB; not to be written to.

        Raises `BagError` where there is no such topic or a picture does not decode.
        """
        self.check_image_topic(topic)
        for message in self.messages(topic):
            try:
                yield Stamped(message.stamp, decode(message.content))
            except ImageError as error:
                raise BagError(f"{self.path}: {topic} at {message.stamp} ns: {error}") from error

    def labels(self, topic: str) -> Iterator[Stamped[LabelImage]]:
        """The label images of an image topic as they are, (H, W) uint8 or uint16; not to be written to.

        Raises `BagError` where there is no such topic or a message is no label image.
        """
        for message in self.messages(topic):
            try:
                yield Stamped(message.stamp, decode_labels(message.content))
            except LabelImageError as error:
                raise BagError(f"{self.path}: {topic} has {error}") from error

    def check_image_topic(self, topic: str) -> None:
        """Raises `BagError` where the bag has a topic, but not of images."""
        kind = self.topics.get(topic, IMAGE_TYPES[0])
        if kind not in IMAGE_TYPES:
            raise BagError(f"{self.path}: {topic} is {kind}, expected one of {', '.join(IMAGE_TYPES)}")


def in_step(*streams: Iterable[Stamped[Any]]) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Goes through streams side by side: the stamps that all of them have, and what they have there.

    Raises `BagError` where a stream's stamps do not ascend.
    """
    ascending = [_ascending(stream) for stream in streams]
    try:
        heads = [next(stream) for stream in ascending]
        while True:
            newest = max(head.stamp for head in heads)
            if all(head.stamp == newest for head in heads):
                yield newest, tuple(head.content for head in heads)
                newest += 1
            heads = [
                head if head.stamp >= newest else next(stream) for head, stream in zip(heads, ascending, strict=True)
            ]
    except StopIteration:
        return


def _ascending(stream: Iterable[Stamped[Any]]) -> Iterator[Stamped[Any]]:
    before: int | None = None
    for item in stream:
        if before is not None and item.stamp <= before:
            raise BagError(f"a message of {item.stamp} ns follows one of {before} ns, expected ascending stamps")
        before = item.stamp
        yield item


def _stamp(message: Any) -> int | None:
    """The header's stamp in nanoseconds; None without a header."""
    header = getattr(message, "header", None)
    return None if header is None else int(header.stamp.sec * 10**9 + header.stamp.nanosec)
