"""The small simulated world that the demo bag and the demo checkpoint come from.

Seeds are shared out so that nothing is ever scored on a world it was trained on: worlds for the bag and for
evaluation have seeds below 1000, worlds for training have seeds of 1000 and above.
"""

import os

# MuJoCo reads it when it is first imported, which is after this.
os.environ.setdefault("MUJOCO_GL", "osmesa")

CLASS_NAMES = ("floor", "wall", "shelf", "box", "ball", "cone", "barrel", "person")
"""Class names; a class's id is its place here. `config/labels/demo.yaml` holds the same names with their colours."""

FIRST_THING = CLASS_NAMES.index("box")
"""Classes from this id on are things (countable objects with an id); those before are stuff."""

BAG_SEED = 8
RIG_SEEDS = {"front": 8, "rear": 9}
"""By the name of the camera."""
EVALUATION_SEEDS = range(100, 120)
TRAINING_SEEDS_FROM = 1000
