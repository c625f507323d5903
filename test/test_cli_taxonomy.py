"""`eomt-ros taxonomy`: what fits, what does not, and the YAML for Nav2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from eomt_ros.cli.main import main
from eomt_ros.engine.model.labels import shipped_tables
from eomt_ros.engine.model.taxonomy import robot_labels
from test.engine.checkpoints import SMALL

ROBOT = """
classes:
  - {name: ground, from: [floor], role: ground}
  - {name: obstacle, from: [wall, box], role: obstacle, groups: [solid, fixed]}
  - {name: person, role: obstacle}
"""


@pytest.fixture
def robot(tmp_path: Path) -> Path:
    path = tmp_path / "robot.yaml"
    path.write_text(ROBOT)
    return path


def test_a_taxonomy_that_fits_is_listed(robot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["taxonomy", str(robot)]) == 0
    printed = capsys.readouterr()
    assert printed.out == (
        "id  name      kind          role      groups        made of\n"
        "0   ground    stuff         ground    -             floor\n"
        "1   obstacle  thing, stuff  obstacle  solid, fixed  wall, box\n"
        "2   person    thing         obstacle  -             person\n"
        "\n"
        "4 of 8 classes of demo are unlabelled: shelf, ball, cone, barrel\n"
    )
    assert printed.err == ""


def test_others_that_are_kept_are_listed_with_their_ids(robot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    robot.write_text(ROBOT + "others: keep\n")
    assert main(["taxonomy", str(robot)]) == 0
    printed = capsys.readouterr().out
    assert "\n6   barrel    thing         obstacle  -             barrel\n" in printed
    assert "4 of 8 classes of demo follow with their own names: shelf, ball, cone, barrel\n" in printed


@pytest.mark.parametrize("nav2", [[], ["--nav2"]])
def test_all_that_does_not_fit_is_told_and_the_exit_code_is_1(
    robot: Path, nav2: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    robot.write_text("classes:\n  - {name: people, from: [persn, child], role: obstacle}\n")
    assert main(["taxonomy", str(robot), *nav2]) == 1
    printed, entry = capsys.readouterr(), f"{robot}: classes[0] (people)"
    assert printed.out == ""
    assert printed.err.splitlines() == [
        f"eomt-ros: {entry} is made of 'persn', which is no class of demo; the nearest is 'person'",
        f"eomt-ros: {entry} is made of 'child', which is no class of demo",
    ]


def test_a_file_that_is_no_taxonomy_is_one_line(robot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    robot.write_text("classes:\n  - {name: people, role: wall}\n")
    assert main(["taxonomy", str(robot)]) == 1
    expected = f"eomt-ros: {robot}: classes[0].role is 'wall', expected one of obstacle, ground, none\n"
    assert capsys.readouterr().err == expected


def layer(printed: str) -> dict[str, Any]:
    """The source `camera` of the printed layer."""
    (parameters,) = yaml.safe_load(printed).values()
    assert parameters["plugin"] == "semantic_segmentation_layer::SemanticSegmentationLayer"
    assert parameters["observation_sources"] == "camera"
    return parameters["camera"]


@pytest.mark.parametrize("name", ["demo", "indoor_coco", "indoor_ade20k", "cityscapes"])
def test_nav2_gets_a_cost_for_every_class(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = {"demo": "demo", "indoor_coco": "coco_panoptic", "indoor_ade20k": "ade20k", "cityscapes": "cityscapes"}[
        name
    ]
    of_model = next(each for each in shipped_tables() if each.name == table)
    id2label = dict(enumerate(of_model.class_names))
    # All that is read of a model: it has no weights.
    (tmp_path / "config.json").write_text(json.dumps({**SMALL, "model_type": "videomt", "id2label": id2label}))
    assert main(["taxonomy", name, "--model", str(tmp_path), "--nav2"]) == 0
    source = layer(capsys.readouterr().out)
    robot = robot_labels(of_model, name).labels
    costs = {}
    for kind in source["class_types"]:
        for each in source[kind]["classes"]:
            assert each not in costs
            costs[each] = source[kind]
    assert set(costs) == set(robot.class_names)
    for each, role in zip(robot.class_names, robot.roles, strict=True):
        cost = costs[each]
        # The layer puts max_cost where the mean confidence is above mark_confidence, else base_cost; both are bytes.
        marks = cost["max_cost"] if cost["mark_confidence"] < 255 else cost["base_cost"]
        assert marks == {"obstacle": 254, "ground": 0, "none": 255}[role]
        assert cost["dominant_priority"] == (role == "obstacle")
        # Of the pixels in a cell the one of the highest max_cost counts.
        assert cost["max_cost"] == (254 if role == "obstacle" else 0)
        assert cost["samples_to_max_cost"] == 0
    assert all(source[kind]["classes"] for kind in source["class_types"])
