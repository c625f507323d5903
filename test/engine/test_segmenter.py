"""The public face: Hugging Face's whole pipeline is the reference, one stream alone is the reference for many."""

from __future__ import annotations

import gc
import json
import logging
import re
import threading
import tracemalloc
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import VideomtForUniversalSegmentation, VideomtVideoProcessor

from eomt_ros import engine
from eomt_ros.engine import (
    EngineError,
    FrameResult,
    LabelsError,
    ModelOptions,
    NotFiniteError,
    Segment,
    Segmenter,
    Stream,
    decode_mask,
)
from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.evaluation.video import VideoWriter
from eomt_ros.video import VideoError, read_video
from test.engine import reference
from test.engine.checkpoints import FOUND, PREPROCESSOR, SMALL, STUFF, TABLE, write_checkpoint
from test.engine.pictures import clip, picture
from test.engine.reference import Reference

TASKS = ("panoptic", "instance", "semantic")
SIZES = [(120, 160), (240, 320), (97, 131), (64, 64), (333, 50), (480, 640)]
ROUNDING = 1e-4
"""The share of pixels that may differ where float32 is summed in another order: those on the very edge of a mask."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), num_queries=24)


@pytest.fixture(scope="module")
def load(folder, table):
    """Loads the checkpoint, as the reference setting unless told otherwise."""

    def load(model: Path = folder, **settings: Any) -> Segmenter:
        return Segmenter.load(model, **{"device": "cpu", "precision": "float32", "labels": table, **settings})

    return load


@pytest.fixture
def segmenter(load) -> Segmenter:
    return load(task="panoptic", score_threshold=FOUND["panoptic"])


def run(segmenter: Segmenter, images: Sequence[np.ndarray], stream: Stream | None = None, **asked: Any):
    stream = stream or segmenter.open_stream()
    return [segmenter.segment(image, stream, **asked) for image in images]


def assert_same(one: FrameResult, other: FrameResult) -> None:
    """To the last bit, but for the epoch and the timings."""
    assert one.segments == other.segments
    for name in ("semantic", "panoptic", "confidence"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def assert_same_pixels(one: np.ndarray, other: np.ndarray) -> None:
    assert one.shape == other.shape
    assert np.count_nonzero(one != other) <= ROUNDING * one.size


# --- equal to Hugging Face


@dataclass(frozen=True)
class Clip:
    """Images of several sizes and what Hugging Face's network says about them, one after the other."""

    folder: Path
    """The checkpoint."""
    images: list[np.ndarray]
    logits: list[tuple[Tensor, Tensor]]
    """Masks and classes, per image."""


@pytest.fixture(
    scope="module",
    params=[
        {"num_queries": 24},
        {"seed": 1, "hidden_size": 48, "patch_size": 8, "num_upscale_blocks": 1, "num_register_tokens": 0},
        {"seed": 2, "use_swiglu_ffn": True, "image_size": 96, "num_blocks": 1, "num_queries": 40},
    ],
    ids=["small", "fine", "swiglu"],
)
def reference_clip(request, tmp_path_factory) -> Clip:
    folder = write_checkpoint(tmp_path_factory.mktemp("reference"), **request.param)
    images = [picture(*size, seed) for seed, size in enumerate(SIZES)]
    processor = VideomtVideoProcessor.from_pretrained(folder)
    network = VideomtForUniversalSegmentation.from_pretrained(folder).eval()
    pixels = [
        processor(videos=image[None], input_data_format="channels_last", return_tensors="pt")["pixel_values_videos"]
        for image in images
    ]
    with torch.no_grad():
        outputs = network(pixel_values_videos=torch.cat(pixels, dim=1))
    return Clip(folder, images, list(zip(outputs.masks_queries_logits, outputs.class_queries_logits, strict=True)))


def assert_equal_to(expected: Reference, result: FrameResult) -> None:
    assert [segment.class_id for segment in result.segments] == expected.class_ids
    assert [segment.score for segment in result.segments] == pytest.approx(expected.scores, abs=1e-5)
    index = np.full(result.panoptic.shape, -1)
    for place, segment in enumerate(result.segments):
        index[result.panoptic == segment.id] = place
    assert_same_pixels(index, expected.index)


@pytest.mark.parametrize(
    ("score", "mask", "overlap"), [(0.8, 0.5, 0.8), (0.3, 0.5, 0.8), (0.3, 0.35, 0.3), (0.0, 0.5, 0.0)], ids=str
)
def test_the_panoptic_task_equals_hugging_faces(load, reference_clip, score, mask, overlap):
    thresholds = {"score_threshold": score, "mask_threshold": mask, "overlap_threshold": overlap}
    results = run(load(reference_clip.folder, task="panoptic", **thresholds), reference_clip.images)
    found = set()
    for result, logits in zip(results, reference_clip.logits, strict=True):
        expected = reference.panoptic(*logits, result.semantic.shape, fused=STUFF, **thresholds)
        assert_equal_to(expected, result)
        found |= set(expected.class_ids)
    if score < 0.8:
        assert found & STUFF, "the reference finds no stuff: the test shows nothing about it"
        assert found - STUFF, "the reference finds no things: the test shows nothing about them"


@pytest.mark.parametrize("score", [0.5, 0.2])
def test_the_instance_task_equals_hugging_faces(load, reference_clip, score):
    results = run(load(reference_clip.folder, task="instance", score_threshold=score), reference_clip.images)
    for result, logits in zip(results, reference_clip.logits, strict=True):
        assert_equal_to(reference.instance(*logits, result.semantic.shape, score_threshold=score), result)
    assert sum(len(result.segments) for result in results) > 5


def test_the_semantic_task_equals_hugging_faces(load, reference_clip):
    classes = set()
    results = run(load(reference_clip.folder, task="semantic"), reference_clip.images)
    for result, logits in zip(results, reference_clip.logits, strict=True):
        expected = reference.semantic(*logits, result.semantic.shape).index
        assert_same_pixels(result.semantic.astype(expected.dtype), expected)
        classes |= set(np.unique(expected).tolist())
    assert len(classes) > 2


def test_the_logits_equal_hugging_faces(load, reference_clip):
    results = run(load(reference_clip.folder), reference_clip.images, with_logits=True)
    for result, logits in zip(results, reference_clip.logits, strict=True):
        for ours, expected in zip((result.logits.masks, result.logits.classes), logits, strict=True):
            assert ours.dtype == np.float32
            assert ours.shape == expected.shape
            # Of the largest, since random weights give logits of 100, where float32 itself is no finer than 1e-5.
            assert np.abs(ours - expected.numpy()).max() <= 5e-6 * np.abs(expected.numpy()).max()


@pytest.mark.parametrize(("task", "threshold"), [("panoptic", 0.8), ("instance", 0.5)])
def test_without_a_score_threshold_it_is_hugging_faces_of_the_task(load, task, threshold):
    assert load(task=task).score_threshold == threshold


# --- what a result says agrees with itself


def whole_mask(result: FrameResult, segment: Segment) -> np.ndarray:
    """A segment's mask at the image's size."""
    x, y, width, height = segment.box
    mask = np.zeros(result.semantic.shape, bool)
    mask[y : y + height, x : x + width] = decode_mask(segment.mask, segment.box)
    return mask


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    return (
        int(columns.min()),
        int(rows.min()),
        int(columns.max() - columns.min() + 1),
        int(rows.max() - rows.min() + 1),
    )


@pytest.fixture(scope="module", params=TASKS)
def results(request, load) -> tuple[str, Segmenter, list[FrameResult]]:
    segmenter = load(task=request.param, score_threshold=FOUND[request.param])
    found = run(segmenter, [picture(*size, seed) for seed, size in enumerate(SIZES)], with_masks=True)
    assert sum(len(result.segments) for result in found) > 5
    return request.param, segmenter, found


def test_images_have_the_size_of_the_input_and_the_promised_types(results):
    _, _, found = results
    for size, result in zip(SIZES, found, strict=True):
        assert result.semantic.shape == result.panoptic.shape == result.confidence.shape == size
        assert (result.semantic.dtype, result.panoptic.dtype, result.confidence.dtype) == (
            np.uint8,
            np.uint16,
            np.uint8,
        )


def test_a_pixels_class_is_that_of_its_segment(results):
    task, _, found = results
    for result in found:
        if task == "semantic":
            assert not result.panoptic.any()
            assert sorted(segment.class_id for segment in result.segments) == np.unique(result.semantic).tolist()
            continue
        expected = np.full_like(result.semantic, 255)
        for segment in result.segments:
            expected[result.panoptic == segment.id] = segment.class_id
        assert np.array_equal(result.semantic, expected)
        assert set(np.unique(result.panoptic)) <= {0, *(segment.id for segment in result.segments)}


def test_area_box_and_mask_of_a_segment_agree(results):
    _, _, found = results
    for result in found:
        for segment in result.segments:
            mask = whole_mask(result, segment)
            assert segment.area == mask.sum() > 0
            assert segment.box == bounding_box(mask)
            assert all(type(number) is int for number in (segment.id, segment.area, *segment.box, *segment.mask))


def test_every_thing_that_is_seen_has_an_embedding(results):
    task, _, found = results
    for result in found:
        for segment in result.segments:
            is_seen = segment.is_thing and bool((result.panoptic == segment.id).any())
            assert (segment.embedding is not None) == (is_seen and task != "semantic")
    assert task == "semantic" or any(segment.embedding is not None for each in found for segment in each.segments)


@pytest.mark.parametrize(
    ("remember", "wanted", "expected"), [(0.0, False, False), (0.0, True, True), (60.0, False, True)]
)
def test_embeddings_are_made_where_things_are_remembered_or_they_are_asked_for(load, remember, wanted, expected):
    segmenter = load(task="panoptic", score_threshold=FOUND["panoptic"], remember=remember)
    (found,) = run(segmenter, clip(1), with_embeddings=wanted)
    assert any(segment.embedding is not None for segment in found.segments) == expected


@pytest.mark.parametrize(
    ("task", "remember", "expected"), [("panoptic", 60.0, True), ("panoptic", 0.0, False), ("semantic", 60.0, False)]
)
def test_places_are_of_use_where_things_have_ids_and_are_remembered(load, task, remember, expected):
    segmenter = load(task=task)
    segmenter.remember = remember
    assert segmenter.uses_places == expected


def test_masks_painted_in_order_give_the_label_images(results):
    """So a segment's mask is what it shows, and in the instance task the later one covers the earlier."""
    task, _, found = results
    for result in found:
        painted = np.full_like(result.semantic, 255)
        for segment in result.segments:
            painted[whole_mask(result, segment)] = segment.class_id
        assert np.array_equal(painted, result.semantic)
        if task != "instance":
            assert sum(segment.area for segment in result.segments) == np.count_nonzero(result.semantic != 255)


def test_instances_keep_the_part_of_their_mask_that_others_cover(load):
    found = run(load(task="instance", score_threshold=FOUND["instance"]), clip(6))
    covered = [
        segment.area - np.count_nonzero(result.panoptic == segment.id)
        for result in found
        for segment in result.segments
    ]
    assert min(covered) >= 0
    assert max(covered) > 0


def test_confidence_is_zero_just_where_there_is_no_label(results):
    task, _, found = results
    for result in found:
        assert not result.confidence[result.semantic == 255].any()
        if task != "semantic":  # where the best of bad classes may have hardly any probability
            assert result.confidence[result.semantic != 255].all()


def test_a_checkpoint_in_memory_gives_what_its_files_give(folder, load, table):
    image = picture(120, 160, seed=0)
    expected = load(score_threshold=FOUND["panoptic"]).open_stream().segment(image)
    checkpoint = load_checkpoint(folder, table)
    options = {"device": "cpu", "precision": "float32", "score_threshold": FOUND["panoptic"]}
    with Segmenter.of(replace(checkpoint, folder=Path("gone")), **options) as segmenter:
        found = segmenter.open_stream().segment(image)
    assert found.segments == expected.segments
    assert found.segments
    assert np.array_equal(found.panoptic, expected.panoptic)


def test_names_and_kinds_come_from_the_label_table(results):
    _, segmenter, found = results
    for result in found:
        for segment in result.segments:
            assert segment.class_name == ("floor", "wall", "ball", "box", "person")[segment.class_id]
            assert segment.is_thing == (segment.class_id not in STUFF)
    assert segmenter.labels.name == "test world"


def test_ids_are_unique_in_a_frame_and_zero_in_the_semantic_task(results):
    task, _, found = results
    for result in found:
        ids = [segment.id for segment in result.segments]
        if task == "semantic":
            assert set(ids) == {0}
        else:
            assert 0 not in ids
            assert len(set(ids)) == len(ids)
    if task == "instance":
        stuff = [[s.class_id for s in result.segments if not s.is_thing] for result in found]
        assert any(len(classes) > len(set(classes)) for classes in stuff), (
            "no frame shows two segments of one stuff class"
        )


def test_fused_stuff_keeps_one_id_per_class_whichever_queries_show_it(load):
    def ids_by_class(fuse_stuff: bool) -> dict[int, set[int]]:
        ids: dict[int, set[int]] = {}
        segmenter = load(task="panoptic", score_threshold=0.1, overlap_threshold=0.0, fuse_stuff=fuse_stuff)
        for result in run(segmenter, clip(8)):
            for segment in result.segments:
                if not segment.is_thing:
                    ids.setdefault(segment.class_id, set()).add(segment.id)
        return ids

    fused = ids_by_class(True)
    assert set(fused) == STUFF
    assert all(len(ids) == 1 for ids in fused.values())
    assert all(len(ids) > 1 for ids in ids_by_class(False).values())


def test_scores_and_timings_are_in_range(results):
    _, _, found = results
    for result in found:
        assert all(0.0 <= segment.score <= 1.0 for segment in result.segments)
        seconds = [getattr(result.timings, field.name) for field in fields(result.timings)]
        assert all(part > 0.0 for part in seconds)


def test_masks_and_logits_come_on_request_only(segmenter):
    plain = run(segmenter, clip(3))
    asked = run(segmenter, clip(3), with_masks=True, with_logits=True)
    for one, other in zip(plain, asked, strict=True):
        assert one.logits is None
        assert other.logits is not None
        assert {segment.mask for segment in one.segments} <= {None}
        assert all(segment.mask for segment in other.segments)
        assert np.array_equal(one.panoptic, other.panoptic)


@pytest.mark.parametrize(("classes", "dtype", "unlabelled"), [(254, np.uint8, 255), (255, np.uint16, 65535)])
def test_above_254_classes_the_class_image_has_16_bits(tmp_path, classes, dtype, unlabelled):
    model = write_checkpoint(tmp_path, num_queries=40, id2label={index: f"class {index}" for index in range(classes)})
    segmenter = Segmenter.load(model, device="cpu", task="panoptic", score_threshold=0.0, overlap_threshold=0.0)
    for result in run(segmenter, clip(3)):
        assert result.semantic.dtype == dtype
        shown = {segment.class_id for segment in result.segments}
        assert shown
        assert set(np.unique(result.semantic).tolist()) == shown | {unlabelled}


# --- streams


def three_streams() -> list[list[np.ndarray]]:
    """Clips of three cameras, of other sizes and lengths."""
    return [clip(7, 60, 80, seed=1), clip(4, 97, 50, seed=2), clip(2, 120, 130, seed=3)]


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_of_streams_equals_one_by_one(load, task):
    segmenter = load(task=task, score_threshold=FOUND[task])
    clips = three_streams()
    alone = [run(segmenter, images, with_masks=True, with_logits=True) for images in clips]

    streams = [segmenter.open_stream() for _ in clips]
    for frame in range(7):
        # The batch in another order than the streams, and ever smaller.
        present = [index for index in (2, 0, 1) if frame < len(clips[index])]
        together = segmenter.segment_batch(
            [clips[index][frame] for index in present],
            [streams[index] for index in present],
            with_masks=True,
            with_logits=True,
        )
        for index, result in zip(present, together, strict=True):
            expected = alone[index][frame]
            assert_same_pixels(result.semantic, expected.semantic)
            assert_same_pixels(result.panoptic, expected.panoptic)
            assert np.abs(result.logits.masks - expected.logits.masks).max() <= 1e-3
            for segment, other in zip(result.segments, expected.segments, strict=True):
                assert (segment.id, segment.class_id, segment.age) == (other.id, other.class_id, other.age)
                assert segment.score == pytest.approx(other.score, abs=1e-5)
                assert_same_pixels(whole_mask(result, segment), whole_mask(expected, other))


def test_streams_do_not_influence_each_other(segmenter):
    first, second, third = three_streams()
    alone = run(segmenter, first)
    streams = [segmenter.open_stream() for _ in range(3)]
    for frame, expected in enumerate(alone):
        segmenter.segment(second[frame % 4], streams[1])
        assert_same(segmenter.segment(first[frame], streams[0]), expected)
        segmenter.segment(third[frame % 2], streams[2])


def test_a_stream_remembers_what_it_saw(segmenter):
    """Else the tests of streams would compare what depends on one frame alone."""
    images = clip(4)
    remembering = run(segmenter, images, with_logits=True)[-1]
    fresh = run(segmenter, images[-1:], with_logits=True)[-1]
    assert np.abs(remembering.logits.masks - fresh.logits.masks).max() > 1.0


def test_a_segmenter_can_be_warmed_up_between_the_frames_of_a_stream(segmenter):
    images = clip(4)
    expected = run(segmenter, images)
    stream = segmenter.open_stream()
    for image, result in zip(images, expected, strict=True):
        segmenter.warm_up(30, 40)
        assert_same(segmenter.segment(image, stream), result)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK"])
def test_an_image_of_pil_is_segmented_as_the_rgb_array_that_pil_makes_of_it(segmenter, mode):
    image = Image.fromarray(picture(97, 131, 2)).convert(mode)
    found, expected = (
        segmenter.segment(each, segmenter.open_stream()) for each in (image, np.asarray(image.convert("RGB")))
    )
    assert found.segments == expected.segments
    assert np.array_equal(found.panoptic, expected.panoptic)
    assert found.panoptic.shape == (97, 131)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (
            Image.new("I;16", (8, 8)),
            "image is of PIL's mode I;16, expected (height, width, 3) uint8, or one of",
        ),
        (Image.new("F", (8, 8)), "image is of PIL's mode F, expected"),
        ([[[0, 0, 0]]], "image is a list, expected (height, width, 3) uint8"),
        ("image.png", "image is a str, expected (height, width, 3) uint8"),
        (None, "image is a NoneType, expected"),
    ],
    ids=["16 bits", "float", "list", "path", "none"],
)
def test_what_is_no_image_is_refused_in_a_line(segmenter, image, said):
    stream = segmenter.open_stream()
    with pytest.raises(ValueError, match=re.escape(said)):
        segmenter.segment(image, stream)


def test_an_empty_batch_gives_nothing(segmenter):
    assert segmenter.segment_batch([], []) == []


def test_a_reset_begins_the_next_epoch_and_gives_what_a_fresh_stream_gives(segmenter):
    stream = segmenter.open_stream()
    before = run(segmenter, clip(5), stream)
    assert (stream.epoch, {result.epoch for result in before}) == (0, {0})

    stream.reset()
    assert stream.epoch == 1
    after = run(segmenter, clip(5), stream)
    assert {result.epoch for result in after} == {1}
    assert after[0].segments[0].id == 1
    for one, other in zip(after, before, strict=True):
        assert_same(one, other)


def test_stamps_tell_each_stream_how_long_a_thing_was_away(segmenter):
    segmenter.remember = 0.0
    streams = [segmenter.open_stream(), segmenter.open_stream()]

    def thing_ids(*starts: float) -> list[set[int]]:
        """The ids that each stream shows in four frames, the first of them at its own start."""
        shown: list[set[int]] = [set(), set()]
        for frame, image in enumerate(clip(4)):
            stamps = [start + frame / 10 for start in starts]
            for ids, result in zip(shown, segmenter.segment_batch([image] * 2, streams, stamps=stamps), strict=True):
                ids |= {segment.id for segment in result.segments if segment.is_thing}
        return shown

    before = thing_ids(100.0, 100.0)
    segmenter.score_threshold = 1.0
    assert thing_ids(100.4, 100.4) == [set(), set()]
    segmenter.score_threshold = FOUND["panoptic"]
    after = thing_ids(101.0, 106.0)
    assert all((*before, *after))
    assert before[0] & after[0]
    assert not before[1] & after[1]


def test_thresholds_and_fusing_can_be_changed_between_frames(load, folder):
    segmenter = load(task="panoptic")
    image = picture(240, 320, 0)
    settings = [(0.8, 0.5, 0.8), (0.1, 0.5, 0.8), (0.1, 0.3, 0.8), (0.1, 0.3, 0.0)]
    for score, mask, overlap in settings:
        segmenter.score_threshold, segmenter.mask_threshold, segmenter.overlap_threshold = score, mask, overlap
        live = segmenter.segment(image, segmenter.open_stream())
        fixed = load(task="panoptic", score_threshold=score, mask_threshold=mask, overlap_threshold=overlap)
        assert_same(live, fixed.segment(image, fixed.open_stream()))

    fused = [segment.class_id for segment in live.segments if not segment.is_thing]
    segmenter.fuse_stuff = False
    apart = segmenter.segment(image, segmenter.open_stream())
    assert len(set(fused)) == len(fused)
    assert len([segment for segment in apart.segments if not segment.is_thing]) > len(fused)
    assert np.array_equal(apart.semantic, live.semantic)


# --- what goes wrong with a frame


def write_fragile_checkpoint(folder: Path, red_mean: float) -> Path:
    """A network that overflows unless the image's red is its mean all over: float32's largest weights."""
    model = write_checkpoint(folder)
    weights = load_file(model / "model.safetensors")
    weights["embeddings.patch_embeddings.projection.weight"][0, 0] = 3e38
    save_file(weights, model / "model.safetensors")
    preprocessor = {**PREPROCESSOR, "image_mean": [red_mean, 0.4, 0.4]}
    (model / "video_preprocessor_config.json").write_text(json.dumps(preprocessor))
    return model


@pytest.fixture(scope="module")
def fragile(tmp_path_factory, load) -> Segmenter:
    """A network that overflows where it sees red."""
    model = write_fragile_checkpoint(tmp_path_factory.mktemp("fragile"), red_mean=0.0)
    return load(model, task="panoptic", score_threshold=FOUND["panoptic"])


def without_red(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [image * np.array([0, 1, 1], np.uint8) for image in images]


def test_a_frame_that_fails_leaves_its_stream_as_it_was(fragile):
    images = without_red(clip(5))
    expected = run(fragile, images)
    assert any(segment.age > 1 for segment in expected[-1].segments)

    stream = fragile.open_stream()
    for image, result in zip(images, expected, strict=True):
        with pytest.raises(NotFiniteError, match="logits"):
            fragile.segment(picture(60, 80, 0), stream)
        with pytest.raises(ValueError, match="image is"):
            fragile.segment(image[:, :, 0], stream)
        assert_same(fragile.segment(image, stream), result)
    assert stream.epoch == 0


def test_a_frame_that_fails_in_a_batch_leaves_every_stream_as_it_was(fragile):
    images = without_red(clip(3))
    streams = [fragile.open_stream(), fragile.open_stream()]
    fragile.segment_batch(images[:2], streams)
    with pytest.raises(NotFiniteError):
        fragile.segment_batch([images[2], picture(60, 80, 0)], streams)
    for image, stream in zip(images, streams, strict=False):
        expected, after = run(fragile, [image, images[2]])[-1], fragile.segment(images[2], stream)
        # The scores are those of a stream that was in a batch before, whose products are summed in another order.
        assert [(s.id, s.class_id, s.age) for s in after.segments] == [
            (s.id, s.class_id, s.age) for s in expected.segments
        ]
        assert [s.score for s in after.segments] == pytest.approx([s.score for s in expected.segments], abs=1e-5)


def test_warming_up_finds_out_that_a_network_overflows(load, tmp_path):
    segmenter = load(write_fragile_checkpoint(tmp_path, red_mean=0.5))
    with pytest.raises(NotFiniteError):
        segmenter.warm_up(60, 80)


def test_a_stream_holds_its_own_queries_and_no_more(segmenter):
    streams = [segmenter.open_stream() for _ in range(4)]
    for _ in range(3):
        segmenter.segment_batch([picture(40, 50, 0)] * 4, streams)
        for stream in streams:
            assert stream._state.queries.untyped_storage().nbytes() == 24 * SMALL["hidden_size"] * 4


def test_memory_stays_flat_over_many_frames(segmenter):
    """Random images, so that things come and go all the time; what torch holds is in the test above.

    What counts is what lines of the engine allocate: threads that other tests left behind allocate too.
    """
    stream = segmenter.open_stream()
    images = clip(10, 24, 32)
    ours = tracemalloc.Filter(True, str(Path(engine.__file__).parent / "*"))

    def held_after(frames: int) -> int:
        for frame in range(frames):
            segmenter.segment(images[frame * 7 % 10], stream)
        gc.collect()
        return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([ours]).traces)

    tracemalloc.start()
    try:
        first = held_after(20)
        assert held_after(80) - first < 20_000
    finally:
        tracemalloc.stop()
    assert stream.epoch == 0


# --- options and the end


def test_options_are_one_object_with_what_was_chosen_for_the_model(folder, table):
    asked = ModelOptions(str(folder), device="cpu", precision="float32", labels=str(table))
    segmenter = Segmenter.load(asked, mask_threshold=0.4)
    chosen = {"task": "panoptic", "size": SMALL["image_size"], "score_threshold": 0.8}
    assert segmenter.options == replace(asked, mask_threshold=0.4, **chosen)


def test_live_options_are_replaced_as_a_whole_and_checked(segmenter):
    wanted = replace(segmenter.options, score_threshold=-1.0, mask_threshold=0.4)
    segmenter.options = wanted
    assert segmenter.options == replace(wanted, score_threshold=0.8), "negative stands for the task's default"
    with pytest.raises(ValueError, match=r"overlap_threshold: got 1\.5, expected"):
        segmenter.overlap_threshold = 1.5
    assert (segmenter.mask_threshold, segmenter.overlap_threshold) == (0.4, 0.8)


@pytest.mark.parametrize(("name", "value"), [("task", "semantic"), ("top_k", 5), ("score_memory", 0.5)])
def test_other_options_cannot_become_others(segmenter, name, value):
    with pytest.raises(ValueError, match=f"^{name}: cannot become {value!r} .* load the model anew"):
        setattr(segmenter, name, value)
    assert getattr(segmenter, name) != value


def test_after_its_with_block_a_segmenter_is_closed_and_its_weights_are_gone(load):
    with load() as segmenter:
        stream = segmenter.open_stream()
        stream.segment(picture(64, 64, 0))
        weights = weakref.ref(next(iter(segmenter._pipeline.active.step._network.parameters())))
    assert weights() is None
    with pytest.raises(EngineError, match="the segmenter is closed; load the model again"):
        stream.segment(picture(64, 64, 0))
    segmenter.close()


def test_a_video_is_segmented_frame_by_frame_in_a_stream_of_its_own(segmenter, tmp_path):
    with VideoWriter(tmp_path / "video.mp4") as video:
        for number in range(4):
            video.write(picture(64, 96, number), number * 10**8)
    stream = segmenter.open_stream()
    results = list(segmenter.segment_video(tmp_path / "video.mp4", with_masks=True))
    assert len(results) == 4
    for frame, result in zip(read_video(tmp_path / "video.mp4"), results, strict=True):
        stamp = Fraction(frame.stamp, 10**9)
        expected = stream.segment(frame.image, stamp=stamp, with_masks=True)
        assert result.segments == expected.segments
        np.testing.assert_array_equal(result.panoptic, expected.panoptic)


def test_who_stops_a_video_early_leaves_no_thread(segmenter, tmp_path):
    with VideoWriter(tmp_path / "video.mp4") as video:
        for number in range(4):
            video.write(picture(64, 96, number), number * 10**8)
    before = set(threading.enumerate())
    for _ in segmenter.segment_video(tmp_path / "video.mp4"):
        assert set(threading.enumerate()) - before, "the next frame has a thread"
        break
    assert set(threading.enumerate()) == before


def test_a_file_that_is_no_video_is_refused_by_name(segmenter, tmp_path):
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"notes\.mp4 cannot be read as a video"):
        next(segmenter.segment_video(tmp_path / "notes.mp4"))


# --- what is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "tpu"}, "device: got 'tpu', expected one of 'auto', 'cpu', 'cuda', 'cuda:N'"),
        ({"device": "cpu:1"}, "device: got 'cpu:1', expected"),
        ({"device": "cuda:first"}, "device: got 'cuda:first', expected"),
        ({"precision": "int8"}, "precision: got 'int8', expected one of 'auto', 'float32', 'bfloat16', 'float16'"),
        (
            {"backend": "tensorrt"},
            "backend: got 'tensorrt', expected one of 'auto', 'torch', 'openvino'",
        ),
        ({"task": "depth"}, "task: got 'depth', expected one of '', 'semantic', 'instance', 'panoptic'"),
        ({"fit": "crop"}, "fit: got 'crop', expected one of 'stretch', 'keep_aspect'"),
        ({"score_threshold": 1.01}, "score_threshold: got 1.01, expected -1.0 to 1.0"),
        ({"mask_threshold": -0.1}, "mask_threshold: got -0.1, expected 0.0 to 1.0"),
        ({"overlap_threshold": float("nan")}, "overlap_threshold: got nan, expected 0.0 to 1.0"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_a_setting_that_is_none_is_refused_by_name(load, settings, message):
    with pytest.raises(ValueError, match=message):
        load(**settings)


def test_names_of_former_versions_say_what_to_do(load):
    with pytest.raises(TypeError, match="takes no 'compile': frames run as CUDA graphs without it; leave it out"):
        load(compile=True)
    with pytest.raises(AttributeError, match="has no 'segment_stream': call `segment` with each frame"):
        load().segment_stream([], None)


def test_a_name_that_is_none_is_refused_with_those_there_are(load):
    with pytest.raises(TypeError, match=r"takes no 'threshold': expected some of model, task, device, .* top_k"):
        load(threshold=0.5)


def test_labels_for_another_number_of_classes_are_refused(load, tmp_path):
    (tmp_path / "two.yaml").write_text("\n".join(TABLE.splitlines()[:6]))
    with pytest.raises(LabelsError, match=r"two\.yaml has 2 classes, but .* has 5"):
        load(labels=tmp_path / "two.yaml")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda_is_refused_and_auto_warns_and_takes_the_cpu(load, caplog):
    for device in ("cuda", "cuda:0"):
        with pytest.raises(ValueError, match=rf"device is '{device}', but torch .* (without CUDA|no usable GPU)"):
            load(device=device)
    with caplog.at_level(logging.WARNING):
        assert load(device="auto").device == "cpu"
    assert "device 'auto': running on the CPU, because torch" in caplog.text


@pytest.mark.parametrize(
    ("images", "streams", "stamps", "message"),
    [
        (2, 1, None, "got 2 images, 1 streams, 2 stamps and 2 locate"),
        (1, 2, None, "got 1 images, 2 streams, 1 stamps and 1 locate"),
        (2, 2, [0.0], "got 2 images, 2 streams, 1 stamps and 2 locate"),
        (1, 1, [float("nan")], "stamp is nan, expected seconds"),
        (1, 1, [float("inf")], "stamp is inf, expected seconds"),
    ],
)
def test_a_batch_that_does_not_fit_together_is_refused(segmenter, images, streams, stamps, message):
    with pytest.raises(ValueError, match=message):
        segmenter.segment_batch(clip(images), [segmenter.open_stream() for _ in range(streams)], stamps=stamps)


def test_two_frames_of_one_stream_in_a_batch_are_refused(segmenter):
    stream = segmenter.open_stream()
    with pytest.raises(ValueError, match="one frame of each"):
        segmenter.segment_batch(clip(2), [stream, stream])


def test_an_image_of_another_shape_or_type_is_refused_with_the_numbers(segmenter):
    for image, numbers in (
        (np.zeros((4, 5), np.uint8), r"\(4, 5\) uint8"),
        (np.zeros((4, 5, 3), np.float32), r"\(4, 5, 3\) float32"),
    ):
        with pytest.raises(ValueError, match=rf"image is {numbers}, expected \(height, width, 3\) uint8"):
            segmenter.segment(image, segmenter.open_stream())


# --- other settings


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_agrees_on_most_pixels(load, precision):
    images = clip(4)
    exact = run(load(task="semantic"), images)
    half = run(load(task="semantic", precision=precision), images)
    for one, other in zip(exact, half, strict=True):
        assert np.mean(one.semantic == other.semantic) > 0.9


def test_task_and_name_are_those_of_the_table_and_the_folder(load, folder):
    segmenter = load()
    assert (segmenter.task, segmenter.name, segmenter.device) == ("panoptic", folder.name, "cpu")


def test_decode_mask_refuses_runs_that_do_not_fill_the_box():
    assert decode_mask((1, 2, 3), (7, 8, 3, 2)).tolist() == [[False, True, True], [False, False, False]]
    with pytest.raises(ValueError, match="5 pixels in all, expected 3 x 2"):
        decode_mask((1, 2, 2), (7, 8, 3, 2))
