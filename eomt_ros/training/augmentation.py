"""How a clip is shown to a network that learns: drawn once, and the same for all frames of a clip or a stream.

Large-scale jitter (Ghiasi et al., CVPR 2021), as EoMT and Mask2Former train with it: the image is resized by a random
factor, and a square of the network's size is cut out at random; where the image is smaller it lies at the top left, and
the rest is black and asks for nothing. At factor 1 the image has the place that the engine gives it in use: VidEoMT's
is stretched to the square, EoMT's is padded at the right or below (panoptic, instance), or has its shorter side as long
as the square's (semantic, which the engine cuts into windows). Other factors keep that shape, so nothing is ever seen
in proportions that it does not have in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from eomt_ros.engine.model.families import FAMILIES
from eomt_ros.engine.model.processor import Processor
from eomt_ros.engine.networks import Dinov2Settings
from eomt_ros.engine.preprocess.geometry import Fit, Size
from eomt_ros.training.settings import TrainingSettings

BRIGHTNESS = 32.0
"""Grey levels, at strength 1; with the next two as Mask2Former's `ColorAugSSDTransform`."""
CONTRAST = SATURATION = 0.5
HUE = 36.0
"""Degrees of the colour circle."""
WHITE_BALANCE = 0.1
"""Largest change of a channel, for lamps of another colour."""
SMALLEST_FACTOR = 0.1
"""Of contrast and saturation: an image without any shows nothing."""
GREY = (0.299, 0.587, 0.114)
"""Brightness of red, green and blue (ITU-R BT.601)."""
UNCHANGED = np.eye(3, 4, dtype=np.float32)
NOISE_MARGIN = 256
"""Pixels by which the field of noise is larger than an image."""


@dataclass(frozen=True, eq=False)
class ClipView:
    """What is drawn once for a clip or a stream."""

    scale: float
    down: float
    """Where the square is cut out, 0 top to 1 bottom."""
    across: float
    """0 left to 1 right."""
    flip: bool
    colours: npt.NDArray[np.float32]
    """(3, 4) to red, green and blue from those and 1."""
    noise: float
    """Deviation of the camera's noise, in grey levels."""


@dataclass(frozen=True)
class Cut:
    """The part of an image that is shown, and its size in the network's input, where it lies at the top left."""

    rows: slice
    columns: slice
    shown: Size


class Augmentation:
    """Draws views by a run's settings, and shows images and labels in them; used by several threads at once."""

    def __init__(self, settings: TrainingSettings) -> None:
        self._settings = settings
        self.size = settings.size
        self.fit = fit_in_use(settings)
        side = self.size + NOISE_MARGIN
        self._field = np.random.default_rng(0).standard_normal((3, side, side), np.float32)

    def draw(self, generator: np.random.Generator) -> ClipView:
        """A view: the whole image as in use for a share `whole`, else anything within `jitter`."""
        settings = self._settings
        whole = generator.random() < settings.whole
        scale, down, across, flip, noise = generator.random(5).tolist()
        smallest, largest = settings.jitter
        return ClipView(
            scale=1.0 if whole else smallest + (largest - smallest) * scale,
            down=down,
            across=across,
            flip=flip < settings.flip,
            colours=draw_colours(generator, settings.colour),
            noise=settings.noise * noise,
        )

    def cut(self, view: ClipView, image: Size) -> Cut:
        """The part of an image of some size that a view shows.

        Raises `UnfitImageError` for an image that the engine refuses too.
        """
        whole = [max(1, round(view.scale * side)) for side in self.fit(image).resized]
        shown = [min(self.size, side) for side in whole]
        parts = []
        for length, full, part, place in zip(image, whole, shown, (view.down, view.across), strict=True):
            count = max(1, round(length * part / full))
            start = min(int(place * (length - count + 1)), length - count)
            parts.append(slice(start, start + count))
        return Cut(parts[0], parts[1], (shown[0], shown[1]))

    def pixels(
        self, view: ClipView, image: npt.NDArray[np.uint8], generator: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """An image, (H, W, 3) uint8, as the network sees it, (3, size, size), 0 to 255.

        generator: of the noise, which is another one in every frame: a random window of one fixed field, since drawing
        it anew would take as long as all the rest.
        """
        cut = self.cut(view, image.shape[:2])
        height, width = cut.shown
        # The same call as the engine's, so that its numbers are the same too.
        part = torch.from_numpy(image[cut.rows, cut.columns]).permute(2, 0, 1)[None]
        planes = list(F.interpolate(part, cut.shown, mode="bilinear", antialias=True)[0].numpy())
        if not np.array_equal(view.colours, UNCHANGED):
            planes = list(cv2.split(cv2.transform(cv2.merge(planes), view.colours)))
        pixels = np.zeros((3, self.size, self.size), np.float32)
        shown = pixels[:, :height, :width]
        for to, plane in zip(shown, planes, strict=True):
            to[:] = cv2.flip(plane, 1) if view.flip else plane
        if view.noise > 0:
            top, left = generator.integers(0, NOISE_MARGIN, 2).tolist()
            shown += view.noise * self._field[:, top : top + height, left : left + width]
            np.clip(shown, 0, 255, out=shown)
        return pixels

    def labels(self, view: ClipView, labels: npt.NDArray[np.signedinteger], size: int) -> npt.NDArray[np.signedinteger]:
        """Labels of an image, (H, W), at the network's input, (size, size), by the nearest; -1 where no image is."""
        cut = self.cut(view, labels.shape)
        centres = (np.arange(size) + 0.5) * (self.size / size)
        rows, columns = (
            part.start + (centres[centres < length] * ((part.stop - part.start) / length)).astype(np.intp)
            for part, length in zip((cut.rows, cut.columns), cut.shown, strict=True)
        )
        shown = np.full((size, size), -1, labels.dtype)
        shown[: len(rows), : len(columns)] = labels.take(rows, 0).take(columns[::-1] if view.flip else columns, 1)
        return shown


def fit_in_use(settings: TrainingSettings) -> Fit:
    """How the engine places an image for the network that is trained, when nothing else is asked of it."""
    shape = Dinov2Settings(num_labels=1, image_size=settings.size)
    return FAMILIES[settings.family].fit(shape, Processor(), settings.task, "stretch", settings.size)


def draw_colours(generator: np.random.Generator, strength: float) -> npt.NDArray[np.float32]:
    """Brightness, contrast, saturation, hue and white balance, each changed in half of all cases, as one (3, 4) map.

    As Mask2Former's `ColorAugSSDTransform`, with saturation and hue as changes along and around the grey axis, which
    are linear: one product does for all of it.
    """
    brightness, contrast, saturation, hue, balance = strength * (generator.random(5) < 0.5)
    contrast = max(SMALLEST_FACTOR, 1 + CONTRAST * contrast * generator.uniform(-1, 1))
    saturation = max(SMALLEST_FACTOR, 1 + SATURATION * saturation * generator.uniform(-1, 1))
    turned = hue_rotation(np.deg2rad(HUE * hue * generator.uniform(-1, 1)))
    saturated = saturation * np.eye(3) + (1 - saturation) * np.outer(np.ones(3), GREY)
    offset = np.full(3, BRIGHTNESS * brightness * generator.uniform(-1, 1))
    lamp = 1 + WHITE_BALANCE * balance * generator.uniform(-1, 1, (3, 1))
    return (lamp * contrast * np.column_stack([turned @ saturated, offset])).astype(np.float32)


def hue_rotation(angle: float) -> npt.NDArray[np.float64]:
    """The (3, 3) rotation of colours about the grey axis (Rodrigues), radians."""
    axis = np.full(3, 3**-0.5)
    cross = np.cross(np.eye(3), axis)
    return np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(axis, axis)
