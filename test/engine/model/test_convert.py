"""Weights in the authors' own layout, converted, beside an independent forward in that layout.

The layout and the forward are those of the authors' repositories (tue-mps/eomt, models/eomt.py, vit.py, scale_block.py;
tue-mps/videomt, videomt/modeling/backbone/) on timm's DINOv2 and transformers' DINOv3, written down here as plain
functions of a dictionary of tensors.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoImageProcessor,
    AutoVideoProcessor,
    EomtDinov3ForUniversalSegmentation,
    EomtForUniversalSegmentation,
    VideomtForUniversalSegmentation,
)

from eomt_ros.cli.main import main
from eomt_ros.engine import CheckpointError, Segmenter
from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.engine.model.convert import convert
from eomt_ros.engine.model.labels import Labels, distinct_colors, load_labels
from test.engine.pictures import picture

pytestmark = pytest.mark.slow

HIDDEN, HEADS, LAYERS, BLOCKS, QUERIES, CLASSES, SIDE, PATCH = 128, 2, 4, 2, 10, 5, 64, 16
PIXEL_STD = torch.full((1, 3, 1, 1), 0.225)
Weights = dict[str, Tensor]


class Random:
    """Draws tensors of a sensible size."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        scale = 0.1 if len(shape) == 1 else math.prod(shape[1:]) ** -0.5
        return scale * torch.randn(*shape, generator=self._generator)

    def norm(self) -> Tensor:
        return 0.5 + torch.rand(HIDDEN, generator=self._generator)


def linear(draw: Random, name: str, inputs: int, outputs: int, bias: bool = True) -> Weights:
    weights = {f"{name}.weight": draw(outputs, inputs)}
    return {**weights, f"{name}.bias": draw(outputs)} if bias else weights


def norm(draw: Random, name: str) -> Weights:
    return {f"{name}.weight": draw.norm(), f"{name}.bias": draw(HIDDEN)}


def authors(*, dinov3: bool, video: bool, gated: bool = False, seed: int = 0) -> Weights:
    """The state of an EoMT or a VidEoMT, by the authors' names."""
    draw = Random(seed)
    backbone = "encoder.backbone"
    weights: Weights = {"q.weight": 8 * draw(QUERIES, HIDDEN), "attn_mask_probs": torch.zeros(BLOCKS)}
    weights |= linear(draw, "class_head", HIDDEN, CLASSES + 1)
    for place in (0, 2, 4):
        weights |= linear(draw, f"mask_head.{place}", HIDDEN, HIDDEN)
    for block in range(2):
        weights |= {
            f"upscale.{block}.conv1.weight": draw(HIDDEN, HIDDEN, 2, 2),
            f"upscale.{block}.conv1.bias": draw(HIDDEN),
            f"upscale.{block}.conv2.weight": draw(HIDDEN, 1, 3, 3),
        }
        weights |= norm(draw, f"upscale.{block}.norm")
    if video:
        weights |= linear(draw, "query_updater", HIDDEN, HIDDEN)
    else:  # VidEoMT's are detectron2's, which saves none
        weights |= {"encoder.pixel_mean": torch.full((1, 3, 1, 1), 0.45), "encoder.pixel_std": PIXEL_STD}
    weights |= norm(draw, f"{backbone}.norm")
    embed = f"{backbone}.patch_embed"
    if dinov3:
        weights |= {f"{embed}.cls_token": draw(1, 1, HIDDEN), f"{embed}.register_tokens": draw(1, 4, HIDDEN)}
        weights[f"{embed}.patch_embeddings.weight"] = draw(HIDDEN, 3, PATCH, PATCH)
        weights[f"{embed}.patch_embeddings.bias"] = draw(HIDDEN)
    else:
        weights |= {f"{backbone}.cls_token": draw(1, 1, HIDDEN), f"{backbone}.reg_token": draw(1, 4, HIDDEN)}
        weights[f"{backbone}.pos_embed"] = draw(1, (SIDE // PATCH) ** 2, HIDDEN)
        weights[f"{embed}.proj.weight"] = draw(HIDDEN, 3, PATCH, PATCH)
        weights[f"{embed}.proj.bias"] = draw(HIDDEN)
    for layer in range(LAYERS):
        name = f"{backbone}.blocks.{layer}"
        weights |= {**norm(draw, f"{name}.norm1"), **norm(draw, f"{name}.norm2")}
        if dinov3:
            for part in "qkvo":
                weights |= linear(draw, f"{name}.attention.{part}_proj", HIDDEN, HIDDEN, bias=part != "k")
            for part, inputs, outputs in (("up", HIDDEN, 4 * HIDDEN), ("down", 4 * HIDDEN, HIDDEN)):
                weights |= linear(draw, f"{name}.mlp.{part}_proj", inputs, outputs)
            if gated:
                weights |= linear(draw, f"{name}.mlp.gate_proj", HIDDEN, 4 * HIDDEN)
            weights |= {f"{name}.layer_scale{i}.lambda1": draw.norm() for i in (1, 2)}
        else:
            weights |= linear(draw, f"{name}.attn.qkv", HIDDEN, 3 * HIDDEN)
            weights |= linear(draw, f"{name}.attn.proj", HIDDEN, HIDDEN)
            wide = (HIDDEN * 4 * 2 // 3 + 7) // 8 * 8 if gated else 4 * HIDDEN
            weights |= linear(draw, f"{name}.mlp.fc1", HIDDEN, 2 * wide if gated else wide)
            weights |= linear(draw, f"{name}.mlp.fc2", wide, HIDDEN)
            weights |= {f"{name}.ls{i}.gamma": draw.norm() for i in (1, 2)}
    return weights


def apply(weights: Weights, name: str, values: Tensor) -> Tensor:
    return F.linear(values, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def normalise(weights: Weights, name: str, values: Tensor, eps: float) -> Tensor:
    return F.layer_norm(values, (HIDDEN,), weights[f"{name}.weight"], weights[f"{name}.bias"], eps)


def turned(values: Tensor) -> Tensor:
    """Rotary positions of the patches, which are the last tokens: (heads, tokens, channels)."""
    side, channels = SIDE // PATCH, values.shape[-1]
    result = values.clone()
    for token in range(side * side):
        for axis, place in enumerate(divmod(token, side)):
            for index in range(channels // 4):
                angle = 2 * math.pi * (2 * (place + 0.5) / side - 1) / 100.0 ** (4 * index / channels)
                one, other = axis * channels // 4 + index, channels // 2 + axis * channels // 4 + index
                at = values.shape[1] - side * side + token
                a, b = values[:, at, one], values[:, at, other]
                result[:, at, one] = a * math.cos(angle) - b * math.sin(angle)
                result[:, at, other] = b * math.cos(angle) + a * math.sin(angle)
    return result


def block(weights: Weights, layer: int, tokens: Tensor, dinov3: bool) -> Tensor:
    """One layer of the backbone, (tokens, hidden)."""
    name, eps = f"encoder.backbone.blocks.{layer}", 1e-5 if dinov3 else 1e-6
    inputs = normalise(weights, f"{name}.norm1", tokens, eps)
    if dinov3:
        if f"{name}.attention.qkv_proj.weight" in weights:
            query, key, value = apply(weights, f"{name}.attention.qkv_proj", inputs).split(HIDDEN, dim=-1)
        else:
            query, key, value = (apply(weights, f"{name}.attention.{part}_proj", inputs) for part in "qkv")
    else:
        query, key, value = apply(weights, f"{name}.attn.qkv", inputs).split(HIDDEN, dim=-1)
    query, key, value = (part.unflatten(-1, (HEADS, -1)).transpose(0, 1) for part in (query, key, value))
    if dinov3:
        query, key = turned(query), turned(key)
    attended = (query @ key.mT * (HIDDEN // HEADS) ** -0.5).softmax(-1) @ value
    attended = apply(
        weights, f"{name}.attention.o_proj" if dinov3 else f"{name}.attn.proj", attended.transpose(0, 1).flatten(1)
    )
    scales = [weights[f"{name}.layer_scale{i}.lambda1" if dinov3 else f"{name}.ls{i}.gamma"] for i in (1, 2)]
    tokens = tokens + scales[0] * attended
    inputs = normalise(weights, f"{name}.norm2", tokens, eps)
    if dinov3:
        hidden = F.gelu(apply(weights, f"{name}.mlp.up_proj", inputs))
    else:
        hidden = apply(weights, f"{name}.mlp.fc1", inputs)
        if hidden.shape[1] == 2 * weights[f"{name}.mlp.fc2.weight"].shape[1]:
            gate, up = hidden.chunk(2, dim=-1)
            hidden = F.silu(gate) * up
        else:
            hidden = F.gelu(hidden)
    return tokens + scales[1] * apply(weights, f"{name}.mlp.{'down_proj' if dinov3 else 'fc2'}", hidden)


def forward(weights: Weights, frames: Tensor, *, norm_queries: bool = False) -> list[tuple[Tensor, Tensor]]:
    """Mask and class logits of each frame, (3, side, side) normalised pixels, queries handed on where they are."""
    backbone = "encoder.backbone"
    dinov3 = f"{backbone}.pos_embed" not in weights
    embed = f"{backbone}.patch_embed" + (".patch_embeddings" if dinov3 else ".proj")
    prefix = [f"{backbone}.patch_embed.cls_token", f"{backbone}.patch_embed.register_tokens"]
    prefix = prefix if dinov3 else [f"{backbone}.cls_token", f"{backbone}.reg_token"]
    queries = weights["q.weight"]
    outputs = []
    for pixels in frames:
        patches = F.conv2d(pixels[None], weights[f"{embed}.weight"], weights[f"{embed}.bias"], stride=PATCH)
        patches = patches.flatten(2)[0].T
        if not dinov3:
            patches = patches + weights[f"{backbone}.pos_embed"][0]
        tokens = torch.cat([*(weights[name][0] for name in prefix), patches])
        for layer in range(LAYERS):
            if layer == LAYERS - BLOCKS:
                tokens = torch.cat([queries, tokens])
            tokens = block(weights, layer, tokens, dinov3)
        final = normalise(weights, f"{backbone}.norm", tokens, 1e-5 if dinov3 else 1e-6)
        answers, features = final[:QUERIES], final[QUERIES + 5 :].T.reshape(1, HIDDEN, SIDE // PATCH, -1)
        for each in range(2):
            name = f"upscale.{each}"
            features = F.conv_transpose2d(
                features, weights[f"{name}.conv1.weight"], weights[f"{name}.conv1.bias"], stride=2
            )
            features = F.conv2d(F.gelu(features), weights[f"{name}.conv2.weight"], padding=1, groups=HIDDEN)
            features = normalise(weights, f"{name}.norm", features.movedim(1, -1), 1e-6).movedim(-1, 1)
        vectors = F.gelu(apply(weights, "mask_head.0", answers))
        vectors = apply(weights, "mask_head.4", F.gelu(apply(weights, "mask_head.2", vectors)))
        outputs.append((torch.einsum("qc,chw->qhw", vectors, features[0]), apply(weights, "class_head", answers)))
        if "query_updater.weight" in weights:
            carried = (final if norm_queries else tokens)[:QUERIES]
            queries = apply(weights, "query_updater", carried) + weights["q.weight"]
    return outputs


@torch.inference_mode()
def converted(folder: Path, frames: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The same of the converted model, by our network."""
    network = load_checkpoint(folder).network
    queries = network.first_queries()
    outputs = []
    for pixels in frames:
        output = network(pixels[None], queries)
        outputs.append((output.mask_logits[0], output.class_logits[0]))
        queries = output.next_queries
    return outputs


def assert_same(found: list[tuple[Tensor, Tensor]], expected: list[tuple[Tensor, Tensor]]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.shape == other.shape
            assert (one - other).abs().max() <= 2e-4 * other.abs().max()
    assert all((one - other).abs().max() > 0.01 for one, other in zip(expected[0], expected[1], strict=True))


FRAMES = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(9))


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    def write(weights: Any, name: str = "authors.pth") -> Path:
        torch.save(weights, tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("video", [False, True], ids=["EoMT", "VidEoMT"])
@pytest.mark.parametrize(
    ("dinov3", "gated"), [(False, False), (False, True), (True, False)], ids=["DINOv2", "DINOv2 giant", "DINOv3"]
)
def test_a_converted_model_computes_what_the_authors_code_does(
    written: Callable[..., Path], tmp_path: Path, dinov3: bool, video: bool, gated: bool
) -> None:
    weights = authors(dinov3=dinov3, video=video, gated=gated)
    done = convert(written(weights), tmp_path / "model", image_size=SIDE if dinov3 else None)
    assert done.model_type == ("videomt" if video else "eomt") + ("_dinov3" if dinov3 else "")
    assert_same(converted(tmp_path / "model", FRAMES), forward(weights, FRAMES))


def test_normalised_queries_are_handed_on_as_the_authors_hand_them_on(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    weights = authors(dinov3=True, video=True)
    convert(written(weights), tmp_path / "model", image_size=SIDE, norm_queries=True)
    expected = forward(weights, FRAMES, norm_queries=True)
    assert_same(converted(tmp_path / "model", FRAMES), expected)
    assert (forward(weights, FRAMES)[1][0] - expected[1][0]).abs().max() > 0.01, "normalising changes nothing"


@pytest.mark.parametrize(
    ("dinov3", "video", "theirs"),
    [
        (False, False, EomtForUniversalSegmentation),
        (True, False, EomtDinov3ForUniversalSegmentation),
        (False, True, VideomtForUniversalSegmentation),
    ],
)
@torch.inference_mode()
def test_hugging_face_reads_the_folder_and_computes_the_same(
    written: Callable[..., Path], tmp_path: Path, dinov3: bool, video: bool, theirs: Any
) -> None:
    weights = authors(dinov3=dinov3, video=video)
    convert(written(weights), tmp_path / "model", image_size=SIDE if dinov3 else None)
    network = theirs.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    clip = {"pixel_values_videos": FRAMES[None]} if video else {"pixel_values": FRAMES}
    output = network(**clip)
    expected = forward(weights, FRAMES)
    assert_same(list(zip(output.masks_queries_logits, output.class_queries_logits, strict=True)), expected)


def test_a_dinov3_saved_with_fused_projections_computes_the_same(written: Callable[..., Path], tmp_path: Path) -> None:
    """`FUSED_QKV` of the authors' benchmark, in which keys get a bias of 0."""
    weights = authors(dinov3=True, video=True)
    expected = forward(weights, FRAMES)
    for layer in range(LAYERS):
        name = f"encoder.backbone.blocks.{layer}.attention"
        parts = [weights.pop(f"{name}.{part}_proj.weight") for part in "qkv"]
        biases = [weights.pop(f"{name}.q_proj.bias"), torch.zeros(HIDDEN), weights.pop(f"{name}.v_proj.bias")]
        weights |= {f"{name}.qkv_proj.weight": torch.cat(parts), f"{name}.qkv_proj.bias": torch.cat(biases)}
    assert_same(forward(weights, FRAMES), expected)
    convert(written(weights), tmp_path / "model", image_size=SIDE)
    assert_same(converted(tmp_path / "model", FRAMES), expected)


@pytest.mark.parametrize("dinov3", [False, True], ids=["DINOv2", "DINOv3"])
@pytest.mark.parametrize("video", [False, True], ids=["EoMT", "VidEoMT"])
def test_every_number_of_the_file_is_in_the_folder_or_said_to_be_left_out(
    written: Callable[..., Path], tmp_path: Path, dinov3: bool, video: bool
) -> None:
    weights = authors(dinov3=dinov3, video=video)
    done = convert(written(weights), tmp_path / "model", image_size=SIDE if dinov3 else None)
    kept = [value.flatten() for name, value in weights.items() if name not in done.left_out]
    found = [value.flatten() for value in load_file(tmp_path / "model" / "model.safetensors").values()]
    assert torch.equal(torch.cat(found).sort().values, torch.cat(kept).sort().values)
    assert done.mapped == len(kept)
    assert done.left_out == (() if video else ("encoder.pixel_mean", "encoder.pixel_std"))


def differences() -> tuple[Weights, Weights, Weights]:
    """Whole weights, the DINOv3 they began with by transformers' names, and what the authors publish of the two.

    Their loader adds the file to a state that was just made: heads of 0, the DINOv3's backbone, buffers as they begin.
    """
    own = "encoder.backbone."
    whole, base = (authors(dinov3=True, video=False, seed=seed) for seed in (1, 2))
    for name in base:
        if "norm" in name:  # fine-tuning moves a norm a little
            base[name] = whole[name] + 0.01
    begins = {name: torch.zeros_like(value) for name, value in whole.items()}
    begins |= {name: value for name, value in base.items() if name.startswith((own, "encoder.pixel_"))}
    begins["attn_mask_probs"] = torch.ones(BLOCKS)
    published = {f"network.{name}": value - begins[name] for name, value in whole.items()}
    backbone = {
        name.removeprefix(own).replace("patch_embed.", "embeddings.").replace("blocks.", "layer."): value
        for name, value in base.items()
        if name.startswith(own)
    }
    return whole, backbone, published


def test_differences_from_a_dinov3_become_whole_with_it(written: Callable[..., Path], tmp_path: Path) -> None:
    whole, backbone, published = differences()
    source = written({"state_dict": published})
    with pytest.raises(CheckpointError, match=r"holds differences from the weights of a DINOv3.*give its model\.saf"):
        convert(source, tmp_path / "model", image_size=SIDE)
    save_file(backbone, tmp_path / "dinov3.safetensors")
    convert(source, tmp_path / "model", image_size=SIDE, backbone=tmp_path / "dinov3.safetensors")
    assert_same(converted(tmp_path / "model", FRAMES), forward(whole, FRAMES))
    theirs = EomtDinov3ForUniversalSegmentation.from_pretrained(tmp_path / "model", dtype=torch.float32)
    assert theirs.attn_mask_probs.tolist() == [0.0] * BLOCKS
    published.pop("network.attn_mask_probs")
    with pytest.raises(CheckpointError, match="has no attn_mask_probs"):
        convert(written(published), tmp_path / "other", backbone=tmp_path / "dinov3.safetensors")
    published["network.attn_mask_probs"] = torch.full((BLOCKS,), -1.0)
    backbone.pop("norm.weight")
    save_file(backbone, tmp_path / "part.safetensors")
    with pytest.raises(CheckpointError, match=r"has \d+ of the \d+ weights of the backbone: it is not the DINOv3"):
        convert(written(published), tmp_path / "other", image_size=SIDE, backbone=tmp_path / "part.safetensors")


def test_what_does_not_say_whether_it_is_whole_is_refused(written: Callable[..., Path], tmp_path: Path) -> None:
    _, backbone, published = differences()
    published.pop("network.encoder.pixel_std")
    save_file(backbone, tmp_path / "dinov3.safetensors")
    for given in (None, tmp_path / "dinov3.safetensors"):
        with pytest.raises(CheckpointError, match=r"has no encoder\.pixel_std, which tells whole weights from diff"):
            convert(written(published), tmp_path / "model", backbone=given)


def test_whole_weights_take_no_backbone(written: Callable[..., Path], tmp_path: Path) -> None:
    _, backbone, _ = differences()
    save_file(backbone, tmp_path / "dinov3.safetensors")
    with pytest.raises(CheckpointError, match="holds whole weights, to which no backbone is added"):
        convert(
            written(authors(dinov3=True, video=False)), tmp_path / "model", backbone=tmp_path / "dinov3.safetensors"
        )


@pytest.mark.parametrize("video", [False, True], ids=["EoMT", "VidEoMT"])
def test_small_weights_are_not_taken_for_differences(written: Callable[..., Path], tmp_path: Path, video: bool) -> None:
    weights = authors(dinov3=False, video=video)
    weights["encoder.backbone.blocks.0.norm1.weight"] *= 0.01
    convert(written(weights), tmp_path / "model")
    assert_same(converted(tmp_path / "model", FRAMES), forward(weights, FRAMES))


@pytest.mark.parametrize(("dinov3", "video"), [(False, False), (True, False), (False, True)])
def test_normalising_queries_where_none_are_normalised_is_refused(
    written: Callable[..., Path], tmp_path: Path, dinov3: bool, video: bool
) -> None:
    with pytest.raises(CheckpointError, match="norm_queries is for VidEoMT on DINOv3, but"):
        convert(written(authors(dinov3=dinov3, video=video)), tmp_path / "model", norm_queries=True)


def test_torchs_older_file_format_is_read(tmp_path: Path) -> None:
    weights = authors(dinov3=False, video=True)
    torch.save({"model": weights}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    convert(tmp_path / "old.pth", tmp_path / "model")
    assert_same(converted(tmp_path / "model", FRAMES), forward(weights, FRAMES))


TABLE = Labels("mine", ("a", "b", "c", "d", "e"), (True,) * CLASSES, distinct_colors(CLASSES), "semantic")


@pytest.mark.parametrize(("labels", "windows"), [(None, 1), (TABLE, 2)], ids=["panoptic", "semantic"])
def test_hugging_faces_processor_feeds_an_eomt_its_square(
    written: Callable[..., Path], tmp_path: Path, labels: Labels | None, windows: int
) -> None:
    convert(written(authors(dinov3=False, video=False)), tmp_path / "model", labels=labels)
    processor = AutoImageProcessor.from_pretrained(tmp_path / "model")
    pixels = processor(picture(90, 160, 0), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (windows, 3, SIDE, SIDE)


def test_hugging_faces_processor_feeds_a_videomt_its_square(written: Callable[..., Path], tmp_path: Path) -> None:
    convert(written(authors(dinov3=False, video=True)), tmp_path / "model")
    processor = AutoVideoProcessor.from_pretrained(tmp_path / "model")
    assert type(processor).__name__ == "VideomtVideoProcessor"
    assert (processor.size["height"], processor.size["width"]) == (SIDE, SIDE)


def test_every_wrapping_of_the_authors_trainers_is_taken_off(written: Callable[..., Path], tmp_path: Path) -> None:
    """Lightning's, torch.compile's, detectron2's, with what they keep beside."""
    weights = authors(dinov3=False, video=True)
    extra = {"criterion.empty_weight": torch.ones(6), "pixel_mean": torch.ones(3)}
    lightning = {f"network._orig_mod.{name}": value for name, value in weights.items()}
    lightning |= {**extra, "network._orig_mod.encoder.pixel_std": torch.ones(1, 3, 1, 1)}
    detectron = {f"backbone.{name}": value for name, value in weights.items()} | extra
    for number, content in enumerate(
        (
            weights,
            {"state_dict": lightning, "epoch": 3},
            {"model": detectron, "iteration": 9, "optimizer": {"state": {}}},
        )
    ):
        done = convert(written(content), tmp_path / f"model{number}")
        assert_same(converted(tmp_path / f"model{number}", FRAMES), forward(weights, FRAMES))
        assert len(done.left_out) == (0, 3, 2)[number]


def test_the_model_segments(written: Callable[..., Path], tmp_path: Path) -> None:
    names = tuple(f"class {index}" for index in range(CLASSES))
    labels = Labels("mine", names, (True,) * CLASSES, distinct_colors(CLASSES), "panoptic")
    convert(written(authors(dinov3=False, video=False)), tmp_path / "model", labels=labels)
    segmenter = Segmenter.load(tmp_path / "model", device="cpu", task="semantic")
    result = segmenter.segment(picture(90, 160, 0), segmenter.open_stream())
    assert result.segments
    assert {segment.class_name for segment in result.segments} <= set(names)


class Payload:
    """Would write a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self._path), "w"))


def test_a_file_with_objects_is_refused_and_its_code_not_run(written: Callable[..., Path], tmp_path: Path) -> None:
    source = written({"model": authors(dinov3=False, video=False), "hook": Payload(tmp_path / "harm")})
    with pytest.raises(CheckpointError, match="holds Python objects beside tensors, and reading them can run any code"):
        convert(source, tmp_path / "model")
    assert not (tmp_path / "harm").exists()
    assert not (tmp_path / "model").exists()


BIG = torch.zeros(1 << 20)
"""In a file once, whatever it is called there."""


def spoilt(**changes: Tensor | None) -> Weights:
    weights = {**authors(dinov3=False, video=False), **changes}
    return {name: value for name, value in weights.items() if value is not None}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (authors(dinov3=True, video=False, gated=True), "has a gated DINOv3, for which Hugging Face's format"),
        (spoilt(other=torch.zeros(2)), "1 entries have no place in an EoMT or VidEoMT: other"),
        (spoilt(**{"q.weight": None}), "has no query.weight"),
        (spoilt(**{"mask_head.2.bias": None}), r"1 missing \(mask_head.fc2.bias"),
        (spoilt(**{"class_head.bias": torch.zeros(9)}), r"class_predictor.bias is \(9,\), expected \(6,\)"),
        (spoilt(**{"mask_head.0.bias": torch.full((HIDDEN,), torch.nan)}), "NaN or infinite"),
        ({"weight": torch.zeros(3)}, "has 0 class heads, expected one"),
        ([torch.zeros(3)], "holds a list, expected tensors by name"),
    ],
)
def test_what_is_no_whole_model_is_refused_and_nothing_is_left(
    written: Callable[..., Path], tmp_path: Path, content: Any, said: str
) -> None:
    with pytest.raises(CheckpointError, match=said) as refused:
        convert(written(content), tmp_path / "model")
    assert str(tmp_path / "authors.pth") in str(refused.value), "the file is not named"
    assert ".model-" not in str(refused.value), "a folder that is gone is named"
    assert [path.name for path in tmp_path.iterdir()] == ["authors.pth"]


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "folder"])
def test_what_torch_cannot_read_is_refused(written: Callable[..., Path], tmp_path: Path, damage: str) -> None:
    source = written(authors(dinov3=False, video=False))
    whole = source.read_bytes()
    content = {"cut": whole[: len(whole) // 2], "text": b"<html>not found</html>", "empty": b""}.get(damage)
    if content is None:
        source = tmp_path
    else:
        source.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"truncated or no file of torch's|no file of torch's|is no file that can be read"
    ):
        convert(source, tmp_path / "model")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"q.weight": torch.zeros(1, 1).expand(1 << 20, 1 << 20)}, "and its tensors would have 43980"),
        ({f"encoder.backbone.blocks.{i}.norm1.weight": BIG for i in range(50)}, "it was not saved whole"),
        ({"q.weight": torch.zeros(10, HIDDEN).to_sparse()}, "q.weight is sparse, quantized, complex or of no numbers"),
        ({"q.weight": torch.zeros(10, HIDDEN, dtype=torch.complex64)}, "q.weight is sparse, quantized, complex"),
        ({"q.weight": torch.zeros(10, HIDDEN, device="meta")}, "q.weight is sparse, quantized, complex"),
        ({"q.weight": torch.tensor(1.0)}, "has weights of shapes that no EoMT or VidEoMT has"),
        ({"attn_mask_probs": torch.tensor(1.0)}, "has weights of shapes that no EoMT or VidEoMT has"),
        ({"encoder.backbone.pos_embed": torch.tensor(1.0)}, "has weights of shapes that no EoMT or VidEoMT has"),
        ({"encoder.backbone.blocks.0.attn.qkv.bias": torch.zeros(1)}, "has weights of shapes that no EoMT or VidEoMT"),
        ({f"encoder.backbone.blocks.{'9' * 5000}.norm1.weight": torch.zeros(1)}, "has weights of shapes that no EoMT"),
        (
            {"a\nb\x1b[31m": torch.zeros(1), "x" * 9999: torch.zeros(1)},
            r"have no place in an EoMT or VidEoMT: a b\?\[31m, x+",
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_tensors_that_are_none_or_grow_are_refused_in_a_line(
    written: Callable[..., Path], tmp_path: Path, changes: dict[str, Tensor], said: str
) -> None:
    with pytest.raises(CheckpointError, match=said) as refused:
        convert(written(spoilt(**changes)), tmp_path / "model")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("seed", range(20))
def test_a_pickle_that_is_broken_anywhere_is_refused_in_a_line(
    written: Callable[..., Path], tmp_path: Path, seed: int
) -> None:
    source = written({})
    with zipfile.ZipFile(source) as parts:
        contents = {info.filename: parts.read(info) for info in parts.infolist()}
    pickled = next(name for name in contents if name.endswith("data.pkl"))
    broken = bytearray(pickle.dumps({"a": [1, (2, 3)], "b": {"c": "d"}}, protocol=2))
    random = np.random.default_rng(seed)
    for place in random.integers(0, len(broken), 3):
        broken[place] = random.integers(256)
    with zipfile.ZipFile(source, "w") as parts:
        for name, content in {**contents, pickled: bytes(broken)}.items():
            parts.writestr(name, content)
    with pytest.raises(CheckpointError) as refused:
        convert(source, tmp_path / "model")
    assert str(refused.value).isprintable()


class Filling:
    """Memory for a few bytes of a file."""

    def __reduce__(self) -> tuple[type[bytearray], tuple[int]]:
        return bytearray, (1 << 40,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_asks_for_memory_is_refused_before_it_is_given(tmp_path: Path, zipped: bool) -> None:
    content = {**authors(dinov3=False, video=False), "other": Filling()}
    torch.save(content, tmp_path / "authors.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="holds a bytearray beside tensors"):
        convert(tmp_path / "authors.pth", tmp_path / "model")


def test_a_compressed_file_is_refused_before_it_is_unpacked(written: Callable[..., Path], tmp_path: Path) -> None:
    source = written(authors(dinov3=False, video=False))
    with zipfile.ZipFile(source) as parts:
        contents = {info.filename: parts.read(info) for info in parts.infolist()}
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as parts:
        for name, content in contents.items():
            parts.writestr(name, content)
    with pytest.raises(CheckpointError, match="is compressed, which torch does not do"):
        convert(source, tmp_path / "model")


def test_what_is_no_regular_file_is_not_read(written: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    with pytest.raises(
        CheckpointError, match="link is no file that can be read \\(it is a device, expected a regular file"
    ):
        convert(tmp_path / "link", tmp_path / "model")
    source = written({"state_dict": differences()[2]})
    with pytest.raises(CheckpointError, match="link cannot be read: it is a device, expected a regular file"):
        convert(source, tmp_path / "model", image_size=SIDE, backbone=tmp_path / "link")


def test_a_folder_with_something_in_it_is_left_alone(written: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("keep")
    with pytest.raises(CheckpointError, match="is there already, expected a new or an empty folder"):
        convert(written(authors(dinov3=False, video=False)), tmp_path / "model")
    assert (tmp_path / "model" / "mine.txt").read_text() == "keep"


def test_the_command_says_what_it_recognised(
    written: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = written({"model": {**authors(dinov3=True, video=True), "criterion.empty_weight": torch.ones(6)}})
    assert main(["convert", str(source), str(tmp_path / "model"), "--image-size", str(SIDE), "--norm-queries"]) == 0
    said = capsys.readouterr().out
    assert "VidEoMT-DINOv3, 4 layers of 128, 10 queries, 5 classes, 64x64" in said
    assert f"{len(authors(dinov3=True, video=True))} tensors mapped" in said
    assert "1 left out, which only training needs: criterion.empty_weight" in said
    assert said.endswith(f"try it with --model {tmp_path / 'model'}\n")
    assert "guess" not in said
    (tmp_path / "three.yaml").write_text("name: three\ntask: semantic\nclasses: [{name: a, thing: true}]\n")
    assert main(["convert", str(source), str(tmp_path / "other"), "--labels", str(tmp_path / "three.yaml")]) == 1
    assert "labels: the table three has 1 classes, but" in capsys.readouterr().err
    (tmp_path / "five.yaml").write_text(
        "name: five\ntask: semantic\nclasses:\n" + "".join(f"- {{name: c{i}, thing: true}}\n" for i in range(5))
    )
    assert main(["convert", str(source), str(tmp_path / "guessed"), "--labels", str(tmp_path / "five.yaml")]) == 0
    said = capsys.readouterr().out
    assert "640 is a guess, give --image-size" in said
    assert said.endswith(f"--model {tmp_path / 'guessed'}\n")
    assert load_checkpoint(tmp_path / "guessed").labels == load_labels(tmp_path / "five.yaml")
