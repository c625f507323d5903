"""A bag of predictions: the node's topics, written from its messages or straight from the engine's results."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import numpy.typing as npt
from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from eomt_ros.engine.shipped import shipped

COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
JPEG_QUALITY = 85


def typestore() -> Typestore:
    """The message types of ROS 2 and our own."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for path in sorted(shipped("interfaces", "msg").glob("*.msg")):
        store.register(get_types_from_msg(path.read_text(encoding="utf-8"), f"eomt_ros/msg/{path.stem}"))
    return store


class OutputBag:
    """A new MCAP bag at `path`, whole at the end of the `with` block."""

    def __init__(self, path: Path) -> None:
        self._store = typestore()
        # Version 8 is the newest whose metadata Humble still reads.
        self._writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> OutputBag:
        self._writer.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def write(self, topic: str, kind: str, stamp: int, data: bytes) -> None:
        """Adds a message as it came, in CDR.

        stamp: nanoseconds, of the message's header: the bag lies on the time line of the one that was played.
        """
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=self._store)
        self._writer.write(self._connections[topic], stamp, data)

    def write_picture(self, topic: str, stamp: int, frame_id: str, picture: npt.NDArray[np.uint8]) -> None:
        """Adds a picture, (H, W, 3) uint8 RGB, as a JPEG."""
        done, jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not done:
            raise RuntimeError(f"OpenCV could not encode a picture of shape {picture.shape}")
        types = self._store.types
        time = types["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9))
        header = types["std_msgs/msg/Header"](time, frame_id)
        message = types[COMPRESSED_IMAGE](header, "rgb8; jpeg compressed bgr8", jpeg)
        self.write(topic, COMPRESSED_IMAGE, stamp, bytes(self._store.serialize_cdr(message, COMPRESSED_IMAGE)))
