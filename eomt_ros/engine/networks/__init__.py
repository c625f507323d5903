"""One frame step of each model family: pixels and queries in, logits and queries out."""

from __future__ import annotations

from eomt_ros.engine.networks.eomt import Eomt
from eomt_ros.engine.networks.mask2former import Mask2Former, Mask2FormerSettings, load_mask2former
from eomt_ros.engine.networks.network import Network, StepResult
from eomt_ros.engine.networks.query_vit import QueryVit
from eomt_ros.engine.networks.settings import Dinov2Settings, Dinov3Settings, VitSettings, num_labels_of
from eomt_ros.engine.networks.videomt import Videomt

__all__ = [
    "Dinov2Settings",
    "Dinov3Settings",
    "Eomt",
    "Mask2Former",
    "Mask2FormerSettings",
    "Network",
    "QueryVit",
    "StepResult",
    "Videomt",
    "VitSettings",
    "load_mask2former",
    "num_labels_of",
]
