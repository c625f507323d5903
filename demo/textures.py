"""Procedural surfaces: each is drawn as one `(n, n, 3) uint8` picture, or as the six `(6n, n, 3)` of a cube's sides."""

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Color = NDArray[np.float64]


def shade(hue: float, saturation: float, value: float) -> Color:
    """One RGB colour, each channel 0..1, from hue in turns, saturation and value 0..1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def floor(rng: np.random.Generator) -> Picture:
    """Concrete, planks or tiles."""
    return picture([_concrete, _planks, _tiles][rng.integers(3)](rng))


def wall(rng: np.random.Generator) -> Picture:
    """Paint in two tones, brick, or ribbed panels; the top row of the picture is the top of the wall."""
    return picture([_paint, _bricks, _panels][rng.integers(3)](rng))


def cardboard(rng: np.random.Generator) -> Picture:
    """The six faces of a cardboard box: brown, with tape along the middle and dark print on some faces."""
    size = 64
    base = shade(rng.uniform(0.065, 0.095), rng.uniform(0.42, 0.6), rng.uniform(0.5, 0.85))
    tape = base * rng.uniform(0.7, 0.8) if rng.random() < 0.5 else 0.5 * base + 0.5
    has_band = rng.random() < 0.5
    faces = []
    for face in range(6):
        image = base * (1.0 + 0.12 * noise(rng, size, 3)[..., None]) * rng.uniform(0.93, 1.04)
        image[[0, 1, -1, -2]] *= 0.75
        image[:, [0, 1, -1, -2]] *= 0.75
        if face in (4, 5) or (has_band and face in (0, 1)):
            image[:, 28:36] = tape
        if face < 4 and rng.random() < 0.75:
            _print_mark(image, rng)
        faces.append(picture(image))
    return np.concatenate(faces)


def ball(rng: np.random.Generator) -> Picture:
    """The six faces of a ball in two vivid colours: halves, stripes, segments or spots."""
    hue = rng.random()
    colors = np.stack(
        [shade(hue, rng.uniform(0.8, 1.0), rng.uniform(0.75, 1.0)), shade(hue + rng.uniform(0.25, 0.75), 0.9, 0.95)]
    )
    if rng.random() < 0.5:
        colors[1] = rng.choice([0.95, 0.08], p=[0.75, 0.25])
    size = 64
    x, y, z = _cube_directions(4 * size)
    style = rng.integers(4)
    if style == 0:
        second = z > 0.0
    elif style == 1:
        second = np.abs(z) < 0.35
    elif style == 2:
        second = np.floor(np.arctan2(y, x) / (np.pi / 3)).astype(int) % 2 == 0
    else:
        second = np.max(np.abs(np.stack([x, y, z])), axis=0) > 0.9
    soft = cv2.resize(second.astype(np.float64), (size, 6 * size), interpolation=cv2.INTER_AREA)[..., None]
    return picture(colors[0] + soft * (colors[1] - colors[0]))


def noise(rng: np.random.Generator, size: int, octaves: int) -> NDArray[np.float64]:
    """Smooth noise `(size, size)` around 0, coarse and less of the fine: each of the octaves is half as wide."""
    total = np.zeros((size, size))
    for octave in range(octaves):
        cells = 4 * 2**octave
        coarse = rng.uniform(-1.0, 1.0, (cells, cells)) / 1.6**octave
        total = total + cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return total / 2.0


def picture(image: NDArray[np.float64]) -> Picture:
    """Colours 0..1 as 8-bit ones."""
    return (np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


def _concrete(rng: np.random.Generator) -> NDArray[np.float64]:
    base = shade(rng.uniform(0.05, 0.65), rng.uniform(0.0, 0.12), rng.uniform(0.4, 0.7))
    image = base * (1.0 + 0.14 * noise(rng, 256, 6)[..., None])
    if rng.random() < 0.6:
        image[:2] *= 0.75
        image[:, :2] *= 0.75
    return image


def _planks(rng: np.random.Generator) -> NDArray[np.float64]:
    base = shade(rng.uniform(0.05, 0.09), rng.uniform(0.3, 0.5), rng.uniform(0.4, 0.65))
    image = np.empty((256, 256, 3))
    for row in range(8):
        grain = cv2.resize(rng.uniform(-1.0, 1.0, (16, 4)), (256, 32), interpolation=cv2.INTER_CUBIC)
        plank = base * rng.uniform(0.85, 1.12) * (1.0 + 0.1 * grain[..., None])
        plank[:1] *= 0.6
        joint = rng.integers(8, 248)
        plank[:, joint : joint + 2] *= 0.65
        image[32 * row : 32 * (row + 1)] = plank
    return image


def _tiles(rng: np.random.Generator) -> NDArray[np.float64]:
    base = shade(rng.random(), rng.uniform(0.0, 0.18), rng.uniform(0.45, 0.75))
    tones = 1.0 + rng.uniform(-0.05, 0.05, (4, 4)) + (rng.random() < 0.35) * 0.16 * (np.indices((4, 4)).sum(0) % 2)
    image = base * np.kron(tones, np.ones((64, 64)))[..., None] * (1.0 + 0.05 * noise(rng, 256, 5)[..., None])
    joints = np.arange(256) % 64 < 2
    image[joints] *= 0.7
    image[:, joints] *= 0.7
    return image


def _wall_tone(rng: np.random.Generator) -> Color:
    return shade(rng.random(), rng.uniform(0.02, 0.22), rng.uniform(0.6, 0.9))


def _paint(rng: np.random.Generator) -> NDArray[np.float64]:
    image = _wall_tone(rng) * (1.0 + 0.05 * noise(rng, 128, 4)[..., None])
    if rng.random() < 0.6:
        edge = rng.integers(70, 95)
        image[edge:] *= shade(rng.random(), rng.uniform(0.1, 0.35), rng.uniform(0.7, 0.95))
        image[edge : edge + 2] *= 0.7
    image[-4:] *= 0.55
    return image


def _bricks(rng: np.random.Generator) -> NDArray[np.float64]:
    red = rng.random() < 0.4
    base = shade(0.03, rng.uniform(0.25, 0.42), rng.uniform(0.45, 0.65)) if red else _wall_tone(rng)
    size, height, width = 256, 8, 32
    rows, columns = np.indices((size, size))
    course = rows // height
    shifted = (columns + (course % 2) * width // 2) % size
    tones = 1.0 + rng.uniform(-0.12, 0.12, (size // height, size // width))
    image = base * tones[course, shifted // width][..., None]
    mortar = (rows % height == 0) | (shifted % width < 1)
    image[mortar] = base * (1.25 if red else 0.88)
    return image


def _panels(rng: np.random.Generator) -> NDArray[np.float64]:
    ribs = 1.0 + rng.uniform(0.02, 0.06) * np.sign(np.sin(np.arange(128) * 2 * np.pi / rng.choice([8, 16, 32])))
    image = _wall_tone(rng) * np.broadcast_to(ribs[None, :, None], (128, 128, 3)).copy()
    image *= 1.0 + 0.04 * noise(rng, 128, 3)[..., None]
    image[-6:] *= 0.6
    return image


def _print_mark(image: NDArray[np.float64], rng: np.random.Generator) -> None:
    ink = image.mean(axis=(0, 1)) * rng.uniform(0.2, 0.45)
    top, left = rng.integers(8, 36), rng.integers(6, 34)
    style = rng.integers(3)
    if style == 0:
        for line in range(3):
            image[top + 6 * line : top + 6 * line + 3, left : left + rng.integers(12, 24)] = ink
    elif style == 1:
        bars = left + np.flatnonzero(rng.random(22) < 0.5)
        image[top : top + 14, left - 2 : left + 24] = 0.92
        image[top + 2 : top + 12, bars] = 0.1
    else:
        image[top + 8 : top + 20, left + 6 : left + 10] = ink
        for row in range(8):
            image[top + row, left + 8 - row : left + 8 + row] = ink


def _cube_directions(size: int) -> NDArray[np.float64]:
    """Directions `(3, 6 size, size)` through a cube map whose faces are stacked right, left, up, down, front, back."""
    v, u = (np.indices((size, size)) + 0.5) / size * 2.0 - 1.0
    one = np.ones_like(u)
    faces = [(one, -v, -u), (-one, -v, u), (u, one, v), (u, -one, -v), (u, -v, one), (-u, -v, -one)]
    directions = np.concatenate([np.stack(face) for face in faces], axis=1)
    return directions / np.linalg.norm(directions, axis=0)
