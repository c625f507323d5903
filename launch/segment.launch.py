"""The segmentation node on the topics of one camera or several, and RViz beside it if wanted.

ros2 launch eomt_ros segment.launch.py image_topic:=/camera/image_raw model:=tue-mps/videomt-dinov2-small-ytvis2019
ros2 launch eomt_ros segment.launch.py cameras:=front,rear image_topic:=/{camera}/image_raw
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.logging import get_logger, launch_config
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from eomt_ros.node.fast_dds import profile_variables
from eomt_ros.node.launching import (
    LaunchArgumentError,
    check_choices,
    checked,
    full_node_name,
    has_ros_package,
    is_launched_by_itself,
    parameters_in,
    parsed,
    shutting_down,
    topics_of,
)
from eomt_ros.node.parameters import DEFAULTS, RULES, ParameterError, checked_value

SHARE = Path(FindPackageShare("eomt_ros").find("eomt_ros"))
RESPAWN_DELAY = 2.0  # s

# Node parameters that have a launch argument of the same name.
PARAMETERS = (
    "image_transport",
    "model",
    "task",
    "rate",
    "sync_window",
    "policy",
    "device",
    "backend",
    "reliability",
    "qos_depth",
    "autostart",
)
TRUE_OR_FALSE = {"true": True, "false": False}
CHOICES = {
    "use_sim_time": ("", *TRUE_OR_FALSE),
    "rviz": tuple(TRUE_OR_FALSE),
    "respawn": tuple(TRUE_OR_FALSE),
    "on_exit": ("", "shutdown", "nothing"),
}

ARGUMENTS = [
    DeclareLaunchArgument(
        "image_topic",
        default_value="",
        description="Topic of the images, without the ending /compressed. {camera} stands for the name of each of the"
        " cameras. Not given: image, or {camera}/image of cameras.",
    ),
    DeclareLaunchArgument(
        "cameras",
        default_value="",
        description="Names of the cameras, with commas between them: front,rear. Two quotes, '': one camera without a"
        " name. Not given: as in params_file.",
    ),
    *(
        DeclareLaunchArgument(name, default_value="", description=f"{RULES[name].text} Not given: as in params_file.")
        for name in PARAMETERS
    ),
    DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of the node, for example that of the camera."
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(SHARE / "config" / "segment.yaml"),
        description="YAML file of node parameters; the arguments here override it where they are given.",
    ),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="",
        description="Take the time from /clock: 'true' or 'false'. Not given: as in params_file.",
    ),
    DeclareLaunchArgument("rviz", default_value="false", description="Show overlay and classes: 'true' or 'false'."),
    DeclareLaunchArgument(
        "respawn",
        default_value="false",
        description=f"Start the node again, {RESPAWN_DELAY:g} s after it has ended: 'true' or 'false'.",
    ),
    DeclareLaunchArgument(
        "on_exit",
        default_value="",
        description="When the node ends: 'shutdown' ends the launch and all that it started, 'nothing' leaves the"
        " others alone. Not given: 'shutdown' if this file is launched by itself and without respawn, else 'nothing'.",
    ),
]


def generate_launch_description() -> LaunchDescription:
    """The description that `ros2 launch` asks for."""
    return LaunchDescription([*ARGUMENTS, checked(_nodes)])


def _nodes(context: LaunchContext) -> list[Node]:
    # Not all that launch knows: an included file sees the arguments of the files around it too.
    arguments = {argument.name: context.launch_configurations[argument.name] for argument in ARGUMENTS}
    given = {name: value for name, value in arguments.items() if value}
    check_choices(arguments, CHOICES)
    if arguments["respawn"] == "true" and arguments["on_exit"] == "shutdown":
        raise LaunchArgumentError("launch arguments respawn:=true and on_exit:=shutdown exclude each other")
    node_name = full_node_name(context, arguments["namespace"], "segment")
    in_file = parameters_in(arguments["params_file"], node_name)
    parameters = _parameters(given)
    cameras = parameters.get("cameras") or _cameras_in(arguments["params_file"], in_file)
    segment = Node(
        package="eomt_ros",
        executable="segment_node",
        name="segment",
        namespace=arguments["namespace"],
        parameters=[arguments["params_file"], {name: _typed(value) for name, value in parameters.items()}],
        remappings=_remappings(given.get("image_topic"), cameras),
        additional_env=profile_variables(SHARE / "config" / "fastdds.xml"),
        output="screen",
        respawn=arguments["respawn"] == "true",
        respawn_delay=RESPAWN_DELAY,
        on_exit=shutting_down("the segmentation node") if _ends_all(context, arguments) else None,
    )
    return [segment, *_rviz(arguments, parameters, cameras, node_name)]


def _remappings(image_topic: str | None, cameras: Sequence[str]) -> list[tuple[str, str]]:
    if image_topic is None:
        return []
    topics = topics_of("image_topic", image_topic, cameras)
    return [(f"{camera}/image".lstrip("/"), topic) for camera, topic in zip(cameras, topics, strict=True)]


def _rviz(arguments: dict[str, str], parameters: dict[str, Any], cameras: Sequence[str], node_name: str) -> list[Node]:
    if arguments["rviz"] == "false":
        return []
    if not has_ros_package("rviz2"):
        get_logger("segment.launch").warning(
            "rviz2 is not installed, so nothing is shown: sudo apt install ros-$ROS_DISTRO-rviz2, or rviz:=false"
        )
        return []
    config = SHARE / "config" / "segment.rviz"
    shown = yaml.safe_load(config.read_text(encoding="utf-8"))
    if any(cameras):
        _show_each(cameras, shown)
        config = Path(launch_config.log_dir) / f"{node_name.strip('/').replace('/', '.')}.rviz"
        config.write_text(yaml.safe_dump(shown, sort_keys=False), encoding="utf-8")
    topics = [display["Topic"]["Value"] for display in shown["Visualization Manager"]["Displays"]]
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            namespace=arguments["namespace"],
            arguments=["-d", str(config)],
            parameters=[{name: value for name, value in parameters.items() if name == "use_sim_time"}],
            # The file names the topics of a node without a namespace.
            remappings=[(topic, topic.removeprefix("/")) for topic in topics],
            additional_env=profile_variables(SHARE / "config" / "fastdds.xml"),
        )
    ]


def _show_each(cameras: Sequence[str], shown: dict[str, Any]) -> None:
    """Put the displays of every camera, and their panels, in place of those of a camera without a name."""
    manager, panels = shown["Visualization Manager"], shown["Window Geometry"]
    for display in manager["Displays"]:
        panels.pop(display["Name"], None)
    manager["Displays"] = [_display_of(camera, display) for camera in cameras for display in manager["Displays"]]
    panels.update({display["Name"]: {"collapsed": False} for display in manager["Displays"]})


def _display_of(camera: str, display: dict[str, Any]) -> dict[str, Any]:
    topic = display["Topic"]
    value = topic["Value"].replace("/segment/", f"/segment/{camera}/", 1)
    return {**display, "Name": f"{display['Name']} {camera}", "Topic": {**topic, "Value": value}}


def _parameters(given: dict[str, str]) -> dict[str, Any]:
    values = {name: parsed(name, given[name]) for name in ("cameras", *PARAMETERS) if name in given}
    if "use_sim_time" in given:
        values["use_sim_time"] = TRUE_OR_FALSE[given["use_sim_time"]]
    return values


def _typed(value: Any) -> ParameterValue:
    # launch_ros reads a bare value as YAML: a model named 2024 would arrive as a number.
    if isinstance(value, tuple):
        return ParameterValue(list(value), value_type=list[str])
    return ParameterValue(value, value_type=type(value))


def _cameras_in(path: str, parameters: dict[str, Any]) -> Sequence[str]:
    try:
        return checked_value("cameras", parameters.get("cameras", DEFAULTS.cameras))
    except ParameterError as error:
        raise LaunchArgumentError(f"launch argument params_file: '{path}', {error}") from error


def _ends_all(context: LaunchContext, arguments: dict[str, str]) -> bool:
    if arguments["on_exit"] or arguments["respawn"] == "true":
        return arguments["on_exit"] == "shutdown"
    return is_launched_by_itself(context, __file__)
