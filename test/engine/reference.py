"""Hugging Face's post-processing, as it comes, and synthetic logits to try it on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.videomt.video_processing_videomt import VideomtVideoProcessor

Size = tuple[int, int]

PROCESSOR = VideomtVideoProcessor()


@dataclass(frozen=True)
class Reference:
    """Hugging Face's result for one frame."""

    index: np.ndarray
    """(H, W): -1 none, i for segment i; in the semantic task class ids."""
    class_ids: list[int]
    scores: list[float]


def panoptic(
    mask_logits: Tensor,
    class_logits: Tensor,
    size: Size,
    *,
    score_threshold: float = 0.8,
    mask_threshold: float = 0.5,
    overlap_threshold: float = 0.8,
    fused: Collection[int] = (),
) -> Reference:
    """`post_process_panoptic_segmentation` of one frame; logits without a batch axis."""
    (found,) = PROCESSOR.post_process_panoptic_segmentation(
        _outputs(mask_logits, class_logits),
        [size],
        threshold=score_threshold,
        mask_threshold=mask_threshold,
        overlap_mask_area_threshold=overlap_threshold,
        label_ids_to_fuse=set(fused),
    )
    return _reference(found)


def instance(mask_logits: Tensor, class_logits: Tensor, size: Size, *, score_threshold: float = 0.5) -> Reference:
    """`post_process_instance_segmentation` of one frame."""
    outputs = _outputs(mask_logits, class_logits)
    (found,) = PROCESSOR.post_process_instance_segmentation(outputs, [size], threshold=score_threshold)
    return _reference(found)


def semantic(mask_logits: Tensor, class_logits: Tensor, size: Size) -> Reference:
    """`post_process_semantic_segmentation` of one frame."""
    (found,) = PROCESSOR.post_process_semantic_segmentation(_outputs(mask_logits, class_logits), [size])
    return Reference(found.numpy(), [], [])


def _outputs(mask_logits: Tensor, class_logits: Tensor) -> SimpleNamespace:
    return SimpleNamespace(masks_queries_logits=mask_logits[None], class_queries_logits=class_logits[None])


def _reference(found: dict[str, Any]) -> Reference:
    infos = found["segments_info"]
    return Reference(
        found["segmentation"].numpy(), [info["label_id"] for info in infos], [info["score"] for info in infos]
    )


def blobs(queries: int, size: Size, seed: int = 0) -> Tensor:
    """Mask logits as a trained network gives them: each query an ellipse with an uneven edge, (queries, h, w)."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(0, 1, size[0]), torch.linspace(0, 1, size[1]), indexing="ij")
    centre, radius = torch.rand(2, 2, queries, 1, 1, generator=generator)
    radius = 0.08 + 0.25 * radius
    distance = ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2
    uneven = torch.randn(queries, 1, 20, 20, generator=generator)
    return 8 * (1 - distance).clamp(-1.5, 1) + 0.5 * F.interpolate(uneven, size, mode="bicubic")[:, 0]


def noise(queries: int, size: Size, seed: int = 0) -> Tensor:
    """Mask logits without any structure, the hardest there are, (queries, h, w)."""
    return 4 * torch.randn(queries, *size, generator=torch.Generator().manual_seed(seed))


def confident(queries: int, classes: int, kept: int, seed: int = 0) -> Tensor:
    """Class logits, (queries, classes + 1), of which so many queries are sure of a class and the others of none."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(queries, classes + 1, generator=generator)
    logits[:, classes] += 8
    sure = torch.randperm(queries, generator=generator)[:kept]
    logits[sure, classes] -= 16
    logits[sure, torch.randint(classes, (kept,), generator=generator)] += 8
    return logits


def fill(masks: Tensor, classes: Tensor) -> None:
    """Lets the queries that are sure of a class share the whole image, as semantic networks are trained to: each has
    what is nearest to a centre of its own.
    """
    y, x = torch.meshgrid(*(torch.linspace(0, 1, side) for side in masks.shape[2:]), indexing="ij")
    for mask, logits in zip(masks, classes, strict=True):
        sure = (logits.argmax(-1) < logits.shape[1] - 1).nonzero()[:, 0]
        centres = torch.rand(2, len(sure), 1, 1, generator=torch.Generator().manual_seed(0))
        distance = ((y - centres[0]) ** 2 + (x - centres[1]) ** 2).sqrt()
        nearest = distance.topk(2, dim=0, largest=False).values
        others = torch.where(distance == nearest[0], nearest[1], nearest[0])
        mask[sure] = (100 * (others - distance)).clamp(-8, 8)
