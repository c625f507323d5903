"""Post-processing: equal to Hugging Face's in every pixel, and true to itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import VideomtConfig, VideomtForUniversalSegmentation

from eomt_ros.engine.errors import NotFiniteError
from eomt_ros.engine.model.families import VIDEOMT
from eomt_ros.engine.postprocess.frame import check_finite, postprocess
from eomt_ros.engine.postprocess.label_map import ResultClasses
from eomt_ros.engine.postprocess.rle import decode_mask
from eomt_ros.engine.preprocess.geometry import stretch
from test.engine import reference
from test.engine.checkpoints import SMALL
from test.engine.found import Found
from test.engine.reference import Reference, blobs, confident, noise

CLASSES = 8
SMALL_INPUT = (64, 64)
"""Of the network: nothing depends on it where images are stretched."""
STUFF = {0, 2, 5}
LAST_BIT = 2e-6
"""Share of pixels that may hang on it; in the small images of most tests not a single one."""
IS_THING = tuple(index not in STUFF for index in range(CLASSES))

SHAPES = [
    (30, (24, 32), (300, 600)),
    (30, (40, 40), (333, 517)),
    (50, (24, 32), (24, 32)),
    (20, (48, 64), (20, 24)),
    (20, (48, 64), (1, 3)),
    (1, (16, 16), (100, 90)),
]
shapes = pytest.mark.parametrize(("queries", "samples", "size"), SHAPES, ids=str)
structures = pytest.mark.parametrize("structure", [blobs, noise])


def segment(mask_logits: Tensor, class_logits: Tensor, size: tuple[int, int], task: str, **settings: Any) -> Found:
    usual = {
        "classes": ResultClasses.same((IS_THING * class_logits.shape[1])[: class_logits.shape[1] - 1]),
        "score_threshold": VIDEOMT.score_thresholds.get(task, 0.0),
        "mask_threshold": 0.5,
        "overlap_threshold": 0.8,
        "fuse_stuff": False,
    }
    placement = stretch(SMALL_INPUT)(size)
    settings = {name: value for name, value in settings.items() if value is not None}
    return Found(postprocess(mask_logits[None], class_logits[None], placement, task=task, **{**usual, **settings}))


def assert_equal(ours: Found, theirs: Reference) -> None:
    assert ours.class_ids == tuple(theirs.class_ids)
    assert_same(ours.segment_index.astype(int) - 1, theirs.index)
    assert ours.scores == pytest.approx(theirs.scores, abs=1.5e-6)
    unlabelled = np.iinfo(ours.semantic.dtype).max
    assert_same(ours.semantic, np.array([*theirs.class_ids, unlabelled])[theirs.index])


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    assert np.count_nonzero(ours != theirs) <= LAST_BIT * theirs.size


def resized(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(mask_logits[None], size, mode="bilinear")[0]


def assert_describes(found: Found, masks: Sequence[np.ndarray]) -> None:
    """Areas, boxes and run lengths are those of the masks."""
    assert None not in found.masks
    assert len(found.areas) == len(found.boxes) == len(found.masks) == len(masks)
    for area, box, runs, mask in zip(found.areas, found.boxes, found.masks, masks, strict=True):
        y, x = mask.nonzero()
        assert area == y.size
        assert box == (x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1)
        assert np.array_equal(decode_mask(runs, box), mask[y.min() : y.max() + 1, x.min() : x.max() + 1])


# --- equal to Hugging Face


@structures
@shapes
@pytest.mark.parametrize("fuse", [False, True])
def test_the_panoptic_task_equals_hugging_faces(structure, queries, samples, size, fuse):
    masks = structure(queries, samples)
    for seed, overlap in enumerate((0.0, 0.1, 0.5, 0.8, 1.0)):
        classes = confident(queries, CLASSES, max(1, queries // 2), seed)
        theirs = reference.panoptic(masks, classes, size, overlap_threshold=overlap, fused=STUFF if fuse else ())
        ours = segment(masks, classes, size, "panoptic", overlap_threshold=overlap, fuse_stuff=fuse)
        assert_equal(ours, theirs)


@structures
@shapes
def test_the_instance_task_equals_hugging_faces(structure, queries, samples, size):
    masks = structure(queries, samples)
    for seed in range(3):
        classes = confident(queries, CLASSES, max(1, queries // 2), seed)
        assert_equal(segment(masks, classes, size, "instance"), reference.instance(masks, classes, size))


@structures
@shapes
@pytest.mark.parametrize("classes", [1, 8, 124, 254, 255, 300])
def test_the_semantic_task_equals_hugging_faces(structure, queries, samples, size, classes):
    masks, logits = structure(queries, samples), confident(queries, classes, max(1, queries // 2))
    theirs = reference.semantic(masks, logits, size).index
    ours = segment(masks, logits, size, "semantic")
    assert_same(ours.semantic, theirs)
    assert ours.class_ids == tuple(np.unique(theirs))
    assert ours.semantic.dtype == (np.uint8 if classes <= 254 else np.uint16)


def test_full_hd_equals_hugging_faces_in_every_pixel_and_task():
    size = (1080, 1920)
    masks, classes = blobs(40, (160, 160)), confident(40, CLASSES, 12)
    assert_equal(segment(masks, classes, size, "panoptic"), reference.panoptic(masks, classes, size))
    assert_equal(segment(masks, classes, size, "instance"), reference.instance(masks, classes, size))
    assert_same(segment(masks, classes, size, "semantic").semantic, reference.semantic(masks, classes, size).index)


@pytest.mark.parametrize("seed", range(3))
def test_the_outputs_of_a_random_network_equal_hugging_faces(seed):
    torch.manual_seed(seed)
    network = VideomtForUniversalSegmentation(VideomtConfig(**SMALL)).eval()
    with torch.no_grad():
        outputs = network(pixel_values_videos=torch.randn(1, 1, 3, 64, 64))
    masks, classes = outputs.masks_queries_logits[0], 8 * outputs.class_queries_logits[0]
    for size in ((100, 140), (13, 11)):
        for threshold in (0.0, 0.4):
            asked = {"score_threshold": threshold}
            theirs = reference.panoptic(masks, classes, size, **asked, overlap_threshold=0.3)
            assert_equal(segment(masks, classes, size, "panoptic", **asked, overlap_threshold=0.3), theirs)
            theirs = reference.instance(masks, classes, size, **asked)
            assert_equal(segment(masks, classes, size, "instance", **asked), theirs)
        ours = segment(masks, classes, size, "semantic")
        assert_same(ours.semantic, reference.semantic(masks, classes, size).index)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.7, 0.999])
def test_any_mask_threshold_equals_hugging_faces(threshold):
    masks, classes, size = blobs(30, (24, 32)), confident(30, CLASSES, 15), (200, 300)
    for overlap in (0.1, 0.8):
        asked = {"mask_threshold": threshold, "overlap_threshold": overlap}
        assert_equal(
            segment(masks, classes, size, "panoptic", **asked), reference.panoptic(masks, classes, size, **asked)
        )


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_the_score_threshold_is_as_sharp_as_hugging_faces(task):
    """At each query's own score, and just above and below."""
    masks, classes, size = blobs(12, (24, 32)), confident(12, CLASSES, 12), (60, 80)
    method = getattr(reference, task)
    scores = set(method(masks, classes, size, score_threshold=0.0).scores) | set(classes.softmax(-1).amax(-1).tolist())
    counts = set()
    for score in scores:
        for threshold in (score, np.nextafter(np.float32(score), 0).item(), np.nextafter(np.float32(score), 2).item()):
            theirs = method(masks, classes, size, score_threshold=threshold)
            assert_equal(segment(masks, classes, size, task, score_threshold=threshold), theirs)
            counts.add(len(theirs.scores))
    assert len(counts) > 4


@structures
def test_the_overlap_test_is_as_sharp_as_hugging_faces(structure):
    """At each query's own ratio of won to masked pixels, where it just fails, and just below, where it passes."""
    masks, size = (16 * structure(14, (24, 32))).round() / 16, (192, 256)  # exact in float32: each pixel counts
    classes = confident(14, CLASSES, 14)
    scores = classes.softmax(-1).amax(-1)[:, None, None]
    probability = resized(masks, size).sigmoid()
    won = (scores * probability).argmax(0).flatten().bincount(minlength=14)
    ratios = won / (probability >= 0.5).sum((1, 2))
    ratios = [ratio for ratio in ratios.tolist() if 0 < ratio < 1]
    assert len(ratios) > 4
    for ratio in ratios:
        above, below = (
            reference.panoptic(masks, classes, size, overlap_threshold=threshold)
            for threshold in (ratio, np.nextafter(ratio, 0))
        )
        assert len(below.scores) == len(above.scores) + 1
        assert_equal(segment(masks, classes, size, "panoptic", overlap_threshold=ratio), above)
        assert_equal(segment(masks, classes, size, "panoptic", overlap_threshold=np.nextafter(ratio, 0)), below)


@pytest.mark.parametrize("step", [2, 8, 40])
def test_ties_go_to_the_query_or_class_that_hugging_face_gives_them_to(step):
    """Few levels, up to where the sigmoid is exactly 0 or 1, and equal class logits for all queries."""
    masks = (noise(12, (24, 32)) / 3).round() * step
    classes = torch.zeros(12, CLASSES + 1)
    classes[:, :3] = 9.0
    classes[:, 3] = torch.tensor([12.0, 16.0, 20.0, 20.0] * 3)
    for size in ((24, 32), (100, 150)):
        for overlap in (0.0, 0.3, 0.5):
            theirs = reference.panoptic(masks, classes, size, overlap_threshold=overlap)
            assert_equal(segment(masks, classes, size, "panoptic", overlap_threshold=overlap), theirs)
        assert_equal(segment(masks, classes, size, "instance"), reference.instance(masks, classes, size))
        ours = segment(masks, classes, size, "semantic")
        assert_same(ours.semantic, reference.semantic(masks, classes, size).index)


def test_more_than_254_segments_equal_hugging_faces_in_16_bits():
    masks = torch.full((300, 20, 20), -9.0)
    masks.view(300, -1)[torch.arange(300), torch.arange(300)] = 9.0
    classes = confident(300, CLASSES, 300)
    for task, theirs in (("panoptic", reference.panoptic), ("instance", reference.instance)):
        ours = segment(masks, classes, (20, 20), task, score_threshold=0.3)
        assert_equal(ours, theirs(masks, classes, (20, 20), score_threshold=0.3))
        assert len(ours.scores) > 254
        assert ours.segment_index.dtype == np.uint16


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_masks_of_one_pixel_equal_hugging_faces(task):
    masks = torch.full((5, 10, 12), -3.0)
    masks[torch.arange(5), torch.arange(5), torch.arange(5) + 7] = 2.0
    classes = confident(5, CLASSES, 5)
    ours = segment(masks, classes, (10, 12), task, score_threshold=0.6, with_masks=True)
    assert_equal(ours, getattr(reference, task)(masks, classes, (10, 12), score_threshold=0.6))
    assert ours.boxes == tuple((index + 7, index, 1, 1) for index in range(5))
    assert ours.areas == (1,) * 5
    assert ours.masks == ((0, 1),) * 5


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("task", ["panoptic", "instance", "semantic"])
def test_half_precision_logits_are_computed_in_float32(kind, task):
    masks, classes, size = blobs(20, (24, 32)).to(kind), confident(20, CLASSES, 8).to(kind), (200, 300)
    ours = segment(masks, classes, size, task)
    theirs = getattr(reference, task)(masks.float(), classes.float(), size)
    if task == "semantic":
        assert_same(ours.semantic, theirs.index)
    else:
        assert_equal(ours, theirs)


def test_logits_in_any_memory_layout_give_the_same():
    masks, classes, size = blobs(20, (24, 32)), confident(20, CLASSES, 8), (200, 300)
    last = masks.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for task in ("panoptic", "instance", "semantic"):
        one, other = segment(masks, classes, size, task), segment(last, classes, size, task)
        assert np.array_equal(one.semantic, other.semantic)
        assert one.scores == pytest.approx(other.scores)


# --- nothing to see


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_where_no_query_is_sure_there_is_nothing(task):
    found = segment(blobs(9, (24, 32)), confident(9, CLASSES, 0), (50, 60), task, with_masks=True)
    assert (found.semantic == 255).all()
    assert not found.segment_index.any()
    assert not found.confidence.any()
    assert found.queries == found.class_ids == found.scores == found.areas == found.boxes == found.masks == ()


@pytest.mark.parametrize("task", ["panoptic", "instance"])
@pytest.mark.parametrize("score", [None, 0.0])
def test_where_no_mask_reaches_its_threshold_there_is_nothing(task, score):
    found = segment(torch.full((9, 24, 32), -0.1), confident(9, CLASSES, 9), (50, 60), task, score_threshold=score)
    assert (found.semantic == 255).all()
    assert not found.confidence.any()
    assert found.scores == ()


# --- segments


@structures
@pytest.mark.parametrize("fuse", [False, True])
def test_panoptic_segments_describe_the_pixels_that_show_them(structure, fuse):
    masks, classes = structure(30, (24, 32)), confident(30, CLASSES, 15)
    found = segment(masks, classes, (300, 600), "panoptic", overlap_threshold=0.05, fuse_stuff=fuse, with_masks=True)
    assert found.scores
    assert_describes(found, [found.segment_index == index + 1 for index in range(len(found.scores))])


def test_fused_stuff_is_one_segment_of_its_first_query():
    masks = torch.full((4, 10, 40), -9.0)
    for query in range(4):
        masks[query, query : query + 3, 10 * query : 10 * query + 9] = 9.0
    classes = torch.full((4, CLASSES + 1), -9.0)
    classes[torch.arange(4), torch.tensor([2, 1, 2, 2])] = torch.tensor([3.0, 4.0, 5.0, 6.0])
    found = segment(masks, classes, (10, 40), "panoptic", fuse_stuff=True, with_masks=True)
    assert found.queries == (0, 1)
    assert found.class_ids == (2, 1)
    assert found.scores[0] == pytest.approx(classes.softmax(-1)[0, 2].item())
    assert found.areas == (81, 27)
    assert found.boxes == ((0, 0, 39, 6), (10, 1, 9, 3))
    assert_describes(found, [found.semantic == 2, found.semantic == 1])


def test_the_query_of_a_segment_is_the_one_whose_mask_it_has():
    masks, classes, size = blobs(40, (24, 32)), confident(40, CLASSES, 10), (200, 300)
    probability = resized(masks, size).sigmoid()
    for task in ("panoptic", "instance"):
        found = segment(masks, classes, size, task, overlap_threshold=0.0)
        assert len(found.queries) > 3
        for index, query in enumerate(found.queries):
            assert classes[query].argmax() == found.class_ids[index]
            assert (probability[query].numpy() >= 0.5)[found.segment_index == index + 1].all()


@structures
@pytest.mark.parametrize("threshold", [0.5, 0.2, 0.9])
def test_instances_describe_their_whole_mask_also_where_a_later_one_covers_it(structure, threshold):
    masks, classes, size = structure(30, (24, 32)), confident(30, CLASSES, 15), (300, 600)
    found = segment(masks, classes, size, "instance", mask_threshold=threshold, with_masks=True)
    whole = (resized(masks, size) > torch.tensor(threshold).logit()).numpy()[list(found.queries)]
    assert_describes(found, list(whole))
    last = np.zeros(size, int)
    for index, mask in enumerate(whole):
        last[mask] = index + 1
    assert_same(found.segment_index, last)
    assert (whole.sum(0) > 1).any()


def test_a_query_that_scores_too_low_over_its_mask_uncovers_the_earlier_one():
    masks = torch.full((3, 16, 16), -7.7)  # no resized logit is near 0
    masks[0, 2:12, 2:12] = 9.0
    masks[1, 4:14, 4:14] = 0.2  # mean probability 0.55: below the threshold after the product
    masks[2, 10:16, 10:16] = 9.0
    classes = confident(3, CLASSES, 3)
    classes[1] = 0
    classes[1, 4] = 4.0
    size = (160, 260)
    assert 0.5 < classes[1].softmax(-1)[4] < 0.9
    ours = segment(masks, classes, size, "instance")
    assert ours.queries == (0, 2)
    assert_equal(ours, reference.instance(masks, classes, size))
    probability = resized(masks, size).sigmoid()[0, 70, 110] * classes.softmax(-1).amax(-1)[0]
    assert ours.confidence[70, 110] == round(255 * probability.item())


def test_classes_of_the_semantic_task_describe_the_pixels_that_show_them():
    masks, classes, size = blobs(30, (24, 32)), confident(30, CLASSES, 15), (200, 300)
    found = segment(masks, classes, size, "semantic", with_masks=True)
    assert_describes(found, [found.semantic == class_id for class_id in found.class_ids])
    assert found.queries == (-1,) * len(found.class_ids)
    assert np.array_equal(np.array([0, *found.class_ids])[found.segment_index], found.semantic)
    sums = torch.einsum("qc,qhw->chw", classes.softmax(-1)[:, :-1], masks.sigmoid())
    confidence = resized(sums, size).amax(0).clamp(max=1).numpy()
    for class_id, score in zip(found.class_ids, found.scores, strict=True):
        assert score == pytest.approx(confidence[found.semantic == class_id].mean(), abs=1e-5)
    assert np.abs(found.confidence - 255 * confidence).max() < 0.51


# --- confidence


@structures
def test_panoptic_confidence_is_the_score_times_the_probability_of_the_segments_query(structure):
    masks, classes, size = structure(30, (24, 32)), confident(30, CLASSES, 15), (300, 600)
    found = segment(masks, classes, size, "panoptic", overlap_threshold=0.1)
    assert_confidence(found, masks, classes, size)


@structures
def test_instance_confidence_is_the_class_probability_times_the_probability_of_the_segments_query(structure):
    masks, classes, size = structure(30, (24, 32)), confident(30, CLASSES, 15), (300, 600)
    found = segment(masks, classes, size, "instance")
    assert_confidence(found, masks, classes, size)


def assert_confidence(found: Found, masks: Tensor, classes: Tensor, size: tuple[int, int]) -> None:
    probability = (resized(masks, size).sigmoid() * classes.softmax(-1)[:, :-1].amax(-1)[:, None, None]).numpy()
    assert found.queries
    expected = np.zeros(size)
    for index, query in enumerate(found.queries):
        expected = np.where(found.segment_index == index + 1, 255 * probability[query], expected)
    assert np.abs(found.confidence - expected).max() < 0.51
    assert not found.confidence[found.segment_index == 0].any()


# --- what must not happen


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_single_logit_that_is_not_finite_is_an_error(bad):
    logits = noise(9, (24, 32))
    check_finite("mask", logits)
    logits.view(-1)[100] = bad
    with pytest.raises(NotFiniteError, match=r"mask logits .* 1 of"):
        check_finite("mask", logits)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_large_finite_logits_are_none(kind):
    """Their sum overflows."""
    masks = torch.full((4, 24, 32), torch.finfo(kind).max, dtype=kind)
    check_finite("mask", masks)
    found = segment(masks, confident(4, CLASSES, 1), (50, 60), "panoptic")
    assert found.areas == (50 * 60,)


def test_the_logits_are_left_as_they_were():
    masks, classes = blobs(9, (24, 32)), confident(9, CLASSES, 5)
    before = masks.clone(), classes.clone()
    for task in ("panoptic", "instance", "semantic"):
        segment(masks, classes, (50, 60), task)
    assert torch.equal(masks, before[0])
    assert torch.equal(classes, before[1])


def test_a_result_is_not_touched_by_the_next_frame():
    classes = confident(9, CLASSES, 5)
    first = segment(blobs(9, (24, 32)), classes, (50, 60), "panoptic")
    kept = [array.copy() for array in (first.semantic, first.segment_index, first.confidence)]
    segment(noise(9, (24, 32)), classes, (50, 60), "panoptic")
    for array, copy in zip((first.semantic, first.segment_index, first.confidence), kept, strict=True):
        assert np.array_equal(array, copy)
        assert array.flags.writeable
