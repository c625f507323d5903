"""Every encoding against plain loops over a buffer laid out by hand; every malformed message against ImageError."""

import array
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs")

from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image

from eomt_ros import images
from eomt_ros.bridge import working_cv_bridge
from eomt_ros.images import ImageError, UnsupportedEncodingError, decode

SIZES = [(6, 8), (7, 5), (1, 1), (3, 641)]
CHANNEL_ORDER = {"rgb": (0, 1, 2), "bgr": (2, 1, 0), "rgba": (0, 1, 2, None), "bgra": (2, 1, 0, None)}


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Random RGB, in which every mix-up of rows, columns or channels shows."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def image(
    encoding: str, height: int, width: int, rows: list[bytes], padding: int = 0, big_endian: bool = False
) -> Image:
    """Message of rows already in bytes, each followed by `padding` bytes of garbage."""
    data = b"".join(row + b"\xa5" * padding for row in rows)
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=len(rows[0]) + padding,
        is_bigendian=int(big_endian),
        data=array.array("B", data),
    )


def compressed(data: bytes, format_: str = "jpeg") -> CompressedImage:
    return CompressedImage(format=format_, data=array.array("B", data))


def smooth(height: int = 48, width: int = 64) -> np.ndarray:
    """RGB that survives JPEG: red grows to the right, green downwards, blue is low."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([red, green, np.full_like(red, 40)], axis=-1).astype(np.uint8)


def file(extension: str, stored: np.ndarray, *options: int) -> bytes:
    """JPEG or PNG file of an RGB, RGBA or grey picture."""
    if stored.ndim == 3:
        stored = stored[..., [2, 1, 0, 3][: stored.shape[2]]]
    return cv2.imencode(extension, np.ascontiguousarray(stored), list(options))[1].tobytes()


@pytest.fixture
def without_cv_bridge(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    working_cv_bridge.cache_clear()
    yield
    working_cv_bridge.cache_clear()


# ---- Image: encodings that need no conversion


@pytest.mark.parametrize("padding", [0, 1, 16])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("order", CHANNEL_ORDER)
def test_eight_bit_colour_is_read_in_its_order_without_a_copy(order, size, padding):
    expected = picture(*size)
    rows = [
        bytes(99 if c is None else int(pixel[c]) for pixel in row for c in CHANNEL_ORDER[order]) for row in expected
    ]
    message = image(f"{order}8", *size, rows, padding)
    decoded = decode(message)
    np.testing.assert_array_equal(decoded, expected)
    assert decoded.dtype == np.uint8
    assert np.shares_memory(decoded, np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_fills_all_three_channels_without_a_copy(encoding, padding):
    grey = picture(7, 5)[..., 0]
    message = image(encoding, 7, 5, [row.tobytes() for row in grey], padding)
    decoded = decode(message)
    np.testing.assert_array_equal(decoded, np.stack([grey, grey, grey], axis=-1))
    assert np.shares_memory(decoded, np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize(("encoding", "rest"), [("8UC3", []), ("8UC4", [99])])
def test_what_opencv_calls_8uc3_and_8uc4_is_taken_as_bgr(encoding, rest):
    message = image(encoding, 1, 2, [bytes([1, 2, 3, *rest, 4, 5, 6, *rest])])
    decoded = decode(message)
    np.testing.assert_array_equal(decoded, [[[3, 2, 1], [6, 5, 4]]])
    assert np.shares_memory(decoded, np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize("name", ["RGB8", "Rgb8", "rgb8 ", " rgb8"])
def test_an_encoding_is_known_in_any_case_and_with_blanks_around_it(name):
    np.testing.assert_array_equal(decode(image(name, 1, 1, [b"\x01\x02\x03"])), [[[1, 2, 3]]])


def test_a_flag_for_the_order_of_bytes_means_nothing_where_a_value_is_one_byte():
    np.testing.assert_array_equal(decode(image("rgb8", 1, 1, [b"\x01\x02\x03"], big_endian=True)), [[[1, 2, 3]]])


# ---- Image: encodings that are converted


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 2, 16])
@pytest.mark.parametrize("order", [*CHANNEL_ORDER, "mono"])
def test_sixteen_bits_are_scaled_to_eight_and_rounded(order, padding, big_endian, without_cv_bridge):
    values = np.random.default_rng(1).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    values[0, :2] = [[0, 1, 128], [129, 65534, 65535]]
    channels = CHANNEL_ORDER.get(order, (0,))
    letter = ">H" if big_endian else "<H"
    rows = [
        b"".join(struct.pack(letter, 77 if c is None else pixel[c]) for pixel in row for c in channels)
        for row in values
    ]
    source = values[..., [0, 0, 0]] if order == "mono" else values
    expected = [[[round(int(v) * 255 / 65535) for v in pixel] for pixel in row] for row in source]
    np.testing.assert_array_equal(decode(image(f"{order}16", 5, 7, rows, padding, big_endian)), expected)


def rgb_of(y: int, u: int, v: int) -> list[int]:
    """ITU-R BT.601, limited range."""
    grey = 255 / 219 * (y - 16)
    rgb = [grey + 1.596 * (v - 128), grey - 0.392 * (u - 128) - 0.813 * (v - 128), grey + 2.017 * (u - 128)]
    return [min(max(round(c), 0), 255) for c in rgb]


def yuv(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random luma per pixel and chroma per pair of columns, in the ranges that video uses."""
    random = np.random.default_rng(2)
    return (
        random.integers(16, 236, (height, width)),
        random.integers(16, 241, (height, width // 2)),
        random.integers(16, 241, (height, width // 2)),
    )


def assert_close(decoded: np.ndarray, expected: list) -> None:
    """Equal up to the rounding of fixed-point arithmetic."""
    assert np.abs(np.asarray(decoded, int) - np.asarray(expected)).max() <= 2


@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize(
    ("encoding", "luma_first"), [("yuv422", False), ("uyvy", False), ("yuv422_yuy2", True), ("yuyv", True)]
)
def test_packed_yuv_shares_chroma_between_two_columns(encoding, luma_first, padding, without_cv_bridge):
    y, u, v = yuv(3, 10)
    rows = []
    for i in range(3):
        pairs = [(y[i, 2 * k], u[i, k], y[i, 2 * k + 1], v[i, k]) for k in range(5)]
        rows.append(
            bytes(int(b) for y0, cb, y1, cr in pairs for b in ((y0, cb, y1, cr) if luma_first else (cb, y0, cr, y1)))
        )
    expected = [[rgb_of(y[i, j], u[i, j // 2], v[i, j // 2]) for j in range(10)] for i in range(3)]
    assert_close(decode(image(encoding, 3, 10, rows, padding)), expected)


@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize(("encoding", "u_first"), [("nv12", True), ("nv21", False)])
def test_planar_yuv_has_chroma_rows_after_the_luma_rows(encoding, u_first, padding):
    y, u, v = yuv(6, 10)
    rows = [bytes(int(b) for b in row) for row in y]
    for i in range(3):
        rows.append(bytes(int(b) for k in range(5) for b in ((u[i, k], v[i, k]) if u_first else (v[i, k], u[i, k]))))
    expected = [[rgb_of(y[i, j], u[i // 2, j // 2], v[i // 2, j // 2]) for j in range(10)] for i in range(6)]
    assert_close(decode(image(encoding, 6, 10, rows, padding)), expected)


def through_ffmpeg(rgb: np.ndarray, pixel_format: str) -> tuple[bytes, np.ndarray]:
    """A picture in a pixel format of FFmpeg, and the RGB that FFmpeg makes of that again."""
    frame = pytest.importorskip("av").VideoFrame.from_ndarray(rgb, "rgb24")
    frame = frame.reformat(format=pixel_format, dst_colorspace="ITU601")
    assert frame.planes[0].line_size == frame.width  # rows are packed
    data = b"".join(bytes(plane) for plane in frame.planes)
    return data, frame.reformat(format="rgb24", src_colorspace="ITU601").to_ndarray()


@pytest.mark.parametrize(
    ("encoding", "pixel_format"), [("i420", "yuv420p"), ("nv12", "nv12"), ("nv21", "nv21"), ("nv24", "nv24")]
)
def test_planar_yuv_looks_as_ffmpeg_shows_it(encoding, pixel_format):
    rgb = smooth(48, 64)
    data, shown = through_ffmpeg(rgb, pixel_format)
    decoded = decode(Image(encoding=encoding, height=48, width=64, step=64, data=data)).astype(int)
    assert np.abs(decoded - shown).mean() < 2
    assert np.abs(decoded - rgb).mean() < 3


def demosaiced(mosaic: np.ndarray, pattern: str) -> np.ndarray:
    """Bilinear demosaicing by loops, without the border: each colour is the mean of the nearest sites that have it."""
    height, width = mosaic.shape
    colour = [[pattern[2 * (i % 2) + j % 2] for j in range(width)] for i in range(height)]
    rgb = np.zeros((height, width, 3))
    for i in range(1, height - 1):
        for j in range(1, width - 1):
            for c, letter in enumerate("rgb"):
                sites = [(a, b) for a in (i - 1, i, i + 1) for b in (j - 1, j, j + 1) if colour[a][b] == letter]
                if letter == "g" and colour[i][j] != "g":
                    sites = [(a, b) for a, b in sites if a == i or b == j]
                rgb[i, j, c] = mosaic[i, j] if colour[i][j] == letter else np.mean([mosaic[s] for s in sites])
    return rgb[1:-1, 1:-1]


def test_i420_has_a_row_of_u_and_one_of_v_for_two_of_luma():
    y, u, v = yuv(6, 10)
    data = b"".join(plane.astype(np.uint8).tobytes() for plane in (y, u[:3], v[:3]))
    expected = [[rgb_of(y[i, j], u[i // 2, j // 2], v[i // 2, j // 2]) for j in range(10)] for i in range(6)]
    assert_close(decode(Image(encoding="i420", height=6, width=10, step=10, data=data)), expected)


def test_nv24_has_two_bytes_of_chroma_for_every_pixel_of_any_size():
    y, u, v = yuv(3, 14)
    y = y[:, :7]
    data = y.astype(np.uint8).tobytes() + np.stack([u, v], axis=-1).astype(np.uint8).tobytes()
    expected = [[rgb_of(y[i, j], u[i, j], v[i, j]) for j in range(7)] for i in range(3)]
    assert_close(decode(Image(encoding="nv24", height=3, width=7, step=7, data=data)), expected)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("size", [(8, 10), (9, 37)])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_name_the_first_row_then_the_second(pattern, size, padding, without_cv_bridge):
    mosaic = picture(*size)[..., 0]
    decoded = decode(image(f"bayer_{pattern}8", *size, [row.tobytes() for row in mosaic], padding))
    assert decoded.shape == (*size, 3)
    assert np.abs(decoded[1:-1, 1:-1] - demosaiced(mosaic, pattern)).max() <= 1


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_of_sixteen_bits_are_scaled_to_eight(pattern, big_endian, padding):
    mosaic = np.random.default_rng(1).integers(0, 65536, (8, 10), dtype=np.uint16)
    rows = [row.astype(">u2" if big_endian else "<u2").tobytes() for row in mosaic]
    decoded = decode(image(f"bayer_{pattern}16", 8, 10, rows, padding, big_endian))
    assert np.abs(decoded[1:-1, 1:-1] - demosaiced(mosaic / 257, pattern)).max() <= 1.01


@pytest.mark.parametrize("encoding", ["mono16", "bayer_rggb16"])
def test_twelve_bits_sent_as_sixteen_are_told_once(encoding, caplog, without_cv_bridge):
    images._warn_of_dark_images.cache_clear()
    dark, bright = (image(encoding, 4, 4, [struct.pack("<4H", *[value] * 4)] * 4) for value in (4095, 4096))
    decode(bright)
    assert not caplog.messages
    for _ in range(2):
        decode(dark)
    (warning,) = caplog.messages
    assert encoding in warning
    assert "12 bits" in warning


CONVERTED = ["mono16", "rgb16", "bgr16", "rgba16", "bgra16", "yuv422", "uyvy", "yuv422_yuy2", "yuyv"]
CONVERTED += ["bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8"]
BYTES_PER_PIXEL = {
    "mono16": 2,
    "rgb16": 6,
    "bgr16": 6,
    "rgba16": 8,
    "bgra16": 8,
    "yuv422": 2,
    "uyvy": 2,
    "yuv422_yuy2": 2,
    "yuyv": 2,
}


def noise(encoding: str, big_endian: bool = False) -> Image:
    """8 rows of 12 random pixels, padded by 3 bytes."""
    random = np.random.default_rng(3)
    rows = [random.bytes(12 * BYTES_PER_PIXEL.get(encoding, 1)) for _ in range(8)]
    return image(encoding, 8, 12, rows, 3, big_endian)


def test_cv_bridge_and_opencv_give_the_same(monkeypatch):
    pytest.importorskip("cv_bridge")
    working_cv_bridge.cache_clear()
    if working_cv_bridge(images._FOR_CV_BRIDGE) is None:
        pytest.skip("the cv_bridge installed here does not work")
    messages = [noise(encoding, big_endian) for encoding in CONVERTED for big_endian in (False, True)]
    through_cv_bridge = [decode(message) for message in messages]
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    working_cv_bridge.cache_clear()
    for message, picture_of_cv_bridge in zip(messages, through_cv_bridge, strict=True):
        np.testing.assert_array_equal(decode(message), picture_of_cv_bridge, err_msg=message.encoding)
    working_cv_bridge.cache_clear()


@pytest.fixture
def installed_cv_bridge(monkeypatch, tmp_path):
    """Installs a cv_bridge of the given source for this process and its children."""

    def install(source: str) -> None:
        (tmp_path / "cv_bridge.py").write_text(source)
        monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
        working_cv_bridge.cache_clear()

    yield install
    sys.modules.pop("cv_bridge", None)
    working_cv_bridge.cache_clear()


# Answers as imgmsg_to_cv2 would, with a picture that tells what it was given; refuses what the real one gets wrong.
PICKY_CV_BRIDGE = """
import sys
import numpy as np
KNOWN = {"mono16": 2, "rgb16": 6, "bgr16": 6, "rgba16": 8, "bgra16": 8, "yuv422": 2, "yuv422_yuy2": 2,
         "bayer_rggb8": 1, "bayer_bggr8": 1, "bayer_gbrg8": 1, "bayer_grbg8": 1}
class CvBridge:
    def imgmsg_to_cv2(self, message, desired_encoding):
        assert desired_encoding == "rgb8"
        packed = message.step == message.width * KNOWN[message.encoding]
        native = message.is_bigendian == (sys.byteorder == "big")
        trial = not any(message.data)
        assert trial or (packed and native and len(message.data) == message.step * message.height)
        return np.full((message.height, message.width, 3), 123, np.uint8)
"""


def test_a_working_cv_bridge_is_given_packed_native_rows_under_a_name_it_knows(installed_cv_bridge):
    installed_cv_bridge(PICKY_CV_BRIDGE)
    for encoding in CONVERTED:
        for big_endian in (False, True):
            np.testing.assert_array_equal(
                decode(noise(encoding, big_endian)), np.full((8, 12, 3), 123), err_msg=encoding
            )


def test_cv_bridge_has_no_part_in_what_needs_no_conversion(installed_cv_bridge):
    installed_cv_bridge(PICKY_CV_BRIDGE)
    np.testing.assert_array_equal(decode(image("rgb8", 1, 1, [b"\x01\x02\x03"])), [[[1, 2, 3]]])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise AttributeError('_ARRAY_API not found')", "_ARRAY_API not found"),
        (
            "import os\nclass CvBridge:\n    def imgmsg_to_cv2(self, message, encoding):\n        os.abort()",
            "SIGABRT",
        ),
        (
            "class CvBridge:\n    def imgmsg_to_cv2(self, message, encoding):\n        raise TypeError('no bayer')",
            "no bayer",
        ),
    ],
    ids=["import fails", "process dies on use", "conversion fails"],
)
def test_a_broken_cv_bridge_is_reported_once_and_opencv_used(source, reason, installed_cv_bridge, caplog):
    installed_cv_bridge(source)
    for _ in range(2):
        np.testing.assert_array_equal(decode(image("mono16", 1, 1, [b"\xff\xff"])), [[[255, 255, 255]]])
    (warning,) = caplog.messages
    assert "cv_bridge is installed but does not work" in warning
    assert reason in warning


# ---- Image: malformed


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        ({"height": 0, "data": b""}, ["4x0"]),
        ({"width": 0}, ["0x3"]),
        ({"data": bytes(35)}, ["4x3", "35", "36"]),
        ({"step": 11, "data": bytes(37)}, ["step of 11", "37", "36"]),
        ({"step": 13, "data": bytes(37)}, ["step of 13", "37", "39"]),
        ({"data": bytes(39)}, ["39", "36", "step 13, or of step 12"]),
        ({"data": b""}, [" 0 bytes", "36"]),
        (
            {"height": 4_000_000_000, "width": 4_000_000_000, "step": 4_294_967_295},
            ["4000000000x4000000000", "100000000"],
        ),
    ],
)
def test_a_message_that_contradicts_itself_is_refused_with_the_numbers(changes, numbers):
    fields = {"height": 3, "width": 4, "step": 12, "data": bytes(36), **changes}
    with pytest.raises(ImageError) as refusal:
        decode(Image(encoding="rgb8", **fields))
    assert all(number in str(refusal.value) for number in numbers)


@pytest.mark.parametrize(
    ("encoding", "height", "width", "multiples"),
    [
        ("yuv422", 2, 3, "of 1 and width of 2"),
        ("yuyv", 2, 5, "of 1 and width of 2"),
        ("nv12", 3, 4, "of 2 and width of 2"),
        ("nv21", 4, 3, "of 2 and width of 2"),
    ],
)
def test_an_odd_size_is_refused_where_chroma_is_shared(encoding, height, width, multiples):
    with pytest.raises(ImageError, match=multiples):
        decode(Image(encoding=encoding, height=height, width=width, step=2 * width, data=bytes(3 * width * height)))


def test_planar_yuv_without_its_chroma_rows_is_refused():
    with pytest.raises(ImageError, match="data holds 32 bytes, expected 48 for 6 rows of 8 bytes"):
        decode(Image(encoding="nv12", height=4, width=8, step=8, data=bytes(32)))


@pytest.mark.parametrize("encoding", ["", "32FC1", "bayer_rggb12", "nv61", "rgb"])
def test_an_unknown_encoding_is_named_beside_those_supported(encoding):
    with pytest.raises(UnsupportedEncodingError) as refusal:
        decode(Image(encoding=encoding, height=1, width=1, step=8, data=bytes(8)))
    assert refusal.value.encoding == encoding
    assert f"'{encoding}'" in str(refusal.value)
    for name in ["rgb8", "bgra8", "mono16", "nv21", "8UC3", "bayer_gbrg8", "yuv422_yuy2"]:
        assert name in str(refusal.value)


@pytest.mark.parametrize(
    ("encoding", "meanings"),
    [
        ("8UC2", "yuv422 or yuv422_yuy2"),
        ("16UC1", "depth, which is no picture, or mono16"),
        ("16UC3", "rgb16 or bgr16"),
        ("16UC4", "rgba16 or bgra16"),
        ("yuv420", "nv12 or i420"),
        ("YUV420", "nv12 or i420"),
    ],
)
def test_an_encoding_of_several_meanings_is_refused_with_them(encoding, meanings):
    with pytest.raises(UnsupportedEncodingError, match=f"'{encoding}' may be {meanings}; the node that publishes"):
        decode(Image(encoding=encoding, height=2, width=2, step=16, data=bytes(32)))


# ---- Image: what drivers get wrong


PACKED = {
    "rgb8": 12 * 3,
    "mono8": 12,
    "8UC4": 12 * 4,
    "mono16": 12 * 2,
    "yuyv": 12 * 2,
    "bayer_grbg8": 12,
    "bayer_grbg16": 12 * 2,
}
"""Bytes of a row of 12 pixels."""
CHROMA_ROWS = {"nv12": 4, "nv21": 4, "i420": 4, "nv24": 16}
"""Further rows of 12 bytes for an image of 8 rows."""


def quirky(encoding: str, padding: int = 0, step: int | None = None, end: bytes | int = b"") -> Image:
    """8 rows of 12 random pixels as `noise`, but with another step, and bytes more (or fewer) at the end."""
    random = np.random.default_rng(3)
    rows = [random.bytes(PACKED.get(encoding, 12)) for _ in range(8 + CHROMA_ROWS.get(encoding, 0))]
    message = image(encoding, 8, 12, rows, padding)
    data = message.data.tobytes()
    message.data = array.array("B", data + end if isinstance(end, bytes) else data[:end])
    message.step = message.step if step is None else step
    return message


@pytest.mark.parametrize("step", [0, 1, 4, 11, 18, 1000, 2**32 - 1])
@pytest.mark.parametrize("encoding", [*PACKED, *CHROMA_ROWS])
def test_a_wrong_step_is_overlooked_where_the_data_are_packed_rows(encoding, step, without_cv_bridge):
    np.testing.assert_array_equal(decode(quirky(encoding, step=step)), decode(quirky(encoding)))


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("encoding", [*PACKED, "nv12", "nv21"])
def test_bytes_after_the_last_row_are_overlooked(encoding, padding, without_cv_bridge):
    message = quirky(encoding, padding, end=bytes(range(101)))
    np.testing.assert_array_equal(decode(message), decode(quirky(encoding)))


@pytest.mark.parametrize("encoding", [*PACKED, "nv12", "nv21"])
def test_the_last_row_may_lack_its_padding(encoding, without_cv_bridge):
    for missing in (1, 4):
        np.testing.assert_array_equal(decode(quirky(encoding, 4, end=-missing)), decode(quirky(encoding)))
    with pytest.raises(ImageError, match="has to correct step or data"):
        decode(quirky(encoding, 4, end=-5))


@pytest.mark.parametrize("encoding", [*PACKED, "nv12"])
def test_a_step_without_the_padding_that_the_data_may_have_is_refused(encoding):
    """Or it is the right one, and some bytes follow: the picture would be sheared if that was guessed wrong."""
    message = quirky(encoding, 4)
    with pytest.raises(ImageError, match=f"of step {message.step}, or of step {message.step - 4} with bytes to spare"):
        decode(quirky(encoding, 4, step=message.step - 4))


@pytest.mark.parametrize(("encoding", "size_of_row"), [("nv12", 18), ("nv21", 18), ("i420", 18), ("nv24", 36)])
def test_a_buffer_with_room_for_more_rows_of_luma_is_refused(encoding, size_of_row):
    """Chroma may begin after the image's rows or after the buffer's, as with 1080 rows in a buffer for 1088."""
    with pytest.raises(ImageError, match="chroma may begin after row 10 or 16"):
        decode(Image(encoding=encoding, height=10, width=12, step=12, data=bytes(16 * size_of_row)))


@pytest.mark.parametrize("encoding", ["i420", "nv24"])
def test_padding_is_refused_where_nothing_says_how_chroma_is_padded(encoding):
    with pytest.raises(ImageError, match="step is 16 bytes, expected 12: its rows cannot be padded"):
        decode(quirky(encoding, 4))


SMALL = st.integers(0, 9)


@settings(max_examples=300, deadline=None)
@given(
    encoding=st.sampled_from([*images.SUPPORTED_ENCODINGS, "other"]),
    height=SMALL,
    width=SMALL,
    step=st.integers(0, 80) | st.integers(0, 2**32 - 1),
    size=st.integers(0, 800),
    big_endian=st.booleans(),
)
def test_any_header_gives_a_picture_of_its_size_or_an_image_error(encoding, height, width, step, size, big_endian):
    message = Image(encoding=encoding, height=height, width=width, step=step, is_bigendian=big_endian, data=bytes(size))
    try:
        decoded = decode(message)
    except ImageError:
        return
    assert (decoded.shape, decoded.dtype) == ((height, width, 3), np.uint8)


# ---- CompressedImage


@pytest.mark.parametrize(
    "format_",
    ["jpeg", "", "bgr8; jpeg compressed bgr8", "rgb8; jpeg compressed bgr8", "jpg", "yuv422; jpeg compressed bgr8"],
)
@pytest.mark.parametrize(
    "options",
    [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4), (cv2.IMWRITE_JPEG_OPTIMIZE, 1)],
)
def test_jpeg_keeps_its_colours_whatever_the_format_says(format_, options):
    decoded = decode(compressed(file(".jpg", smooth(), *options), format_))
    assert np.abs(decoded.astype(int) - smooth()).mean() < 3


@pytest.mark.parametrize("format_", ["png", "rgb8; png compressed bgr8", "rgba8; png compressed bgr8"])
@pytest.mark.parametrize("size", SIZES)
def test_png_is_exact(size, format_):
    np.testing.assert_array_equal(decode(compressed(file(".png", picture(*size)), format_)), picture(*size))


def test_alpha_of_a_png_is_dropped():
    rgba = np.dstack([picture(7, 5), np.zeros((7, 5), np.uint8)])
    np.testing.assert_array_equal(decode(compressed(file(".png", rgba), "png")), picture(7, 5))


@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_a_grey_file_fills_all_three_channels(extension):
    grey = smooth()[..., 0]
    decoded = decode(compressed(file(extension, grey), f"mono8; {extension[1:]} compressed mono8"))
    assert np.abs(decoded.astype(int) - grey[..., None]).max() <= 4


@pytest.mark.parametrize("format_", ["png", "", "jpeg", "png; png compressed", "depth; png compressed"])
def test_a_png_that_may_be_depth_is_refused(format_):
    depth = np.full((5, 7), 1500, np.uint16)
    with pytest.raises(ImageError, match="may be depth; expected the format 'mono16; png'"):
        decode(compressed(file(".png", depth), format_))


@pytest.mark.parametrize("source", ["16UC1", "16SC1", "32FC1"])
@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_a_file_of_depth_is_refused(extension, source):
    data = file(extension, smooth()[..., 0])
    with pytest.raises(UnsupportedEncodingError, match=source):
        decode(compressed(data, f"{source}; {extension[1:]} compressed "))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sixteen_bit_png_is_scaled_like_a_sixteen_bit_image(channels):
    values = np.random.default_rng(4).integers(0, 65536, (5, 7, channels), dtype=np.uint16)
    expected = [[[round(int(v) * 255 / 65535) for v in pixel] * (3 // channels) for pixel in row] for row in values]
    stored = values[..., 0] if channels == 1 else values
    np.testing.assert_array_equal(decode(compressed(file(".png", stored), "rgb16; png compressed bgr16")), expected)


def test_a_png_of_a_bayer_mosaic_is_demosaiced():
    mosaic = picture(8, 10)[..., 0]
    decoded = decode(compressed(file(".png", mosaic), "bayer_grbg8; png compressed "))
    assert np.abs(decoded[1:-1, 1:-1] - demosaiced(mosaic, "grbg")).max() <= 1


def test_a_bayer_camera_s_jpeg_that_is_grey_already_stays_grey():
    decoded = decode(compressed(file(".jpg", smooth()[..., 1]), "bayer_grbg8; jpeg compressed mono8"))
    assert np.ptp(decoded, axis=-1).max() == 0


def exif_orientation(orientation: int) -> bytes:
    """APP1 segment that asks viewers to turn the picture."""
    tiff = (
        b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01"
        + struct.pack(">HH", orientation, 0)
        + bytes(4)
    )
    return b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\x00\x00" + tiff


def test_a_jpeg_stays_in_the_camera_s_orientation():
    plain = file(".jpg", smooth())
    turned = plain[:2] + exif_orientation(6) + plain[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (64, 48, 3), (
        "the file asks to be turned"
    )
    np.testing.assert_array_equal(decode(compressed(turned)), decode(compressed(plain)))


def test_a_jpeg_may_carry_a_thumbnail_and_bytes_after_its_end():
    plain = file(".jpg", smooth())
    thumbnail = file(".jpg", smooth(8, 8))
    segment = b"\xff\xe2" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    np.testing.assert_array_equal(
        decode(compressed(plain[:2] + segment + plain[2:] + bytes(100))), decode(compressed(plain))
    )


@pytest.mark.parametrize("extension", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0.999, 0.5, 0.02])
def test_a_truncated_file_is_refused(extension, kept):
    whole = file(extension, cv2.resize(smooth(), (640, 480)))
    with pytest.raises(ImageError, match="truncated"):
        decode(compressed(whole[: int(len(whole) * kept)], extension[1:]))


@pytest.mark.parametrize("end", [b"", b"\xff", bytes(100)], ids=["nothing", "half a marker", "zeros"])
@pytest.mark.parametrize("before", [b"", b"thumbnail"])
def test_a_jpeg_whose_pixels_are_complete_may_lack_its_end_marker(before, end, capfd):
    whole = file(".jpg", smooth())
    thumbnail = file(".jpg", smooth(8, 8))
    segment = b"\xff\xe2" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail if before else b""
    np.testing.assert_array_equal(
        decode(compressed(whole[:2] + segment + whole[2:-2] + end)), decode(compressed(whole))
    )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_OPTIMIZE, 1), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_a_jpeg_from_which_anything_is_missing_is_refused_whatever_follows(options, capfd):
    """Pixels that were not sent would be grey, and make segments."""
    whole = file(".jpg", picture(48, 64), *options)
    middle = len(whole) * 3 // 4
    for at in [*range(len(whole) - 60, len(whole) - 3), middle]:
        for end in (b"\xff\xd9", b"", bytes(1000)):
            with pytest.raises(ImageError, match="truncated or corrupt"):
                decode(compressed(whole[:at] + end))
    with pytest.raises(ImageError, match="truncated or corrupt"):
        decode(compressed(whole[:middle] + whole[middle + 200 :]))
    assert capfd.readouterr().err == ""


def test_a_jpeg_of_ever_more_scans_is_refused_before_they_are_decoded():
    whole = file(".jpg", smooth(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last = whole.rfind(b"\xff\xda")
    with pytest.raises(ImageError, match="scans, more than the 100"):
        decode(compressed(whole[:-2] + whole[last:-2] * 100 + whole[-2:]))


def test_a_jpeg_truncated_after_its_thumbnail_is_refused():
    plain = file(".jpg", smooth())
    thumbnail = file(".jpg", smooth(8, 8))
    segment = b"\xff\xe2" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    with pytest.raises(ImageError, match="truncated"):
        decode(compressed(plain[:2] + segment + plain[2:-20]))


@pytest.mark.parametrize("at", [9, 14, 18, 29, 1000, -2])
def test_a_png_with_a_flipped_bit_is_refused_and_nothing_is_printed_past_the_log(at, capfd):
    whole = bytearray(file(".png", picture(40, 60)))
    whole[at] ^= 1
    with pytest.raises(ImageError, match="truncated or corrupt"):
        decode(compressed(bytes(whole), "png"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("format_", ["jpeg", "jpg", "png", "", "rgb8; jpeg compressed bgr8"])
@pytest.mark.parametrize(("data", "start"), [(b"", "nothing"), (b"GIF89a..", "47 49 46"), (bytes(1000), "00 00 00")])
def test_data_that_is_no_jpeg_or_png_is_refused_with_its_first_bytes(data, start, format_):
    with pytest.raises(ImageError, match=f"{len(data)} bytes.*{start}"):
        decode(compressed(data, format_))


@pytest.mark.parametrize(
    "format_", ["h264", "16UC1; compressedDepth png", "16UC1; compressedDepth rvl", "rgb8; tiff compressed "]
)
def test_another_file_format_is_unsupported_by_name(format_):
    with pytest.raises(UnsupportedEncodingError, match="jpeg, png") as refusal:
        decode(compressed(bytes(12) + file(".png", picture(2, 2)), format_))
    assert refusal.value.encoding == format_


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_png_that_would_unfold_to_gigabytes_is_refused_before_it_does():
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 16000, 8000, 1, 0, 0, 0, 0))
    bomb = (
        b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(8000 * 2001))) + png_chunk(b"IEND", b"")
    )
    assert len(bomb) < 20_000
    with pytest.raises(ImageError, match=r"16000x8000.*128000000 pixels, more than the 100000000"):
        decode(compressed(bomb, "png"))


@pytest.mark.parametrize(
    "before", [b"", b"\xff\xff\xff", b"\xff\xc4\x00\x13\x00" + bytes(16)], ids=["at once", "fill bytes", "tables"]
)
def test_a_jpeg_that_claims_a_huge_size_is_refused(before):
    whole = file(".jpg", smooth(48, 64)).replace(struct.pack(">HH", 48, 64), struct.pack(">HH", 60000, 65000), 1)
    with pytest.raises(ImageError, match="65000x60000"):
        decode(compressed(whole[:2] + before + whole[2:]))


WHOLE_FILES = [
    file(".jpg", smooth(16, 24)),
    file(".png", picture(6, 8)),
    file(".jpg", smooth(16, 24), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
]


@settings(max_examples=200, deadline=None)
@given(
    whole=st.sampled_from(WHOLE_FILES),
    damage=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=5),
    kept=st.integers(0, 3000),
)
def test_a_damaged_file_gives_a_picture_or_an_image_error(whole, damage, kept):
    data = bytearray(whole)
    for at, value in damage:
        data[at % len(data)] = value
    try:
        decoded = decode(compressed(bytes(data[:kept]), "jpeg"))
    except ImageError:
        return
    assert (decoded.shape[2:], decoded.dtype) == ((3,), np.uint8)
