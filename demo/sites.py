"""The sites a world can be at: what sets them apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from demo import night, textures
from demo.builder import BOX, ModelBuilder
from demo.layout import Layout


@dataclass(frozen=True)
class Site:
    """Looks that a room is drawn with.

    `ceiling`: least and greatest gray. `add_lamps`: draws what hangs at places `(x, y)` under a ceiling of some height.
    `develop`: what the camera makes of a picture `(H, W, 3) uint8`. `patch`, `face_parts`: see `ModelBuilder`.
    """

    floor: Callable[[np.random.Generator], textures.Picture]
    wall: Callable[[np.random.Generator], textures.Picture]
    ceiling: tuple[float, float]
    add_lamps: Callable[[ModelBuilder, Sequence[tuple[float, float]], float], None]
    add_lights: Callable[[ModelBuilder, Layout], None]
    develop: Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]
    patch: float = 1.0
    face_parts: int = 1


def _add_white_lamps(builder: ModelBuilder, places: Sequence[tuple[float, float]], height: float) -> None:
    for x, y in places:
        builder.shape(BOX, (x, y, height - 0.03), (0.6, 0.12, 0.02), (1.0, 1.0, 0.97), emission=1.0)


def _add_day_lights(builder: ModelBuilder, layout: Layout) -> None:
    """Two lights from above, one of which casts shadows, and ambient light; their sum varies little over the worlds."""
    rng = builder.rng
    tint = 1.0 + rng.uniform(-0.12, 0.12) * np.array([1.0, 0.1, -1.0])
    exposure, ambient = rng.uniform(0.85, 1.15), rng.uniform(0.4, 0.6)
    headlight = builder.spec.visual.headlight
    headlight.ambient = exposure * ambient * tint
    headlight.diffuse = 0.15 * exposure * tint
    headlight.specular = [0.0, 0.0, 0.0]
    share = rng.uniform(0.35, 0.65)
    for number, strength in enumerate((share, 1.0 - share)):
        light = builder.spec.worldbody.add_light(castshadow=number == 0)
        light.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
        light.pos = [layout.length / 2, layout.width / 2, layout.height - 0.1]
        light.dir = [*rng.uniform(-0.55, 0.55, 2), -1.0]
        light.ambient = [0.0, 0.0, 0.0]
        light.diffuse = exposure * (1.0 - ambient) * 1.25 * strength * tint
        light.specular = [0.15, 0.15, 0.15]


SITES = {
    "day": Site(
        floor=textures.floor,
        wall=textures.wall,
        ceiling=(0.6, 0.95),
        add_lamps=_add_white_lamps,
        add_lights=_add_day_lights,
        develop=lambda image, _: image,
    ),
    "night": Site(
        floor=night.floor,
        wall=night.wall,
        ceiling=(0.15, 0.4),
        add_lamps=night.add_lamps,
        add_lights=night.add_lights,
        develop=night.develop,
        patch=0.25,
        face_parts=3,
    ),
}
"""By the names in `demo.SITES`."""
