"""Label images, class ids or instance ids per pixel, out of messages and PNG files with their exact values."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from eomt_ros.evaluation.frame import LabelImage
from eomt_ros.images import ImageError, decode, step_of
from eomt_ros.printable import printable

COLOUR_ENCODINGS = ("rgb8", "bgr8", "rgba8", "bgra8", "8UC3")
ENCODINGS = {"mono8": np.uint8, "8UC1": np.uint8, "mono16": np.uint16, "16UC1": np.uint16, "32SC1": np.int32}

_PNG_START = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE, _RGB = 0, 3, (2, 6)
_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


class LabelImageError(ValueError):
    """An image that is no label image, or contradicts itself; the text says what it is and what was expected."""


def decode_labels(message: Any, *, colours: bool = False) -> LabelImage:
    """The label image in an Image message, or in a CompressedImage with a PNG, (H, W) uint8 or uint16.

    It may be a view of the message, so it must not be written to. colours: also takes colour images, as int32:
    R + 256 G + 65536 B. Raises `LabelImageError`.
    """
    if hasattr(message, "format"):
        return decode_png(bytes(message.data), colours=colours)
    encoding = getattr(message, "encoding", type(message).__name__)
    if colours and encoding in COLOUR_ENCODINGS:
        try:
            return pack(decode(message))
        except ImageError as error:
            raise LabelImageError(str(error)) from error
    if encoding not in ENCODINGS:
        raise LabelImageError(f"encoding {printable(encoding, 60)}, expected a label image: {', '.join(ENCODINGS)}")
    dtype = np.dtype(ENCODINGS[encoding]).newbyteorder(">" if message.is_bigendian else "<")
    height, width = message.height, message.width
    try:
        step = step_of(f"a {width}x{height} {encoding} image", message, width * dtype.itemsize, height)
    except ImageError as error:
        raise LabelImageError(str(error)) from error
    strides = (step, dtype.itemsize)
    labels: LabelImage = np.ndarray((height, width), dtype, buffer=message.data, strides=strides)
    if encoding == "32SC1":
        return _as_uint16(labels)
    return labels.astype(ENCODINGS[encoding], copy=False)


def pack(picture: npt.NDArray[np.uint8]) -> LabelImage:
    """(H, W) int32 R + 256 G + 65536 B of an (H, W, 3) picture, as COCO's panoptic format has ids in colours."""
    wide = picture.astype(np.int32)
    return wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16


def decode_png(data: bytes, *, colours: bool = False) -> LabelImage:
    """The values in a PNG file of one channel, grey or palette, (H, W) uint8 or uint16. Raises `LabelImageError`.

    colours: see `decode_labels`.
    """
    if not data.startswith(_PNG_START):
        raise LabelImageError(
            f"{len(data)} bytes that are no PNG, expected a label image as PNG: other formats do not keep ids exactly"
        )
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise LabelImageError("a PNG that is truncated or corrupt: it has no header")
    depth, colour = data[24], data[25]
    with_colours = colours and colour in _RGB and depth == 8
    if colour not in (_GREY, _PALETTE) and not with_colours:
        raise LabelImageError(
            f"a PNG with {_COLOURS.get(colour, 'unknown')} pixels, expected a label image: one channel"
        )
    if colour == _PALETTE:
        data = _as_grey(data)
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise LabelImageError(f"a PNG that is corrupt: {printable(str(error))}") from error
    if decoded is not None and decoded.ndim == 3 and with_colours:
        return pack(np.asarray(decoded[..., 2::-1], np.uint8))
    if decoded is None or decoded.ndim != 2 or decoded.dtype not in (np.uint8, np.uint16):
        raise LabelImageError("a PNG that is truncated or corrupt: its pixels do not decode")
    labels: LabelImage = decoded.astype(np.uint16 if depth == 16 else np.uint8, copy=False)
    # OpenCV stretches what has fewer than 8 bits over the whole range.
    return labels if depth >= 8 else labels // np.uint8(255 // (2**depth - 1))


def _as_uint16(labels: LabelImage) -> LabelImage:
    """Ids that a tool wrote with more bits than they need. Raises `LabelImageError` where one does not fit."""
    largest = np.iinfo(np.uint16).max
    for value in (labels.min(initial=0), labels.max(initial=0)):
        if not 0 <= value <= largest:
            raise LabelImageError(f"a 32SC1 image with the value {value}, expected 0 to {largest}")
    return labels.astype(np.uint16)


def _as_grey(data: bytes) -> bytes:
    """A PNG whose grey values are the palette's indices: the pixels of both are stored alike (PNG, 11.2.1)."""
    kept = [_PNG_START]
    at = len(_PNG_START)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            header = kind + content[:9] + bytes([_GREY]) + content[10:]
            kept.append(struct.pack(">I", length) + header + struct.pack(">I", zlib.crc32(header)))
        elif kind not in (b"PLTE", b"tRNS"):
            kept.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join(kept)
