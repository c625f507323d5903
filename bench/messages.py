"""Image messages to send."""

from __future__ import annotations

import array
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import Image
from std_msgs.msg import Header


def to_image(pixels: npt.NDArray[Any], encoding: str, header: Header) -> Image:
    """An Image message of an array, (H, W) or (H, W, C) in the layout of `encoding`, native byte order, any strides."""
    pixels = np.ascontiguousarray(pixels)
    # The setter of `data` checks every element of anything but an array.array.
    data = array.array("B")
    data.frombytes(pixels.data.cast("B"))
    height, width = pixels.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=pixels.nbytes // height,  # not strides[0], which means nothing where there is one row
        data=data,
    )
