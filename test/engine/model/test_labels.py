"""Label tables: the shipped ones, which one a checkpoint gets, and what is said about a malformed one."""

import itertools
import logging
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eomt_ros.engine.errors import LabelsError
from eomt_ros.engine.model.families import FAMILIES
from eomt_ros.engine.model.labels import (
    LARGEST_TABLE,
    MOST_CLASSES,
    Labels,
    distinct_colors,
    labels_for,
    load_labels,
    shipped_tables,
    table_text,
    task_of,
)
from eomt_ros.engine.model.zoo import published
from eomt_ros.model_options import TASKS

SHIPPED = {table.name: table for table in shipped_tables()}

GOOD = """\
name: yard
task: panoptic
classes:
  - {name: gravel, thing: false, color: [90, 90, 90]}
  - {name: forklift, thing: true}
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "yard.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("name", "task", "classes", "things"),
    [
        ("ade20k", "semantic", 150, 100),
        ("cityscapes", "semantic", 19, 8),
        ("cityscapes_instance", "instance", 8, 8),
        ("coco_instance", "instance", 80, 80),
        ("coco_panoptic", "panoptic", 133, 80),
        ("demo", "panoptic", 8, 5),
        ("ovis", "instance", 25, 25),
        ("vipseg", "panoptic", 124, 58),
        ("vspw", "semantic", 124, 58),
        ("youtube_vis_2019", "instance", 40, 40),
        ("youtube_vis_2021", "instance", 40, 40),
        ("youtube_vis_2022", "instance", 40, 40),
    ],
)
def test_a_shipped_table_has_the_classes_of_its_data_set_each_in_a_colour_of_its_own(name, task, classes, things):
    table = SHIPPED[name]
    assert (table.task, len(table.class_names), sum(table.is_thing)) == (task, classes, things)
    assert len(set(table.colors)) == classes


@pytest.mark.parametrize("name", ["vipseg", "vspw"])
def test_vipseg_and_vspw_are_in_the_order_that_videomt_is_trained_with_things_first(name):
    table = SHIPPED[name]
    assert table.is_thing == (True,) * 58 + (False,) * 66
    # By hand from the data set's list, in which things and stuff alternate: wall, ceiling, door, stair, ladder, ...
    assert " ".join(table.class_names[:18]) == (
        "door ladder window goal sculpture flag parasol_or_umbrella tent roadblock car bus truck bicycle motorcycle "
        "ship_or_boat raft airplane person"
    )
    assert table.class_names[56:58] == ("instrument", "train")
    assert " ".join(table.class_names[58:66]) == (
        "wall ceiling stair escalator Playground_slide handrail_or_fence rail pillar"
    )
    assert table.class_names[122:] == ("fruit", "food")


def test_the_youtube_vis_tables_are_in_the_order_of_their_category_ids():
    assert SHIPPED["youtube_vis_2019"].class_names[:3] == ("person", "giant_panda", "lizard")
    assert SHIPPED["youtube_vis_2019"].class_names[-1] == "tennis_racket"
    names = SHIPPED["youtube_vis_2021"].class_names
    assert list(names) == sorted(names), "the ids of 2021 are alphabetical"
    assert SHIPPED["youtube_vis_2022"].class_names == names


@pytest.mark.parametrize(
    ("model", "table"),
    [
        ("demo", "demo"),
        ("tue-mps/videomt-dinov2-small-ytvis2019", "youtube_vis_2019"),
        ("tue-mps/videomt-dinov2-base-ytvis2019", "youtube_vis_2019"),
        ("tue-mps/videomt-dinov2-large-ytvis2019", "youtube_vis_2019"),
        ("tue-mps/videomt-dinov2-large-ytvis2021", "youtube_vis_2021"),
        ("tue-mps/videomt-dinov2-large-ytvis2022", "youtube_vis_2022"),
        ("tue-mps/videomt-dinov2-large-ovis", "ovis"),
        ("tue-mps/videomt-dinov2-large-vipseg", "vipseg"),
        ("tue-mps/videomt-dinov2-large-vspw", "vspw"),
        ("tue-mps/videomt-dinov2-large-vspw@main", "vspw"),
        ("VidEoMT-DINOv2-Large-VIPSeg", "vipseg"),
    ],
)
def test_a_published_checkpoint_gets_its_data_sets_table_whatever_its_own_names_say(model, table):
    count = len(SHIPPED[table].class_names)
    assert labels_for(model, [f"LABEL_{index}" for index in range(count)]).name == table


@pytest.mark.parametrize("model", list(published()), ids=lambda model: model.id)
def test_every_published_model_that_is_known_gets_a_table_and_the_task_that_its_name_says(model):
    fitting = {table.name for table in SHIPPED.values() if task_of(model.id, table) is not None}
    assert len(fitting) == 1
    (name,) = fitting
    labels = labels_for(model.id, ["?"] * len(SHIPPED[name].class_names))
    said = [task for task in TASKS if task in model.id]
    assert labels.task == (said[0] if said else SHIPPED[name].task)
    assert model.family in FAMILIES
    data = name.replace("ade20k", "ade").replace("youtube_vis_", "ytvis").partition("_")[0]
    assert data in model.id
    assert not model.id.endswith("_dinov3"), "differences from a DINOv3, which do not load"


def test_things_and_stuff_are_those_of_the_data_sets():
    coco, ade, city = (SHIPPED[name] for name in ("coco_panoptic", "ade20k", "cityscapes"))
    assert coco.is_thing == (True,) * 80 + (False,) * 53
    assert (coco.class_names[0], coco.class_names[79], coco.class_names[80], coco.class_names[132]) == (
        "person",
        "toothbrush",
        "banner",
        "rug-merged",
    )
    assert SHIPPED["coco_instance"].class_names == coco.class_names[:80]
    assert ade.class_names[:9] == ("wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane")
    assert (ade.class_names[89], ade.class_names[149]) == ("television receiver", "flag")
    assert [ade.is_thing[ade.class_names.index(name)] for name in ("bed", "person", "sky", "road")] == [1, 1, 0, 0]
    assert not any("," in name for name in ade.class_names), "one name, not all of a class's synonyms"
    assert city.class_names[:2] == ("road", "sidewalk")
    assert SHIPPED["cityscapes_instance"].class_names == city.class_names[11:]
    assert all(city.is_thing[11:])
    assert not any(city.is_thing[:11])


def test_the_short_side_is_that_of_the_authors_own_tests():
    sides = {name: table.short_side for name, table in SHIPPED.items() if table.short_side}
    years = {f"youtube_vis_{year}": 448 for year in (2019, 2021, 2022)}
    assert sides == {**years, "ovis": 544, "vipseg": 720, "vspw": 720}


def test_patterns_say_what_their_models_are_made_for(write):
    table = load_labels(write(GOOD + "short_side: 448\ncheckpoints: {'*-sem': semantic, '*-pan*': panoptic}\n"))
    assert table.short_side == 448
    assert [task_of(name, table) for name in ("a-sem", "A-PAN-2", "other")] == ["semantic", "panoptic", None]


def test_a_table_given_by_parameter_wins_over_the_one_that_fits_the_name(write):
    assert labels_for("demo", ["a", "b"], write(GOOD)).class_names == ("gravel", "forklift")


def test_a_table_given_by_parameter_says_what_a_model_of_that_name_is_made_for(write):
    path = write(GOOD + "checkpoints: {'*-sem': semantic}\n")
    assert labels_for("yard-sem", ["a", "b"], path).task == "semantic"
    assert labels_for("yard", ["a", "b"], path).task == "panoptic"


def test_a_table_given_by_parameter_with_another_number_of_classes_is_refused(write):
    path = write(GOOD)
    with pytest.raises(LabelsError, match=r"yard\.yaml has 2 classes, but my/model has 3"):
        labels_for("my/model", ["a", "b", "c"], path)


def test_a_table_that_lies_with_the_checkpoint_wins_over_the_shipped_ones_and_gives_way_to_one_by_parameter(write):
    own = write(GOOD)
    assert labels_for("demo", SHIPPED["demo"].class_names[:2], own=own).class_names == ("gravel", "forklift")
    given = own.with_name("given.yaml")
    given.write_text(GOOD.replace("gravel", "grass"))
    assert labels_for("demo", ["a", "b"], given, own).class_names == ("grass", "forklift")


def test_a_table_that_lies_with_a_checkpoint_of_more_classes_is_refused_with_what_to_do(write):
    with pytest.raises(LabelsError, match=r"yard\.yaml has 2 classes, but mine has 3; .* by the parameter 'labels'"):
        labels_for("mine", ["a", "b", "c"], own=write(GOOD))


@pytest.mark.parametrize("table", SHIPPED.values(), ids=lambda table: table.name)
def test_a_table_that_was_written_is_read_as_it_was(write, table):
    assert load_labels(write(table_text(table))) == table


def test_names_that_yaml_would_take_for_something_else_are_written_so_that_they_come_back(write):
    names = ("no", "1", "null", "a: b", "# c", "- d", "'", '"', "é ü 床", "x" * 200, "2020-01-01", "*a", "{e}")
    labels = Labels("7", names, (True,) * len(names), distinct_colors(len(names)), "panoptic")
    assert load_labels(write(table_text(labels))) == labels


def test_the_most_classes_that_there_can_be_fit_into_a_table():
    names = tuple(f"class number {index}" for index in range(MOST_CLASSES))
    labels = Labels("many", names, (True,) * MOST_CLASSES, distinct_colors(MOST_CLASSES), "panoptic")
    assert len(table_text(labels).encode()) < LARGEST_TABLE


def test_a_table_of_another_length_is_not_used_although_its_pattern_fits():
    assert labels_for("videomt-vipseg-finetuned", ["cup", "bowl"]).class_names == ("cup", "bowl")


def test_an_unknown_checkpoint_with_the_names_of_a_table_gets_that_table():
    names = SHIPPED["ovis"].class_names
    assert labels_for("runs/17", names).name == "ovis"
    assert labels_for("runs/17", names[::-1]).name == "runs/17", "the same names in another order are other classes"


def test_names_are_compared_without_the_spaces_around_them():
    names = [f"{name} " if name == "bed" else name for name in SHIPPED["ade20k"].class_names]
    assert labels_for("runs/17", names).name == "ade20k"


def test_without_a_table_the_checkpoints_names_stay_every_class_is_a_thing_and_a_warning_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        labels = labels_for("runs/17", ["cup", "bowl"])
    assert labels == Labels("runs/17", ("cup", "bowl"), (True, True), distinct_colors(2), "panoptic")
    assert "runs/17" in caplog.text
    assert "'labels'" in caplog.text


def test_a_well_formed_table_is_read_as_written(write):
    labels = load_labels(write(GOOD))
    assert labels == Labels(
        name="yard",
        class_names=("gravel", "forklift"),
        is_thing=(False, True),
        colors=((90, 90, 90), distinct_colors(2)[1]),
        task="panoptic",
    )


@pytest.mark.parametrize(
    ("found", "put", "said"),
    [
        ("name: yard", "nmae: yard", "the table has no name"),
        ("name: yard", "name: 7", "name is 7, expected text"),
        ("name: yard", "name: yard\nclases: []", "unknown entry 'clases', expected classes, name, task, checkpoints"),
        ("task: panoptic", "task: detection", "task is 'detection', expected one of semantic, instance, panoptic"),
        ("task: panoptic", "task: [panoptic]", "task is ['panoptic'], expected one of"),
        ("task: panoptic", "task: panoptic\ncheckpoints: yard*", "checkpoints is 'yard*', expected a list"),
        ("task: panoptic", "task: panoptic\ncheckpoints: [1]", "checkpoints[0] is 1, expected text"),
        (
            "task: panoptic",
            "task: panoptic\ncheckpoints: {a: depth}",
            "checkpoints['a'] is 'depth', expected one of semantic, instance, panoptic",
        ),
        ("task: panoptic", "task: panoptic\nshort_side: 0", "short_side is 0, expected pixels, at most 8192"),
        ("thing: true", "thing: maybe", "classes[1].thing is 'maybe', expected true or false"),
        ("thing: true", "thing: 1", "classes[1].thing is 1, expected true or false"),
        (", thing: true", "", "classes[1] has no thing, expected name, thing, color (optional)"),
        ("thing: true", "thing: true, colour: [1, 2, 3]", "classes[1] has an unknown entry 'colour'"),
        ("name: forklift", "name: no", "classes[1].name is False, expected text (in quotes"),
        ("name: forklift", 'name: " "', "classes[1].name is ' ', expected text"),
        ("name: forklift", "name: gravel", "classes[1].name is 'gravel', the name of classes[0] too"),
        ("[90, 90, 90]", "[90, 90]", "classes[0].color is [90, 90], expected [red, green, blue]"),
        ("[90, 90, 90]", "[90, 90, 256]", "classes[0].color is [90, 90, 256], expected"),
        ("[90, 90, 90]", "[90, 90, 0.5]", "classes[0].color is [90, 90, 0.5], expected"),
        ("[90, 90, 90]", "grey", "classes[0].color is 'grey', expected"),
        ("- {name: forklift, thing: true}", "- forklift", "classes[1] is 'forklift', expected a mapping of name"),
        ("{name: forklift, thing: true}", "{name: forklift", "is not YAML"),
        ("name: yard", "name: !!python/object/apply:os.getcwd []", "is not YAML"),
        ("name: yard", "name: 2020-13-45", "is not YAML"),
    ],
)
def test_a_malformed_table_is_refused_with_its_file_the_entry_and_what_was_expected(write, found, put, said):
    assert found in GOOD
    path = write(GOOD.replace(found, put))
    with pytest.raises(LabelsError) as refusal:
        load_labels(path)
    assert said in str(refusal.value)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the table is None, expected a mapping"),
        ("- gravel", "the table is ['gravel'], expected a mapping"),
        ("name: yard\ntask: panoptic\nclasses: []", "classes is [], expected a list with one entry per class"),
        ("name: yard\ntask: panoptic\nclasses: {gravel: 1}", "classes is {'gravel': 1}, expected a list"),
        (b"name: \xff\xfe", "is not YAML"),
        (b"x" * (2 << 20), "cannot be read: it has 2097152 bytes, expected at most 1048576"),
        ("[" * 100_000, "is not YAML"),
    ],
)
def test_a_file_that_is_no_table_is_refused(write, text, said):
    path = write(text)
    with pytest.raises(LabelsError) as refusal:
        load_labels(path)
    assert said in str(refusal.value)


def test_a_table_that_is_not_there_or_a_folder_is_refused(tmp_path):
    with pytest.raises(LabelsError, match=r"nothing\.yaml cannot be read: No such file"):
        load_labels(tmp_path / "nothing.yaml")
    with pytest.raises(LabelsError, match="cannot be read: Is a directory"):
        load_labels(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_table_that_is_no_regular_file_is_refused_and_not_read(tmp_path, kind):
    table = tmp_path / "table.yaml"
    os.mkfifo(table) if kind == "pipe" else table.symlink_to("/dev/null")
    with pytest.raises(LabelsError, match=rf"table\.yaml cannot be read: it is a {kind}, expected a regular file"):
        load_labels(table)


def test_a_table_of_more_classes_than_any_model_has_is_refused(write):
    path = write("name: yard\ntask: panoptic\nclasses: [" + "0," * 10_001 + "]")
    with pytest.raises(LabelsError, match=r"yard\.yaml has 10001 classes, expected at most 10000"):
        load_labels(path)


def test_a_small_file_that_unfolds_to_billions_of_entries_is_refused_in_a_short_message(write):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path = write("\n".join([*lines, "name: *a11", "task: *a11", "classes: *a11"]))
    with pytest.raises(LabelsError) as refusal:
        load_labels(path)
    assert len(str(refusal.value)) < 1000


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
structures = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "thing", "color", "x"]), inner)
    ),
    max_leaves=12,
)
near_tables = st.fixed_dictionaries(
    {
        "name": scalars,
        "task": st.sampled_from(TASKS) | scalars,
        "classes": st.lists(structures, max_size=4) | structures,
    },
    optional={"checkpoints": structures, "short_side": structures},
)


@given(st.text(max_size=60) | (structures | near_tables).map(lambda value: yaml.safe_dump(value, allow_unicode=True)))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_gives_labels_that_hold_together_or_a_refusal(write, text):
    try:
        labels = load_labels(write(text.encode("utf-8", "surrogatepass")))
    except LabelsError:
        return
    assert labels.task in TASKS
    assert 0 < len(labels.class_names) == len(labels.is_thing) == len(labels.colors) == len(set(labels.class_names))


def test_generated_colours_differ_and_neighbours_in_the_list_are_far_apart():
    colors = distinct_colors(200)
    assert len(set(colors)) == 200
    assert colors[:50] == distinct_colors(50)
    for nearby in zip(*(colors[offset:] for offset in range(5)), strict=False):
        for one, other in itertools.combinations(nearby, 2):
            assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 60, (one, other)


def test_without_a_taxonomy_things_are_obstacles_and_no_class_is_in_a_group():
    labels = Labels("yard", ("gravel", "forklift"), (False, True), distinct_colors(2), "panoptic")

    assert labels.roles == ("none", "obstacle")
    assert labels.groups == ((), ())
