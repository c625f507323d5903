"""Taxonomies and ignore masks that do not fit: the node refuses to start, or says why an image has no results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from eomt_ros.msg import InstanceArray
from test.node.conftest import StartRobot
from test.node.robot import HEIGHT, WIDTH, Robot, picture, pixels_of, stamped


@pytest.fixture(scope="module")
def robot(start_robot: StartRobot, checkpoint: Path) -> Iterator[Robot]:
    """Beside a node with a model of floor, wall, ball, box and person that waits for lifecycle transitions."""
    with start_robot({"model": str(checkpoint), "autostart": False}) as robot:
        yield robot


def entry(name: str, *sources: str, role: str = "obstacle", **more: Any) -> dict[str, Any]:
    """A class of a taxonomy."""
    return {"name": name, "role": role, **({"from": list(sources)} if sources else {}), **more}


def refusal(robot: Robot, **parameters: Any) -> str:
    """The one line with which the node refuses to be configured with these parameters."""
    before = {name: robot.get(name) for name in parameters}
    printed = len(robot.process.output)
    assert not robot.set(**parameters)
    try:
        assert not robot.transition("configure")
        robot.process.wait_for_output("cannot configure: ", after=printed)
        (told,) = [line for line in robot.process.output[printed:].splitlines() if "ERROR" in line]
        assert "Traceback" not in robot.process.output[printed:]
        assert robot.state() == "unconfigured"
    finally:
        assert not robot.set(**before)
    return told


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([entry("human", "persn")], "'persn', .*'person'"),
        ([entry("human", "person"), entry("people", "box", "person")], "'person', which classes.0. .human. is too"),
        ([entry("thing", "box"), entry("thing", "ball")], "'thing', the name of classes.0. too"),
        ([entry(f"class {number}") for number in range(255)], "255 classes, expected at most 254"),
        ([entry("box", role="obstacles")], "'obstacles', expected one of obstacle, ground, none"),
        ([entry("person", groups=["my people"])], "'my people', expected letters, digits and underscores"),
    ],
    ids=["unknown class", "a class twice", "two of one name", "too many", "unknown role", "bad group"],
)
def test_taxonomy_that_does_not_fit_is_a_refused_start_that_says_what_to_change(
    robot: Robot, tmp_path: Path, classes: list[dict[str, Any]], expected: str
) -> None:
    taxonomy = tmp_path / "robot.yaml"
    taxonomy.write_text(yaml.safe_dump({"classes": classes}))
    told = refusal(robot, taxonomy=str(taxonomy))
    assert str(taxonomy) in told
    assert re.search(expected, told), told


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"taxonomy": "indoor_coc"}, ("'indoor_coc'", "'indoor_coco'")),
        ({"taxonomy": "/nowhere/robot.yaml"}, ("/nowhere/robot.yaml",)),
        ({"classes": ["person", "bal"]}, ("'bal'", "'ball'")),
        ({"ignore_mask": "/nowhere/mask.png"}, ("ignore_mask", "/nowhere/mask.png")),
    ],
    ids=["unknown name", "no such taxonomy", "unknown class to keep", "no such mask"],
)
def test_name_that_is_not_there_is_a_refused_start_with_the_nearest_that_is(
    robot: Robot, parameters: dict[str, Any], expected: tuple[str, ...]
) -> None:
    told = refusal(robot, **parameters)
    assert all(text in told for text in expected), told


def test_ignore_mask_of_another_size_is_a_status_and_images_of_its_size_go_on(
    start_robot: StartRobot, checkpoint: Path, tmp_path: Path
) -> None:
    mask = tmp_path / "mask.png"
    seen = np.full((HEIGHT, WIDTH), 255, np.uint8)
    seen[-8:] = 0
    assert cv2.imwrite(str(mask), seen)
    parameters = {
        "model": str(checkpoint),
        "ignore_mask": str(mask),
        "policy": "every_frame",
        "reliability": "reliable",
    }
    with start_robot(parameters) as robot:
        camera, semantic = robot.camera(), robot.listen(Image, "~/semantic")
        instances, diagnostics = robot.listen(InstanceArray, "~/instances"), robot.diagnostics()
        robot.connect(camera, semantic, instances)
        for _ in range(3):
            wrong = camera.publish(stamped(picture(1, 32, 40), robot.next_stamp()))
        status, _ = diagnostics.wait_for(lambda status, _: status.level == DiagnosticStatus.ERROR, "an error")
        assert all(text in status.message for text in (str(mask), f"{WIDTH}x{HEIGHT}", "40x32"))
        right = camera.publish(stamped(picture(1), robot.next_stamp()))
        classes = pixels_of(semantic.wait_for_stamp(right))
        assert (classes[-8:] == 255).all()
        assert (classes[:-8] != 255).any()
        assert not [message for message in instances.all() if message.header.stamp == wrong.header.stamp]
