"""Results in the robot's classes: those of the model, mapped by numpy, are the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from eomt_ros.engine import FrameResult, LabelsError, Segment, Segmenter
from test.engine.checkpoints import FOUND
from test.engine.cuda.machine import Recorder, on_gpu
from test.engine.pictures import clip
from test.engine.test_segmenter import TASKS, bounding_box, run, whole_mask

FAMILIES = ("videomt", "eomt", "mask2former")
UNLABELLED = 255
KINDS = {"floor": False, "wall": False, "ball": True, "box": True, "person": True}
"""The model's classes in order; True for things."""

SURFACES = """
classes:
  - {name: human, from: [person], role: obstacle, groups: [people, moving], color: [1, 2, 3]}
  - {name: surface, from: [wall, floor], role: ground}
"""
"""Two classes of stuff become one; ball and box are unlabelled."""
OBSTACLES = """
classes:
  - {name: person, role: obstacle}
  - {name: obstacle, from: [wall, box, ball], role: obstacle}
others: keep
"""
"""Stuff and things become one class; the floor follows."""


@dataclass(frozen=True)
class Robot:
    """What a taxonomy makes of the model's classes, written out by hand."""

    text: str
    names: tuple[str, ...]
    ids: tuple[int, ...]
    """Of floor, wall, ball, box, person; -1 none."""


ROBOTS = [
    Robot(SURFACES, ("human", "surface"), (1, 1, -1, -1, 0)),
    Robot(OBSTACLES, ("person", "obstacle", "floor"), (2, 1, 1, 1, 0)),
]
robots = pytest.mark.parametrize("robot", ROBOTS, ids=["surfaces", "obstacles"])


@pytest.fixture
def load(models, table, tmp_path):
    """Loads a family's model, with a taxonomy where there is a text of one."""

    def load(family: str = "videomt", task: str = "panoptic", text: str = "", **options: Any) -> Segmenter:
        if text:
            (tmp_path / "robot.yaml").write_text(text)
            options["taxonomy"] = tmp_path / "robot.yaml"
        usual = {"device": "cpu", "precision": "float32", "labels": table, "score_threshold": FOUND[task]}
        return Segmenter.load(models[family], task=task, **{**usual, **options})

    return load


@dataclass
class Part:
    """A segment as the reference has it."""

    class_id: int
    is_thing: bool
    score: float
    mask: np.ndarray
    """What its area counts."""
    shown: np.ndarray
    """What the images show of it."""


def mapped(result: FrameResult, robot: Robot, task: str, fuse_stuff: bool = True) -> list[Part]:
    """The segments of a model's result in the robot's classes."""
    parts: dict[Any, Part] = {}
    for segment in result.segments:
        class_id = robot.ids[segment.class_id]
        if class_id < 0:
            continue
        mask = whole_mask(result, segment)
        shown = result.semantic == segment.class_id if task == "semantic" else result.panoptic == segment.id
        joins = task == "semantic" or (task == "panoptic" and fuse_stuff and not segment.is_thing)
        key = ("class", class_id) if joins else ("id", segment.id)
        part = Part(class_id, segment.is_thing, segment.score, mask, shown)
        if key in parts:
            before = parts[key]
            if task == "semantic":
                areas = before.mask.sum(), mask.sum()
                before.score = (before.score * areas[0] + segment.score * areas[1]) / sum(areas)
            before.is_thing |= segment.is_thing
            before.mask, before.shown = before.mask | mask, before.shown | shown
        else:
            parts[key] = part
    return list(parts.values())


def assert_is(result: FrameResult, parts: Sequence[Part], plain: FrameResult, task: str) -> None:
    """The result has these segments, in order, and its images show them."""
    semantic = np.full_like(plain.semantic, UNLABELLED)
    assert len(result.segments) == len(parts)
    for segment, part in zip(result.segments, parts, strict=True):
        semantic[part.shown] = part.class_id
        assert (segment.class_id, segment.is_thing) == (part.class_id, part.is_thing)
        assert segment.class_name == result.labels.class_names[part.class_id]
        assert segment.score == pytest.approx(part.score, abs=1e-6)
        assert np.array_equal(whole_mask(result, segment), part.mask)
        assert (segment.area, segment.box) == (part.mask.sum(), bounding_box(part.mask))
        if task != "semantic":
            assert np.array_equal(result.panoptic == segment.id, part.shown)
    assert np.array_equal(result.semantic, semantic)
    assert result.semantic.dtype == np.uint8
    assert np.array_equal(result.confidence, np.where(semantic == UNLABELLED, 0, plain.confidence))
    assert set(np.unique(result.panoptic)) <= {0, *(segment.id for segment in result.segments)}


@robots
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_results_are_the_models_mapped_class_by_class(load, family, task, robot):
    images = clip(4)
    segmenter = load(family, task, robot.text)
    assert segmenter.labels.class_names == robot.names
    plain = run(load(family, task), images, with_masks=True)
    results = run(segmenter, images, with_masks=True)
    for result, expected in zip(results, plain, strict=True):
        assert_is(result, mapped(expected, robot, task), expected, task)
    assert any(result.segments for result in results)


def test_stuff_that_is_not_fused_stays_apart_in_the_robots_classes(load):
    images = clip(4)
    plain = run(load(fuse_stuff=False), images, with_masks=True)
    results = run(load(text=SURFACES, fuse_stuff=False), images, with_masks=True)
    for result, expected in zip(results, plain, strict=True):
        assert_is(result, mapped(expected, ROBOTS[0], "panoptic", fuse_stuff=False), expected, "panoptic")
    assert any(len([s for s in result.segments if s.class_name == "surface"]) > 1 for result in results)


@pytest.mark.parametrize("task", TASKS)
def test_on_the_way_of_a_gpu_results_are_mapped_as_on_a_cpu(load, task):
    images = clip(4)
    expected = run(load(task=task, text=OBSTACLES), images)
    for ours, theirs in zip(run(on_gpu(load(task=task, text=OBSTACLES), Recorder()), images), expected, strict=True):
        assert np.mean(ours.semantic != theirs.semantic) < 1e-3
        assert np.mean(ours.panoptic != theirs.panoptic) < 1e-3
        assert list(map(_named, ours.segments)) == list(map(_named, theirs.segments))


def _named(segment: Segment) -> tuple[int, int, str, bool]:
    return segment.id, segment.class_id, segment.class_name, segment.is_thing


def test_stuff_of_several_of_the_models_classes_keeps_one_id(load):
    results = run(load(text=SURFACES, score_threshold=0.1, overlap_threshold=0.0), clip(8))
    ids = [[segment.id for segment in result.segments if segment.class_name == "surface"] for result in results]
    assert sum(map(len, ids)) > 4
    assert len({number for each in ids for number in each}) == 1


def test_the_labels_are_the_robots(load):
    labels = load(text=OBSTACLES).labels
    assert (labels.name, labels.task) == ("robot", "panoptic")
    assert labels.is_thing == (True, True, False)
    assert labels.roles == ("obstacle", "obstacle", "none")
    assert labels.groups == ((), (), ())
    plain = load()
    assert labels.colors == tuple(plain.labels.colors[index] for index in (4, 1, 0))
    assert plain.labels.roles == ("none", "none", "obstacle", "obstacle", "obstacle")

    surfaces = load(text=SURFACES)
    assert surfaces.labels.groups == (("people", "moving"), ())
    assert surfaces.labels.colors[0] == (1, 2, 3)
    assert surfaces.robot.model == plain.labels
    assert surfaces.robot.class_ids == ROBOTS[0].ids


@pytest.mark.parametrize("task", TASKS)
def test_classes_keeps_some_with_their_ids(load, task):
    images = clip(4)
    kept = Robot("", tuple(KINDS), (0, -1, -1, 3, -1))
    plain = run(load(task=task), images, with_masks=True)
    segmenter = load(task=task, classes=["box", "floor"])
    for result, expected in zip(run(segmenter, images, with_masks=True), plain, strict=True):
        assert_is(result, mapped(expected, kept, task), expected, task)
    assert segmenter.labels.class_names == tuple(KINDS)


def test_classes_are_named_as_the_robot_names_them(load):
    results = run(load(text=SURFACES, classes=["human"]), clip(4))
    assert {segment.class_name for result in results for segment in result.segments} == {"human"}
    with pytest.raises(LabelsError, match=r"classes has 'person', which is no class of robot$"):
        load(text=SURFACES, classes=["person"])
    with pytest.raises(
        LabelsError, match="classes has 'Person', which is no class of test world; the nearest is 'person'"
    ):
        load(classes=["Person"])


@pytest.mark.parametrize("classes", [(), ("",)])
def test_no_classes_are_all_classes(load, classes):
    assert load(classes=classes).robot.class_ids == (0, 1, 2, 3, 4)


def test_a_taxonomy_that_does_not_fit_the_model_is_refused(load, tmp_path):
    text = "classes:\n  - {name: people, from: [persn, human], role: obstacle}"
    with pytest.raises(LabelsError) as caught:
        load(text=text)
    path = tmp_path / "robot.yaml"
    assert str(caught.value) == (
        f"{path}: classes[0] (people) is made of 'persn', which is no class of test world; the nearest is 'person' "
        f"(1 more: eomt-ros taxonomy {path} tells all)"
    )
