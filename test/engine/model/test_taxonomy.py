"""Taxonomies: the shipped ones fit their models, and what is wrong with one is said in a line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eomt_ros.engine import LabelsError
from eomt_ros.engine.model.labels import ROLES, Labels, distinct_colors, shipped_tables
from eomt_ros.engine.model.taxonomy import MOST_ROBOT_CLASSES, load_taxonomy, robot_labels, unmapped
from test import ROOT

TABLES = {table.name: table for table in shipped_tables()}
SHIPPED = {"indoor_coco": "coco_panoptic", "indoor_ade20k": "ade20k", "cityscapes": "cityscapes", "demo": "demo"}
YARD = Labels(
    "yard", ("gravel", "hedge", "fork lift", "person"), (False, False, True, True), distinct_colors(4), "panoptic"
)

GOOD = """\
classes:
  - {name: path, from: [gravel], role: ground}
  - {name: forklift, from: [fork lift], role: obstacle, groups: [vehicles], color: [255, 160, 0]}
  - {name: person, role: obstacle}
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "robot.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_every_shipped_taxonomy_is_tested():
    assert {path.stem for path in (ROOT / "config" / "taxonomies").iterdir()} == set(SHIPPED)


@pytest.mark.parametrize(("name", "table"), SHIPPED.items())
def test_a_shipped_taxonomy_has_a_place_for_every_class_of_its_model(name, table):
    labels = TABLES[table]
    robot = robot_labels(labels, name)
    assert -1 not in robot.class_ids
    assert unmapped(load_taxonomy(name), labels) == ()
    assert set(robot.class_ids) == set(range(len(robot.labels.class_names)))
    people = [index for index, groups in enumerate(robot.labels.groups) if "people" in groups]
    assert [robot.labels.class_names[index] for index in people] == ["person"]
    assert robot.class_ids[labels.class_names.index("person")] == people[0]
    assert len(set(robot.labels.colors)) == len(robot.labels.colors)


@pytest.mark.parametrize(("name", "table"), SHIPPED.items())
def test_in_a_shipped_taxonomy_only_what_is_flat_or_above_is_no_obstacle(name, table):
    robot = robot_labels(TABLES[table], name)
    assert set(robot.labels.roles) <= set(ROLES)
    free = {
        source
        for source, index in zip(TABLES[table].class_names, robot.class_ids, strict=True)
        if robot.labels.roles[index] != "obstacle"
    }
    assert not free & {
        "person",
        "chair",
        "table",
        "stairs",
        "wall",
        "wall-other-merged",
        "car",
        "box",
        "water",
        "river",
    }
    assert robot.labels.roles[robot.class_ids[0 if table == "demo" else _ground(TABLES[table])]] == "ground"


def _ground(labels: Labels) -> int:
    return next(
        labels.class_names.index(name) for name in ("floor", "floor-wood", "road") if name in labels.class_names
    )


def test_a_taxonomy_is_read_as_it_is_written(write):
    robot = robot_labels(YARD, write(GOOD))
    assert robot.labels == Labels(
        name="robot",
        class_names=("path", "forklift", "person"),
        is_thing=(False, True, True),
        colors=(YARD.colors[0], (255, 160, 0), YARD.colors[3]),
        task="panoptic",
        roles=("ground", "obstacle", "obstacle"),
        groups=((), ("vehicles",), ()),
    )
    assert robot.class_ids == (0, -1, 1, 2)
    assert not robot.are_the_models


def test_others_that_are_kept_follow_with_their_own_names(write):
    robot = robot_labels(YARD, write(GOOD + "others: keep\n"))
    assert robot.labels.class_names == ("path", "forklift", "person", "hedge")
    assert robot.class_ids == (0, 3, 1, 2)
    assert (robot.labels.roles[3], robot.labels.is_thing[3]) == ("none", False)


def test_without_a_taxonomy_classes_are_the_models():
    robot = robot_labels(YARD)
    assert robot.labels is YARD
    assert robot.are_the_models
    assert not robot_labels(YARD, classes=["hedge"]).are_the_models


def entry(**changes: object) -> str:
    """A taxonomy with one entry."""
    return yaml.safe_dump({"classes": [{"name": "person", "role": "obstacle", **changes}]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the taxonomy is None, expected a mapping of classes, others (optional)"),
        ("[]", "the taxonomy is [], expected a mapping of classes, others (optional)"),
        ("classes: []", "classes is [], expected a list with one entry per class"),
        ("classes: {a: b}", "classes is {'a': 'b'}, expected a list with one entry per class"),
        ("others: keep", "the taxonomy has no classes, expected classes, others (optional)"),
        (GOOD + "class: 3", "the taxonomy has an unknown entry 'class', expected classes, others (optional)"),
        (GOOD + "others: drop", "others is 'drop', expected one of unlabelled, keep"),
        ("classes: [person]", "classes[0] is 'person', expected a mapping of name, role, color (optional), from (op"),
        ("classes: [{name: person}]", "classes[0] has no role, expected name, role, color (optional), from (optional)"),
        (entry(form=["person"]), "classes[0] has an unknown entry 'form', expected name, role, color (optional), from"),
        (entry(name=7), "classes[0].name is 7, expected text (in quotes if it looks like a number)"),
        (entry(name="a\nb"), "classes[0].name is 'a\\nb', expected text"),
        (entry(role="wall"), "classes[0].role is 'wall', expected one of obstacle, ground, none"),
        (entry(role=None), "classes[0].role is None, expected one of obstacle, ground, none"),
        (entry(**{"from": "person"}), "classes[0].from is 'person', expected a list of names of the model's classes"),
        (
            entry(**{"from": []}),
            "classes[0].from is empty, expected names of the model's classes, or no entry for 'per",
        ),
        (entry(**{"from": [True]}), "classes[0].from[0] is True, expected text (in quotes"),
        (entry(**{"from": ["person"] * 2}), "classes[0].from[1] is 'person', which stands there twice"),
        (entry(groups="people"), "classes[0].groups is 'people', expected a list of names of groups"),
        (entry(groups=["people here"]), "classes[0].groups[0] is 'people here', expected letters, digits and undersc"),
        (entry(groups=["2nd"]), "classes[0].groups[0] is '2nd', expected letters, digits and underscores that begin"),
        (entry(groups=["a/b"]), "classes[0].groups[0] is 'a/b', expected letters"),
        (entry(groups=["leute", "leute"]), "classes[0].groups[1] is 'leute', which stands there twice"),
        (entry(groups=["größe"]), "classes[0].groups[0] is 'größe', expected letters"),
        (entry(color=[1, 2, 256]), "classes[0].color is [1, 2, 256], expected [red, green, blue]"),
        (GOOD + "  - {name: path, from: [hedge], role: none}", "classes[3].name is 'path', the name of classes[0] too"),
        (
            GOOD + "  - {name: human, from: [hedge, person], role: obstacle}",
            "classes[3] (human) is made of 'person', which classes[2] (person) is too, expected each of the model's",
        ),
        (
            GOOD + "  - {name: tree, from: [hegde], role: none}",
            "'hegde', which is no class of yard; the nearest is 'hedge'",
        ),
        (
            GOOD + "  - {name: tree, from: [Hedge], role: none}",
            "'Hedge', which is no class of yard; the nearest is 'hedge'",
        ),
        (
            GOOD + "  - {name: tree, from: [lift], role: none}",
            "'lift', which is no class of yard; the nearest is 'fork lift'",
        ),
        (
            GOOD + "  - {name: tree, from: [oak, elm], role: none}",
            "classes[3] (tree) is made of 'oak', which is no class of yard (1 more: eomt-ros taxonomy",
        ),
        (
            "classes: [{name: hedge, from: [gravel], role: none}]\nothers: keep",
            "others is keep, and the model's class 'hedge', which no class is made of, has the name of one of the",
        ),
        ("classes: [&a {name: a, role: none}, *a]", "is not YAML: line 1 has an alias"),
        ("classes: [", "is not YAML"),
        (b"\xff\xfe", "is not YAML"),
    ],
)
def test_what_is_no_taxonomy_of_the_model_is_refused(write, text, message):
    path = write(text)
    with pytest.raises(LabelsError) as caught:
        robot_labels(YARD, path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [MOST_ROBOT_CLASSES, MOST_ROBOT_CLASSES + 1])
def test_there_are_at_most_as_many_classes_as_a_byte_has_ids(write, number):
    names = tuple(f"class {index}" for index in range(number))
    many = Labels("many", names, (True,) * number, distinct_colors(number), "panoptic")
    own = yaml.safe_dump({"classes": [{"name": name, "role": "none"} for name in names]})
    kept = yaml.safe_dump({"classes": [{"name": "first", "from": ["class 0"], "role": "none"}], "others": "keep"})
    for text, message in (
        (own, "has 255 classes, expected at most 254: ids are bytes"),
        (kept, "others is keep, which makes 255 classes, expected at most 254: ids are bytes"),
    ):
        path = write(text)
        if number <= MOST_ROBOT_CLASSES:
            assert len(robot_labels(many, path).labels.class_names) == number
            continue
        with pytest.raises(LabelsError, match=message):
            robot_labels(many, path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(LabelsError, match=f"^taxonomy {tmp_path} cannot be read: Is a directory$"):
        load_taxonomy(tmp_path)
    with pytest.raises(LabelsError, match=r"no\.yaml cannot be read: No such file or directory$"):
        load_taxonomy(tmp_path / "no.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(LabelsError, match=r"pipe\.yaml cannot be read: it is a pipe, expected a regular file$"):
        load_taxonomy(tmp_path / "pipe.yaml")


def test_a_name_is_looked_up_among_those_that_come_with_the_package(tmp_path, monkeypatch):
    with pytest.raises(LabelsError) as caught:
        load_taxonomy("indor_coco")
    assert str(caught.value) == (
        "taxonomy 'indor_coco' is no file and none of those that come with the package, which are cityscapes, demo, "
        "indoor_ade20k, indoor_coco; the nearest is 'indoor_coco'"
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text(GOOD)
    assert load_taxonomy("mine").name == "mine"
    (tmp_path / "demo").mkdir()
    assert len(load_taxonomy("demo").classes) == 8


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    st.fixed_dictionaries(
        {
            "classes": st.lists(
                st.fixed_dictionaries(
                    {"name": st.sampled_from(YARD.class_names) | st.text(), "role": st.sampled_from(ROLES) | st.none()},
                    optional={
                        "from": st.lists(st.sampled_from(YARD.class_names) | st.text(max_size=3), max_size=2),
                        "groups": st.lists(st.text("aB_1 ", max_size=4), max_size=2),
                        "color": st.lists(st.integers(-1, 256), max_size=4),
                    },
                ),
                max_size=4,
            )
        },
        optional={"others": st.sampled_from(["keep", "unlabelled", "no"])},
    )
)
def test_any_file_gives_labels_that_hold_together_or_a_refusal(write, content):
    path = write(yaml.safe_dump(content))
    try:
        robot = robot_labels(YARD, path)
    except LabelsError:
        return
    count = len(robot.labels.class_names)
    assert count == len(set(robot.labels.class_names)) > 0
    assert {len(robot.labels.is_thing), len(robot.labels.roles), len(robot.labels.groups)} == {count}
    assert set(robot.class_ids) - {-1} == set(range(count))
    assert len(robot.class_ids) == len(YARD.class_names)
