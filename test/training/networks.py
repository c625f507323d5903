"""Small random networks of every kind that is trained, and what they answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from eomt_ros.engine.networks import Dinov2Settings, Dinov3Settings, Eomt, QueryVit, Videomt
from eomt_ros.training.dataset import DatasetClass

CLASSES = (
    DatasetClass("floor", False, (90, 90, 90)),
    DatasetClass("no", True, (220, 120, 20)),
    DatasetClass("Ball: red", True, (20, 120, 220)),
)
SHAPE: dict[str, Any] = {
    "num_labels": len(CLASSES),
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 64,
    "num_blocks": 2,
    "num_queries": 6,
    "num_register_tokens": 2,
}
NETWORKS: dict[str, Callable[[], QueryVit]] = {
    "videomt": lambda: Videomt(Dinov2Settings(**SHAPE)),
    "videomt_gated": lambda: Videomt(Dinov2Settings(**SHAPE, use_swiglu_ffn=True)),
    "eomt": lambda: Eomt(Dinov2Settings(**SHAPE, mlp_ratio=2)),
    "eomt_dinov3": lambda: Eomt(Dinov3Settings(**SHAPE, intermediate_size=48, key_bias=True, rope_theta=50.0)),
    "eomt_dinov3_gated": lambda: Eomt(
        Dinov3Settings(**SHAPE, intermediate_size=48, use_gated_mlp=True, hidden_act="silu")
    ),
    "videomt_dinov3": lambda: Videomt(Dinov3Settings(**SHAPE, intermediate_size=48, norm_queries=True)),
}


def network_of(kind: str, seed: int = 0) -> QueryVit:
    """A network with random weights, none of them 0 or 1 as they are made."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = NETWORKS[kind]().eval().requires_grad_(False)
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


def frames(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(5))


def answers(network: QueryVit, pixels: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Mask and class logits of a stream's frames."""
    queries, given = network.first_queries(), []
    with torch.no_grad():
        for frame in pixels:
            step = network(frame[None], queries)
            queries = step.next_queries
            given.append((step.mask_logits[0], step.class_logits[0]))
    return given
