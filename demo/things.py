"""Looks of the thing classes: each is drawn about its own foot, a ball about its centre."""

import numpy as np

from demo import textures
from demo.builder import BOX, CYLINDER, ELLIPSOID, SPHERE, ModelBuilder
from demo.layout import Thing

JOINTS = (
    "left_hip",
    "left_knee",
    "right_hip",
    "right_knee",
    "left_shoulder",
    "left_elbow",
    "right_shoulder",
    "right_elbow",
)


def add_box(builder: ModelBuilder, thing: Thing) -> None:
    """A cardboard box."""
    builder.shape(BOX, (0, 0, thing.size[2]), thing.size, material=builder.surface(textures.cardboard(builder.rng)))


def add_ball(builder: ModelBuilder, thing: Thing) -> None:
    """A vivid ball in two colours."""
    builder.shape(SPHERE, (0, 0, 0), thing.size, material=builder.surface(textures.ball(builder.rng), shine=0.4))


def add_cone(builder: ModelBuilder, thing: Thing) -> None:
    """An orange traffic cone on a square foot, with one or two white bands."""
    tall, rng = 2 * thing.size[2], builder.rng
    orange = textures.shade(rng.uniform(0.005, 0.06), rng.uniform(0.85, 1.0), rng.uniform(0.8, 1.0))
    foot = orange if rng.random() < 0.6 else (0.12, 0.12, 0.13)
    builder.shape(BOX, (0, 0, 0.02), (thing.size[0], thing.size[1], 0.02), foot)
    edges = tall * np.array((0.42, 0.68, 1.0) if rng.random() < 0.6 else (0.3, 0.5, 0.64, 0.82, 1.0))
    low = 0.04
    for band, high in enumerate(edges):
        bottom, top = (0.17 * tall * (1.06 - z / tall) for z in (low, high))
        builder.frustum(low, high, bottom, top, orange if band % 2 == 0 else (0.95, 0.95, 0.95))
        low = high


def add_barrel(builder: ModelBuilder, thing: Thing) -> None:
    """A steel drum in blue, green, red or yellow, with rings and a bung."""
    rng, radius, half = builder.rng, thing.size[0], thing.size[2]
    hue = rng.choice([0.6, 0.36, 0.0, 0.14]) + rng.uniform(-0.02, 0.02)
    color = textures.shade(hue, rng.uniform(0.65, 0.95), rng.uniform(0.4, 0.8))
    builder.shape(CYLINDER, (0, 0, half), (radius, half - 0.015), color, shine=0.5)
    ring = color * 0.6 if rng.random() < 0.5 else (0.75, 0.77, 0.8)
    for z in (0.02, 0.68 * half, 1.32 * half, 2 * half - 0.02):
        builder.shape(CYLINDER, (0, 0, z), (radius + 0.014, 0.02), ring, shine=0.5)
    builder.shape(CYLINDER, (0, 0, 2 * half - 0.01), (radius - 0.03, 0.012), color * 0.8)
    builder.shape(CYLINDER, (radius * 0.55, 0, 2 * half + 0.002), (0.04, 0.012), (0.15, 0.15, 0.15))


def add_person(builder: ModelBuilder, thing: Thing, number: int) -> None:
    """A person facing along x, with limbs on the hinges `JOINTS`, each name followed by `number`."""
    rng, tall = builder.rng, thing.size[2]
    skin = textures.shade(rng.uniform(0.05, 0.08), rng.uniform(0.3, 0.6), rng.uniform(0.4, 0.95))
    hair = textures.shade(
        rng.uniform(0.04, 0.12), rng.uniform(0.1, 0.7), rng.choice([0.08, 0.2, 0.55, 0.75], p=[0.4, 0.35, 0.15, 0.1])
    )
    shirt = textures.shade(rng.random(), rng.uniform(0.2, 0.85), rng.uniform(0.35, 0.95))
    trousers = textures.shade(rng.choice([0.6, 0.08, 0.3]), rng.uniform(0.05, 0.5), rng.uniform(0.12, 0.45))
    sleeves = shirt if rng.random() < 0.6 else skin
    wide = rng.uniform(0.92, 1.12)
    _add_trunk(builder, tall, wide, shirt, trousers)
    _add_head(builder, tall, skin, hair)
    trunk, hip, shoulder = builder.body, 0.5 * tall, 0.8 * tall - 0.04
    for side, name in ((1, "left"), (-1, "right")):
        thigh = builder.limb(trunk, f"{name}_hip{number}", (0, side * 0.09 * wide, hip))
        builder.capsule((0, 0, 0), (0, 0, -0.245 * tall), 0.075 * wide, trousers)
        builder.limb(thigh, f"{name}_knee{number}", (0, 0, -0.245 * tall))
        builder.capsule((0, 0, 0), (0, 0, -0.2 * tall), 0.055 * wide, trousers)
        builder.shape(ELLIPSOID, (0.05, 0, -0.255 * tall + 0.05), (0.13, 0.05, 0.05), trousers * 0.4)
        arm = builder.limb(trunk, f"{name}_shoulder{number}", (0, side * 0.21 * wide, shoulder))
        builder.capsule((0, 0, 0), (0, 0, -0.165 * tall), 0.05, shirt)
        builder.limb(arm, f"{name}_elbow{number}", (0, 0, -0.165 * tall))
        builder.capsule((0, 0, 0), (0, 0, -0.12 * tall), 0.042, sleeves)
        builder.shape(SPHERE, (0, 0, -0.155 * tall), (0.05,), skin)


def _add_trunk(
    builder: ModelBuilder, tall: float, wide: float, shirt: textures.Color, trousers: textures.Color
) -> None:
    rng, shoulder = builder.rng, 0.8 * tall - 0.04
    builder.capsule((0, -0.07, 0.5 * tall), (0, 0.07, 0.5 * tall), 0.105 * wide, trousers)
    builder.shape(ELLIPSOID, (0, 0, 0.645 * tall), (0.12 * wide, 0.165 * wide, 0.175 * tall), shirt)
    builder.capsule((0, -0.13 * wide, shoulder), (0, 0.13 * wide, shoulder), 0.075, shirt)
    if rng.random() < 0.4:
        vest = textures.shade(rng.choice([0.17, 0.07]), 0.95, 1.0)
        builder.shape(ELLIPSOID, (0, 0, 0.66 * tall), (0.13 * wide, 0.174 * wide, 0.172 * tall), vest)
        for z in (0.58, 0.68):
            builder.shape(ELLIPSOID, (0, 0, z * tall), (0.132 * wide, 0.176 * wide, 0.025), (0.85, 0.86, 0.88))


def _add_head(builder: ModelBuilder, tall: float, skin: textures.Color, hair: textures.Color) -> None:
    rng = builder.rng
    builder.capsule((0, 0, 0.8 * tall), (0, 0, 0.88 * tall), 0.05, skin)
    builder.shape(ELLIPSOID, (0.01, 0, 0.925 * tall), (0.09, 0.078, 0.07 * tall), skin)
    if rng.random() < 0.3:
        helmet = textures.shade(rng.choice([0.14, 0.6, 0.0]), rng.choice([0.0, 0.9]), 0.95)
        builder.shape(ELLIPSOID, (-0.003, 0, 0.957 * tall), (0.108, 0.095, 0.048 * tall), helmet)
    else:
        builder.shape(ELLIPSOID, (-0.018, 0, 0.942 * tall), (0.092, 0.086, 0.06 * tall), hair)
