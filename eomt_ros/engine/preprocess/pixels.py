"""A camera image to the network's input: resized, scaled and normalised, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eomt_ros.engine.errors import first_line
from eomt_ros.engine.preprocess.geometry import Placement, Size

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

Channels = tuple[int, int, int]
PIL_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
"""Modes of at most 8 bits: PIL cuts off others at white."""


class Preprocessor:
    """Resizes an image to the network's input and normalises it, as Hugging Face's processors do.

    mean, std: per channel, for pixels scaled to 0..1.

    On the CPU the result differs from Hugging Face's by float rounding only (under 1e-6): both resize the uint8 image
    with antialiasing. On CUDA, where torch resizes no uint8, the resize is done in float and rounded, which can differ
    by one grey level.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dtype = dtype
        self.mean = 255.0 * torch.tensor(mean, dtype=torch.float32, device=device).view(1, 3, 1, 1)
        self.std = 255.0 * torch.tensor(std, dtype=torch.float32, device=device).view(1, 3, 1, 1)

    def __call__(self, image: np.ndarray, placement: Placement) -> Tensor:
        """Prepares one image.

        image: (H, W, 3) uint8 RGB, with any strides: a padded, channel-reversed (BGR) or repeated (grey) view is not
        copied first. placement: of an image of its size.
        Returns (windows or 1, 3, height, width) on the device. Raises `ValueError` for another shape or type.
        """
        rows, channels = rows_of(image)
        pixels = torch.from_numpy(rows)
        if self.mean.is_cuda:  # from page-locked memory the device copies by itself
            pixels = pixels.pin_memory().to(self.mean.device, non_blocking=True)
        resized = _resized(pixels.permute(2, 0, 1)[None], placement.resized)
        if channels != (0, 1, 2):
            resized = torch.cat([resized[:, channel : channel + 1] for channel in channels], 1)
        below, beside = placement.input[0] - resized.shape[2], placement.input[1] - resized.shape[3]
        if placement.windows:
            resized = torch.cat([resized[:, :, window.rows, window.columns] for window in placement.windows])
        elif placement.pads_normalised:
            return F.pad(self.normalise(resized), (0, beside, 0, below))
        elif below or beside:
            resized = F.pad(resized, (0, beside, 0, below))
        return self.normalise(resized)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Grey levels 0..255 to the network's numbers, (batch, 3, height, width)."""
        return pixels.to(torch.float32).sub_(self.mean).div_(self.std).to(self.dtype)


def rows_of(image: np.ndarray) -> tuple[np.ndarray, Channels]:
    """The image as torch takes it, (H, W, 3 or 1) uint8, and the indices of its red, green and blue channel.

    image: (H, W, 3) uint8 RGB, with any strides; one grey channel shown three times is one channel of the answer.
    Copied only where rows or columns run backwards. Raises `ValueError` for another shape or type.
    """
    expect_image(image)
    channels = 0, 1, 2
    if image.strides[2] == 0:  # resize it once
        image, channels = image[:, :, :1], (0, 0, 0)
    elif image.strides[2] < 0:  # torch takes no negative strides: turn the channels round when the image is small
        image, channels = image[:, :, ::-1], (2, 1, 0)
    column_major = image.strides[0] < image.strides[1]  # torch 2.13 misreads one that is a single column wide
    if min(image.strides) < 0 or column_major:
        image = image.copy()
    elif not image.flags.writeable:
        image = np.asarray(_Writable(image))
    return image, channels


def _resized(pixels: Tensor, size: Size) -> Tensor:
    """Grey levels, (1, n, H, W) uint8, at a size; float32 on CUDA."""
    if pixels.device.type == "cpu":
        return F.interpolate(pixels, size, mode="bilinear", antialias=True)
    return F.interpolate(pixels.float(), size, mode="bilinear", antialias=True).round_().clamp_(0, 255)


def as_image(image: np.ndarray | PilImage) -> np.ndarray:
    """The image as an array, (H, W, 3) uint8. Raises `ValueError` for anything else than such an array or one of PIL.

    PIL converts its own to RGB, without transparency; an orientation in the Exif is ignored.
    """
    if not isinstance(image, np.ndarray):
        mode = getattr(image, "mode", None)
        if mode not in PIL_MODES:
            what = f"of PIL's mode {mode}" if isinstance(mode, str) else f"a {type(image).__name__}"
            raise ValueError(f"image is {what}, expected (height, width, 3) uint8, or one of PIL in 8 bits")
        try:
            image = np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError) as error:  # PIL reads a file only now
            raise ValueError(f"image cannot be read by PIL: {first_line(error)}") from error
    expect_image(image)
    return image


def expect_image(image: np.ndarray) -> None:
    """Raises `ValueError` unless the image is (H, W, 3) uint8."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"image is {tuple(image.shape)} {image.dtype}, expected (height, width, 3) uint8")


class _Writable:
    """Shows a read-only array as a writable one: torch warns of the former, and nothing here writes."""

    def __init__(self, array: np.ndarray) -> None:
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}
        self._owner = array  # of the memory, which numpy keeps as long as it keeps this
