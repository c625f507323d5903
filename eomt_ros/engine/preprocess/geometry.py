"""Places an image in a network's input, and brings masks back from there.

Each model family was published with its own way; the sizes here equal those of its reference, to the pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor

from eomt_ros.engine.errors import UnfitImageError

Size = tuple[int, int]
"""(height, width)."""

MULTIPLE = 32
"""Both sides of an input that keeps its aspect are padded to a multiple of this."""
LARGEST_LONG_SIDE = 1333
"""Pixels of the longer side where the aspect is kept."""
MOST_WINDOWS = 16
"""Windows of one image: each costs as much as a whole image otherwise."""
MASK2FORMER_MASKS: Size = (384, 384)
"""The size that Mask2Former's masks are resized to first, whatever the input's size."""


@dataclass(frozen=True)
class Window:
    """A part of the resized image that the network sees by itself."""

    rows: slice
    columns: slice


@dataclass(frozen=True)
class Placement:
    """The place of an image in the network's input."""

    image: Size
    resized: Size
    """Size of the image in the input, without padding."""
    input: Size
    """Size of the input, with padding at the right and below; of each window where there are several."""
    between: Size | None = None
    """Size that masks are resized to before they are cropped and resized to the image; None: to the image at once."""
    windows: tuple[Window, ...] = ()
    """Empty: the whole input at once."""
    pads_normalised: bool = False
    """True if the padding is 0 after normalisation; else it is black before it."""

    def masks(self, logits: Tensor) -> Tensor:
        """Resizes and crops mask logits, (n, h, w) float32, to the part of `between` that shows the image; one bilinear
        resize to the image is left.
        """
        if self.between is None or not len(logits):  # torch resizes no maps of none
            return logits
        height, width = self.shown
        return F.interpolate(logits[None], self.between, mode="bilinear")[0, :, :height, :width]

    @property
    def shown(self) -> Size:
        """Size of the part of `between` that shows the image, from the top left."""
        assert self.between is not None
        return self.between if self.between != self.input or self.windows else self.resized

    def stitched(self, maps: Sequence[Tensor]) -> Tensor:
        """Joins the maps of the windows, (n, *resized), by their mean where they overlap.

        maps: (n, *input) of each window.
        """
        total = maps[0].new_zeros(len(maps[0]), *self.resized)
        times = total.new_zeros(self.resized)
        for part, window in zip(maps, self.windows, strict=True):
            total[:, window.rows, window.columns] += part
            times[window.rows, window.columns] += 1
        return total.div_(times.clamp(min=1))


Fit = Callable[[Size], Placement]
"""Places an image of a size."""


def stretch(size: Size) -> Fit:
    """Every image to the same size, whatever its aspect (Hugging Face's VidEoMT)."""
    return lambda image: Placement(image, size, size)


def keep_aspect(short_side: int) -> Fit:
    """The shorter side to `short_side`, the longer to at most `LARGEST_LONG_SIDE`, padded with 0 after normalisation.

    As VidEoMT was published (detectron2's `ResizeShortestEdge` and `ImageList`).
    """

    def place(image: Size) -> Placement:
        scale = short_side / min(image)
        height, width = (short_side if side == min(image) else scale * side for side in image)
        shrink = min(1.0, LARGEST_LONG_SIDE / max(height, width))
        resized = max(1, int(height * shrink + 0.5)), max(1, int(width * shrink + 0.5))
        filled = _multiple(resized[0]), _multiple(resized[1])
        return Placement(image, resized, filled, between=filled, pads_normalised=True)

    return place


def pad_to_square(side: int) -> Fit:
    """The longer side to `side`, padded with black (EoMT's instance and panoptic tasks)."""

    def place(image: Size) -> Placement:
        square = side, side
        return Placement(image, shortest_edge(image, side, side), square, between=square)

    return place


def sliding_windows(side: int) -> Fit:
    """The shorter side to `side`, the longer cut into overlapping squares (EoMT's semantic task).

    Raises `UnfitImageError` for an image that is too narrow.
    """

    def place(image: Size) -> Placement:
        resized = shortest_edge(image, side)
        longer = max(resized)
        count = math.ceil(longer / side)
        if count > MOST_WINDOWS:
            raise UnfitImageError(
                f"image is {image[1]}x{image[0]}, which the semantic task would cut into {count} windows, expected at "
                f"most {MOST_WINDOWS}: a side at most {MOST_WINDOWS} times the other; crop the image"
            )
        overlap = (count * side - longer) / (count - 1) if count > 1 else 0
        starts = [int(index * (side - overlap)) for index in range(count)]  # rounded as the reference rounds
        parts = [slice(start, start + side) for start in starts]
        whole = slice(0, side)
        tall = resized[0] > resized[1]
        windows = tuple(Window(part, whole) if tall else Window(whole, part) for part in parts)
        return Placement(image, resized, (side, side), between=(side, side), windows=windows)

    return place


def stretch_to_multiple(shortest: int, longest: int, multiple: int) -> Fit:
    """About the aspect: the shorter side to `shortest`, the longer to at most `longest`, then both up to a multiple
    (Mask2Former's image processor).
    """

    def place(image: Size) -> Placement:
        height, width = shortest_edge(image, shortest, longest)
        size = _multiple(height, multiple), _multiple(width, multiple)
        return Placement(image, size, size, between=MASK2FORMER_MASKS)

    return place


def stretch_to_masks(size: Size, multiple: int) -> Fit:
    """Every image to the same size, up to a multiple, and masks by way of `MASK2FORMER_MASKS` (Mask2Former)."""
    filled = _multiple(size[0], multiple), _multiple(size[1], multiple)
    return lambda image: replace(stretch(filled)(image), between=MASK2FORMER_MASKS)


def unresized(image: Size) -> Placement:
    """Every image as it is (Mask2Former's image processor that is told not to resize)."""
    return Placement(image, image, image, between=MASK2FORMER_MASKS)


def several_samples(fit: Fit) -> Fit:
    """As `fit`; raises `UnfitImageError` where the network would see a single sample, of which Mask2Former cannot take
    the variance.
    """

    def place(image: Size) -> Placement:
        placement = fit(image)
        if max(placement.input) <= MULTIPLE:
            height, width = placement.input
            raise UnfitImageError(
                f"image is {image[1]}x{image[0]}, and the network sees {width}x{height} pixels of it, by the model's "
                f"processor, expected more than {MULTIPLE}x{MULTIPLE}"
            )
        return placement

    return place


def shortest_edge(image: Size, shortest: int, longest: int | None = None) -> Size:
    """An image's size when its shorter side is `shortest`, and the longer at most `longest`.

    As Hugging Face's `get_size_with_aspect_ratio` (transformers, image_transforms.py), rounding and all; at least 1.
    """
    height, width = image
    short, long = float(min(image)), float(max(image))
    exact: float = shortest
    side = shortest
    if longest is not None and long / short * shortest > longest:
        exact = longest * short / long
        side = round(exact)
    if min(image) == side:
        return image
    other = int(exact * height / width) if width < height else int(exact * width / height)
    resized = (other, side) if width < height else (side, other)
    return max(1, resized[0]), max(1, resized[1])


def _multiple(side: int, multiple: int = MULTIPLE) -> int:
    return -(-side // multiple) * multiple if multiple else side
