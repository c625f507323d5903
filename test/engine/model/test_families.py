"""Every family in every task beside Hugging Face's processor, network and post-processing, on the same random weights
and images.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    EomtDinov3ForUniversalSegmentation,
    EomtForUniversalSegmentation,
    EomtImageProcessor,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    VideomtForUniversalSegmentation,
    VideomtVideoProcessor,
)

from eomt_ros.engine import CheckpointError, FrameResult, Segmenter
from eomt_ros.engine.errors import UnfitImageError
from eomt_ros.engine.model import families as engine_families
from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.engine.model.processor import Processor
from eomt_ros.engine.networks import Dinov2Settings, Mask2Former, Mask2FormerSettings
from eomt_ros.engine.postprocess.frame import postprocess
from eomt_ros.engine.postprocess.label_map import ResultClasses
from eomt_ros.engine.postprocess.rle import decode_mask
from test.engine import reference
from test.engine.checkpoints import SMALL, STUFF, write_checkpoint, write_eomt, write_eomt_dinov3, write_mask2former
from test.engine.found import Found
from test.engine.pictures import picture

pytestmark = pytest.mark.slow

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
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: write(folder / name, seed=3) for name, (write, _) in FAMILIES.items()}


@pytest.fixture
def load(models: dict[str, Path], table: Path) -> Callable[..., Segmenter]:
    def load(model: str | Path, task: str, **settings: Any) -> Segmenter:
        """Of a family, or from a folder."""
        folder = models[model] if isinstance(model, str) else model
        usual = {"device": "cpu", "precision": "float32", "labels": table, "overlap_threshold": OVERLAP}
        return Segmenter.load(folder, task=task, score_threshold=THRESHOLDS.get(task), **{**usual, **settings})

    return load


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_in_every_task_finds_what_hugging_face_finds(
    load: Callable[..., Segmenter], models: dict[str, Path], family: str, task: str
) -> None:
    segmenter = load(family, task)
    found = 0
    for number, size in enumerate(IMAGES.values()):
        image = picture(*size, number)
        result = segmenter.segment(image, segmenter.open_stream())
        assert_equal(result, expected(family, models[family], image, task))
        found += len(result.segments)
    assert found > len(IMAGES), "networks that find nothing agree about everything"


def at_size(model: Path, folder: Path, size: int) -> Path:
    """A copy of a checkpoint for another size: that is in its config and its processor, and its learned positions are
    resampled by Pillow.
    """
    config = json.loads((model / "config.json").read_text())
    if config["model_type"] == "mask2former":
        return told(model, folder, size={"shortest_edge": size, "longest_edge": 96})
    shutil.copytree(model, folder)
    (folder / "config.json").write_text(json.dumps({**config, "image_size": size}))
    weights = load_file(folder / "model.safetensors")
    name = "embeddings.position_embeddings.weight"
    if name in weights:
        old, new = (side // config["patch_size"] for side in (config["image_size"], size))
        maps = [Image.fromarray(column.reshape(old, old)) for column in weights[name].numpy().T]
        resized = [np.asarray(each.resize((new, new), Image.Resampling.BICUBIC)).ravel() for each in maps]
        weights[name] = torch.from_numpy(np.stack(resized, 1))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("size", [48, 96])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_at_another_size_every_family_finds_what_hugging_face_finds_at_it(
    load: Callable[..., Segmenter], models: dict[str, Path], tmp_path: Path, family: str, task: str, size: int
) -> None:
    segmenter, usual = load(family, task, size=size), load(family, task)
    theirs = at_size(models[family], tmp_path / "model", size)
    assert (segmenter.size, usual.size) == (size, SMALL["image_size"])
    found, differences = 0, 0.0
    for number, shape in enumerate([(150, 70), (70, 190), (64, 64), (30, 41)]):
        image = picture(*shape, number)
        result = segmenter.segment(image, segmenter.open_stream())
        assert_equal(result, expected(family, theirs, image, task))
        found += len(result.segments)
        differences += differing(result.semantic, usual.segment(image, usual.open_stream()).semantic)
    assert found >= 4, "networks that find nothing agree about everything"
    as_usual = family == "mask2former" and size == 48  # both sides go up to a multiple of 32, as those of 64 do
    assert as_usual or differences > 0.01, "the size changes nothing"


@pytest.mark.parametrize("size", [48, 96])
def test_at_another_size_the_queries_of_a_videomt_go_on_as_hugging_faces_at_it(
    load: Callable[..., Segmenter], models: dict[str, Path], tmp_path: Path, size: int
) -> None:
    segmenter = load("videomt", "panoptic", size=size)
    stream = segmenter.open_stream()
    frames = [picture(70, 90, number) for number in range(4)]
    theirs = VideomtForUniversalSegmentation.from_pretrained(
        at_size(models["videomt"], tmp_path / "model", size), dtype=torch.float32
    ).eval()
    processor = VideomtVideoProcessor(size={"height": size, "width": size})
    clip = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        output = theirs(**processor(videos=clip, return_tensors="pt"))
    for number, frame in enumerate(frames):
        logits = segmenter.segment(frame, stream, with_logits=True).logits
        assert logits is not None
        for ours, reference_logits in (
            (logits.masks, output.masks_queries_logits[number]),
            (logits.classes, output.class_queries_logits[number]),
        ):
            assert np.abs(ours - reference_logits.numpy()).max() < 1e-4 * np.abs(ours).max()


def told(model: Path, folder: Path, **entries: Any) -> Path:
    """A copy of a checkpoint with other entries in its image processor's file."""
    shutil.copytree(model, folder)
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))
    return folder


@pytest.mark.parametrize(
    ("entries", "task"),
    [
        ({"size": {"height": 64, "width": 96}}, "instance"),
        ({"size": {"shortest_edge": 48, "longest_edge": 200}}, "instance"),
        ({"size": [64, 96]}, "panoptic"),
        ({"size": 48, "max_size": 80}, "instance"),
        ({"size": {"height": 60, "width": 100}, "size_divisor": 0}, "semantic"),
        ({"do_resize": None}, "instance"),
        *(({"do_resize": False}, task) for task in TASKS),
    ],
    ids=str,
)
def test_a_mask2former_does_what_its_processor_is_told(
    models: dict[str, Path], tmp_path: Path, load: Callable[..., Segmenter], entries: dict[str, Any], task: str
) -> None:
    folder = told(models["mask2former"], tmp_path / "model", **entries)
    segmenter = load(folder, task)
    found = 0
    for number, size in enumerate([(90, 200), (150, 70), (384, 384)]):
        image = picture(*size, 7 + number)
        result = segmenter.segment(image, segmenter.open_stream())
        assert_equal(result, expected("mask2former", folder, image, task))
        found += len(result.segments)
    assert found >= 3


def test_a_mask2former_that_is_told_no_longer_side_takes_that_of_the_transformers_that_wrote_it(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """The present one cannot resize by it."""
    folder = told(models["mask2former"], tmp_path / "model", size=64)
    loaded = load_checkpoint(folder)
    placement = loaded.family.fit(loaded.settings, loaded.processor, "semantic", "stretch", 64)((100, 10_000))
    assert placement.resized == (32, 1344)


@pytest.mark.parametrize("entries", [{"do_resize": False}, {"size": 2}, {"size": [32, 32]}], ids=str)
def test_an_image_of_which_a_mask2former_sees_a_single_sample_is_refused(
    models: dict[str, Path], tmp_path: Path, entries: dict[str, Any]
) -> None:
    folder = told(models["mask2former"], tmp_path / "model", **entries)
    segmenter = Segmenter.load(folder, device="cpu", precision="float32")
    with pytest.raises(UnfitImageError, match=r"image is 32x20, and the network sees 32x.*, expected more than 32x32"):
        segmenter.segment(picture(20, 32, 0), segmenter.open_stream())


def test_a_mask2former_reads_nothing_but_its_own_files(models: dict[str, Path], tmp_path: Path, table: Path) -> None:
    """Of what a `config.json` can make transformers look for."""
    folder = told(models["mask2former"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    outside = {"transformers_weights": "../other.safetensors", "fusion_config": {"patch_embeddings": True}}
    config["backbone_config"] |= outside
    (folder / "config.json").write_text(
        json.dumps({**config, **outside, "quantization_config": {"quant_method": "awq"}})
    )
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "../other"}))
    loaded, reference = (load_checkpoint(each, table).network for each in (folder, models["mask2former"]))
    assert isinstance(loaded, Mask2Former)
    assert isinstance(reference, Mask2Former)
    weights = reference.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in loaded.state_dict().items())


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (
            {"backbone": "owner/name", "backbone_config": None},
            "backbone is 'owner/name', expected a checkpoint that has",
        ),
        ({"use_timm_backbone": True}, "use_timm_backbone is True, expected a checkpoint that has all weights"),
        ({"backbone_config": {"model_type": "timm_backbone"}}, "expected an object of model_type swin or resnet"),
        ({"backbone_config": "swin"}, "backbone_config is 'swin', expected an object"),
        ({"decoder_layers": 10**9}, "'decoder_layers' is 1000000000, expected numbers up to 100"),
        ({"backbone_config": {"model_type": "swin", "depths": [1] * 1000}}, "'depths' is"),
        ({"backbone_config": {"model_type": "swin", "window_size": 200}}, "they do not belong together"),
        ({"hidden_dim": 60_000}, "they do not belong together"),
        ({"num_queries": "many"}, "transformers cannot load"),
    ],
    ids=str,
)
def test_a_mask2former_that_would_read_elsewhere_or_be_too_large_is_refused(
    models: dict[str, Path], tmp_path: Path, entries: dict[str, Any], said: str
) -> None:
    folder = told(models["mask2former"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **entries}))
    with pytest.raises(CheckpointError, match=said):
        Segmenter.load(folder, device="cpu")


def test_a_mask2former_whose_processor_pads_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    """Hugging Face stretches what was padded over the image."""
    folder = told(models["mask2former"], tmp_path / "model", pad_size={"height": 512, "width": 512})
    with pytest.raises(CheckpointError, match=r"pad_size is \{.*\}, supported: None"):
        Segmenter.load(folder, device="cpu")


@pytest.mark.parametrize("size", IMAGES.values(), ids=str)
def test_an_eomt_that_pads_for_the_semantic_task_sees_what_hugging_faces_sees(
    models: dict[str, Path], tmp_path: Path, table: Path, size: tuple[int, int]
) -> None:
    """And is not told, as Hugging Face's semantic post-processing is, that the padding is a part of the image."""
    side = SMALL["image_size"]
    folder = told(models["eomt"], tmp_path / "model", do_pad=True, do_split_image=False)
    image = picture(*size, 5)
    processor = EomtImageProcessor.from_pretrained(folder)
    network = EomtForUniversalSegmentation.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        output = network(**processor(images=image, return_tensors="pt"))
        masks = F.interpolate(output.masks_queries_logits, (side, side), mode="bilinear").sigmoid()
        sums = torch.einsum("bqc,bqhw->bchw", output.class_queries_logits.softmax(-1)[..., :-1], masks)
        (shown,) = processor.unpad_image(sums, [size], {"shortest_edge": side, "longest_edge": side})
    segmenter = Segmenter.load(folder, device="cpu", precision="float32", labels=table, task="semantic")
    result = segmenter.segment(image, segmenter.open_stream(), with_logits=True)
    assert result.logits is not None
    assert np.abs(result.logits.masks - output.masks_queries_logits[0].numpy()).max() < 1e-3
    assert_equal(result, Expected(shown.argmax(0).numpy(), None, []))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", ["eomt", "eomt_dinov3"])
def test_an_eomt_does_what_the_published_processors_are_told(
    models: dict[str, Path], tmp_path: Path, load: Callable[..., Segmenter], family: str, task: str
) -> None:
    side = SMALL["image_size"]
    windows = task == "semantic"
    size = {"shortest_edge": side, "longest_edge": None if windows else side}
    folder = told(models[family], tmp_path / "model", size=size, do_split_image=windows, do_pad=not windows)
    segmenter = load(folder, task)
    image = picture(70, 190, 1)
    result = segmenter.segment(image, segmenter.open_stream())
    assert_equal(result, expected(family, folder, image, task))


@pytest.mark.parametrize("write", [write_eomt, write_eomt_dinov3])
def test_an_eomt_whose_attention_is_masked_for_good_equals_hugging_faces(
    tmp_path: Path, load: Callable[..., Segmenter], write: Callable[..., Path]
) -> None:
    """A training that never let go of the masks, as Hugging Face's own leaves `attn_mask_probs`."""
    folder = write(tmp_path / "model", seed=5, attn_mask_probs=1.0)
    family = "eomt" if write is write_eomt else "eomt_dinov3"
    segmenter = load(folder, "panoptic")
    image = picture(70, 90, 1)
    result = segmenter.segment(image, segmenter.open_stream(), with_logits=True)
    assert_equal(result, expected(family, folder, image, "panoptic"))
    unmasked = write(tmp_path / "unmasked", seed=5)
    other = load(unmasked, "panoptic")
    logits = other.segment(image, other.open_stream(), with_logits=True).logits
    assert logits is not None
    assert result.logits is not None
    assert np.abs(result.logits.masks - logits.masks).max() > 0.1, "the masks change nothing"


def test_an_eomt_whose_masks_are_below_0_masks_nothing_as_hugging_faces(
    tmp_path: Path, load: Callable[..., Segmenter]
) -> None:
    """As Hugging Face's converter leaves the difference from 1 that the authors publish on DINOv3."""
    folder = write_eomt_dinov3(tmp_path / "model", seed=5, attn_mask_probs=-1.0)
    segmenter = load(folder, "panoptic")
    image = picture(70, 90, 1)
    result = segmenter.segment(image, segmenter.open_stream())
    assert_equal(result, expected("eomt_dinov3", folder, image, "panoptic"))
    assert result.segments


def test_an_eomt_whose_attention_is_masked_at_random_is_refused(tmp_path: Path) -> None:
    folder = write_eomt(tmp_path / "model", attn_mask_probs=0.25)
    with pytest.raises(CheckpointError, match=r"attn_mask_probs is \[0.25, 0.25\].*middle of its training"):
        Segmenter.load(folder, device="cpu")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_cameras_of_several_sizes_in_one_batch_are_as_each_alone(
    load: Callable[..., Segmenter], family: str, task: str
) -> None:
    segmenter = load(family, task)
    images = [picture(*size, 20 + number) for number, size in enumerate([(70, 90), (40, 130), (70, 90)])]
    together, alone = ([segmenter.open_stream() for _ in images] for _ in range(2))
    for _ in range(2):
        batch = segmenter.segment_batch(images, together)
        for image, stream, result in zip(images, alone, batch, strict=True):
            expected = segmenter.segment(image, stream)
            assert [(each.id, each.class_id, each.age) for each in result.segments] == [
                (each.id, each.class_id, each.age) for each in expected.segments
            ]
            assert differing(result.panoptic, expected.panoptic) <= LAST_BIT
            assert differing(result.semantic, expected.semantic) <= 3 * LAST_BIT


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_masks_boxes_areas_and_embeddings_describe_the_segments(
    load: Callable[..., Segmenter], family: str, task: str
) -> None:
    segmenter = load(family, task)
    image = picture(90, 140, 3)
    result = segmenter.segment(image, segmenter.open_stream(), with_masks=True)
    assert result.segments
    for segment in result.segments:
        x, y, width, height = segment.box
        assert segment.mask is not None
        mask = decode_mask(segment.mask, segment.box)
        assert mask.sum() == segment.area
        assert all(mask.any(axis).all() or mask.any(axis)[[0, -1]].all() for axis in (0, 1))
        if task != "semantic" and segment.is_thing and (result.panoptic == segment.id).any():
            assert segment.embedding is not None
            assert np.linalg.norm(segment.embedding) == pytest.approx(1, abs=1e-5)
        if task == "instance":
            shown = result.panoptic == segment.id
            outside = shown.copy()
            outside[y : y + height, x : x + width] &= ~mask
            assert not outside.any(), "what is shown of an instance is part of its mask"
        else:
            image_of = result.semantic == segment.class_id if task == "semantic" else result.panoptic == segment.id
            assert np.array_equal(image_of[y : y + height, x : x + width], mask)
            assert image_of.sum() == segment.area


@pytest.mark.parametrize("family", ["eomt", "eomt_dinov3", "mask2former"])
def test_families_that_carry_nothing_over_see_every_frame_alike_and_keep_ids_by_place(
    load: Callable[..., Segmenter], family: str
) -> None:
    segmenter = load(family, "panoptic")
    stream = segmenter.open_stream()
    results = [segmenter.segment(picture(70, 90, 4), stream) for _ in range(3)]
    assert segmenter.identity == "overlap"
    assert results[0].segments
    for age, result in enumerate(results):
        assert [segment.id for segment in result.segments] == [segment.id for segment in results[0].segments]
        assert [segment.score for segment in result.segments] == [segment.score for segment in results[0].segments]
        assert {segment.age for segment in result.segments} == {age}
    black = segmenter.segment(np.zeros((70, 90, 3), np.uint8), stream)
    again = segmenter.segment(picture(70, 90, 4), stream)
    assert [each.id for each in again.segments if each.is_thing] == [
        each.id for each in results[0].segments if each.is_thing
    ], f"ids are not kept over a frame of {len(black.segments)} segments"


@pytest.mark.parametrize("exact", [False, True], ids=["floats", "fractions"])
def test_ids_do_not_depend_on_when_a_clock_began(load: Callable[..., Segmenter], exact: bool) -> None:
    """Things that are away for just 2 seconds, on a clock since 0 and on one since 1970."""
    segmenter = load("eomt", "panoptic")

    def ids_since(start: int, first: int) -> list[int]:
        stream = segmenter.open_stream()
        for number in range(first + 6):
            stamp = start + Fraction(2 * number, 5)
            segmenter.score_threshold = THRESHOLDS["panoptic"] if number in (first, first + 5) else 1.0
            found = segmenter.segment(picture(70, 90, 4), stream, stamp=stamp if exact else float(stamp))
        return [segment.id for segment in found.segments]

    kept = ids_since(0, 0)
    assert kept
    for start in (0, 1_700_000_000):
        assert ids_since(start, 6) == kept  # where a sum of floats since 0 goes beyond 2


def test_stuff_that_is_not_fused_has_an_id_for_each_region(load: Callable[..., Segmenter]) -> None:
    segmenter = load("eomt", "panoptic", fuse_stuff=False, overlap_threshold=0.0)
    segmenter.score_threshold = 0.0
    stream = segmenter.open_stream()
    for seed in (4, 4, 5):
        result = segmenter.segment(picture(70, 90, seed), stream)
        ids = [segment.id for segment in result.segments]
        assert len(set(ids)) == len(ids)
    stuff = [segment.class_id for segment in result.segments if not segment.is_thing]
    assert len(stuff) > len(set(stuff)), "the scene has no two regions of one stuff class"


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_an_eomt_runs_on_every_backend(load: Callable[..., Segmenter], models: dict[str, Path], backend: str) -> None:
    segmenter = load("eomt_dinov3", "semantic", backend=backend)
    image = picture(150, 70, 0)
    result = segmenter.segment(image, segmenter.open_stream())
    assert segmenter.backend == backend
    assert_equal(result, expected("eomt_dinov3", models["eomt_dinov3"], image, "semantic"))


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_mask2former_runs_with_torch_alone_and_says_so(load: Callable[..., Segmenter], backend: str) -> None:
    with pytest.raises(ValueError, match=f"backend is '{backend}', but a Mask2Former runs with backend 'torch' only"):
        load("mask2former", "panoptic", backend=backend)
    assert load("mask2former", "panoptic", backend="auto").backend == "torch"


def test_an_image_too_narrow_for_windows_is_refused(load: Callable[..., Segmenter]) -> None:
    segmenter = load("eomt", "semantic")
    with pytest.raises(ValueError, match="image is 5x200, which the semantic task would cut into 40 windows"):
        segmenter.segment(picture(200, 5, 0), segmenter.open_stream())


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 9), (15, 8)], ids=str)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_images_smaller_than_a_patch_are_segmented(
    load: Callable[..., Segmenter], family: str, task: str, size: tuple[int, int]
) -> None:
    segmenter = load(family, task)
    result = segmenter.segment(picture(*size, 0), segmenter.open_stream())
    assert result.semantic.shape == result.panoptic.shape == size


def test_mask2former_without_transformers_says_what_to_install(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(CheckpointError, match=r"cannot be loaded \(.* -m pip install .*transformers numpy=="):
        Segmenter.load(models["mask2former"], device="cpu")


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("missing", lambda weights: weights.pop("class_predictor.weight"), "missing.*class_predictor.weight"),
        ("unknown", lambda weights: weights.update(other=torch.zeros(3)), "unknown to the network.*other"),
        (
            "misshaped",
            lambda weights: weights.update({"class_predictor.bias": torch.zeros(9)}),
            "class_predictor.bias",
        ),
    ],
)
def test_mask2former_weights_that_do_not_fit_are_refused(
    models: dict[str, Path], tmp_path: Path, name: str, spoil: Callable[[dict[str, torch.Tensor]], None], said: str
) -> None:
    folder = shutil.copytree(models["mask2former"], tmp_path / name)
    weights = load_file(folder / "model.safetensors")
    spoil(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=said):
        Segmenter.load(folder, device="cpu")


@pytest.mark.parametrize("filled", [True, False], ids=["every pixel has a class of its own", "some have none"])
@pytest.mark.parametrize("size", [(300, 500), (500, 280), (90, 70)], ids=str)
@pytest.mark.parametrize("family", ["eomt", "mask2former"])
def test_a_few_sure_classes_of_many_are_those_of_hugging_face(family: str, size: tuple[int, int], filled: bool) -> None:
    """Where sure classes fill the image the others are never summed up, and where they do not they are."""
    classes = 60
    if family == "eomt":
        processor: Any = EomtImageProcessor(size={"shortest_edge": 96, "longest_edge": None}, do_split_image=True)
        fit = engine_families.FAMILIES["eomt"].fit(
            Dinov2Settings(num_labels=classes, image_size=96), Processor(), "semantic", "stretch", 96
        )
    else:
        processor = Mask2FormerImageProcessor(size={"shortest_edge": 96, "longest_edge": 150})
        told = Processor(shortest_edge=96, longest_edge=150)
        fit = engine_families.FAMILIES["mask2former"].fit(Mask2FormerSettings(classes), told, "semantic", "stretch", 96)
    placement = fit(size)
    windows = max(1, len(placement.windows))
    samples = placement.input[0] // 4, placement.input[1] // 4
    logits = torch.stack([reference.confident(50, classes, 6, seed) for seed in range(windows)])
    masks = torch.stack([reference.blobs(50, samples, seed) for seed in range(windows)])
    if filled:
        reference.fill(masks, logits)
    label_map = postprocess(
        masks,
        logits,
        placement,
        task="semantic",
        rules=engine_families.FAMILIES[family].rules,
        classes=ResultClasses.same((True,) * classes),
        score_threshold=0.0,
        mask_threshold=0.5,
        overlap_threshold=0.8,
        fuse_stuff=False,
    )
    ours = Found(label_map)
    tall = placement.resized[0] > placement.resized[1]
    along = [part.rows if tall else part.columns for part in placement.windows]
    output = SimpleNamespace(
        masks_queries_logits=masks,
        class_queries_logits=logits,
        patch_offsets=[torch.tensor([0, part.start, part.stop]) for part in along],
    )
    (expected,) = processor.post_process_semantic_segmentation(output, target_sizes=[size])
    assert differing(ours.semantic, expected.numpy()) <= LAST_BIT
    assert len(ours.class_ids) <= 6 * windows if filled else len(ours.class_ids) > 6 * windows
    shown = np.array([np.count_nonzero(expected.numpy() == class_id) for class_id in ours.class_ids])
    assert np.abs(np.array(ours.areas) - shown).max() <= 2


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_without_confidence_all_else_is_the_same(load: Callable[..., Segmenter], family: str, task: str) -> None:
    segmenter = load(family, task)
    image = picture(90, 140, 3)
    sure, unsure = (
        segmenter.segment(image, segmenter.open_stream(), with_masks=True, with_confidence=wanted)
        for wanted in (True, False)
    )
    assert sure.confidence is not None
    assert sure.confidence.any()
    assert unsure.confidence is None
    assert unsure.segments == sure.segments != []
    assert np.array_equal(unsure.panoptic, sure.panoptic)
    assert np.array_equal(unsure.semantic, sure.semantic)


def test_a_task_that_the_model_is_not_made_for_is_warned_of(
    load: Callable[..., Segmenter], caplog: pytest.LogCaptureFixture
) -> None:
    load("eomt", "panoptic")
    assert "is made for" not in caplog.text
    load("eomt", "semantic")
    assert "task 'semantic', but eomt is made for 'panoptic': it is segmented as asked" in caplog.text


def test_what_swin_computes_itself_may_be_in_a_mask2former(
    models: dict[str, Path], tmp_path: Path, table: Path
) -> None:
    folder = shutil.copytree(models["mask2former"], tmp_path / "published")
    weights = load_file(folder / "model.safetensors")
    weights["model.pixel_level_module.encoder.layers.0.attention.relative_position_index"] = torch.zeros(16, 16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert Segmenter.load(folder, device="cpu", labels=table).name == "published"


@pytest.mark.parametrize("task", ["panoptic", "instance"])
@pytest.mark.parametrize("family", FAMILIES)
def test_where_no_query_is_sure_of_a_class_there_is_nothing(models: dict[str, Path], family: str, task: str) -> None:
    loaded = load_checkpoint(models[family])
    placement = loaded.family.fit(loaded.settings, loaded.processor, task, "stretch", 64)((70, 90))
    label_map = postprocess(
        torch.randn(1, 9, 16, 16),
        torch.zeros(1, 9, 6),
        placement,
        task=task,
        rules=loaded.family.rules,
        classes=ResultClasses.same((True,) * 5),
        score_threshold=0.9,
        mask_threshold=0.5,
        overlap_threshold=0.8,
        fuse_stuff=False,
        with_masks=True,
    )
    found = Found(label_map)
    assert found.class_ids == ()
    assert (found.semantic == 255).all()
