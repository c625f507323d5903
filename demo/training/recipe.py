"""The network that is trained, and the settings of its training."""

from __future__ import annotations

from dataclasses import dataclass

from demo import CLASS_NAMES
from eomt_ros.engine.networks import Dinov2Settings

NUM_CLASSES = len(CLASS_NAMES)

SETTINGS = Dinov2Settings(
    num_labels=NUM_CLASSES,
    hidden_size=192,
    num_hidden_layers=6,
    num_attention_heads=3,
    image_size=256,
    patch_size=16,
    num_blocks=3,
    num_queries=24,
    num_register_tokens=4,
)


@dataclass(frozen=True)
class Recipe:
    """Settings of one training. Times are shares of the whole, so that the schedule fits the machine it runs on."""

    minutes: float = 100.0
    image_share: float = 0.4
    """Of the time, for the first stage; the second has the rest."""
    image_batch: int = 8
    streams: int = 6
    chunk: int = 2
    forget_share: float = 0.5
    """Of the streams that end, how many begin the next world with first queries; the others go on with the queries of
    the world that ended, so that what hours have left in them does no harm.
    """
    image_learning_rate: float = 1e-3
    stream_learning_rate: float = 3e-4
    weight_decay: float = 0.05
    warmup_steps: int = 200
    average_decay: float = 0.998
    no_object_weight: float = 0.1
    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    dense_weight: float = 1.0
    smallest_area: int = 12
    """Pixels of the label map (half the network's size) under which a segment is not asked for: it counts as not in
    view.
    """
    forget_after: int = 100
    """Frames out of view after which a thing's query is free."""
