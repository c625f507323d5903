"""A bag of predictions: the node's topics, written from its messages or straight from the engine's results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from eomt_ros.engine import FrameResult
from eomt_ros.engine.results import Segment
from eomt_ros.evaluation.bag.types import typestore

NODE = "/segment"


class ResultTopics(NamedTuple):
    """The topics of the node's results."""

    semantic: str
    panoptic: str
    instances: str

    @classmethod
    def of_camera(cls, name: str = "") -> ResultTopics:
        """Those of one of several cameras; of the only camera where it has no name."""
        space = f"{NODE}/{name}" if name else NODE
        return cls(f"{space}/semantic", f"{space}/panoptic", f"{space}/instances")


SEMANTIC, PANOPTIC, INSTANCES = ResultTopics.of_camera()

IMAGE = "sensor_msgs/msg/Image"
INSTANCE_ARRAY = "eomt_ros/msg/InstanceArray"


class OutputBag:
    """A new MCAP bag at `path`, whole at the end of the `with` block; readable to where a write failed.

    Raises `OSError` where something is there.
    """

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise FileExistsError(f"{path} is there already")
        self._store = typestore()
        # Version 8 is the newest whose metadata Humble still reads.
        self._writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._connections: dict[str, Connection] = {}
        self._recorded: dict[str, int] = {}
        self._shift: dict[str, int] = {}
        self._failed = False

    def __enter__(self) -> OutputBag:
        self._writer.open()
        return self

    def __exit__(self, *_: object) -> None:
        if self._failed:
            self._writer.abort()
        else:
            self._writer.close()

    def write(self, topic: str, kind: str, stamp: int, data: bytes) -> None:
        """Adds a message as it came, in CDR.

        stamp: nanoseconds, of the message's header: the bag lies on the time line of the one that was played. Where
        stamps jump back, the times of the recording go on, because readers go by them.
        Raises `OSError`.
        """
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=self._store)
        recorded = stamp + self._shift.get(topic, 0)
        if (last := self._recorded.get(topic, recorded)) > recorded:
            self._shift[topic] = last + 1 - stamp
            recorded = last + 1
        self._recorded[topic] = recorded
        try:
            self._writer.write(self._connections[topic], recorded, data)
        except OSError:
            self._failed = True
            raise

    def write_found(
        self, found: FrameResult, stamp: int, *, sequence: int, task: str, model: str, identity: str, camera: str = ""
    ) -> None:
        """Adds the prediction for a frame, as the node publishes it; the header has no frame id.

        stamp: of the frame, in nanoseconds. sequence: the frame's number among those with a result. camera: name of one
        of several.
        """
        topics = ResultTopics.of_camera(camera)
        header = self._header(stamp, "")
        encoding = "mono8" if found.semantic.dtype == np.uint8 else "16UC1"
        self._write_message(topics.semantic, stamp, self._image(header, found.semantic, encoding))
        self._write_message(topics.panoptic, stamp, self._image(header, found.panoptic, "16UC1"))
        height, width = found.semantic.shape
        array = self._store.types[INSTANCE_ARRAY](
            header=header,
            epoch=found.epoch,
            sequence=sequence,
            dropped=0,
            task=task,
            model=model,
            identity=identity,
            height=height,
            width=width,
            instances=[self._instance(segment) for segment in found.segments],
        )
        self._write_message(topics.instances, stamp, array)

    def _write_message(self, topic: str, stamp: int, message: Any) -> None:
        kind = message.__msgtype__
        self.write(topic, kind, stamp, bytes(self._store.serialize_cdr(message, kind)))

    def _header(self, stamp: int, frame_id: str) -> Any:
        time = self._store.types["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9))
        return self._store.types["std_msgs/msg/Header"](time, frame_id)

    def _image(self, header: Any, pixels: npt.NDArray[Any], encoding: str) -> Any:
        height, width = pixels.shape
        data = np.ascontiguousarray(pixels).view(np.uint8).ravel()
        big_endian = int(sys.byteorder == "big")
        return self._store.types[IMAGE](
            header, height, width, encoding, big_endian, width * pixels.dtype.itemsize, data
        )

    def _instance(self, segment: Segment) -> Any:
        x, y, width, height = segment.box
        box = self._store.types["sensor_msgs/msg/RegionOfInterest"](x, y, height, width, False)
        return self._store.types["eomt_ros/msg/Instance"](
            id=segment.id,
            class_id=segment.class_id,
            class_name=segment.class_name,
            is_thing=segment.is_thing,
            score=segment.score,
            area=segment.area,
            box=box,
            age=segment.age,
            mask_rle=np.array(segment.mask or (), np.uint32),
            returned=segment.returned,
            embedding=np.empty(0, np.float32),
        )
