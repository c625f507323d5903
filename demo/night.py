"""The warehouse at night: most lamps off, the others coloured, a lamp on the robot, a camera that has to amplify."""

from collections.abc import Sequence

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from demo import textures
from demo.builder import BOX, CAMERA, ModelBuilder
from demo.layout import Layout

MOST_LAMPS = 4
"""MuJoCo draws eight lights; the others are the moon, the robot's lamp and the ambient light."""
HUES = (0.08, 0.11, 0.5, 0.62, 0.0, 0.38, 0.83)
"""Of lamps: sodium, halogen, mercury, cold white, and what signs and beacons give."""
EXPOSURE = 1.25

Array = NDArray[np.float64]


def floor(rng: np.random.Generator) -> textures.Picture:
    """Chequer plate, asphalt with patches, or epoxy with worn tracks."""
    return textures.picture([_chequer_plate, _asphalt, _epoxy][rng.integers(3)](rng))


def wall(rng: np.random.Generator) -> textures.Picture:
    """Corrugated steel, shuttered concrete, or boards; the top row of the picture is the top of the wall."""
    return textures.picture([_corrugated, _shuttered, _boards][rng.integers(3)](rng))


def add_lamps(builder: ModelBuilder, places: Sequence[tuple[float, float]], height: float) -> None:
    """A lamp at each place, most of them off; those that are on light the floor below in a colour of their own."""
    rng = builder.rng
    hues = rng.choice(HUES, 2, replace=False)
    lit = set(rng.permutation(len(places))[: rng.integers(2, MOST_LAMPS + 1)].tolist())
    for number, (x, y) in enumerate(places):
        if number not in lit:
            builder.shape(BOX, (x, y, height - 0.03), (0.6, 0.12, 0.02), (0.25, 0.25, 0.26))
            continue
        color = textures.shade(rng.choice(hues) + rng.normal(0.0, 0.015), rng.uniform(0.45, 0.9), 1.0)
        builder.shape(BOX, (x, y, height - 0.03), (0.6, 0.12, 0.02), 0.5 + 0.5 * color, emission=1.0)
        light = builder.spec.worldbody.add_light(castshadow=number == min(lit))
        light.type = mujoco.mjtLightType.mjLIGHT_SPOT
        light.pos, light.dir = [x, y, height - 0.08], [*rng.uniform(-0.25, 0.25, 2), -1.0]
        light.cutoff, light.exponent = 75.0, 3.0
        light.attenuation = [0.35, 0.0, 0.14]
        light.ambient, light.specular = [0.0, 0.0, 0.0], 0.2 * color
        light.diffuse = rng.uniform(1.0, 1.7) * color


def add_lights(builder: ModelBuilder, layout: Layout) -> None:
    """Moonlight from one side, a little light from everywhere, and the robot's own lamp."""
    rng = builder.rng
    ambient = textures.shade(rng.uniform(0.55, 0.7), rng.uniform(0.2, 0.6), rng.uniform(0.12, 0.22))
    headlight = builder.spec.visual.headlight
    headlight.ambient, headlight.diffuse, headlight.specular = ambient, 0.35 * ambient, [0.0, 0.0, 0.0]
    moon = builder.spec.worldbody.add_light(castshadow=False)
    moon.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    moon.pos = [layout.length / 2, layout.width / 2, layout.height - 0.1]
    moon.dir = [*rng.uniform(-1.0, 1.0, 2), -0.7]
    moon.ambient, moon.specular = [0.0, 0.0, 0.0], [0.05, 0.05, 0.05]
    moon.diffuse = rng.uniform(0.1, 0.25) * np.array([0.7, 0.85, 1.1])
    lamp = builder.spec.body(CAMERA).add_light(castshadow=False)
    lamp.type = mujoco.mjtLightType.mjLIGHT_SPOT
    lamp.pos, lamp.dir = [0.05, rng.uniform(-0.15, 0.15), -0.15], [1.0, 0.0, rng.uniform(-0.2, -0.05)]
    lamp.cutoff, lamp.exponent = rng.uniform(30.0, 45.0), 12.0
    lamp.attenuation = [0.5, 0.05, 0.05]
    lamp.ambient, lamp.specular = [0.0, 0.0, 0.0], [0.2, 0.2, 0.2]
    lamp.diffuse = rng.uniform(0.5, 1.1) * textures.shade(rng.choice([0.12, 0.6]), rng.uniform(0.05, 0.25), 1.0)


def develop(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture with dark corners and the grain of a sensor that has to amplify: more in colour than in grey."""
    height, width = image.shape[:2]
    light = EXPOSURE * image.astype(np.float32) / 255.0
    y, x = np.ogrid[-1.0 : 1.0 : height * 1j, -1.0 : 1.0 : width * 1j]
    light *= (1.0 - 0.3 * (x**2 + y**2) / 2)[..., None].astype(np.float32)
    grain = rng.standard_normal((height, width, 3), np.float32)
    grain = 0.6 * grain + 1.2 * cv2.GaussianBlur(grain, (3, 3), 0.8)  # demosaicing smears it
    strength = 0.012 + 0.05 * np.sqrt(np.maximum(light.mean(-1, keepdims=True), 0.0))
    return np.clip(255.0 * (light + 0.012 + strength * grain), 0, 255).astype(np.uint8)


def _chequer_plate(rng: np.random.Generator) -> Array:
    base = textures.shade(rng.uniform(0.5, 0.65), rng.uniform(0.0, 0.12), rng.uniform(0.35, 0.55))
    image = base * (1.0 + 0.12 * textures.noise(rng, 256, 5)[..., None])
    for row in range(16):
        for column in range(16):
            centre = (16 * column + 8, 16 * row + 8)
            angle = 45.0 if (row + column) % 2 else -45.0
            cv2.ellipse(image, centre, (6, 2), angle, 0, 360, (base * 1.5).tolist(), -1, cv2.LINE_AA)
    return image


def _asphalt(rng: np.random.Generator) -> Array:
    base = textures.shade(rng.uniform(0.55, 0.7), rng.uniform(0.0, 0.15), rng.uniform(0.2, 0.35))
    image = base * (1.0 + 0.25 * rng.standard_normal((256, 256, 1)) / 2 + 0.3 * textures.noise(rng, 256, 4)[..., None])
    patch = textures.noise(rng, 256, 3) > 0.25
    image[patch] *= rng.choice([0.6, 1.4])
    return image


def _epoxy(rng: np.random.Generator) -> Array:
    base = textures.shade(rng.choice([0.38, 0.58, 0.02, 0.12]), rng.uniform(0.25, 0.6), rng.uniform(0.3, 0.5))
    image = base * (1.0 + 0.05 * textures.noise(rng, 256, 4)[..., None])
    wear = np.exp(-(((np.arange(256) - rng.integers(40, 216)) / 22.0) ** 2))[:, None, None]
    grime = np.clip(0.6 + textures.noise(rng, 256, 5), 0.0, 1.0)[..., None]
    return image + wear * grime * (0.55 * base.mean() + 0.12 - image) * 0.8


def _corrugated(rng: np.random.Generator) -> Array:
    base = textures.shade(rng.random(), rng.uniform(0.05, 0.35), rng.uniform(0.35, 0.65))
    ribs = 1.0 + 0.28 * np.sin(np.arange(256) * 2 * np.pi / rng.choice([8, 16]))
    image = base * np.broadcast_to(ribs[None, :, None], (256, 256, 3)).copy()
    rust = np.clip(3.0 * textures.noise(rng, 256, 4) - rng.uniform(0.2, 0.9), 0.0, 1.0)[..., None]
    image += 0.7 * rust * (np.array([0.42, 0.22, 0.1]) - image)
    image[rng.integers(90, 170) :][:2] *= 0.5
    return image


def _shuttered(rng: np.random.Generator) -> Array:
    base = textures.shade(rng.uniform(0.08, 0.6), rng.uniform(0.0, 0.1), rng.uniform(0.35, 0.6))
    tones = 1.0 + rng.uniform(-0.15, 0.15, (4, 3))
    image = base * np.repeat(np.repeat(tones, 64, 0), 86, 1)[:, :256, None]
    image *= 1.0 + 0.2 * textures.noise(rng, 256, 5)[..., None]
    image[np.arange(256) % 64 < 2] *= 0.55
    image[:, np.arange(256) % 86 < 2] *= 0.55
    for y in range(16, 256, 32):
        for x in range(20, 256, 43):
            cv2.circle(image, (x, y), 2, (0.4 * base).tolist(), -1)
    stain = np.linspace(0.0, 1.0, 256)[:, None] * (textures.noise(rng, 256, 3) > 0.1)
    return image * (1.0 - 0.35 * stain[..., None])


def _boards(rng: np.random.Generator) -> Array:
    base = textures.shade(rng.uniform(0.04, 0.1), rng.uniform(0.2, 0.5), rng.uniform(0.25, 0.45))
    image = np.empty((256, 256, 3))
    for column in range(16):
        grain = cv2.resize(rng.uniform(-1.0, 1.0, (6, 16)), (16, 256), interpolation=cv2.INTER_CUBIC)
        board = base * rng.uniform(0.75, 1.25) * (1.0 + 0.15 * grain[..., None])
        board[:, :1] *= 0.4
        image[:, 16 * column : 16 * (column + 1)] = board
    return image
