"""sensor_msgs Image and CompressedImage to numpy, without a copy where none is needed.

`rgb8`, `bgr8`, `rgba8`, `bgra8`, `mono8`, `8UC1`, `8UC3` and `8UC4` come back as views of the message's own bytes,
whatever its row padding. The rest is converted through `cv_bridge` where it works and knows it, else through the OpenCV
calls that it makes (cv_bridge/src/cv_bridge.cpp, `getConversionCodes` and `toCvCopyImpl`).
"""

from __future__ import annotations

import functools
import logging
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from eomt_ros.bridge import working_cv_bridge
from eomt_ros.picture_files import (
    JPEG_START,
    PNG_START,
    ImageError,
    Pixels,
    decode_colour_png,
    decode_jpeg,
    jpeg_size,
    png_size,
    to_8_bit,
)
from eomt_ros.printable import printable

__all__ = ["ImageError", "UnsupportedEncodingError", "decode", "step_of"]

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image

MAX_PIXELS = 100_000_000
"""Larger images are refused: a few hundred bytes of PNG can unfold to gigabytes."""

_DARK = 4096  # of 65535: as far as 12 bits go
_LONGEST_NAME = 60  # characters of an encoding that are shown: it comes from the network

_log = logging.getLogger(__name__)


class UnsupportedEncodingError(ImageError):
    """An encoding that this module does not read, or that does not say what it holds.

    encoding: the message's `encoding`, or the `format` of a CompressedImage.
    """

    def __init__(self, encoding: str, supported: tuple[str, ...]) -> None:
        name = _normalized(encoding)
        if name in _AMBIGUOUS:
            text = f"{_AMBIGUOUS[name]}; the node that publishes the images has to say which"
        else:
            text = f"is not supported; supported are {', '.join(supported)}"
        super().__init__(f"encoding '{printable(encoding, _LONGEST_NAME)}' {text}")
        self.encoding = encoding


@dataclass(frozen=True)
class _Encoding:
    """The layout of the pixels of one `Image.encoding`, and their way to RGB."""

    channels: int
    dtype: type[np.uint8] | type[np.uint16]
    to_rgb: Callable[[Pixels], Pixels]  # (rows, width, channels) uint8 -> (height, width, 3) uint8
    block: tuple[int, int] = (1, 1)  # height and width are multiples of it, because chroma is shared within it
    chroma: int = 0  # rows of chroma after those of luma, per two rows of luma; each as long as one of luma
    padded: bool = True  # False: nothing says how the rows of chroma are padded where those of luma are
    cv_bridge_name: str | None = None  # None: a view is enough, or cv_bridge does not know the encoding


def _rgb(pixels: Pixels) -> Pixels:
    return pixels[..., :3]


def _bgr(pixels: Pixels) -> Pixels:
    return pixels[..., 2::-1]


def _gray(pixels: Pixels) -> Pixels:
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _opencv(code: int) -> Callable[[Pixels], Pixels]:
    return lambda pixels: cv2.cvtColor(pixels, code)


# ITU-R BT.601, limited range, as OpenCV converts the other YUV encodings: (R, G, B) of (Y, U, V, 1).
_YUV_TO_RGB = np.array([[1.164, 0, 1.596], [1.164, -0.391, -0.813], [1.164, 2.018, 0]])
_YUV_TO_RGB = np.column_stack([_YUV_TO_RGB, _YUV_TO_RGB @ [-16, -128, -128]])


def _nv24(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[0] // 3, pixels.shape[1]
    chroma = pixels[height:].reshape(height, width, 2)
    return cv2.transform(cv2.merge([pixels[:height], chroma]), _YUV_TO_RGB)


# OpenCV names a Bayer pattern after the second row's second and third pixel, ROS after the first row's first two.
# An OpenCV-born 8UC3 is BGR, as cv_bridge's cvtColorForDisplay takes it, and an 8UC4 BGRA.
_ENCODINGS = {
    "rgb8": _Encoding(3, np.uint8, _rgb),
    "bgr8": _Encoding(3, np.uint8, _bgr),
    "rgba8": _Encoding(4, np.uint8, _rgb),
    "bgra8": _Encoding(4, np.uint8, _bgr),
    "mono8": _Encoding(1, np.uint8, _gray),
    "8UC1": _Encoding(1, np.uint8, _gray),
    "8UC3": _Encoding(3, np.uint8, _bgr),
    "8UC4": _Encoding(4, np.uint8, _bgr),
    "rgb16": _Encoding(3, np.uint16, _rgb, cv_bridge_name="rgb16"),
    "bgr16": _Encoding(3, np.uint16, _bgr, cv_bridge_name="bgr16"),
    "rgba16": _Encoding(4, np.uint16, _rgb, cv_bridge_name="rgba16"),
    "bgra16": _Encoding(4, np.uint16, _bgr, cv_bridge_name="bgra16"),
    "mono16": _Encoding(1, np.uint16, _gray, cv_bridge_name="mono16"),
    "yuv422": _Encoding(2, np.uint8, _opencv(cv2.COLOR_YUV2RGB_UYVY), (1, 2), cv_bridge_name="yuv422"),
    "uyvy": _Encoding(2, np.uint8, _opencv(cv2.COLOR_YUV2RGB_UYVY), (1, 2), cv_bridge_name="yuv422"),
    "yuv422_yuy2": _Encoding(2, np.uint8, _opencv(cv2.COLOR_YUV2RGB_YUY2), (1, 2), cv_bridge_name="yuv422_yuy2"),
    "yuyv": _Encoding(2, np.uint8, _opencv(cv2.COLOR_YUV2RGB_YUY2), (1, 2), cv_bridge_name="yuv422_yuy2"),
    "nv12": _Encoding(1, np.uint8, _opencv(cv2.COLOR_YUV2RGB_NV12), (2, 2), chroma=1),
    "nv21": _Encoding(1, np.uint8, _opencv(cv2.COLOR_YUV2RGB_NV21), (2, 2), chroma=1),
    "i420": _Encoding(1, np.uint8, _opencv(cv2.COLOR_YUV2RGB_I420), (2, 2), chroma=1, padded=False),
    "nv24": _Encoding(1, np.uint8, _nv24, chroma=4, padded=False),
    "bayer_rggb8": _Encoding(1, np.uint8, _opencv(cv2.COLOR_BayerBG2RGB), cv_bridge_name="bayer_rggb8"),
    "bayer_bggr8": _Encoding(1, np.uint8, _opencv(cv2.COLOR_BayerRG2RGB), cv_bridge_name="bayer_bggr8"),
    "bayer_gbrg8": _Encoding(1, np.uint8, _opencv(cv2.COLOR_BayerGR2RGB), cv_bridge_name="bayer_gbrg8"),
    "bayer_grbg8": _Encoding(1, np.uint8, _opencv(cv2.COLOR_BayerGB2RGB), cv_bridge_name="bayer_grbg8"),
    "bayer_rggb16": _Encoding(1, np.uint16, _opencv(cv2.COLOR_BayerBG2RGB)),
    "bayer_bggr16": _Encoding(1, np.uint16, _opencv(cv2.COLOR_BayerRG2RGB)),
    "bayer_gbrg16": _Encoding(1, np.uint16, _opencv(cv2.COLOR_BayerGR2RGB)),
    "bayer_grbg16": _Encoding(1, np.uint16, _opencv(cv2.COLOR_BayerGB2RGB)),
}
_FOR_CV_BRIDGE = tuple(sorted({each.cv_bridge_name for each in _ENCODINGS.values() if each.cv_bridge_name}))
_BY_NORMALIZED_NAME = {name.lower(): encoding for name, encoding in _ENCODINGS.items()}

# Each is sent by drivers or tools in more than one meaning.
_AMBIGUOUS = {
    "8uc2": "may be yuv422 or yuv422_yuy2",
    "16uc1": "may be depth, which is no picture, or mono16",
    "16uc3": "may be rgb16 or bgr16",
    "16uc4": "may be rgba16 or bgra16",
    "yuv420": "may be nv12 or i420",
}

SUPPORTED_ENCODINGS = tuple(_ENCODINGS)
SUPPORTED_FORMATS = ("jpeg", "png")


def decode(message: Image | CompressedImage) -> npt.NDArray[np.uint8]:
    """Give the picture in an image message.

    Returns (H, W, 3) uint8 RGB of any strides; it may be a view of `message.data`, so it must not be written to.
    16-bit values are scaled by 255 / 65535 and rounded; alpha is dropped. A JPEG stays in the orientation it is stored
    in, as with compressed_image_transport, so that it fits the camera's calibration.
    Raises ImageError (UnsupportedEncodingError for an encoding or file format that is not read here).
    """
    # By its fields and not by its class, so that messages of a bag, read without ROS, are as good as rclpy's.
    return _decode_compressed(message) if hasattr(message, "format") else _decode_raw(message)


def _decode_raw(message: Image) -> Pixels:
    encoding = _encoding(message.encoding)
    pixels = _pixels(message, encoding)
    if encoding.dtype is np.uint16 and pixels[::8, ::8].max() < _DARK:
        _warn_of_dark_images(_normalized(message.encoding))
    if encoding.dtype is np.uint16 or encoding.cv_bridge_name is not None:
        # OpenCV knows no byte order but its own. Packed, because cv_bridge shears rows that are padded by a fraction of
        # a pixel; it swaps bytes with a method that NumPy 2 no longer has.
        pixels = np.ascontiguousarray(pixels, dtype=encoding.dtype)
    if encoding.cv_bridge_name is not None:
        bridge = working_cv_bridge(_FOR_CV_BRIDGE)
        if bridge is not None:
            packed = SimpleNamespace(
                height=message.height,
                width=message.width,
                encoding=encoding.cv_bridge_name,
                is_bigendian=int(sys.byteorder == "big"),
                step=pixels.nbytes // message.height,
                data=pixels.data.cast("B"),
            )
            return np.asarray(bridge.imgmsg_to_cv2(packed, "rgb8"))
    return encoding.to_rgb(to_8_bit(pixels))


def _normalized(name: str) -> str:
    return name.strip().lower()


def _encoding(name: str) -> _Encoding:
    encoding = _BY_NORMALIZED_NAME.get(_normalized(name))
    if encoding is None:
        raise UnsupportedEncodingError(name, SUPPORTED_ENCODINGS)
    return encoding


def _pixels(message: Image, encoding: _Encoding) -> Pixels:
    """View of the message's data, (rows, width, channels) in the message's byte order, after checking its size."""
    height, width = message.height, message.width
    what = f"{width}x{height} {printable(message.encoding, _LONGEST_NAME)} image"
    _check_size(what, height, width)
    if height % encoding.block[0] or width % encoding.block[1]:
        raise ImageError(f"{what}: height must be a multiple of {encoding.block[0]} and width of {encoding.block[1]}")
    dtype = np.dtype(encoding.dtype).newbyteorder(">" if message.is_bigendian else "<")
    pixel_size = encoding.channels * dtype.itemsize
    rows = height + height * encoding.chroma // 2
    step = step_of(what, message, width * pixel_size, rows)
    surplus, taller_by = len(message.data) - step * rows, step * (2 + encoding.chroma) * encoding.block[0] // 2
    if encoding.chroma and surplus > 0 and surplus % taller_by == 0:
        taller = height + encoding.block[0] * surplus // taller_by
        raise ImageError(
            f"{what}: the {len(message.data)} bytes of data have room for {taller} rows, so that chroma may begin after"
            f" row {height} or {taller}; the node that publishes it has to cut them to {step * rows} bytes"
        )
    if step != width * pixel_size and not encoding.padded:
        raise ImageError(f"{what}: step is {step} bytes, expected {width * pixel_size}: its rows cannot be padded")
    strides = (step, pixel_size, dtype.itemsize)
    return np.ndarray((rows, width, encoding.channels), dtype, buffer=message.data, strides=strides)


def step_of(what: str, message: Image, row: int, rows: int) -> int:
    """Bytes from one row to the next; the message's own `step`, or another if only that fits the data.

    what: the image in an error's text; row: bytes of a row without its padding; rows: their number, chroma included.
    Drivers send 0, the size of a pixel, or that of a row of luma and its chroma for `step`, and buffers that are longer
    than the image or end with its last pixel. Raises ImageError where no step or more than one fits.
    """
    step, size = message.step, len(message.data)
    packed = row * rows
    if step == row and size > packed and rows > 1 and size % rows == 0:
        raise ImageError(
            f"{what}: data holds {size} bytes, expected {packed} with a step of {step}; it may be {rows} rows of step"
            f" {size // rows}, or of step {step} with bytes to spare: the node that publishes it has to correct one"
        )
    if step >= row and size >= step * (rows - 1) + row:
        return step if rows > 1 else row
    if size == packed:
        return row
    raise ImageError(
        f"{what}: data holds {size} bytes, expected {packed} for {rows} rows of {row} bytes, or with a step of {step}"
        f" {max(step, row) * rows}; the node that publishes it has to correct step or data"
    )


def _check_size(what: str, height: int, width: int) -> None:
    if height == 0 or width == 0:
        raise ImageError(f"{what} has no pixels")
    if height * width > MAX_PIXELS:
        raise ImageError(f"{what} has {height * width} pixels, more than the {MAX_PIXELS} that are accepted")


@functools.cache
def _warn_of_dark_images(encoding: str) -> None:
    _log.warning(
        "an image in %s is almost black, it has no value above %d of 65535; if its camera has 10 or 12 bits,"
        " scale them to 16 before they come here",
        encoding,
        _DARK,
    )


_PNG_GREY_16 = b"\x10\x00"  # depth and colour type
_ONE_NUMBER = re.compile("(16|32|64)[usf]c1")  # depth, disparity, ids


def _decode_compressed(message: CompressedImage) -> Pixels:
    data = bytes(message.data)
    format_ = message.format or "jpeg"  # as the message's definition says
    what = f"compressed image of {len(data)} bytes (format '{printable(format_, _LONGEST_NAME)}')"
    # Only PNG reaches OpenCV, which would try two dozen file formats.
    if data.startswith(JPEG_START):
        height, width = jpeg_size(what, data)
    elif data.startswith(PNG_START):
        height, width = png_size(what, data)
    elif "compressedDepth" not in format_ and any(name in format_ for name in ("jpeg", "jpg", "png")):
        raise ImageError(f"{what} is neither JPEG nor PNG: it starts with {data[:8].hex(' ') or 'nothing'}")
    else:
        raise UnsupportedEncodingError(format_, SUPPORTED_FORMATS)
    _check_size(f"{width}x{height} {what}", height, width)
    source, _, codec = format_.partition(";")
    if _ONE_NUMBER.fullmatch(_normalized(source)):
        raise UnsupportedEncodingError(source, SUPPORTED_ENCODINGS)
    is_grey_16 = data.startswith(PNG_START) and data[24:26] == _PNG_GREY_16
    if is_grey_16 and _normalized(source) not in _BY_NORMALIZED_NAME:
        raise ImageError(f"{what} has one channel of 16 bits, which may be depth; expected the format 'mono16; png'")
    # compressed_image_transport may store a Bayer mosaic as a grey picture; it then names no pixel format at the end.
    is_mosaic = source.startswith("bayer_") and codec.split()[-1:] == ["compressed"]
    decode_file = decode_jpeg if data.startswith(JPEG_START) else decode_colour_png
    rgb = decode_file(f"{width}x{height} {what}", data)
    return _encoding(source).to_rgb(np.ascontiguousarray(rgb[..., :1])) if is_mosaic else rgb
