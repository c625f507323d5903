"""Several cameras in one node, as `ros2 launch` starts it."""

import re
from pathlib import Path

import pytest
import yaml

from test.launch.launched import DEMO, SHARE, beside, launched, parameters_of

pytestmark = pytest.mark.slow

RIG = {"cameras": "front,rear", "image_topic": "/{camera}/image_raw"}


def with_cameras(path: Path, cameras: object) -> str:
    """The path of a params_file, after `cameras` has been put into it."""
    content = yaml.safe_load(path.read_text())
    content["/**"]["ros__parameters"]["cameras"] = cameras
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_images_of_every_camera_come_back_as_results_of_that_camera():
    with launched({**RIG, "namespace": "robot", "sync_window": "0.1"}) as launch, beside() as robot:
        for camera in ("front", "rear"):
            robot.publish_images(f"/{camera}/image_raw", frame_id=camera)
        for camera in ("front", "rear"):
            assert robot.wait_for_message(f"/robot/segment/{camera}/instances").header.frame_id == camera
        launch.press_ctrl_c()
        assert launch.wait_for_end() == 0


def test_cameras_and_their_window_reach_the_node_and_override_the_params_file(idle):
    given = {**RIG, "sync_window": "0.05", "params_file": with_cameras(idle, ["left", "right"])}
    with launched(given) as launch:
        assert launch.remappings() == ["front/image:=/front/image_raw", "rear/image:=/rear/image_raw"]
        assert parameters_of("/segment", ["cameras", "sync_window", "qos_depth"]) == {
            "cameras": ["front", "rear"],
            "sync_window": 0.05,
            "qos_depth": 9,
        }


def test_the_cameras_of_the_params_file_have_their_names_in_the_topic(idle):
    given = {"params_file": with_cameras(idle, ["left", "right"]), "image_topic": "cam/{camera}/{camera}_raw"}
    with launched(given) as launch:
        assert launch.remappings() == ["left/image:=cam/left/left_raw", "right/image:=cam/right/right_raw"]
        assert parameters_of("/segment", ["cameras"]) == {"cameras": ["left", "right"]}


@pytest.mark.parametrize("sections", [("/**", "/segment"), ("/segment", "/**")])
def test_of_two_sections_for_the_node_the_last_counts_for_the_node_and_for_its_topics(sections, tmp_path):
    path = tmp_path / "parameters.yaml"
    cameras = dict(zip(sections, (["left", "right"], ["front", "rear"]), strict=True))
    content = {name: {"ros__parameters": {"autostart": False, "cameras": names}} for name, names in cameras.items()}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    with launched({"params_file": str(path), "image_topic": "/{camera}/image_raw"}) as launch:
        assert launch.remappings() == ["front/image:=/front/image_raw", "rear/image:=/rear/image_raw"]
        assert parameters_of("/segment", ["cameras"]) == {"cameras": ["front", "rear"]}


@pytest.mark.parametrize(
    ("arguments", "in_file", "expected"),
    [
        ({"cameras": "front,rear"}, [""], []),
        ({}, ["left", "right"], []),
        ({"cameras": "front", "image_topic": "/camera/image_raw"}, [""], ["front/image:=/camera/image_raw"]),
        ({"cameras": "''", "image_topic": "/camera/image_raw"}, ["left", "right"], ["image:=/camera/image_raw"]),
    ],
)
def test_one_camera_takes_any_topic_and_no_topic_is_no_remapping(arguments, in_file, expected, idle):
    with launched({**arguments, "params_file": with_cameras(idle, in_file)}) as launch:
        assert launch.remappings() == expected


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            {"cameras": "front,rear", "image_topic": "/camera/image_raw"},
            "image_topic: got '/camera/image_raw' for the cameras front, rear; write {camera} where each has its name,"
            " as in image_topic:=/{camera}/image_raw",
        ),
        (
            {"image_topic": "/{camera}/image_raw"},
            "image_topic: got '/{camera}/image_raw', but no camera has a name; name them, as in cameras:=front,rear, or"
            " leave {camera} out",
        ),
        (
            {"cameras": "front,rear", "image_topic": "/{camera}/{name}"},
            "image_topic: got '/front/{name}', expected no braces but {camera}",
        ),
        ({**RIG, "image_topic": "/{camera}/a b"}, "image_topic: got '/front/a b', Invalid topic name"),
        ({**RIG, "cameras": "front,front"}, "cameras: 'front' stands twice in ['front', 'front']; rename one"),
        ({**RIG, "cameras": "front,2nd"}, "cameras: got '2nd' in ['front', '2nd'], expected names of letters"),
        ({**RIG, "cameras": "front,,rear"}, "cameras: got '' in ['front', '', 'rear'], expected names of letters"),
        ({**RIG, "cameras": "front,"}, "cameras: got '' in ['front', ''], expected names of letters"),
        ({**RIG, "sync_window": "soon"}, "sync_window: got 'soon' (str), expected a number"),
    ],
)
def test_what_cannot_be_is_named_and_nothing_is_started(arguments, complaint):
    with launched(arguments) as launch:
        assert launch.wait_for_end() != 0
        assert f"launch argument {complaint}" in launch.output
        assert "process started" not in launch.output


@pytest.mark.parametrize(
    ("cameras", "arguments", "complaint"),
    [
        (
            ["left", "right"],
            {"image_topic": "/camera/image_raw"},
            "image_topic: got '/camera/image_raw' for the cameras left, right; write {camera}",
        ),
        (["left", "left"], {}, "params_file: '{path}', parameter cameras: 'left' stands twice"),
        ([], {}, "params_file: '{path}', parameter cameras: got an empty list"),
        ("left,right", {}, "params_file: '{path}', parameter cameras: got 'left,right' (str), expected a list"),
    ],
)
def test_cameras_of_the_params_file_are_looked_at_too(cameras, arguments, complaint, idle):
    with launched({**arguments, "params_file": with_cameras(idle, cameras)}) as launch:
        assert launch.wait_for_end() != 0
        assert "launch argument " + complaint.replace("{path}", str(idle)) in launch.output
        assert "process started" not in launch.output


def test_rviz_shows_every_camera_of_the_node_in_its_namespace(idle, rviz):
    arguments = {**RIG, "params_file": str(idle), "namespace": "robot", "rviz": "true"}
    with launched(arguments, rviz) as launch:
        given = launch.wait_for_output("rviz2 was given: (.+)")[1]
        parameters_of("/robot/segment", ["qos_depth"])
    shown = yaml.safe_load(Path(re.search(r"-d (\S+\.rviz)", given)[1]).read_text())
    of_one = yaml.safe_load((SHARE / "config" / "segment.rviz").read_text())
    assert {display["Name"]: display["Topic"]["Value"] for display in shown["Visualization Manager"]["Displays"]} == {
        "Overlay front": "/segment/front/overlay",
        "Classes front": "/segment/front/semantic_color",
        "Overlay rear": "/segment/rear/overlay",
        "Classes rear": "/segment/rear/semantic_color",
    }
    for topic in ("front/overlay", "front/semantic_color", "rear/overlay", "rear/semantic_color"):
        assert f"-r /segment/{topic}:=segment/{topic}" in given
    assert "__ns:=/robot" in given
    panels = {f"{name} {camera}" for name in ("Overlay", "Classes") for camera in ("front", "rear")}
    assert shown["Window Geometry"].keys() == of_one["Window Geometry"].keys() - {"Overlay", "Classes"} | panels
    # All else is as in the file of one camera.
    kinds = ("Class", "Enabled", "Value")
    pictures = [each for each in of_one["Visualization Manager"]["Displays"] if each["Name"] in ("Overlay", "Classes")]
    expected = [[display[kind] for kind in kinds] for display in pictures * 2]
    assert [[display[kind] for kind in kinds] for display in shown["Visualization Manager"]["Displays"]] == expected
    for changed in (shown, of_one):
        del changed["Visualization Manager"]["Displays"], changed["Window Geometry"]
    assert shown == of_one


def test_rviz_shows_the_depth_of_several_cameras_only_in_a_frame_that_they_share(idle, rviz):
    for target_frame, in_space in (("odom", {"Points", "Obstacles", "Objects"}), ("''", set())):
        arguments = {**RIG, "params_file": str(idle), "depth": "raw", "target_frame": target_frame, "rviz": "true"}
        with launched(arguments, rviz) as launch:
            given = launch.wait_for_output("rviz2 was given: (.+)")[1]
            parameters_of("/segment", ["depth"])
        shown = yaml.safe_load(Path(re.search(r"-d (\S+\.rviz)", given)[1]).read_text())
        names = {display["Name"] for display in shown["Visualization Manager"]["Displays"]}
        assert names == {
            f"{name} {camera}" for name in in_space | {"Overlay", "Classes"} for camera in ("front", "rear")
        }
        panels = {f"{name} {camera}" for name in ("Overlay", "Classes") for camera in ("front", "rear")}
        assert shown["Window Geometry"].keys() == {"Displays", "Height", "Width"} | panels


def test_every_camera_has_its_depth_and_camera_info(idle):
    topics = {"depth_topic": "/{camera}/depth", "camera_info_topic": "/{camera}/camera_info"}
    with launched({**RIG, **topics, "params_file": str(idle)}) as launch:
        expected = [
            f"{name}/{topic}:=/{name}/{topic}" for topic in ("depth", "camera_info") for name in ("front", "rear")
        ]
        assert launch.remappings()[2:] == expected


def test_a_demo_of_two_cameras_has_results_of_both():
    with launched({"rviz": "false", "cameras": "2"}, file=DEMO), beside() as robot:
        for camera in ("front", "rear"):
            result = robot.wait_for_message(f"/segment/{camera}/instances")
            assert (result.header.frame_id, bool(result.instances)) == (f"{camera}_optical", True)


@pytest.mark.parametrize("cameras", ["0", "3", "front,rear"])
def test_a_demo_of_other_numbers_of_cameras_is_refused(cameras):
    with launched({"rviz": "false", "cameras": cameras}, file=DEMO) as launch:
        assert launch.wait_for_end() != 0
        assert f"launch argument cameras: got '{cameras}', expected '1' or '2'" in launch.output
        assert "process started" not in launch.output
