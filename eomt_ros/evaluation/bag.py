"""Images, label images and messages out of a bag, one at a time: rosbag2 (SQLite, MCAP) and rosbag1, without ROS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_typestore

from eomt_ros.node.images import ImageError, decode

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
LABEL_TYPES = {"mono8": np.uint8, "8UC1": np.uint8, "mono16": np.uint16, "16UC1": np.uint16}

Content = TypeVar("Content")


class BagError(Exception):
    """A bag, or a topic in it, that cannot be read; the message says which and why."""


@dataclass(frozen=True, eq=False)
class Stamped(Generic[Content]):
    """Something of one moment."""

    stamp: int
    """Nanoseconds, from the message's header; of the recording where the header has none."""
    content: Content


class Bag:
    """A bag, open for reading within a `with` block. Its iterators hold one message each, and may run side by side.

    path: a rosbag2 folder, a single .mcap or .db3 file, or a rosbag1 .bag file. Raises `BagError`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # The definitions of Humble, which are those of later distributions too, for bags that carry none.
            self._reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE))
        except (OSError, AnyReaderError) as error:
            raise BagError(f"{path} is not a bag that can be read: {error}") from error

    def __enter__(self) -> Bag:
        try:
            self._reader.open()
        except (OSError, AnyReaderError) as error:
            raise BagError(f"{self.path} is not a bag that can be read: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    @property
    def topics(self) -> dict[str, str]:
        """The type of every topic, such as `sensor_msgs/msg/Image`."""
        return {connection.topic: connection.msgtype for connection in self._reader.connections}

    @property
    def image_topics(self) -> list[str]:
        """The topics of images, raw or compressed."""
        return sorted(topic for topic, kind in self.topics.items() if kind in IMAGE_TYPES)

    def count(self, topic: str) -> int:
        """The number of messages of a topic, 0 if the bag does not have it."""
        return sum(connection.msgcount for connection in self._reader.connections if connection.topic == topic)

    def messages(self, topic: str) -> Iterator[Stamped[Any]]:
        """The messages of a topic, in the order of the recording. Raises `BagError` where there is no such topic."""
        connections = [connection for connection in self._reader.connections if connection.topic == topic]
        if not connections:
            raise BagError(f"{self.path} has no topic {topic}; it has {', '.join(sorted(self.topics)) or 'none'}")
        try:
            for connection, recorded, data in self._reader.messages(connections):
                message: Any = self._reader.deserialize(data, connection.msgtype)
                yield Stamped(_stamp(message) or recorded, message)
        except AnyReaderError as error:
            raise BagError(f"{self.path}: {topic} cannot be read: {error}") from error

    def images(self, topic: str) -> Iterator[Stamped[npt.NDArray[np.uint8]]]:
        """The pictures of an Image or CompressedImage topic, (H, W, 3) uint8 RGB; not to be written to.

        Raises `BagError` where there is no such topic or a picture does not decode.
        """
        kind = self.topics.get(topic, IMAGE_TYPES[0])
        if kind not in IMAGE_TYPES:
            raise BagError(f"{self.path}: {topic} is {kind}, expected one of {', '.join(IMAGE_TYPES)}")
        for message in self.messages(topic):
            try:
                yield Stamped(message.stamp, decode(message.content))
            except ImageError as error:
                raise BagError(f"{self.path}: {topic} at {message.stamp} ns: {error}") from error

    def labels(self, topic: str) -> Iterator[Stamped[npt.NDArray[Any]]]:
        """The label images of an Image topic as they are, (H, W) uint8 or uint16; not to be written to.

        Raises `BagError` where there is no such topic or an image is of another encoding than `LABEL_TYPES`.
        """
        for message in self.messages(topic):
            yield Stamped(message.stamp, self._label_image(topic, message.content))

    def _label_image(self, topic: str, message: Any) -> npt.NDArray[Any]:
        encoding = getattr(message, "encoding", type(message).__name__)
        if encoding not in LABEL_TYPES:
            expected = ", ".join(LABEL_TYPES)
            raise BagError(f"{self.path}: {topic} has encoding {encoding}, expected a label image: {expected}")
        dtype = np.dtype(LABEL_TYPES[encoding]).newbyteorder(">" if message.is_bigendian else "<")
        height, width, step = message.height, message.width, message.step
        if step < width * dtype.itemsize or len(message.data) != height * step:
            raise BagError(
                f"{self.path}: {topic} has a {width}x{height} {encoding} image with step {step} "
                f"and {len(message.data)} bytes, which do not fit together"
            )
        strides = (step, dtype.itemsize)
        return np.ndarray((height, width), dtype, buffer=message.data, strides=strides).astype(LABEL_TYPES[encoding])


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


def _stamp(message: Any) -> int:
    """The header's stamp in nanoseconds; 0 without a header, and from a driver that does not stamp."""
    header = getattr(message, "header", None)
    return 0 if header is None else header.stamp.sec * 10**9 + header.stamp.nanosec
