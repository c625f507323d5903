"""Post-processing of fixed shapes: equal to Hugging Face's in every pixel, whatever is seen."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from eomt_ros.engine.model.families import VIDEOMT
from eomt_ros.engine.postprocess import fixed_shape as module
from eomt_ros.engine.postprocess.fixed_shape import FixedShape
from eomt_ros.engine.postprocess.frame import QUERY_RULES, postprocess, winners_of
from eomt_ros.engine.postprocess.label_map import LabelMap, ResultClasses
from eomt_ros.engine.postprocess.select import Thresholds, likely_queries
from eomt_ros.engine.preprocess.geometry import Placement, keep_aspect, pad_to_square, sliding_windows, stretch
from test.engine import reference
from test.engine.found import Found
from test.engine.postprocess.test_frame import CLASSES, assert_same, shapes, structures
from test.engine.reference import blobs, confident, noise


def segment(
    masks: Tensor,
    classes: Tensor,
    placement: Placement,
    task: str,
    *,
    places: int | None = None,
    score_threshold: float | None = None,
    mask_threshold: float = 0.5,
    overlap_threshold: float = 0.8,
    **of_instances: Any,
) -> Found:
    """masks: (windows or 1, queries, h, w). classes: (windows or 1, queries, classes + 1)."""
    score = VIDEOMT.score_thresholds.get(task, 0.0) if score_threshold is None else score_threshold
    thresholds = Thresholds(*torch.tensor([score, mask_threshold, overlap_threshold], dtype=torch.float64))
    way = FixedShape(places or of_instances.get("top_k") or classes.shape[1])
    winners = winners_of(way, masks, classes, placement, thresholds, task, QUERY_RULES, **of_instances)
    return Found(LabelMap.of(winners, ResultClasses.same([True] * (classes.shape[2] - 1)), task=task, fuse_stuff=False))


def stretched(size: tuple[int, int]) -> Placement:
    return stretch((64, 64))(size)


def assert_equal(ours: Found, theirs: reference.Reference) -> None:
    assert ours.class_ids == tuple(theirs.class_ids)
    assert_same(ours.segment_index.astype(int) - 1, theirs.index)
    assert ours.scores == pytest.approx(theirs.scores, abs=1.5e-6)


@structures
@shapes
def test_the_panoptic_task_equals_hugging_faces(structure, queries, samples, size):
    masks = structure(queries, samples)
    for seed, overlap in enumerate((0.0, 0.1, 0.5, 0.8, 1.0)):
        classes = confident(queries, CLASSES, max(1, queries // 2), seed)
        theirs = reference.panoptic(masks, classes, size, overlap_threshold=overlap)
        ours = segment(masks[None], classes[None], stretched(size), "panoptic", overlap_threshold=overlap)
        assert_equal(ours, theirs)


@structures
@shapes
def test_the_instance_task_equals_hugging_faces(structure, queries, samples, size):
    masks = structure(queries, samples)
    for seed in range(3):
        classes = confident(queries, CLASSES, max(1, queries // 2), seed)
        theirs = reference.instance(masks, classes, size)
        assert_equal(segment(masks[None], classes[None], stretched(size), "instance"), theirs)


@structures
@shapes
@pytest.mark.parametrize("classes", [1, 8, 255])
def test_the_semantic_task_equals_hugging_faces(structure, queries, samples, size, classes):
    masks, logits = structure(queries, samples), confident(queries, classes, max(1, queries // 2))
    theirs = reference.semantic(masks, logits, size).index
    ours = segment(masks[None], logits[None], stretched(size), "semantic")
    assert ours.class_ids == tuple(np.unique(theirs))
    assert_same(ours.semantic, theirs)


@pytest.mark.parametrize("chunk", [1, 3 * 200 * 300])
def test_however_few_maps_are_resized_at_a_time_the_result_is_the_same(chunk, monkeypatch):
    masks, classes, size = blobs(30, (24, 32)), confident(30, CLASSES, 20), (200, 300)
    expected = [segment(masks[None], classes[None], stretched(size), task) for task in ("panoptic", "instance")]
    monkeypatch.setattr(module, "CHUNK", chunk)
    for task, whole in zip(("panoptic", "instance"), expected, strict=True):
        found = segment(masks[None], classes[None], stretched(size), task)
        assert np.array_equal(found.segment_index, whole.segment_index)
        assert np.array_equal(found.confidence, whole.confidence)
        assert found.areas == whole.areas
        assert found.boxes == whole.boxes


@pytest.mark.parametrize("chunk", [1, module.CHUNK])
@pytest.mark.parametrize("step", [2, 8, 40])
def test_ties_go_to_the_query_that_hugging_face_gives_them_to(step, chunk, monkeypatch):
    """Also where one of the two is resized later than the other."""
    monkeypatch.setattr(module, "CHUNK", chunk)
    masks, classes = (noise(12, (24, 32)) / 3).round() * step, torch.zeros(12, CLASSES + 1)
    classes[:, :3] = 9.0
    classes[:, 3] = torch.tensor([12.0, 16.0, 20.0, 20.0] * 3)
    for size in ((24, 32), (100, 150)):
        theirs = reference.panoptic(masks, classes, size, overlap_threshold=0.3, score_threshold=0.1)
        found = segment(
            masks[None], classes[None], stretched(size), "panoptic", overlap_threshold=0.3, score_threshold=0.1
        )
        assert_equal(found, theirs)


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_thresholds_are_as_sharp_as_hugging_faces(task):
    """At each query's own score, and just above and below."""
    masks, classes, size = blobs(12, (24, 32)), confident(12, CLASSES, 12), (60, 80)
    counts = set()
    method = getattr(reference, task)
    of_masks = method(masks, classes, size, score_threshold=0.0).scores
    for score in {*of_masks, *classes.softmax(-1).amax(-1).tolist()}:
        for threshold in (score, np.nextafter(np.float32(score), 0).item(), np.nextafter(np.float32(score), 2).item()):
            theirs = method(masks, classes, size, score_threshold=threshold)
            assert_equal(segment(masks[None], classes[None], stretched(size), task, score_threshold=threshold), theirs)
            counts.add(len(theirs.scores))
    assert len(counts) > 2


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.7, 0.999])
def test_any_mask_threshold_equals_hugging_faces(threshold):
    masks, classes, size = blobs(30, (24, 32)), confident(30, CLASSES, 15), (200, 300)
    asked = {"mask_threshold": threshold, "overlap_threshold": 0.1}
    found = segment(masks[None], classes[None], stretched(size), "panoptic", **asked)
    assert_equal(found, reference.panoptic(masks, classes, size, **asked))


PLACEMENTS = [
    stretched((111, 222)),
    keep_aspect(64)((111, 222)),
    pad_to_square(64)((111, 222)),
    pad_to_square(64)((222, 50)),
]


@pytest.mark.parametrize("placement", PLACEMENTS, ids=str)
@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("panoptic", {}),
        ("panoptic", {"overlap_threshold": 0.2, "score_threshold": 0.3}),
        ("instance", {"score_threshold": 0.3}),
        ("instance", {"top_k": 7, "score_threshold": 0.0}),
        ("instance", {"top_k": 7, "score_threshold": 0.3, "score_masks": False}),
        ("semantic", {}),
    ],
    ids=str,
)
def test_everything_is_what_the_plain_way_gives(placement, task, settings):
    """Which is held to Hugging Face and to the authors in its own tests."""
    samples = (placement.input[0] // 4, placement.input[1] // 4)
    masks, classes = blobs(25, samples)[None], confident(25, CLASSES, 15)[None] / 2
    assert_as_plain(masks, classes, placement, task, settings)


@pytest.mark.parametrize("size", [(64, 150), (200, 64), (64, 64)])
def test_windows_are_stitched_as_the_plain_way_does(size):
    placement = sliding_windows(64)(size)
    count = len(placement.windows)
    masks = torch.stack([blobs(25, (16, 16), seed) for seed in range(count)])
    classes = torch.stack([confident(25, CLASSES, 15, seed) for seed in range(count)])
    assert_as_plain(masks, classes, placement, "semantic", {})


def assert_as_plain(masks: Tensor, classes: Tensor, placement: Placement, task: str, settings: dict[str, Any]) -> None:
    defaults = {
        "score_threshold": VIDEOMT.score_thresholds.get(task, 0.0),
        "mask_threshold": 0.5,
        "overlap_threshold": 0.8,
    }
    asked = {"task": task, "classes": ResultClasses.same([True] * CLASSES), "fuse_stuff": False, **defaults, **settings}
    plain = Found(postprocess(masks, classes, placement, **asked))
    ours = segment(masks, classes, placement, task, **settings)
    assert len(plain.class_ids) > 1
    assert_same(ours.semantic, plain.semantic)
    assert_same(ours.segment_index, plain.segment_index)
    assert ours.class_ids == plain.class_ids
    assert ours.queries == plain.queries
    assert ours.scores == pytest.approx(plain.scores, abs=2e-6)
    assert ours.areas == plain.areas
    assert ours.boxes == plain.boxes
    assert ours.confidence is not None
    assert plain.confidence is not None
    assert np.abs(ours.confidence.astype(int) - plain.confidence).max() <= 1


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_where_nothing_is_sure_there_is_no_segment(task):
    found = segment(blobs(9, (16, 16))[None], torch.zeros(1, 9, CLASSES + 1), stretched((40, 50)), task)
    assert found.class_ids == ()
    assert not found.segment_index.any()


def test_more_candidates_than_there_are_places_are_counted_and_the_first_have_them():
    way, found = FixedShape(8), likely_queries(confident(30, CLASSES, 20).softmax(-1), 0.5)
    gathered = way.gather(found)
    assert way.candidates(torch.device("cpu")) == 20
    assert gathered.present.all()
    assert gathered.queries.tolist() == found.queries[found.present][:8].tolist()


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_more_places_than_candidates_change_nothing(task):
    masks, classes = blobs(30, (16, 16))[None], confident(30, CLASSES, 5)[None]
    roomy, tight = (segment(masks, classes, stretched((40, 50)), task, places=places) for places in (30, 5))
    assert np.array_equal(roomy.segment_index, tight.segment_index)
    assert roomy.class_ids
    for name in ("queries", "class_ids", "scores", "areas", "boxes"):
        assert getattr(roomy, name) == getattr(tight, name)


def test_every_threshold_that_the_tiled_way_has_is_heeded():
    names = {name for name in inspect.signature(postprocess).parameters if name.endswith("_threshold")}
    assert names == {f"{name}_threshold" for name in Thresholds._fields}
