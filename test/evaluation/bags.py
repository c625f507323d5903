"""Small real bags with images and ground truth, written by rosbags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from eomt_ros.evaluation.bag import Bag, Stamped
from eomt_ros.evaluation.bag.types import typestore
from eomt_ros.evaluation.label_image import decode_labels
from eomt_ros.images import decode
from test import ROOT

STORE = typestore()
START = 1_700_000_000 * 10**9
"""Stamp of the first frame, in nanoseconds."""
PERIOD = 10**8
FRAMES = 8
"""Of the bag that tests share."""

IMAGES = "/camera/image/compressed"
SEMANTIC = "/ground_truth/semantic"
PANOPTIC = "/ground_truth/panoptic"
INSTANCES = "eomt_ros/msg/InstanceArray"


def stamp(number: int) -> int:
    """The stamp of a frame, in nanoseconds."""
    return START + number * PERIOD


def header(nanoseconds: int, frame_id: str = "camera") -> Any:
    """A header with that stamp."""
    time = STORE.types["builtin_interfaces/msg/Time"](*divmod(nanoseconds, 10**9))
    return STORE.types["std_msgs/msg/Header"](time, frame_id)


def image(
    nanoseconds: int, pixels: npt.NDArray[Any], encoding: str, *, padding: int = 0, big_endian: bool = False
) -> Any:
    """An Image message of (H, W) or (H, W, C) pixels, with `padding` bytes of garbage after each row."""
    height, width = pixels.shape[:2]
    ordered = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<"))
    rows = np.frombuffer(ordered.tobytes(), np.uint8).reshape(height, -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xA5)
    kind = STORE.types["sensor_msgs/msg/Image"]
    return kind(header(nanoseconds), height, width, encoding, int(big_endian), padded.shape[1], padded.ravel())


def compressed(nanoseconds: int, rgb: npt.NDArray[np.uint8], extension: str = ".png") -> Any:
    """A CompressedImage message of an (H, W, 3) picture."""
    _, data = cv2.imencode(extension, rgb[..., ::-1])
    return STORE.types["sensor_msgs/msg/CompressedImage"](header(nanoseconds), extension[1:], data)


def write_bag(
    path: Path, messages: Iterable[tuple[str, int, Any]], storage: StoragePlugin = StoragePlugin.MCAP
) -> Path:
    """Writes messages, as (topic, time of recording in nanoseconds, message), as a new bag."""
    with Writer(path, version=8, storage_plugin=storage) as writer:
        connections: dict[str, Any] = {}
        for topic, recorded, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
            writer.write(connections[topic], recorded, STORE.serialize_cdr(message, message.__msgtype__))
    return path


def scene(number: int, height: int = 48, width: int = 64) -> tuple[npt.NDArray[np.uint8], ...]:
    """A frame of soft noise with a square that moves to the right: picture, class image, instance image (uint16)."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    picture = np.kron(noise, np.ones((8, 8, 1), np.uint8))
    classes, instances = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint16)
    left = 2 * number % (width - 16)
    square = np.s_[16:32, left : left + 16]
    picture[square], classes[square], instances[square] = (255, 40, 40), 3, 1
    return picture, classes, instances


def write_scene(path: Path, frames: int, storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    """Writes a bag of `scene` with its ground truth."""

    def messages() -> Iterable[tuple[str, int, Any]]:
        for number in range(frames):
            picture, classes, instances = scene(number)
            yield IMAGES, stamp(number), compressed(stamp(number), picture)
            yield SEMANTIC, stamp(number), image(stamp(number), classes, "mono8")
            yield PANOPTIC, stamp(number), image(stamp(number), instances, "16UC1")

    return write_bag(path, messages(), storage)


def write_beginning(path: Path, source: Path, frames: int) -> Path:
    """Writes the first messages of every topic of a bag, so many."""
    with Bag(source) as bag:
        messages = [
            (topic, message.stamp, message.content)
            for topic in bag.topics
            for message in islice(bag.messages(topic), frames)
        ]
    return write_bag(path, sorted(messages, key=lambda message: message[1]))


def older_store(*without: str) -> Typestore:
    """The message types of an older version, whose own messages have no fields of those names."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for path in sorted((ROOT / "msg").glob("*.msg")):
        lines = [line for line in path.read_text().splitlines() if line.split(" ")[-1] not in without]
        store.register(get_types_from_msg("\n".join(lines), f"eomt_ros/msg/{path.stem}"))
    return store


def write_older(path: Path, store: Typestore, instances: int, storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    """Writes two InstanceArray by the types of `store`, with so many instances of ids 7, 8, ... and ages 70, 80, ..."""
    box = store.types["sensor_msgs/msg/RegionOfInterest"](1, 2, 3, 4, False)
    known = {"class_id": 3, "class_name": "box", "is_thing": True, "score": 0.5, "area": 12, "box": box}
    own = store.types["eomt_ros/msg/Instance"]
    found = [own(**known, id=id, age=10 * id, mask_rle=np.empty(0, np.uint32)) for id in range(7, 7 + instances)]
    top = {"epoch": 0, "dropped": 0, "task": "panoptic", "model": "demo", "height": 48, "width": 64}
    if "identity" in store.types[INSTANCES].__dataclass_fields__:
        top["identity"] = "query"
    with Writer(path, version=8, storage_plugin=storage) as writer:
        connection = writer.add_connection("/segment/instances", INSTANCES, typestore=store)
        for number in range(2):
            time = store.types["builtin_interfaces/msg/Time"](*divmod(stamp(number), 10**9))
            head = store.types["std_msgs/msg/Header"](time, "camera")
            message = store.types[INSTANCES](header=head, sequence=number, instances=found, **top)
            writer.write(connection, stamp(number), store.serialize_cdr(message, INSTANCES))
    return path


def rig_topic(camera: str) -> str:
    """The topic of a camera's images in `write_rig`."""
    return f"/{camera}/image/compressed"


def rig_scene(camera: str, number: int) -> tuple[npt.NDArray[np.uint8], ...]:
    """What a camera of `write_rig` sees: `front` a `scene`, every other camera its mirror image."""
    pixels = scene(number)
    return pixels if camera == "front" else tuple(np.ascontiguousarray(each[:, ::-1]) for each in pixels)


def write_rig(path: Path, frames: Mapping[str, int], truth_topic: str = "/{camera}/ground_truth/{what}") -> Path:
    """Writes a bag of several cameras that trigger together, with their ground truth. frames: of each camera."""

    def messages() -> Iterable[tuple[str, int, Any]]:
        for number in range(max(frames.values())):
            for camera in (camera for camera, count in frames.items() if number < count):
                picture, classes, instances = rig_scene(camera, number)
                yield rig_topic(camera), stamp(number), compressed(stamp(number), picture)
                for what, labels, encoding in (("semantic", classes, "mono8"), ("panoptic", instances, "16UC1")):
                    topic = truth_topic.format(camera=camera, what=what)
                    yield topic, stamp(number), image(stamp(number), labels, encoding)

    return write_bag(path, messages())


def images(bag: Bag, topic: str) -> Iterator[Stamped[npt.NDArray[np.uint8]]]:
    """The pictures of a topic, (H, W, 3) RGB."""
    return (Stamped(message.stamp, decode(message.content)) for message in bag.messages(topic))


def labels(bag: Bag, topic: str) -> Iterator[Stamped[npt.NDArray[Any]]]:
    """The label images of a topic, (H, W)."""
    return (Stamped(message.stamp, decode_labels(message.content)) for message in bag.messages(topic))


def damage(path: Path) -> None:
    """Overwrites a chunk in the middle of an MCAP bag; the index at its end stays."""
    (file,) = path.glob("*.mcap")
    data = bytearray(file.read_bytes())
    chunks, at = [], 8
    while data[at] != 0x0F:
        length = int.from_bytes(data[at + 1 : at + 9], "little")
        if data[at] == 0x06:
            chunks.append((at + 9, at + 9 + length))
        at += 9 + length
    start, end = chunks[len(chunks) // 2]
    data[start + 40 : end] = bytes(end - start - 40)
    file.write_bytes(data)
