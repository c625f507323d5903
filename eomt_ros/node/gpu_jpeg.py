"""JPEG images decoded where the network runs, if that gives the picture that OpenCV gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eomt_ros.images import decode

if TYPE_CHECKING:
    import numpy.typing as npt
    from rclpy.impl.rcutils_logger import RcutilsLogger
    from torch import Tensor

    from eomt_ros.engine import Segmenter
    from eomt_ros.node.cdr import CompressedImageView, ImageView

CLOSE = 2.0
"""Grey levels, in the mean: decoders round and interpolate colours in their own ways."""


class GpuJpegs:
    """Decodes messages, JPEG ones on the GPU from the first one on that OpenCV agrees about."""

    def __init__(self, segmenter: Segmenter, logger: RcutilsLogger) -> None:
        self._segmenter = segmenter
        self._logger = logger
        self._trusted: bool | None = None

    def decode(self, message: ImageView | CompressedImageView) -> npt.NDArray[np.uint8] | Tensor:
        """The picture in a message, as `images.decode` gives it, or the same on the GPU."""
        if self._trusted is False:
            return decode(message)
        image = decode(message, self._segmenter.decode_jpeg)
        if self._trusted or isinstance(image, np.ndarray):
            return image
        expected = decode(message)
        found = image.cpu().numpy()
        apart = float(np.abs(found.astype(np.int16) - expected).mean()) if found.shape == expected.shape else np.inf
        self._trusted = apart <= CLOSE
        if not self._trusted:
            self._logger.warning(
                "JPEG images are decoded on the CPU, because the GPU's decoder gives another picture: "
                f"{apart:.1f} grey levels from OpenCV's in the mean, expected at most {CLOSE:g}"
            )
            return expected
        return image
