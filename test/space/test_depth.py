"""Depth messages become metres, or are refused."""

from __future__ import annotations

import struct
import zlib
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from eomt_ros.space.depth import DepthError, decode_depth, depth_at

METRES = np.array([[0.5, 1.234, 65.0], [2.0, np.nan, 4.0]])
MILLIMETRES = np.nan_to_num(1000 * METRES).round().astype(np.uint16)


def image(pixels: np.ndarray, encoding: str, *, padding: int = 0, bigendian: bool = False) -> SimpleNamespace:
    ordered = pixels.astype(pixels.dtype.newbyteorder(">" if bigendian else "<"))
    rows = [row.tobytes() + b"\xff" * padding for row in ordered]
    step = len(rows[0])
    return SimpleNamespace(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(bigendian),
        step=step,
        data=b"".join(rows),
    )


def png(pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1])


def compressed(data: bytes, format_: str) -> SimpleNamespace:
    return SimpleNamespace(format=format_, data=data)


@pytest.mark.parametrize("bigendian", [False, True])
@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(("pixels", "encoding"), [(MILLIMETRES, "16UC1"), (METRES.astype(np.float32), "32FC1")])
def test_both_encodings_are_read_in_both_byte_orders_with_padded_rows(
    pixels: np.ndarray, encoding: str, padding: int, bigendian: bool
) -> None:
    found = decode_depth(image(pixels, encoding, padding=padding, bigendian=bigendian))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, METRES, rtol=1e-6)


@pytest.mark.parametrize("unknown", [0.0, -1.0, np.nan, np.inf, -np.inf])
def test_floats_that_are_no_distance_are_unknown(unknown: float) -> None:
    assert np.isnan(decode_depth(image(np.array([[unknown, 2.0]], np.float32), "32FC1"))).tolist() == [[True, False]]


def test_zero_and_the_largest_integer_are_unknown() -> None:
    found = decode_depth(image(np.array([[0, 65535, 65534]], np.uint16), "16UC1"))
    assert np.isnan(found).tolist() == [[True, True, False]]


def test_all_unknown_is_no_error() -> None:
    assert np.isnan(decode_depth(image(np.zeros((4, 5), np.uint16), "16UC1"))).all()


@pytest.mark.parametrize("format_", ["16UC1; png compressed ", "16UC1; compressedDepth png", "16UC1; compressedDepth"])
@pytest.mark.parametrize("header", [b"", struct.pack("<iff", 0, 0.0, 0.0)])
def test_a_png_of_millimetres_is_read_with_and_without_header(format_: str, header: bytes) -> None:
    np.testing.assert_allclose(decode_depth(compressed(header + png(MILLIMETRES), format_)), METRES, rtol=1e-6)


def test_compressed_depth_of_floats_is_the_inverse_of_its_quantisation() -> None:
    # As compressed_depth_image_transport encodes it: inverse = a / depth + b, with its default of 10 m and 100.
    quantisation, most = 100.0, 10.0
    a, b = quantisation * (quantisation + 1), 1 - quantisation * (quantisation + 1) / most
    raw = np.nan_to_num(a / METRES[:, :2] + b).round().astype(np.uint16)
    found = decode_depth(compressed(struct.pack("<iff", 0, a, b) + png(raw), "32FC1; compressedDepth png"))
    np.testing.assert_allclose(found, METRES[:, :2], rtol=1e-3)


def bomb() -> bytes:
    """A PNG of a few bytes that says 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 16, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (image(np.zeros((2, 2), np.uint8), "mono8"), r"encoding 'mono8' is none of depth, expected 16UC1.*remap"),
        (image(METRES.astype(np.float32) * 1000, "32FC1"), r"nearest point is 500 m away.*32FC1 in metres"),
        (compressed(png(MILLIMETRES)[:-20], "16UC1; png compressed"), r"truncated or corrupt"),
        (compressed(b"", "16UC1; png compressed"), r"no PNG"),
        (compressed(b"\xff\xd8\xff", "16UC1; jpeg compressed"), r"no PNG"),
        (compressed(png(MILLIMETRES.astype(np.uint8)), "16UC1; png compressed"), r"no PNG of one channel of 16 bits"),
        (compressed(png(MILLIMETRES), "32FC1; png compressed"), r"without the header of compressedDepth"),
        (compressed(b"\0" * 30, "16UC1; compressedDepth rvl"), r"RVL.*compressedDepth\.format.*png"),
        (compressed(png(MILLIMETRES), "rgb8; png compressed"), r"'rgb8; png compressed' is none of depth"),
        (compressed(bomb(), "16UC1; png compressed"), r"3600000000 pixels"),
        (
            compressed(struct.pack("<iff", 0, np.nan, 0.0) + png(MILLIMETRES), "32FC1; compressedDepth png"),
            r"quantisation nan",
        ),
    ],
)
def test_what_is_no_depth_is_refused(message: Any, text: str) -> None:
    with pytest.raises(DepthError, match=text):
        decode_depth(message)


def test_data_that_are_too_short_are_refused() -> None:
    message = image(MILLIMETRES, "16UC1")
    message.data = message.data[:-1]
    with pytest.raises(DepthError, match="data holds 11 bytes"):
        decode_depth(message)


def test_depth_of_another_size_of_the_same_view_is_taken_from_the_nearest_pixel() -> None:
    depth = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(depth_at(depth, 6, 8), depth.repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_array_equal(depth_at(depth_at(depth, 9, 12), 3, 4), depth)
    assert depth_at(depth, 3, 4) is depth


def test_depth_of_another_view_is_refused_with_the_drivers_switch() -> None:
    with pytest.raises(DepthError, match=r"848x480 .* 640x480.*align_depth\.enable"):
        depth_at(np.ones((480, 848), np.float32), 480, 640)
