"""Pre- and post-processing of the other families beside Hugging Face's, and what keeping the aspect saves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import EomtImageProcessor, Mask2FormerImageProcessor

from bench.pictures import picture
from bench.postprocess import KEPT, QUERIES, checked, numbered, painted
from bench.timing import Row, compare
from eomt_ros.engine.model.families import FAMILIES, MASK2FORMER_SHORT_SIDE
from eomt_ros.engine.model.processor import Processor
from eomt_ros.engine.networks import Dinov2Settings, Mask2FormerSettings, Videomt
from eomt_ros.engine.postprocess.label_map import LabelMap, ResultClasses
from eomt_ros.engine.preprocess.geometry import Fit, Placement, keep_aspect, stretch
from eomt_ros.engine.preprocess.pixels import Preprocessor
from test.engine import reference

SIZE = (1080, 1920)
CLASSES = {"panoptic": 133, "instance": 80, "semantic": 150}
"""As COCO and ADE20K have."""


ASPECT = {"YouTube-VIS": (640, 448), "VIPSeg": (1280, 720)}
"""The square that VidEoMT was trained at, and the shorter side that its authors use it with, by data set."""


def rows() -> Iterator[Row]:
    """Each task of EoMT and of Mask2Former, of a frame in which the networks find a dozen blobs; then what keeping the
    aspect saves.
    """
    for task in CLASSES:
        side = 512 if task == "semantic" else 640
        windows = task == "semantic"
        processor = EomtImageProcessor(
            size={"shortest_edge": side, "longest_edge": None if windows else side},
            do_split_image=windows,
            do_pad=not windows,
        )
        fit = FAMILIES["eomt"].fit(
            Dinov2Settings(num_labels=CLASSES[task], image_size=side), Processor(), task, "stretch", side
        )
        yield from family("EoMT", "eomt", processor, fit, task)
    for task in CLASSES:
        fit = FAMILIES["mask2former"].fit(
            Mask2FormerSettings(CLASSES[task]), Processor(), task, "stretch", MASK2FORMER_SHORT_SIDE
        )
        yield from family("Mask2Former", "mask2former", Mask2FormerImageProcessor(), fit, task)

    for data, (side, short_side) in ASPECT.items():
        yield aspect(data, side, short_side)


@torch.inference_mode()
def aspect(data: str, side: int, short_side: int) -> Row:
    """The network's step of ViT-S on a 16:9 image: as published, beside stretched to the square, both in torch."""
    settings = Dinov2Settings(
        num_labels=40, hidden_size=384, num_hidden_layers=12, num_attention_heads=6, num_blocks=3, image_size=side
    )
    network = Videomt(settings).eval()
    sizes = [keep_aspect(short_side)(SIZE).input, stretch((side, side))(SIZE).input]
    published, square = (torch.randn(1, 3, *size) for size in sizes)
    queries = network.first_queries()
    row = compare(
        f"network step, ViT-S, keep_aspect, 1920x1080, {data}",
        lambda: network(published, queries),
        lambda: network(square, queries),
        pairs=3,
        note=f"{sizes[0][1]}x{sizes[0][0]}; reference: stretch, {side}x{side}",
    )
    return replace(row, runs="torch float32")


def family(name: str, key: str, processor: Any, fit: Fit, task: str) -> Iterator[Row]:
    """Preprocessing and post-processing of one task."""
    image = picture(*SIZE)
    placement = fit(SIZE)
    prepare = Preprocessor(processor.image_mean, processor.image_std)
    yield compare(
        f"preprocessing, 1920x1080, {name}, {task}",
        lambda: prepare(image, fit(SIZE)),
        lambda: processor(images=image, return_tensors="pt"),
        pairs=5,
    )
    windows = max(1, len(placement.windows))
    samples = placement.input[0] // 4, placement.input[1] // 4
    classes = torch.stack([reference.confident(QUERIES, CLASSES[task], KEPT, seed) for seed in range(windows)])
    masks = torch.stack([reference.blobs(QUERIES, samples, seed) for seed in range(windows)])
    if task == "semantic":
        reference.fill(masks, classes)
    threshold = FAMILIES[key].score_thresholds.get(task, 0.0)
    found: Callable[[], LabelMap] = partial(
        checked,
        masks,
        classes,
        placement,
        task=task,
        classes=ResultClasses.same((True,) * CLASSES[task]),
        score_threshold=threshold,
        mask_threshold=0.5,
        overlap_threshold=0.8,
        fuse_stuff=False,
        rules=FAMILIES[key].rules,
    )
    theirs = partial(hugging_faces, processor, masks, classes, placement, task, threshold)
    yield compare(
        f"post-processing, 1920x1080, {name}, {task}",
        lambda: painted(found()),
        theirs,
        pairs=3,
        note=f"{np.count_nonzero(numbered(found(), task) != theirs())} pixels differ",
    )


def hugging_faces(
    processor: Any, masks: Tensor, classes: Tensor, placement: Placement, task: str, threshold: float
) -> np.ndarray:
    """The label image of Hugging Face's post-processing, segments numbered from 0, -1 none."""
    tall = placement.resized[0] > placement.resized[1]
    along = [part.rows if tall else part.columns for part in placement.windows]
    offsets = [torch.tensor([0, part.start, part.stop]) for part in along]
    output = SimpleNamespace(masks_queries_logits=masks, class_queries_logits=classes, patch_offsets=offsets)
    if task == "semantic":
        (found,) = processor.post_process_semantic_segmentation(output, target_sizes=[SIZE])
        return np.asarray(found)
    method = getattr(processor, f"post_process_{task}_segmentation")
    settings = {"label_ids_to_fuse": set()} if "Mask2Former" in type(processor).__name__ and task == "panoptic" else {}
    (found,) = method(output, target_sizes=[SIZE], threshold=threshold, **settings)
    first = 1 if settings else 0  # Mask2Former counts panoptic segments from 1
    return found["segmentation"].numpy().astype(int) - first
