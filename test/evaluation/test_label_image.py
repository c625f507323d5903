"""Label images keep their exact values, however they are stored."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from eomt_ros.evaluation.label_image import LabelImageError, decode_labels, decode_png
from test.evaluation import bags

RNG = np.random.default_rng(0)


def png(pixels: np.ndarray) -> bytes:
    done, data = cv2.imencode(".png", pixels)
    assert done
    return data.tobytes()


def compressed(data: bytes) -> Any:
    kind = bags.STORE.types["sensor_msgs/msg/CompressedImage"]
    return kind(bags.header(1), "png", np.frombuffer(data, np.uint8))


@pytest.mark.parametrize(
    ("encoding", "dtype"), [("mono8", np.uint8), ("8UC1", np.uint8), ("mono16", np.uint16), ("16UC1", np.uint16)]
)
def test_raw_label_images(encoding: str, dtype: Any) -> None:
    labels = RNG.integers(0, np.iinfo(dtype).max + 1, (5, 7), dtype)
    read = decode_labels(bags.image(1, labels, encoding, padding=3))
    np.testing.assert_array_equal(read, labels)
    assert read.dtype == dtype


@pytest.mark.parametrize("step", [0, 2, 100])
def test_a_wrong_step_is_overlooked_where_the_data_are_packed_rows(step: int) -> None:
    labels = RNG.integers(0, 256, (5, 7), np.uint8)
    message = bags.image(1, labels, "mono8")
    message.step = step
    np.testing.assert_array_equal(decode_labels(message), labels)
    message.data = message.data[:-1]
    with pytest.raises(LabelImageError, match="a 7x5 mono8 image: data holds 34 bytes, expected 35"):
        decode_labels(message)


@pytest.mark.parametrize("big_endian", [False, True])
def test_signed_32_bits_are_read_where_all_values_are_ids(big_endian: bool) -> None:
    labels = np.array([[0, 1, 65535], [300, 7, 0]], np.int32)
    read = decode_labels(bags.image(1, labels, "32SC1", padding=3, big_endian=big_endian))
    np.testing.assert_array_equal(read, labels)
    assert read.dtype == np.uint16


@pytest.mark.parametrize("value", [-1, 65536])
def test_signed_32_bits_that_are_no_id_are_refused_with_the_value(value: int) -> None:
    labels = np.array([[0, value]], np.int32)
    with pytest.raises(LabelImageError, match=f"a 32SC1 image with the value {value}, expected 0 to 65535"):
        decode_labels(bags.image(1, labels, "32SC1"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_label_images_compressed_as_png(dtype: Any) -> None:
    labels = RNG.integers(0, np.iinfo(dtype).max + 1, (5, 7), dtype)
    read = decode_labels(compressed(png(labels)))
    np.testing.assert_array_equal(read, labels)
    assert read.dtype == dtype


@pytest.mark.parametrize("colours", [2, 4, 16, 256])
def test_of_a_palette_png_the_indices_are_read_and_not_the_colours(colours: int) -> None:
    indices = RNG.integers(0, colours, (9, 13), np.uint8)
    picture = Image.fromarray(indices, "L").convert("P")
    picture.putdata(indices.ravel().tolist())
    picture.putpalette(RNG.integers(0, 256, 3 * colours, np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", bits=(colours - 1).bit_length())
    assert file.getvalue()[25] == 3, "the file has a palette"
    np.testing.assert_array_equal(decode_png(file.getvalue()), indices)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_png_of_few_bits_keeps_its_values(depth: int) -> None:
    values = RNG.integers(0, 2**depth, (5, 8), np.uint8)
    bits = np.unpackbits(values[..., None], axis=-1)[..., 8 - depth :].reshape(5, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 8, 5, depth, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    np.testing.assert_array_equal(decode_png(data), values)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png(np.zeros((4, 4, 3), np.uint8)), "a PNG with RGB pixels, expected a label image"),
        (png(np.zeros((4, 4, 4), np.uint8)), "a PNG with RGB with alpha pixels"),
        (cv2.imencode(".jpg", np.zeros((4, 4), np.uint8))[1].tobytes(), "no PNG, expected a label image as PNG"),
        (b"", "0 bytes that are no PNG"),
        (png(np.zeros((4, 4), np.uint8))[:20], "truncated or corrupt"),
        (png(RNG.integers(0, 9, (64, 64), np.uint8))[:60], "truncated or corrupt"),
    ],
)
def test_what_is_no_label_image_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(LabelImageError, match=message):
        decode_png(data)
