"""The launch files as `ros2 launch` runs them, with real processes."""

import contextlib
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
import yaml

pytest.importorskip("launch_ros")

from eomt_ros.node.launching import has_ros_package
from test import ROOT
from test.engine.checkpoints import write_checkpoint
from test.evaluation import bags
from test.launch.launched import (
    DEMO,
    EVALUATE,
    PROFILES,
    SEGMENT,
    SHARE,
    Launched,
    beside,
    launched,
    parameters_of,
)
from test.patience import PATIENCE

pytestmark = pytest.mark.slow

ARGUMENTS = {
    "segment": "image_topic depth_topic camera_info_topic odom_topic cameras image_transport model task taxonomy rate"
    " sync_window remember shared_ids policy device backend size reliability qos_depth depth target_frame motion"
    " camera_pose autostart namespace params_file use_sim_time rviz respawn on_exit",
    "evaluate": "bag out overwrite policy rate topic depth_topic camera_info_topic odom_topic cameras truth_classes"
    " truth_instances truth truth_map truth_tolerance model task device depth target_frame motion camera_pose"
    " params_file",
    "demo": "rviz cameras",
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_show_args_describes_every_argument(name):
    command = ["ros2", "launch", str(ROOT / "launch" / f"{name}.launch.py"), "--show-args"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
    entries = dict(re.findall(r"'(\w+)':\n\s+(.+)\n", shown))
    assert list(entries)[: len(ARGUMENTS[name].split())] == ARGUMENTS[name].split()
    # What launch says of an argument without a description.
    assert not [text for text in entries.values() if text.startswith(("no description", "One of:"))]


def test_what_is_not_given_is_as_in_the_params_file(idle):
    with launched({"params_file": str(idle)}):
        assert parameters_of("/segment", ["model", "rate", "policy", "qos_depth", "use_sim_time"]) == {
            "model": "from_the_file",
            "rate": 7.0,
            "policy": "every_frame",
            "qos_depth": 9,
            "use_sim_time": False,
        }


def test_what_is_given_overrides_the_params_file(idle):
    given = {"model": "2024", "rate": "15", "task": "instance", "image_transport": "compressed", "use_sim_time": "true"}
    quality = {"reliability": "reliable", "qos_depth": "50"}
    idle.write_text(idle.read_text().replace("autostart: false", "autostart: true"))
    held = {"params_file": str(idle), "namespace": "front", "device": "cpu", "autostart": "false"}
    with launched({**held, **given, **quality}):
        assert parameters_of("/front/segment", [*given, *quality, "device", "policy", "autostart"]) == {
            "model": "2024",
            "rate": 15.0,
            "task": "instance",
            "image_transport": "compressed",
            "use_sim_time": True,
            "reliability": "reliable",
            "qos_depth": 50,
            "device": "cpu",
            "policy": "every_frame",
            "autostart": False,
        }


def test_the_node_listens_to_the_topic_and_ctrl_c_ends_it_cleanly():
    with launched({"image_topic": "/camera/image_raw", "namespace": "front"}) as launch:
        launch.wait_for_output(r"\[front\.segment\].*waiting for images on /camera/image_raw\n")
        launch.press_ctrl_c()
        assert launch.wait_for_end() == 0
        assert "process has finished cleanly" in launch.output


def test_a_model_that_cannot_be_loaded_ends_the_launch_with_an_error():
    with launched({"model": "/there/is/no/such/model"}) as launch:
        assert launch.wait_for_end() != 0
        assert "model '/there/is/no/such/model'" in launch.output


BAD_ARGUMENTS = {
    "params_file": ("/there/is/no/such/file.yaml", "params_file: there is no file '/there/is/no/such/file.yaml'"),
    "rate": ("fast", "rate: got 'fast' (str), expected a number"),
    "depth": ("5", "depth: got '5', expected one of 'none', 'raw', 'compressed'"),
    "motion": ("imu", "motion: got 'imu', expected one of 'tf', 'odometry'"),
    "camera_pose": ("0,0,up", "camera_pose: got '0,0,up' (str), expected a list of numbers"),
    "depth_topic": ("/{camera}/depth", "depth_topic: got '/{camera}/depth', but no camera has a name"),
    "camera_info_topic": ("a b", "camera_info_topic: got 'a b', Invalid topic name"),
    "odom_topic": ("/{camera}/odom", "odom_topic: got '/{camera}/odom', expected one topic for all cameras"),
    "qos_depth": ("abc", "qos_depth: got 'abc' (str), expected a whole number"),
    "task": ("everything", "task: got 'everything', expected one of '', 'semantic', 'instance', 'panoptic'"),
    "autostart": ("maybe", "autostart: got 'maybe' (str), expected a boolean"),
    "use_sim_time": ("yes", "use_sim_time: got 'yes', expected 'true' or 'false'"),
    "rviz": ("no", "rviz: got 'no', expected 'true' or 'false'"),
    "respawn": ("always", "respawn: got 'always', expected 'true' or 'false'"),
    "on_exit": ("crash", "on_exit: got 'crash', expected 'shutdown' or 'nothing'"),
    "namespace": ("1front", "namespace: got '1front', Invalid namespace: namespace must not have a token that starts"),
    "image_topic": ("a b", "image_topic: got 'a b', Invalid topic name: topic name must not contain characters"),
}


@pytest.mark.parametrize("argument", BAD_ARGUMENTS)
def test_a_bad_argument_is_named_and_nothing_is_started(argument):
    value, complaint = BAD_ARGUMENTS[argument]
    with launched({argument: value}) as launch:
        assert launch.wait_for_end() != 0
        assert f"launch argument {complaint}" in launch.output
        assert "process started" not in launch.output


def test_a_params_file_for_other_nodes_is_an_error(tmp_path):
    path = tmp_path / "parameters.yaml"
    path.write_text(yaml.safe_dump({"/segment": {"ros__parameters": {"rate": 7.0}}}))
    with launched({"params_file": str(path), "namespace": "front"}) as launch:
        assert launch.wait_for_end() != 0
        assert f"'{path}' has parameters of /segment, but none of /front/segment; name its section" in launch.output
        assert "process started" not in launch.output


def test_fast_dds_is_pointed_at_the_profile_for_images(idle):
    with launched({"params_file": str(idle)}) as launch:
        environment = launch.environment_of_node()
    assert [environment[name] for name in PROFILES if name in environment] == [str(SHARE / "config" / "fastdds.xml")]


@pytest.mark.parametrize("variable", PROFILES)
def test_a_fast_dds_profile_of_the_user_is_kept(variable, idle, tmp_path):
    profile = tmp_path / "own.xml"
    shutil.copy(SHARE / "config" / "fastdds.xml", profile)
    with launched({"params_file": str(idle)}, {variable: str(profile)}) as launch:
        environment = launch.environment_of_node()
    assert {name: environment[name] for name in PROFILES if name in environment} == {variable: str(profile)}


def test_rviz_shows_the_topics_of_the_node_in_its_namespace(idle, rviz):
    with launched({"params_file": str(idle), "namespace": "front", "rviz": "true"}, rviz) as launch:
        given = launch.wait_for_output("rviz2 was given: (.+)")[1]
        parameters_of("/front/segment", ["qos_depth"])
    assert topics_shown(given) == ["overlay", "semantic_color"]
    assert "__ns:=/front" in given


def test_rviz_shows_what_depth_gives_in_the_target_frame(idle, rviz):
    arguments = {"params_file": str(idle), "depth": "raw", "target_frame": "odom", "rviz": "true"}
    with launched(arguments, rviz) as launch:
        given = launch.wait_for_output("rviz2 was given: (.+)")[1]
        parameters_of("/segment", ["depth"])
    assert topics_shown(given) == ["overlay", "semantic_color", "points", "obstacles", "markers"]
    assert config_of(given)["Visualization Manager"]["Global Options"]["Fixed Frame"] == "odom"


def test_depth_of_the_params_file_is_shown_too(idle, rviz):
    idle.write_text(idle.read_text() + "    depth: compressed\n")
    with launched({"params_file": str(idle), "rviz": "true"}, rviz) as launch:
        given = launch.wait_for_output("rviz2 was given: (.+)")[1]
        parameters_of("/segment", ["depth"])
    assert "markers" in topics_shown(given)
    # All else is as in the file.
    assert config_of(given) == yaml.safe_load((SHARE / "config" / "segment.rviz").read_text())


def config_of(given: str) -> Any:
    """What RViz was given to show."""
    return yaml.safe_load(Path(re.search(r"-d (\S+\.rviz)", given)[1]).read_text())


def topics_shown(given: str) -> list[str]:
    """The topics that RViz was given to show, each remapped to the node's namespace."""
    topics = [display["Topic"]["Value"] for display in config_of(given)["Visualization Manager"]["Displays"]]
    for topic in topics:
        assert f"-r {topic}:={topic.removeprefix('/')}" in given
    return [topic.removeprefix("/segment/") for topic in topics]


def test_depth_reaches_the_node(idle):
    topics = {"depth_topic": "/camera/depth", "camera_info_topic": "/camera/camera_info", "odom_topic": "/robot/odom"}
    values = {"depth": "raw", "target_frame": "odom", "motion": "odometry", "camera_pose": "0.1,0,0.5,0,0,-1.57"}
    with launched({"params_file": str(idle), **topics, **values}) as launch:
        assert parameters_of("/segment", list(values)) == {
            **values,
            "camera_pose": [0.1, 0.0, 0.5, 0.0, 0.0, -1.57],
        }
        expected = ["depth:=/camera/depth", "camera_info:=/camera/camera_info", "odom:=/robot/odom"]
        assert launch.remappings() == expected


@pytest.mark.skipif(has_ros_package("rviz2"), reason="rviz2 is installed")
@pytest.mark.parametrize("file", [SEGMENT, DEMO])
def test_without_rviz_the_node_runs_all_the_same(file, idle):
    arguments = {"rviz": "true"} | ({"params_file": str(idle)} if file == SEGMENT else {})
    with launched(arguments, file=file) as launch:
        launch.wait_for_output("rviz2 is not installed")
        assert parameters_of("/segment", ["overlay_alpha"]) == {"overlay_alpha": 0.5}
        launch.press_ctrl_c()
        assert launch.wait_for_end() == 0


OTHERS = """
from launch import LaunchDescription
from launch.actions import ExecuteProcess, GroupAction, IncludeLaunchDescription

def generate_launch_description():
    return LaunchDescription([
        ExecuteProcess(cmd=["sh", "-c", "while sleep 0.2; do echo an image; done"], name="driver", output="screen"),
        *(
            GroupAction(
                [IncludeLaunchDescription(file, launch_arguments=arguments.items())], scoped=True, forwarding=False
            )
            for file, arguments in INCLUDED
        ),
        ExecuteProcess(cmd=["sleep", "1000"], name="navigation"),
    ])
"""


@contextlib.contextmanager
def launched_with_others(folder: Path, included: list[tuple[Path, dict[str, str]]]) -> Iterator[Launched]:
    """Somebody's launch file, which starts a driver, includes files of ours, and starts something else."""
    file = folder / "robot.launch.py"
    file.write_text(f"INCLUDED = {[(str(path), arguments) for path, arguments in included]!r}\n{OTHERS}")
    with launched({}, file=file) as launch:
        yield launch
    assert not launch.left_behind(), launch.output


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_node_that_dies_takes_nobody_down_in_a_launch_file_that_includes_ours(number, idle, tmp_path):
    cameras = [(SEGMENT, {"params_file": str(idle), "namespace": name}) for name in ("front", "rear")]
    with launched_with_others(tmp_path, cameras) as launch:
        parameters_of("/front/segment", ["qos_depth"])
        launch.kill("segment_node-2", number)
        launch.wait_for_output(r"\[segment_node-2\]: process has (died|finished)(.|\n)*an image")
        assert parameters_of("/rear/segment", ["qos_depth"]) == {"qos_depth": 9}
        assert {"driver-1", "segment_node-3", "navigation-4"} <= set(launch.running())


def test_a_node_that_is_worth_it_ends_a_launch_file_that_includes_ours(idle, tmp_path):
    camera = (SEGMENT, {"params_file": str(idle), "on_exit": "shutdown"})
    with launched_with_others(tmp_path, [camera]) as launch:
        parameters_of("/segment", ["qos_depth"])
        launch.kill("segment_node-2", signal.SIGKILL)
        assert launch.wait_for_end() != 0


def test_a_node_that_dies_is_started_again_if_wanted(idle):
    with launched({"params_file": str(idle), "respawn": "true"}) as launch:
        parameters_of("/segment", ["qos_depth"])
        first = launch.running()["segment_node-1"]
        launch.kill("segment_node-1", signal.SIGKILL)
        launch.wait_for_output(r"process has died(.|\n)*\[segment_node-1\]: process started")
        assert parameters_of("/segment", ["qos_depth"]) == {"qos_depth": 9}
        assert launch.running()["segment_node-1"] != first


def test_respawn_and_shutdown_exclude_each_other(idle):
    with launched({"params_file": str(idle), "respawn": "true", "on_exit": "shutdown"}) as launch:
        assert launch.wait_for_end() != 0
        assert "launch arguments respawn:=true and on_exit:=shutdown exclude each other" in launch.output


@pytest.mark.parametrize(
    ("file", "arguments", "complaint"),
    [
        *((SEGMENT, {name: value}, complaint) for name, (value, complaint) in BAD_ARGUMENTS.items()),
        (EVALUATE, {"bag": "/there/is/no/such/bag"}, "bag: /there/is/no/such/bag does not exist"),
        (EVALUATE, {}, "bag: not given, expected a rosbag2"),
        (EVALUATE, {"bag": "anything", "policy": "best"}, "policy: got 'best', expected 'every_frame' or 'latest'"),
        (DEMO, {"rviz": "no"}, "rviz: got 'no', expected 'true' or 'false'"),
    ],
)
def test_a_bad_argument_of_a_second_file_ends_all_that_was_started_before(file, arguments, complaint, idle, tmp_path):
    first = (SEGMENT, {"params_file": str(idle), "namespace": "front"})
    with launched_with_others(tmp_path, [first, (file, arguments)]) as launch:
        assert launch.wait_for_end() != 0
        assert f"launch argument {complaint}" in launch.output


def test_two_cameras_as_on_the_page_keep_their_arguments_to_themselves(tmp_path):
    page = (ROOT / "docs" / "node.md").read_text()
    example = re.search(r"```python\n((?:(?!```)[\s\S])*forwarding=False[\s\S]*?)```", page)
    file = tmp_path / "cameras.launch.py"
    file.write_text(example[1])
    with launched({}, file=file) as launch:
        assert parameters_of("/front/segment", ["rate", "model"]) == {"rate": 15.0, "model": "demo"}
        assert parameters_of("/rear/segment", ["rate", "model"]) == {"rate": 0.0, "model": "demo"}
        launch.wait_for_output(r"\[front\.segment\].*waiting for images on /front/image_raw\n")
        launch.wait_for_output(r"\[rear\.segment\].*waiting for images on /rear/image_raw\n")


FRAMES = 10


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Launch arguments: a small bag, and a small random model that knows the bag's classes."""
    folder = tmp_path_factory.mktemp("scene")
    model = write_checkpoint(folder / "small", id2label=dict(enumerate("abcde")))
    return {"bag": str(bags.write_scene(folder / "bag", FRAMES)), "model": str(model)}


@pytest.mark.parametrize("policy", ["every_frame", "latest"])
def test_an_evaluation_ends_by_itself_with_a_report(policy, scene, tmp_path):
    out = tmp_path / "out"
    with launched({**scene, "out": str(out), "policy": policy}, file=EVALUATE) as launch:
        assert launch.wait_for_end() == 0, launch.output
        before, rest = launch.output.split("[2/3] playing")
        assert "no image on" not in before + rest.split("[3/3] scoring")[1]
    found = json.loads((out / "metrics.json").read_text())
    replay, settings = found["replay"], found["settings"]
    assert (replay["policy"], replay["published"], settings["policy"]) == (policy, FRAMES, policy)
    assert replay["processed"] + replay["dropped"] + replay["lost_on_the_way"] == FRAMES
    if policy == "every_frame":
        assert replay["processed"] == found["frames_scored"] == FRAMES
        assert (settings["reliability"], settings["rate"]) == ("reliable", 0.0)
    assert (out / "report.html").exists()


def test_an_evaluation_of_a_rig_scores_every_camera(scene, tmp_path):
    bag, out = bags.write_rig(tmp_path / "rig", {"front": FRAMES, "rear": FRAMES}), tmp_path / "out"
    rig = {**scene, "bag": str(bag), "cameras": "front,rear", "topic": bags.rig_topic("{camera}")}
    with launched({**rig, "out": str(out)}, file=EVALUATE) as launch:
        assert launch.wait_for_end() == 0, launch.output
    found = json.loads((out / "metrics.json").read_text())
    assert [each["frames_scored"] for each in found["recordings"]] == [FRAMES, FRAMES]
    assert found["replay"]["processed"] == 2 * FRAMES
    assert found["settings"]["cameras"] == ["front", "rear"]


def test_the_video_of_an_evaluation_with_depth_shows_things_in_metres_beside_the_picture(tmp_path):
    topics = {"depth_topic": "/camera/depth", "camera_info_topic": "/camera/camera_info", "odom_topic": "/odom"}
    space = {"depth": "compressed", "motion": "odometry", "target_frame": "odom"}
    out = tmp_path / "out"
    with launched({"bag": str(ROOT / "demo" / "bag"), "out": str(out), **topics, **space}, file=EVALUATE) as launch:
        assert launch.wait_for_end() == 0, launch.output
    found = json.loads((out / "metrics.json").read_text())
    assert {name: found["settings"][name] for name in space} == space
    with av.open(str(out / "overlay.mp4")) as video:
        picture = video.streams.video[0]
        assert picture.width > 2.5 * picture.height  # the camera's are 424x240


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"cameras": "front,rear"}, "topic: got '' for the cameras front, rear; write {camera} where each has its"),
        ({"topic": "/{camera}/image"}, "topic: got '/{camera}/image', but no camera has a name; name them, as in"),
        ({"cameras": "front,rear", "topic": "/{camera}/nothing"}, "topic:=/front/nothing"),
        ({"cameras": "front,front", "topic": "/{camera}/image"}, "cameras: 'front' stands twice"),
    ],
)
def test_cameras_that_are_not_in_the_bag_are_refused_and_nothing_is_started(arguments, complaint, scene, tmp_path):
    with launched({**scene, **arguments, "out": str(tmp_path / "out")}, file=EVALUATE) as launch:
        assert launch.wait_for_end() != 0
        assert f"launch argument {complaint}" in launch.output
        assert "process started" not in launch.output


def test_an_evaluation_is_of_one_camera_also_with_the_params_file_of_a_rig(scene, tmp_path):
    rig = tmp_path / "rig.yaml"
    rig.write_text(yaml.safe_dump({"/**": {"ros__parameters": {"cameras": ["front", "rear"]}}}))
    out = tmp_path / "out"
    with launched({**scene, "out": str(out), "params_file": str(rig)}, file=EVALUATE) as launch:
        assert launch.wait_for_end() == 0, launch.output
    assert json.loads((out / "metrics.json").read_text())["frames_scored"] == FRAMES


def test_an_evaluation_in_a_launch_file_of_others_ends_with_its_node_and_nobody_else(scene, tmp_path):
    out = tmp_path / "out"
    with launched_with_others(tmp_path, [(EVALUATE, {**scene, "out": str(out)})]) as launch:
        launch.wait_for_output(r"\[evaluate_bag-3\]: process has finished cleanly")
        launch.wait_for_output(r"\[segment_node-2\]: process has finished cleanly(.|\n)*an image")
        assert set(launch.running()) == {"driver-1", "navigation-4"}
    assert (out / "report.html").exists()


def test_ctrl_c_ends_an_evaluation_with_a_report_of_what_came(scene, tmp_path):
    out = tmp_path / "out"
    slowly = {"policy": "latest", "rate": "0.05"}
    with launched({**scene, **slowly, "out": str(out)}, file=EVALUATE) as launch:
        launch.wait_for_output(r"\[2/3\] playing")
        with beside() as robot:
            robot.wait_for_message("/segment/instances")
        launch.press_ctrl_c()
        launch.wait_for_end()
    assert "Traceback" not in launch.output
    found = json.loads((out / "metrics.json").read_text())
    assert 0 < found["frames"] < FRAMES
    assert f"of {FRAMES} results" in found["problems"][0]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"bag": "/there/is/no/such/bag"}, "launch argument bag: /there/is/no/such/bag does not exist"),
        ({"topic": "/nothing"}, "launch argument topic:=/nothing: "),
    ],
)
def test_a_bag_that_cannot_be_played_is_named_and_nothing_is_started(arguments, complaint, scene, tmp_path):
    with launched({**scene, "out": str(tmp_path / "out"), **arguments}, file=EVALUATE) as launch:
        assert launch.wait_for_end() != 0
        assert complaint in launch.output
        assert "process started" not in launch.output


def test_an_evaluation_whose_model_cannot_be_loaded_ends_the_launch_with_an_error(scene, tmp_path):
    arguments = {**scene, "model": "/there/is/no/such/model", "out": str(tmp_path / "out")}
    with launched(arguments, file=EVALUATE) as launch:
        assert launch.wait_for_end() != 0
        assert "model '/there/is/no/such/model'" in launch.output
        assert "evaluate_bag: the node /segment did not configure; its log says why" in launch.output


def test_an_evaluation_that_fails_ends_the_launch_with_an_error(scene, tmp_path):
    (tmp_path / "mine.txt").touch()
    with launched({**scene, "out": str(tmp_path)}, file=EVALUATE) as launch:
        assert launch.wait_for_end() != 0
        assert f"evaluate_bag: --out {tmp_path} is not empty" in launch.output
        assert "the evaluation ended with exit code 1" in launch.output


def test_the_demo_is_played_over_and_over():
    with launched({"rviz": "false"}, file=DEMO) as launch:
        launch.wait_for_output(r"\[segment\]: stream reset, epoch 1 begins: time jumped back")
