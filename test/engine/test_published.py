"""The settings that VidEoMT was published with, beside a plain implementation of the authors' steps.

Written from the paper and the authors' repository (videomt/videomt.py, videomt/modeling/backbone/videomt.py, and what
they call: detectron2's ResizeShortestEdge and ImageList, timm's resample_abs_pos_embed), on Hugging Face's weights:
slow, whole tensors, all queries, all frames kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import VideomtForUniversalSegmentation

from eomt_ros.engine import Segmenter
from test.engine.checkpoints import PREPROCESSOR, SMALL, write_checkpoint, write_eomt, write_mask2former
from test.engine.pictures import picture

SHORT_SIDE = 45
"""0.7 of the small network's 64, as 448 is of 640."""
IMAGES = {"wide": (90, 160), "tall": (200, 70), "square": (64, 64), "very wide": (40, 1400), "smaller": (20, 30)}


@dataclass(frozen=True)
class Published:
    """What the authors' network gives for the frames of a video."""

    class_logits: list[Tensor]
    """(queries, classes + 1) of each frame."""
    mask_logits: list[Tensor]
    """(queries, h, w)."""
    resized: tuple[int, int]
    padded: tuple[int, int]


def resized_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """detectron2's ResizeShortestEdge.get_output_shape, with 1333 for the longer side."""
    scale = short_side / min(height, width)
    new_height, new_width = (short_side, scale * width) if height < width else (scale * height, short_side)
    if max(new_height, new_width) > 1333:
        scale = 1333 / max(new_height, new_width)
        new_height, new_width = new_height * scale, new_width * scale
    return int(new_height + 0.5), int(new_width + 0.5)


def prepared(image: np.ndarray, short_side: int) -> tuple[Tensor, tuple[int, int]]:
    """Resized by Pillow, normalised, then padded right and below to a multiple of 32: (1, 3, height, width)."""
    height, width = resized_size(*image.shape[:2], short_side)
    small = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    mean, std = (255 * torch.tensor(PREPROCESSOR[name]).view(3, 1, 1) for name in ("image_mean", "image_std"))
    pixels = (torch.from_numpy(small.copy()).permute(2, 0, 1).float() - mean) / std
    padded = F.pad(pixels, (0, -width % 32, 0, -height % 32))
    return padded[None], (height, width)


@torch.inference_mode()
def published(
    network: VideomtForUniversalSegmentation, frames: list[np.ndarray], short_side: int = SHORT_SIDE
) -> Published:
    """Frame by frame, queries handed on."""
    config = network.config
    patch, side = config.patch_size, config.image_size // config.patch_size
    queries = network.query.weight[None]
    classes, masks = [], []
    for image in frames:
        pixels, resized = prepared(image, short_side)
        grid = pixels.shape[2] // patch, pixels.shape[3] // patch
        positions = network.embeddings.position_embeddings.weight.T.reshape(1, -1, side, side)
        positions = F.interpolate(positions, size=grid, mode="bicubic", antialias=True)
        tokens = network.embeddings.patch_embeddings.projection(pixels) + positions
        prefix = torch.cat((network.embeddings.cls_token, network.embeddings.register_tokens), dim=1)
        hidden = torch.cat((prefix, tokens.flatten(2).transpose(1, 2)), dim=1)
        joint = len(network.layers) - config.num_blocks
        for layer in network.layers[:joint]:
            hidden = layer(hidden)
        hidden = torch.cat((queries, hidden), dim=1)
        for layer in network.layers[joint:]:
            hidden = layer(hidden)
        queries = network.query_updater(hidden[:, : config.num_queries]) + network.query.weight
        final = network.layernorm(hidden)
        answers = final[:, : config.num_queries]
        features = final[:, config.num_queries + prefix.shape[1] :].transpose(1, 2).reshape(1, -1, *grid)
        features = network.upscale_block(features)
        classes.append(network.class_predictor(answers)[0])
        masks.append(torch.einsum("bqc,bchw->bqhw", network.mask_head(answers), features)[0])
    return Published(classes, masks, resized, (pixels.shape[2], pixels.shape[3]))


def on_the_image(masks: Tensor, video: Published, size: tuple[int, int]) -> Tensor:
    """To the padded input, cropped, to the image: (queries, H, W) logits."""
    masks = F.interpolate(masks[None], size=video.padded, mode="bilinear", align_corners=False)
    masks = masks[:, :, : video.resized[0], : video.resized[1]]
    return F.interpolate(masks, size=size, mode="bilinear", align_corners=False)[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "small", seed=2)


@pytest.fixture(scope="module")
def reference(model: Path) -> VideomtForUniversalSegmentation:
    return VideomtForUniversalSegmentation.from_pretrained(model, dtype=torch.float32).eval()


@pytest.fixture
def load(model: Path) -> Callable[..., Segmenter]:
    def load(**settings: Any) -> Segmenter:
        usual = {"device": "cpu", "precision": "float32", "fit": "keep_aspect", "score_threshold": 0.3}
        return Segmenter.load(model, **{**usual, **settings})

    return load


@pytest.mark.parametrize("short_side", [None, 32, 50, 128])
@pytest.mark.parametrize("size", IMAGES.values(), ids=IMAGES)
def test_keep_aspect_feeds_the_network_what_the_authors_do(
    load: Callable[..., Segmenter],
    reference: VideomtForUniversalSegmentation,
    size: tuple[int, int],
    short_side: int | None,
) -> None:
    """At the size that the model has, and at others, which need not be whole patches."""
    segmenter = load(size=short_side)
    assert segmenter.size == (short_side or SHORT_SIDE)
    stream = segmenter.open_stream()
    frames = [picture(*size, seed) for seed in range(3)]
    video = published(reference, frames, segmenter.size)
    for frame, classes, masks in zip(frames, video.class_logits, video.mask_logits, strict=True):
        logits = segmenter.segment(frame, stream, with_logits=True).logits
        assert logits is not None
        # Pillow and torch round a resized pixel to one grey level or the next.
        assert logits.masks.shape == masks.shape
        assert np.abs(logits.classes - classes.numpy()).max() <= 0.02 * np.abs(classes.numpy()).max()
        assert np.abs(logits.masks - masks.numpy()).max() <= 0.02 * np.abs(masks.numpy()).max()


@pytest.mark.parametrize("size", IMAGES.values(), ids=IMAGES)
def test_keep_aspect_crops_the_masks_and_brings_them_to_the_image(
    load: Callable[..., Segmenter], reference: VideomtForUniversalSegmentation, size: tuple[int, int]
) -> None:
    image = picture(*size, 5)
    video = published(reference, [image])
    segmenter = load(task="semantic")
    result = segmenter.segment(image, segmenter.open_stream())
    # The authors resize the queries' probabilities and then sum up classes, which is the same.
    probabilities = on_the_image_as_probabilities(video, size)
    classes = video.class_logits[0].softmax(-1)[:, :-1]
    expected = torch.einsum("qc,qhw->chw", classes, probabilities).argmax(0).numpy()
    assert np.mean(result.semantic == expected) >= 0.99


def on_the_image_as_probabilities(video: Published, size: tuple[int, int]) -> Tensor:
    masks = F.interpolate(video.mask_logits[0][None], size=video.padded, mode="bilinear", align_corners=False)
    masks = masks[:, :, : video.resized[0], : video.resized[1]].sigmoid()
    return F.interpolate(masks, size=size, mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("top_k", [1, 5, 20, 1000])
def test_the_likeliest_pairs_of_query_and_class_with_the_mean_of_all_frames_are_the_authors_instances(
    load: Callable[..., Segmenter], reference: VideomtForUniversalSegmentation, top_k: int
) -> None:
    """`post_processing` and `inference_video_vis`, at the last frame of a video."""
    size = (90, 160)
    frames = [picture(*size, seed) for seed in range(4)]
    segmenter = load(task="instance", score_memory=1.0, top_k=top_k, score_threshold=0.0)
    stream = segmenter.open_stream()
    for frame in frames:
        result = segmenter.segment(frame, stream, with_masks=True)

    video = published(reference, frames)
    scores = torch.stack(video.class_logits).mean(0).softmax(-1)[:, :-1]
    best, pairs = scores.flatten().topk(min(top_k, scores.numel()))
    masks = on_the_image(video.mask_logits[-1], video, size) > 0
    expected = [
        (int(pair) % scores.shape[1], float(score), int(masks[int(pair) // scores.shape[1]].sum()))
        for pair, score in zip(pairs, best, strict=True)
        if masks[int(pair) // scores.shape[1]].any()
    ]
    found = [(segment.class_id, segment.score, segment.area) for segment in reversed(result.segments)]
    assert len(found) == len(expected) >= min(top_k, 2) // 2
    assert [score for _, score, _ in found] == pytest.approx([score for _, score, _ in expected], abs=0.02)
    for class_id, score, area in expected:
        if score > 0.1:
            assert any(
                other == class_id and abs(one - score) <= 0.02 and abs(size_ - area) <= max(20, 0.05 * area)
                for other, one, size_ in found
            )
    ids = [segment.id for segment in result.segments]
    assert len(set(ids)) == len(ids)


def test_an_exponential_mean_forgets_and_a_reset_forgets_all(load: Callable[..., Segmenter]) -> None:
    memory = 0.75
    plain, remembering = load(), load(score_memory=memory)
    streams = plain.open_stream(), remembering.open_stream()
    mean: np.ndarray | None = None
    for seed in range(4):
        image = picture(90, 160, seed)
        logits = plain.segment(image, streams[0], with_logits=True).logits
        result = remembering.segment(image, streams[1])
        assert logits is not None
        mean = logits.classes if mean is None else memory * mean + (1 - memory) * logits.classes
        best = torch.from_numpy(mean).softmax(-1)[:, :-1].amax(-1).numpy()
        for segment in result.segments:
            assert np.abs(best - segment.score).min() <= 1e-4, "a score that no query has in the mean"
        assert result.segments
    for segmenter, stream in zip((plain, remembering), streams, strict=True):
        stream.reset()
        again = segmenter.segment(picture(90, 160, 0), stream)
        first = segmenter.segment(picture(90, 160, 0), segmenter.open_stream())
        assert [each.score for each in again.segments] == [each.score for each in first.segments]


def test_a_frame_that_fails_is_not_remembered(load: Callable[..., Segmenter]) -> None:
    segmenter = load(score_memory=0.5)
    failing, steady = segmenter.open_stream(), segmenter.open_stream()
    first, second = picture(90, 160, 0), picture(90, 160, 1)
    for stream in (failing, steady):
        segmenter.segment(first, stream)
    with pytest.raises(ValueError, match="image is"):
        segmenter.segment(second[..., 0], failing)
    results = [segmenter.segment(second, stream) for stream in (failing, steady)]
    assert results[0].segments == results[1].segments != []


def test_eomts_likeliest_pairs_are_scored_with_their_masks(tmp_path: Path) -> None:
    """`MaskClassificationInstance.eval_step` in the authors' EoMT."""
    folder = write_eomt(tmp_path / "eomt", seed=3)
    segmenter = Segmenter.load(
        folder, device="cpu", precision="float32", task="instance", top_k=30, score_threshold=0.05
    )
    result = segmenter.segment(picture(90, 160, 0), segmenter.open_stream(), with_logits=True)
    assert result.logits is not None
    scores = torch.from_numpy(result.logits.classes).softmax(-1)[:, :-1]
    best, pairs = scores.flatten().topk(30)
    masks = F.interpolate(torch.from_numpy(result.logits.masks)[None], (64, 64), mode="bilinear")[0, :, :36]
    masks = F.interpolate(masks[None], (90, 160), mode="bilinear")[0][torch.div(pairs, 5, rounding_mode="floor")]
    means = (masks.sigmoid() * (masks > 0)).sum((1, 2)) / ((masks > 0).sum((1, 2)) + 1e-6)
    expected = sorted(score for score in (best * means).tolist() if score >= 0.05)
    assert sorted(segment.score for segment in result.segments) == pytest.approx(expected, abs=1e-4)
    assert len(expected) >= 5


@pytest.mark.parametrize(
    ("write", "settings", "said"),
    [
        (
            write_eomt,
            {"score_memory": 0.5},
            "score_memory is 0.5, but a query of EoMT is another object in every frame",
        ),
        (write_mask2former, {"top_k": 10}, "top_k is 10, but Mask2Former has as many instances as queries"),
        (write_checkpoint, {"score_memory": 1.5}, "score_memory: got 1.5, expected 0.0 to 1.0"),
        (write_checkpoint, {"top_k": -1}, "top_k: got -1, expected 0 to 10000"),
    ],
)
def test_a_setting_that_means_nothing_for_a_family_is_refused(
    tmp_path: Path, write: Callable[..., Path], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Segmenter.load(write(tmp_path / "model"), device="cpu", **settings)


def test_the_short_side_is_the_label_tables(load: Callable[..., Segmenter], tmp_path: Path) -> None:
    table = tmp_path / "small.yaml"
    classes = "".join(f"  - {{name: {name}, thing: true}}\n" for name in SMALL["id2label"].values())
    table.write_text(f"name: small\ntask: panoptic\nshort_side: 96\nclasses:\n{classes}")
    segmenter = load(labels=table)
    logits = segmenter.segment(picture(90, 160, 0), segmenter.open_stream(), with_logits=True).logits
    assert logits is not None
    assert logits.masks.shape[1:] == (96 // 4, 192 // 4)
