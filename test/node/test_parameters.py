"""The one list of parameters: what it takes, what it refuses, and that users read the same list."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="the node needs ROS 2")

from rclpy.parameter import Parameter

from eomt_ros.node.parameters import DEFAULTS, RULES, ParameterError, Rule, changed, parse_value

CAMERA_NAMES = (
    "expected names of letters, digits and underscores that begin with a letter, or [''] for one camera without a name"
)
CONFIG = Path(__file__).resolve().parents[2] / "config" / "segment.yaml"


def change(**values: Any) -> Any:
    return changed(DEFAULTS, [Parameter(name, value=value) for name, value in values.items()])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("rate", -1.0, "parameter rate: got -1.0, expected 0.0 to 1000.0"),
        ("mask_threshold", 1.5, "parameter mask_threshold: got 1.5, expected 0.0 to 1.0"),
        ("mask_threshold", float("nan"), "parameter mask_threshold: got nan, expected 0.0 to 1.0"),
        ("qos_depth", 0, "parameter qos_depth: got 0, expected 1 to 1000"),
        ("qos_depth", 2.5, "parameter qos_depth: got 2.5 (float), expected a whole number"),
        ("rate", "fast", "parameter rate: got 'fast' (str), expected a number"),
        ("rate", True, "parameter rate: got True (bool), expected a number"),
        ("model", 7, "parameter model: got 7 (int), expected a string (quote it)"),
        ("publish_masks", 1, "parameter publish_masks: got 1 (int), expected a boolean"),
        ("policy", "newest", "parameter policy: got 'newest', expected one of 'latest', 'every_frame'"),
        ("cameras", ["front", "front"], "parameter cameras: 'front' stands twice in ['front', 'front']; rename one"),
        ("cameras", ["front", ""], f"parameter cameras: got '' in ['front', ''], {CAMERA_NAMES}"),
        ("cameras", [], f"parameter cameras: got an empty list, {CAMERA_NAMES}"),
        ("cameras", None, f"parameter cameras: got an empty list, {CAMERA_NAMES}"),
        ("cameras", "front", "parameter cameras: got 'front' (str), expected a list of strings"),
        ("cameras", [1, 2], "parameter cameras: got [1, 2], expected a list of strings"),
        ("camera_pose", ["high"], "parameter camera_pose: got ['high'], expected a list of numbers"),
        ("size", 224.0, "parameter size: got 224.0 (float), expected a whole number"),
        ("max_latency", -0.1, "parameter max_latency: got -0.1, expected 0.0 to 60.0"),
        (
            "max_latency_image",
            [1920],
            "parameter max_latency_image: got [1920], expected width and height, 1 to 8192 pixels each",
        ),
        (
            "max_latency_image",
            [640, 0],
            "parameter max_latency_image: got [640, 0], expected width and height, 1 to 8192 pixels each",
        ),
        (
            "max_latency_image",
            [640.0, 480.0],
            "parameter max_latency_image: got [640.0, 480.0], expected a list of whole numbers",
        ),
        ("depth", 5, "parameter depth: got 5; the length of the queues is the parameter qos_depth now"),
    ],
)
def test_bad_value_is_refused_with_name_value_and_what_is_expected(name: str, value: Any, expected: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(expected)}$"):
        change(**{name: value})


def test_deleting_a_parameter_is_refused() -> None:
    with pytest.raises(ParameterError, match="parameter rate: got None"):
        changed(DEFAULTS, [Parameter("rate")])


def test_whole_number_is_taken_for_a_number() -> None:
    rate = change(rate=15).rate
    assert rate == 15.0
    assert isinstance(rate, float)


def test_a_rate_slower_than_max_gap_is_taken_because_skipped_images_are_no_gap() -> None:
    assert (change(rate=0.1).rate, change(rate=0.1).max_gap) == (0.1, 2.0)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rate", "15", 15.0),
        ("qos_depth", "50", 50),
        ("model", "2024", "2024"),
        ("autostart", "false", False),
        ("cameras", "front,rear", ("front", "rear")),
        ("cameras", "", ("",)),
        ("camera_pose", "0,0,1.5,0,0.2,0", (0.0, 0.0, 1.5, 0.0, 0.2, 0.0)),
    ],
)
def test_text_is_read_as_the_parameter_has_it(name: str, text: str, value: Any) -> None:
    found = parse_value(name, text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("qos_depth", "abc", "parameter qos_depth: got 'abc' (str), expected a whole number"),
        ("qos_depth", "0", "parameter qos_depth: got 0, expected 1 to 1000"),
        ("rate", "nan", "parameter rate: got nan, expected 0.0 to 1000.0"),
        ("autostart", "yes", "parameter autostart: got 'yes' (str), expected a boolean"),
        ("policy", "newest", "parameter policy: got 'newest', expected one of 'latest', 'every_frame'"),
        ("cameras", "front,front", "parameter cameras: 'front' stands twice in ['front', 'front']; rename one"),
        ("cameras", "front,", f"parameter cameras: got '' in ['front', ''], {CAMERA_NAMES}"),
        ("cameras", "front, rear", f"parameter cameras: got ' rear' in ['front', ' rear'], {CAMERA_NAMES}"),
        ("cameras", "2nd", f"parameter cameras: got '2nd' in ['2nd'], {CAMERA_NAMES}"),
        ("cameras", "front/left", f"parameter cameras: got 'front/left' in ['front/left'], {CAMERA_NAMES}"),
    ],
)
def test_text_of_no_use_is_refused_with_name_value_and_what_is_expected(name: str, text: str, expected: str) -> None:
    with pytest.raises(ParameterError, match=f"^{re.escape(expected)}$"):
        parse_value(name, text)


def test_parameters_of_others_are_left_alone() -> None:
    assert change(use_sim_time=True) == DEFAULTS


def test_config_file_lists_every_parameter_with_its_default() -> None:
    listed = yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"]
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in listed.items()}
    assert values == vars(DEFAULTS)


@pytest.mark.parametrize(("name", "rule"), RULES.items())
def test_config_file_documents_the_parameter_as_the_node_does(name: str, rule: Rule) -> None:
    comment = " ".join(
        line.strip("# ")
        for line in re.search(rf"((?:^ +#.*\n)+) +{name}:", CONFIG.read_text(), re.MULTILINE)[1].splitlines()
    )
    assert rule.description in comment
    assert ("[live]" in comment) == rule.live
    assert all(repr(choice) in comment for choice in rule.choices)
    if rule.minimum is not None:
        assert f"Range: {rule.minimum:g} to {rule.maximum:g}." in comment
