"""Depth messages to metres."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from eomt_ros.errors import UserError
from eomt_ros.images import MAX_PIXELS, step_of
from eomt_ros.picture_files import PNG_START, ImageError, png_size
from eomt_ros.printable import printable
from eomt_ros.space.pinhole import is_same_view

Depth = npt.NDArray[np.float32]

_ENCODINGS: dict[str, np.dtype[Any]] = {
    "16uc1": np.dtype(np.uint16),
    "mono16": np.dtype(np.uint16),
    "32fc1": np.dtype(np.float32),
}
_EXPECTED = "16UC1 in millimetres or 32FC1 in metres (REP 118)"
_HEADER = struct.Struct("<iff")  # ConfigHeader of compressed_depth_image_transport: format, depthParam[2]
_GREY_16 = b"\x10\x00"  # depth and colour type of a PNG
_NOT_METRES = 250.0  # no depth camera has all of a frame beyond so many metres, but one in millimetres has
_LONGEST_NAME = 60


class DepthError(UserError):
    """A depth message that cannot be read, or that is not of the image's view; the text says what to do."""


def decode_depth(message: Any) -> Depth:
    """Give the depth in a message, (H, W) float32 in metres along the optical axis, NaN where it is unknown.

    message: anything with the fields of sensor_msgs Image (16UC1 in mm, 32FC1 in m) or CompressedImage (PNG of 16UC1;
    compressedDepth of either with its header, as compressed_depth_image_transport writes it). 0, NaN, infinite,
    negative, and 65535 of 16 bits are unknown. Raises `DepthError`.
    """
    try:
        depth = _compressed(message) if hasattr(message, "format") else _raw(message)
    except ImageError as error:
        raise DepthError(f"depth: {error}") from error
    if np.nanmin(depth[::4, ::4], initial=np.inf) > _NOT_METRES and not np.isnan(depth[::4, ::4]).all():
        raise DepthError(
            f"depth: its nearest point is {np.nanmin(depth[::4, ::4]):.0f} m away, so that it is not in metres;"
            f" expected {_EXPECTED}; the camera's driver has to convert it"
        )
    return depth


def depth_at(depth: Depth, height: int, width: int) -> Depth:
    """The same view in another size, by the nearest pixel.

    Raises `DepthError` where the two sizes differ in shape, so that it cannot be the same view.
    """
    if depth.shape == (height, width):
        return depth
    if not is_same_view((depth.shape[0], depth.shape[1]), (height, width)):
        raise DepthError(
            f"depth is {depth.shape[1]}x{depth.shape[0]} and the image {width}x{height}: they are not the same view;"
            " have the driver align depth to colour (realsense: align_depth.enable, orbbec: depth_registration), or"
            " remap depth to the aligned topic"
        )
    rows = ((np.arange(height) + 0.5) * depth.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * depth.shape[1] / width).astype(np.intp)
    return depth[rows[:, None], columns]


def _raw(message: Any) -> Depth:
    dtype = _dtype(message.encoding, message.encoding)
    height, width = int(message.height), int(message.width)
    what = f"{width}x{height} {printable(message.encoding, _LONGEST_NAME)} image"
    _check_size(what, height, width)
    step = step_of(what, message, width * dtype.itemsize, height)
    ordered = dtype.newbyteorder(">" if message.is_bigendian else "<")
    pixels = np.ndarray((height, width), ordered, buffer=message.data, strides=(step, dtype.itemsize))
    return _from_millimetres(pixels) if dtype == np.uint16 else _known(pixels.astype(np.float32))


def _compressed(message: Any) -> Depth:
    data = bytes(message.data)
    name = printable(message.format, _LONGEST_NAME)
    what = f"compressed image of {len(data)} bytes (format '{name}')"
    encoding, _, codec = message.format.partition(";")
    words = codec.lower().split()
    if "rvl" in words:
        raise DepthError(
            f"depth: {what} is compressed with RVL, expected PNG; set the parameter compressedDepth.format of the node"
            " that publishes it to png"
        )
    dtype = _dtype(encoding, message.format)
    has_header = data[_HEADER.size :].startswith(PNG_START)
    png = data[_HEADER.size :] if has_header else data
    if not png.startswith(PNG_START):
        raise DepthError(f"depth: {what} is no PNG; expected a PNG or compressedDepth in PNG, {_EXPECTED}")
    if dtype == np.float32 and not has_header:
        raise DepthError(
            f"depth: {what} is 32FC1 in a PNG without the header of compressedDepth, so that its unit is unknown;"
            " expected compressedDepth, or a PNG of 16UC1 in millimetres"
        )
    pixels = _png_pixels(what, png)
    if dtype == np.uint16:
        return _from_millimetres(pixels)
    _, a, b = _HEADER.unpack_from(data)
    if not (np.isfinite([a, b]).all() and a > 0):
        raise DepthError(
            f"depth: {what} has the quantisation {a:g}, {b:g} in its header, expected finite, the first > 0"
        )
    # Its encoder quantises the inverse of depth; 0 stands for unknown.
    with np.errstate(divide="ignore"):
        metres = np.float32(a) / (pixels.astype(np.float32) - np.float32(b))
    metres[pixels == 0] = np.nan
    return _known(metres)


def _png_pixels(what: str, png: bytes) -> npt.NDArray[np.uint16]:
    height, width = png_size(what, png)
    _check_size(what, height, width)
    if png[24:26] != _GREY_16:
        raise DepthError(f"depth: {what} is no PNG of one channel of 16 bits; expected {_EXPECTED}")
    try:
        pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise DepthError(f"depth: {what} is corrupt: {printable(str(error))}") from error
    if pixels is None:
        raise DepthError(f"depth: {what} is corrupt: its pixels do not decode")
    return np.asarray(pixels, np.uint16)


def _dtype(name: str, shown: str) -> np.dtype[Any]:
    dtype = _ENCODINGS.get(name.strip().lower())
    if dtype is None:
        raise DepthError(
            f"depth: encoding '{printable(shown, _LONGEST_NAME)}' is none of depth, expected {_EXPECTED}; remap depth"
            " to the depth image that is aligned to the colour image"
        )
    return dtype


def _check_size(what: str, height: int, width: int) -> None:
    if not 0 < height * width <= MAX_PIXELS:
        raise DepthError(f"depth: {what} has {height * width} pixels, expected 1 to {MAX_PIXELS}")


def _from_millimetres(pixels: npt.NDArray[np.uint16]) -> Depth:
    # By a table: a tenth of the time of arithmetic and comparisons.
    return np.asarray(_METRES[pixels], np.float32)


def _known(metres: Depth) -> Depth:
    with np.errstate(invalid="ignore"):
        metres[~((metres > 0) & (metres < np.inf))] = np.nan
    return metres


_METRES = np.arange(65536, dtype=np.float32) / 1000
_METRES[[0, 65535]] = np.nan
