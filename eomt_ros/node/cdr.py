"""Messages as they travel, in CDR: stamps and images read in place, images and clouds written with one copy.

rclpy would copy the pixels twice for each message that comes and three times for each that goes, between CDR, a C
structure and the Python object. Source: DDSI-RTPS 10.5 for the first four bytes, CORBA 15.3 (CDR) for the rest.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from eomt_ros.images import ImageError
from eomt_ros.stamps import SECOND

_START = 4
"""Bytes in front of the message; alignment counts from there."""

_ENCODINGS = {("uint8", 2): "mono8", ("uint16", 2): "16UC1", ("uint8", 3): "rgb8"}
"""By type and number of dimensions of an array."""

_FIELD_TYPES = {
    "uint8": PointField.UINT8,
    "uint16": PointField.UINT16,
    "uint32": PointField.UINT32,
    "float32": PointField.FLOAT32,
}


@dataclass(frozen=True, eq=False)
class ImageView:
    """A sensor_msgs/Image whose data lie in the bytes that came."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


@dataclass(frozen=True, eq=False)
class CompressedImageView:
    """A sensor_msgs/CompressedImage whose data lie in the bytes that came."""

    header: Header
    format: str
    data: memoryview


def read_image(message: bytes, kind: type[Any]) -> Any:
    """The image in a message; kind: sensor_msgs Image or CompressedImage.

    Gives something with the fields of `kind`, which `images.decode` takes. Raises ImageError where the message ends
    before its fields do.
    """
    if message[:2] not in (b"\x00\x00", b"\x00\x01"):  # another encoding than plain CDR: no middleware has one so far
        return deserialize_message(message, kind)
    fields = _Fields(message)
    try:
        header = Header(stamp=Time(sec=fields.number("i"), nanosec=fields.number("I")), frame_id=fields.text())
        if kind is CompressedImage:
            return CompressedImageView(header, fields.text(), fields.bytes())
        return ImageView(
            header,
            height=fields.number("I"),
            width=fields.number("I"),
            encoding=fields.text(),
            is_bigendian=fields.number("B"),
            step=fields.number("I"),
            data=fields.bytes(),
        )
    except struct.error as error:
        raise ImageError(f"message of {len(message)} bytes ends before its fields do: {error}") from error


def write_image(pixels: npt.NDArray[Any], header: Header) -> bytes:
    """A sensor_msgs/Image of an array, to publish as it is.

    pixels: (H, W) uint8 (mono8) or uint16 (16UC1), or (H, W, 3) uint8 (rgb8), any strides.
    """
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    empty = Image(
        header=header,
        height=height,
        width=width,
        encoding=_ENCODINGS[pixels.dtype.name, pixels.ndim],
        is_bigendian=int(sys.byteorder == "big"),
        step=pixels.nbytes // height,  # not strides[0], which means nothing where there is one row
    )
    # The data come last, in front of them their length: as many bytes as an int, and 0 so far.
    fields = bytes(serialize_message(empty))[: -struct.calcsize("=I")]
    length = struct.pack(f"{_byte_order(fields)}I", pixels.nbytes)
    return b"".join((fields, length, pixels.data.cast("B")))


def write_cloud(points: npt.NDArray[np.void], header: Header) -> bytes:
    """A sensor_msgs/PointCloud2 of points, to publish as it is.

    points: (H, W), or (N,) for points without an order, of a structured type whose fields are the cloud's, in the order
    of their places. Those that are unknown are NaN: the message says that it is not dense.
    """
    points = np.ascontiguousarray(points)
    height, width = (1, *points.shape)[-2:]
    empty = PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=_point_fields(points.dtype),
        is_bigendian=sys.byteorder == "big",
        point_step=points.dtype.itemsize,
        row_step=points.dtype.itemsize * width,
        is_dense=False,
    )
    # The data's length, 0 so far, comes before the last field, a byte. What may come after that fills up to 4 bytes.
    fields = bytes(serialize_message(empty))
    at = (len(fields) - 5) // 4 * 4
    length = struct.pack(f"{_byte_order(fields)}I", points.nbytes)
    return b"".join((fields[:at], length, points.view(np.uint8).data, bytes([empty.is_dense])))


def stamp_in(message: bytes) -> int:
    """The header's stamp in nanoseconds, of any message that begins with a header; 0 where it is cut before that."""
    if len(message) < _START + 8:
        return 0
    sec, nanosec = struct.unpack_from(f"{_byte_order(message)}iI", message, _START)
    return int(sec) * SECOND + int(nanosec)


def with_stamp(message: bytes, nanoseconds: int) -> bytes:
    """The same message with another stamp in its header, see `stamp_in`."""
    stamp = struct.pack(f"{_byte_order(message)}iI", *divmod(nanoseconds, SECOND))
    return message[:_START] + stamp + message[_START + len(stamp) :]


class _Fields:
    """Reads one field after the other. Raises `struct.error` beyond the end."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._order = _byte_order(message)
        self._at = _START

    def number(self, kind: str) -> int:
        """kind: as in `struct`."""
        size = struct.calcsize(f"={kind}")
        self._at += (_START - self._at) % size
        (value,) = struct.unpack_from(self._order + kind, self._message, self._at)
        self._at += size
        return int(value)

    def text(self) -> str:
        """A string, whose length counts the zero at its end."""
        return str(self.bytes()[:-1], "utf-8", "replace")

    def bytes(self) -> memoryview:
        """A sequence of bytes, not copied."""
        length = self.number("I")
        found = memoryview(self._message)[self._at : self._at + length]
        if len(found) < length:
            raise struct.error(f"{length} bytes were announced, and {len(found)} came")
        self._at += length
        return found


def _point_fields(kind: np.dtype[np.void]) -> list[PointField]:
    assert kind.fields is not None
    return [
        PointField(name=name, offset=offset, datatype=_FIELD_TYPES[part.name], count=1)
        for name, (part, offset, *_) in kind.fields.items()
    ]


def _byte_order(message: bytes) -> str:
    return "<" if message[1] & 1 else ">"
