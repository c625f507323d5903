"""Post-processing at full HD beside Hugging Face's, on the same logits: 200 queries, 12 of which are kept."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from transformers import VideomtVideoProcessor
from transformers.models.videomt.modeling_videomt import VideomtForUniversalSegmentationOutput

from bench.timing import Row, compare
from eomt_ros.engine.postprocess import postprocess

SIZE = (1080, 1920)
QUERIES, KEPT, SIDE = 200, 12, 160
CLASSES = {"panoptic": 40, "instance": 40, "semantic": 124}


def rows() -> Iterator[Row]:
    """All tasks, on smooth regions with rough edges as a trained network gives them, and on noise, the worst case."""
    processor = VideomtVideoProcessor()
    methods = {
        "panoptic": processor.post_process_panoptic_segmentation,
        "instance": processor.post_process_instance_segmentation,
        "semantic": processor.post_process_semantic_segmentation,
    }
    for kind, masks in (("regions", regions()), ("noise", noise())):
        for task, method in methods.items():
            classes = class_logits(CLASSES[task])
            outputs = VideomtForUniversalSegmentationOutput(
                masks_queries_logits=masks[None], class_queries_logits=classes[None]
            )
            yield compare(
                f"post-processing, {task}, {kind}",
                lambda task=task, masks=masks, classes=classes: postprocess(
                    masks,
                    classes,
                    SIZE,
                    task=task,
                    is_thing=[True] * CLASSES[task],
                    score_threshold=None,
                    mask_threshold=0.5,
                    overlap_threshold=0.8,
                    fuse_stuff=False,
                ),
                lambda method=method, outputs=outputs: method(outputs, target_sizes=[SIZE]),
                note=f"{CLASSES[task]} classes, {QUERIES} queries of {SIDE}x{SIDE}, {KEPT} kept, 1920x1080",
            )


def class_logits(classes: int) -> torch.Tensor:
    """(queries, classes + 1): certain for the kept queries, "no object" for the others."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(QUERIES, classes + 1, generator=generator)
    logits[:, classes] += 8
    kept = torch.randperm(QUERIES, generator=generator)[:KEPT]
    logits[kept, classes] -= 16
    logits[kept, torch.randint(0, classes, (KEPT,), generator=generator)] += 8
    return logits


def regions() -> torch.Tensor:
    """(queries, h, w): one ellipse each, with a rough edge."""
    generator = torch.Generator().manual_seed(0)
    along = torch.linspace(0, 1, SIDE)
    middle, radius = (torch.rand(2, QUERIES, 1, 1, generator=generator) for _ in range(2))
    radius = 0.08 + 0.25 * radius
    distance = ((along[:, None] - middle[0]) / radius[0]) ** 2 + ((along - middle[1]) / radius[1]) ** 2
    rough = F.interpolate(torch.randn(QUERIES, 1, 20, 20, generator=generator), (SIDE, SIDE), mode="bicubic")[:, 0]
    return 8 * (1 - distance).clamp(-1.5, 1) + 0.5 * rough


def noise() -> torch.Tensor:
    """(queries, h, w): every sample by itself."""
    return 4 * torch.randn(QUERIES, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
