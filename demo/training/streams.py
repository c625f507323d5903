"""Worlds played as a camera would show them: frames in order, each stream with its own crop, mirror, colours and
noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from demo.training.dataset import IMAGE_SIZE, Clip
from demo.training.recipe import SETTINGS, Recipe

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = SETTINGS.image_size
NOISE = torch.randn(3, 2 * SIDE, 2 * SIDE, generator=torch.Generator().manual_seed(0))


@dataclass
class Stream:
    """One world being played: where it is, how it looks, and which query has which thing."""

    clip: Clip
    phase: int
    """Place on the way through the clip and back again, which repeats, so that things out of view return."""
    stride: int
    left: int
    """Frames still to be played."""
    flip: bool
    crop: tuple[int, int, int]
    """Top, left and side of the square that is shown, in pixels of the image."""
    gain: np.ndarray
    query_of: dict[int, int] = field(default_factory=dict)
    last_seen: dict[int, int] = field(default_factory=dict)
    frames: int = 0

    @classmethod
    def open(cls, clip: Clip, generator: np.random.Generator, length: int) -> Stream:
        """A stream over the clip, to and fro, from anywhere in it, with its own crop, mirror and colours."""
        count = len(clip.images)
        side = (
            IMAGE_SIZE
            if generator.random() < 0.5
            else 2 * int(generator.integers(IMAGE_SIZE * 5 // 16, IMAGE_SIZE // 2))
        )
        top, left = (2 * int(generator.integers(0, (IMAGE_SIZE - side) // 2 + 1)) for _ in range(2))
        return cls(
            clip=clip,
            phase=int(generator.integers(2 * count)),
            stride=int(generator.choice([1, 1, 2])),
            left=length if length == 1 else int(generator.integers(count // 2, 2 * count)),
            flip=bool(generator.random() < 0.5),
            crop=(top, left, side),
            gain=(generator.uniform(0.75, 1.25) * generator.uniform(0.9, 1.1, 3)).astype(np.float32),
        )

    def has(self, length: int) -> bool:
        """True if that many frames are left."""
        return length <= self.left

    def take(self, length: int) -> tuple[Tensor, Tensor]:
        """The next frames, (length, 3, side, side) normalised, and their segments, (length, side / 2, side / 2)."""
        count = len(self.clip.images)
        phase = (self.phase + self.stride * np.arange(length)) % (2 * count)
        index = np.where(phase < count, phase, 2 * count - 1 - phase)
        self.phase += self.stride * length
        self.left -= length
        top, left, side = self.crop
        images = self.clip.images[index, top : top + side, left : left + side]
        labels = self.clip.segments[index, top // 2 : (top + side) // 2, left // 2 : (left + side) // 2]
        pixels = resize(torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2))
        pixels = pixels.float() * torch.from_numpy(self.gain).view(3, 1, 1)
        segments = torch.from_numpy(np.ascontiguousarray(labels))[:, None]
        segments = F.interpolate(segments, (SIDE // 2, SIDE // 2), mode="nearest-exact")[:, 0].long()
        if self.flip:
            pixels, segments = pixels.flip(-1), segments.flip(-1)
        return normalise(pixels.clamp_(0, 255) + sensor_noise(pixels.shape)), segments


def stream_batches(
    clips: list[Clip], recipe: Recipe, generator: np.random.Generator
) -> Iterator[tuple[list[Stream], list[bool]]]:
    """Streams side by side for ever, and which of them begin with first queries; one that ends is replaced by another
    world.
    """
    streams: list[Stream] = []
    while True:
        fresh = []
        for index in range(recipe.streams):
            ended = index >= len(streams) or not streams[index].has(recipe.chunk)
            fresh.append(ended and (index >= len(streams) or generator.random() < recipe.forget_share))
            if ended:
                stream = Stream.open(clips[generator.integers(len(clips))], generator, recipe.chunk)
                streams[index : index + 1] = [stream]
        yield streams, fresh


def resize(images: Tensor) -> Tensor:
    """Images (frames, 3, H, W) uint8 at the network's size, resized as the engine resizes them."""
    return F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)


def normalise(pixels: Tensor) -> Tensor:
    """Grey levels (frames, 3, H, W) to the network's numbers."""
    mean, std = (255.0 * torch.tensor(value).view(3, 1, 1) for value in (MEAN, STD))
    return (pixels - mean) / std


def sensor_noise(shape: torch.Size) -> Tensor:
    """Camera noise of a random strength: a random window of one fixed field, since drawing new noise would cost a
    tenth of a step.
    """
    top, left = (int(value) for value in torch.randint(0, SIDE, (2,)))
    window = NOISE[:, top : top + SIDE, left : left + SIDE]
    return 4.0 * torch.randn(shape[0], 1, 1, 1) * window
