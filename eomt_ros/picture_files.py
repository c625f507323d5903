"""JPEG and PNG files in memory: their size without decoding, and their pixels, complete or refused."""

from __future__ import annotations

import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from eomt_ros.printable import printable

Pixels = npt.NDArray[Any]

JPEG_START = b"\xff\xd8"
PNG_START = b"\x89PNG\r\n\x1a\n"

_JPEG_END = b"\xff\xd9"
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = b"\xff\xda"
_MOST_SCANS = 100  # of a JPEG: a progressive one has about ten, and each costs time for all pixels
_IMREAD = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


class ImageError(ValueError):
    """An image that contradicts itself or does not decode; the text gives the numbers."""


def to_8_bit(pixels: Pixels) -> Pixels:
    """Values of 16 bits scaled by 255 / 65535 and rounded; others as they are."""
    if pixels.dtype == np.uint8:
        return pixels
    return cv2.convertScaleAbs(pixels, alpha=255 / 65535).reshape(pixels.shape)


def decode_jpeg(what: str, data: bytes) -> Pixels:
    """(H, W, 3) RGB; what: the file in an error's text. Raises `ImageError` for one that is not whole."""
    import simplejpeg  # only here: the engine runs without it

    # Some cameras leave the end marker out, and buffers end with zeros; a last byte of 255 is followed by one.
    if not _is_ended_jpeg(data):
        data = data.rstrip(b"\0")
        data += (b"\0" if data.endswith(b"\xff") else b"") + _JPEG_END
    try:
        # Gives the pixels that OpenCV gives, but not grey ones for what is missing.
        return simplejpeg.decode_jpeg(data, "RGB", strict=True)
    except ValueError as error:
        raise ImageError(f"{what} is truncated or corrupt: {error}") from error


def decode_colour_png(what: str, data: bytes) -> Pixels:
    """(H, W, 3) RGB, see `decode_jpeg`."""
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), _IMREAD)
    except cv2.error as error:
        raise ImageError(f"{what} is corrupt: {printable(str(error))}") from error
    if decoded is None:
        raise ImageError(f"{what} is corrupt: its pixels do not decode")
    # A view would do, and would cost ten times as much later, whenever somebody packs it.
    return cv2.cvtColor(to_8_bit(decoded), cv2.COLOR_BGR2RGB)


def _is_ended_jpeg(data: bytes) -> bool:
    # Beginning with the last scan: a thumbnail has an end too.
    return data.startswith(JPEG_START) and data.find(_JPEG_END, data.rfind(_JPEG_SCAN)) >= 0


def jpeg_size(what: str, data: bytes) -> tuple[int, int]:
    """Height and width from the frame header (ITU-T T.81, B.2.2) of a file that does not take too long."""
    if data.count(_JPEG_SCAN) > _MOST_SCANS:
        raise ImageError(f"{what} has {data.count(_JPEG_SCAN)} scans, more than the {_MOST_SCANS} that are accepted")
    at = len(JPEG_START)
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _JPEG_FRAME_MARKERS:
            return int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
        at += 1 if marker == 0xFF else 2 + length
    raise ImageError(f"{what} is truncated or corrupt: the JPEG has no frame header")


def png_size(what: str, data: bytes) -> tuple[int, int]:
    """Height and width from the header chunk (PNG specification, 11.2.1) of a file whose chunks are whole."""
    at = len(PNG_START)
    kinds: list[bytes] = []
    while at + 12 <= len(data) and kinds[-1:] != [b"IEND"]:
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        # OpenCV would find out as well, but prints it, for every frame.
        if zlib.crc32(memoryview(data)[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            break
        kinds.append(data[at + 4 : at + 8])
        at = end + 4
    if kinds[:1] != [b"IHDR"] or kinds[-1] != b"IEND":
        raise ImageError(f"{what} is truncated or corrupt: the PNG has no header, no end, or a wrong checksum")
    return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
