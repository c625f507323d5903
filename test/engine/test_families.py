"""Every family in every task beside Hugging Face's processor, network and post-processing, on the same random weights
and images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    EomtDinov3ForUniversalSegmentation,
    EomtForUniversalSegmentation,
    EomtImageProcessor,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    VideomtForUniversalSegmentation,
    VideomtVideoProcessor,
)

from eomt_ros.engine import FrameResult, Segmenter
from test.engine.checkpoints import SMALL, write_checkpoint, write_eomt, write_eomt_dinov3, write_mask2former

STUFF = (0, 1)
"""Of `SMALL`: floor and wall."""
TASKS = ("panoptic", "instance", "semantic")
IMAGES = {"tall": (150, 70), "wide": (70, 190), "square": (64, 64), "smaller": (30, 41), "1080p": (1080, 1920)}
THRESHOLDS = {"panoptic": 0.4, "instance": 0.3}
OVERLAP = 0.4
LAST_BIT = 1e-4
"""Share of pixels that may hang on the last bit of a float: on the edge of a mask, or where two classes tie."""


@dataclass(frozen=True)
class Expected:
    """What Hugging Face finds."""

    semantic: np.ndarray
    """(H, W) class ids, 255 none."""
    index: np.ndarray | None
    """(H, W): segments by number, -1 none."""
    segments: list[tuple[int, float]]
    """Class and score by number."""


def videomt(folder: Path, image: np.ndarray, task: str) -> tuple[Any, Any, dict[str, Any]]:
    """Processor, output, and what post-processing is told besides."""
    network = VideomtForUniversalSegmentation.from_pretrained(folder, dtype=torch.float32).eval()
    side = network.config.image_size
    processor = VideomtVideoProcessor(size={"height": side, "width": side})
    clip = torch.from_numpy(image).permute(2, 0, 1)[None]
    return processor, network(**processor(videos=clip, return_tensors="pt")), {"label_ids_to_fuse": set(STUFF)}


def eomt(kind: Any, folder: Path, image: np.ndarray, task: str) -> tuple[Any, Any, dict[str, Any]]:
    """As `videomt`: windows for the semantic task, padding for the others."""
    network = kind.from_pretrained(folder, dtype=torch.float32).eval()
    side = network.config.image_size
    windows = task == "semantic"
    size = {"shortest_edge": side, "longest_edge": None if windows else side}
    processor = EomtImageProcessor(size=size, do_split_image=windows, do_pad=not windows)
    output = network(**processor(images=image, return_tensors="pt"))
    return processor, output, {"stuff_classes": list(STUFF)}


def mask2former(folder: Path, image: np.ndarray, task: str) -> tuple[Any, Any, dict[str, Any]]:
    """As `videomt`. Nothing is fused: Hugging Face gives ids twice where something is, see `fused`."""
    network = Mask2FormerForUniversalSegmentation.from_pretrained(folder, dtype=torch.float32).eval()
    processor = Mask2FormerImageProcessor.from_pretrained(folder)
    return processor, network(**processor(images=image, return_tensors="pt")), {"label_ids_to_fuse": set()}


FAMILIES: dict[str, tuple[Callable[..., Path], Callable[..., tuple[Any, Any, dict[str, Any]]]]] = {
    "videomt": (write_checkpoint, videomt),
    "eomt": (write_eomt, lambda *which: eomt(EomtForUniversalSegmentation, *which)),
    "eomt_dinov3": (write_eomt_dinov3, lambda *which: eomt(EomtDinov3ForUniversalSegmentation, *which)),
    "mask2former": (write_mask2former, mask2former),
}


def expected(family: str, folder: Path, image: np.ndarray, task: str) -> Expected:
    """Hugging Face's result."""
    with torch.inference_mode():
        processor, output, told = FAMILIES[family][1](folder, image, task)
    size = image.shape[:2]
    if task == "semantic":
        (classes,) = processor.post_process_semantic_segmentation(output, target_sizes=[size])
        return Expected(classes.numpy(), None, [])
    method = getattr(processor, f"post_process_{task}_segmentation")
    settings: dict[str, Any] = {"threshold": THRESHOLDS[task]}
    if task == "panoptic":
        settings |= {"overlap_mask_area_threshold": OVERLAP, **told}
    (found,) = method(output, target_sizes=[size], **settings)
    index = found["segmentation"].numpy().astype(int)
    infos = found["segments_info"]
    if family == "mask2former" and task == "panoptic":
        index, infos = fused(index, infos)
    class_of = np.array([*(info["label_id"] for info in infos), 255])
    return Expected(class_of[index], index, [(info["label_id"], info["score"]) for info in infos])


def fused(index: np.ndarray, infos: list[dict[str, Any]]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Mask2Former's segments, numbered from 1, with the regions of one stuff class made one, numbered from 0."""
    number = {0: -1}
    kept: list[dict[str, Any]] = []
    for info in infos:
        same = [place for place, other in enumerate(kept) if other["label_id"] == info["label_id"]]
        if info["label_id"] in STUFF and same:
            number[info["id"]] = same[0]
            continue
        number[info["id"]] = len(kept)
        kept.append(info)
    return np.array([number.get(value, -1) for value in range(max(number) + 1)])[index.clip(min=0)], kept


def picture(size: tuple[int, int], seed: int) -> np.ndarray:
    """A patchwork with noise, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, (5, 7, 3))
    rows, columns = (np.arange(side) * count // side for side, count in zip(size, (5, 7), strict=True))
    return (patches[rows][:, columns] + rng.integers(-20, 20, (*size, 3))).clip(0, 255).astype(np.uint8)


def differing(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return np.count_nonzero(one != other) / one.size


def assert_equal(found: FrameResult, wanted: Expected) -> None:
    allowed = max(LAST_BIT, 1.5 / wanted.semantic.size)
    assert differing(found.semantic, wanted.semantic) <= allowed
    if wanted.index is None:
        return
    assert [segment.class_id for segment in found.segments] == [class_id for class_id, _ in wanted.segments]
    assert [segment.score for segment in found.segments] == pytest.approx(
        [score for _, score in wanted.segments], abs=2e-4
    )
    ids = np.array([0, *(segment.id for segment in found.segments)])
    assert differing(found.panoptic, ids[wanted.index + 1]) <= allowed


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A label table that says which classes are stuff."""
    path = tmp_path_factory.mktemp("labels") / "small.yaml"
    classes = [f"  - {{name: {name}, thing: {str(i not in STUFF).lower()}}}" for i, name in SMALL["id2label"].items()]
    path.write_text("\n".join(["name: small", "task: panoptic", "classes:", *classes, ""]))
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: write(folder / name, seed=3) for name, (write, _) in FAMILIES.items()}


@pytest.fixture
def load(models: dict[str, Path], table: Path) -> Callable[..., Segmenter]:
    def load(family: str, task: str, **settings: Any) -> Segmenter:
        usual = {"device": "cpu", "precision": "float32", "labels": table, "overlap_threshold": OVERLAP}
        return Segmenter.load(models[family], task=task, score_threshold=THRESHOLDS.get(task), **{**usual, **settings})

    return load


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_in_every_task_finds_what_hugging_face_finds(
    load: Callable[..., Segmenter], models: dict[str, Path], family: str, task: str
) -> None:
    segmenter = load(family, task)
    found = 0
    for number, size in enumerate(IMAGES.values()):
        image = picture(size, number)
        result = segmenter.segment(image, segmenter.open_stream())
        assert_equal(result, expected(family, models[family], image, task))
        found += len(result.segments)
    assert found > len(IMAGES), "networks that find nothing agree about everything"
