"""What a user types about the values of label images, and what becomes of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import LabelImage
from eomt_ros.evaluation.label_image import LabelImageError, pack
from eomt_ros.evaluation.sources.truth_map import ClassIds, parse_truth_map

NAMES = ("road", "sidewalk", "traffic light", "car")
ROAD, SIDEWALK, LIGHT, CAR = range(4)
NONE = 65535


def mapped(text: str, labels: LabelImage) -> tuple[list[int], int | None]:
    classes, unnamed = ClassIds(parse_truth_map(text), NAMES).of(labels.reshape(1, -1))
    assert classes.dtype in (np.uint8, np.uint16)
    return [NONE if value == np.iinfo(classes.dtype).max else value for value in classes.ravel().tolist()], unnamed


def grey(*values: int) -> LabelImage:
    return np.array(values, np.uint8)


def colours(*values: tuple[int, int, int]) -> LabelImage:
    return pack(np.array([values], np.uint8))


def test_ade20k_counts_from_one_and_0_and_255_are_unlabelled() -> None:
    assert mapped("offset=-1", grey(0, 1, 4, 255)) == ([NONE, ROAD, CAR, NONE], None)
    assert mapped("offset=-1", np.array([0, 1, 4, 65535], np.uint16)) == ([NONE, ROAD, CAR, NONE], None)


def test_one_more_value_can_mean_unlabelled() -> None:
    assert mapped("ignore=200", grey(0, 200, 3, 255)) == ([ROAD, NONE, CAR, NONE], None)
    assert mapped("ignore=3, ignore=2", grey(0, 2, 3)) == ([ROAD, NONE, NONE], None)
    assert mapped("offset=-1,ignore=4", grey(1, 4)) == ([ROAD, NONE], None)


def test_values_get_classes_by_name_or_id_and_the_rest_is_unlabelled_and_said() -> None:
    assert mapped("7=road,24=traffic light,26=3", grey(7, 24, 26)) == ([ROAD, LIGHT, CAR], None)
    assert mapped("7=road,ignore=0", grey(7, 0, 255)) == ([ROAD, NONE, NONE], None)
    assert mapped("7=road", grey(7, 9, 9)) == ([ROAD, NONE, NONE], 9)
    assert mapped("255=road,offset=0", grey(255, 1)) == ([ROAD, SIDEWALK], None)


def test_carla_has_the_class_in_red_and_gazebo_in_every_channel() -> None:
    assert mapped("channel=r,7=road", colours((7, 1, 2), (7, 9, 9))) == ([ROAD, ROAD], None)
    assert mapped("channel=B", colours((7, 1, 2))) == ([LIGHT], None)
    assert mapped("offset=0", colours((3, 3, 3), (255, 255, 255))) == ([CAR, NONE], None)
    assert mapped("channel=r", grey(3)) == ([CAR], None)


def test_cityscapes_colours_are_classes(tmp_path: Path) -> None:
    image = colours((128, 64, 128), (244, 35, 232), (0, 0, 0))
    assert mapped("#804080=road,#F423E8=sidewalk", image) == ([ROAD, SIDEWALK, NONE], 0)
    assert mapped("#804080=road,#f423e8=sidewalk,ignore=#000000", image)[1] is None


def test_a_yaml_file_has_the_same_entries(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("channel: g\nignore: [0, 9]\n7: traffic light\n8: 3\n")
    assert mapped(str(path), colours((1, 7, 1), (1, 8, 1), (1, 9, 1), (1, 0, 1))) == ([LIGHT, CAR, NONE, NONE], None)
    path.write_text("'#804080': road\nignore: '#000000'\n")
    assert mapped(str(path), colours((128, 64, 128), (0, 0, 0))) == ([ROAD, NONE], None)
    assert parse_truth_map(str(path)).text == str(path)


@pytest.mark.parametrize(
    ("text", "labels", "message"),
    [
        (
            "offset=-1",
            colours((1, 2, 3)),
            r"a colour image, expected a label image: say with --truth-map which channel",
        ),
        ("#804080=road", grey(1), "one channel, expected the colours of --truth-map"),
    ],
)
def test_images_that_do_not_have_what_the_map_is_about_are_refused(text: str, labels: LabelImage, message: str) -> None:
    with pytest.raises(LabelImageError, match=message):
        mapped(text, labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("offset=one", "one, expected offset=-1, ignore=0"),
        ("offset=-1,", "'', expected offset=-1"),
        (
            "gone.yaml",
            r"cannot be read \(No such file or directory\); expected offset=-1.*, or the path of a YAML file",
        ),
        ("channel=red", "channel is red, expected r, g, b"),
        ("#804080=road,7=road", "colours go with no values, offset or channel"),
        ("#804080=road,offset=-1", "colours go with no values, offset or channel"),
        ("shift=-1", "shift, expected offset=-1"),
        ("7=trafic light", "the model has no class 'trafic light'; did you mean 'traffic light'?"),
        ("7=x", "the model has no class 'x'; it has road, sidewalk, traffic light, car$"),
    ],
)
def test_a_map_that_makes_no_sense_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as refused:
        ClassIds(parse_truth_map(text), NAMES)
    assert str(refused.value).startswith("--truth-map")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        "- 1\n",
        "7: [1, 2]\n",
        "7: true\n",
        "{",
        "\0",
        "ignore: true\n",
        "a: &x [1]\nb: *x\n",
        "[" * 5000,
        "# " + "x" * 2**20,
    ],
)
def test_a_file_that_is_no_map_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "map.yaml").write_text(content)
    with pytest.raises(SourceError, match=f"^--truth-map {tmp_path / 'map.yaml'}: [^\n]+$"):
        parse_truth_map(str(tmp_path / "map.yaml"))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "map.yaml")
    with pytest.raises(SourceError, match="it is a pipe, expected a regular file"):
        parse_truth_map(str(tmp_path / "map.yaml"))
