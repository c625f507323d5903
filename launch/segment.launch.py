"""The segmentation node on the topics of one camera or several, and RViz beside it if wanted.

ros2 launch eomt_ros segment.launch.py image_topic:=/camera/image_raw model:=tue-mps/videomt-dinov2-small-ytvis2019
ros2 launch eomt_ros segment.launch.py cameras:=front,rear image_topic:=/{camera}/image_raw
ros2 launch eomt_ros segment.launch.py image_topic:=/camera/color/image_raw target_frame:=odom depth:=raw \\
    depth_topic:=/camera/aligned_depth_to_color/image_raw camera_info_topic:=/camera/color/camera_info
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
    topic_of,
    topics_of,
)
from eomt_ros.node.parameters import DEFAULTS, RULES, ParameterError, checked_value

SHARE = Path(FindPackageShare("eomt_ros").find("eomt_ros"))
RESPAWN_DELAY = 2.0  # s

# Arguments for topics of each camera, and those topics.
TOPICS = {"image_topic": "image", "depth_topic": "depth", "camera_info_topic": "camera_info"}
# Node parameters that have a launch argument of the same name.
PARAMETERS = (
    "image_transport",
    "model",
    "task",
    "taxonomy",
    "rate",
    "sync_window",
    "remember",
    "shared_ids",
    "policy",
    "device",
    "backend",
    "size",
    "reliability",
    "qos_depth",
    "depth",
    "target_frame",
    "motion",
    "camera_pose",
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
        "depth_topic",
        default_value="",
        description="Topic of the depth that is registered to the image, with {camera} as in image_topic. Not given:"
        " depth, or {camera}/depth of cameras. With depth:=compressed the ending /compressed may be left out.",
    ),
    DeclareLaunchArgument(
        "camera_info_topic",
        default_value="",
        description="Topic of the image's CameraInfo, with {camera} as in image_topic. Not given: camera_info, or"
        " {camera}/camera_info of cameras.",
    ),
    DeclareLaunchArgument(
        "odom_topic",
        default_value="",
        description="Topic of the robot's odometry, with motion:=odometry. Not given: odom.",
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
    DeclareLaunchArgument(
        "rviz",
        default_value="false",
        description="Show overlay and classes, and with depth points and objects: 'true' or 'false'.",
    ),
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


class Shown(NamedTuple):
    """The node's parameters that decide what RViz shows."""

    cameras: Sequence[str]
    depth: str
    target_frame: str


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
    shown = Shown(*(_value(name, parameters, arguments["params_file"], in_file) for name in Shown._fields))
    segment = Node(
        package="eomt_ros",
        executable="segment_node",
        name="segment",
        namespace=arguments["namespace"],
        parameters=[arguments["params_file"], {name: _typed(value) for name, value in parameters.items()}],
        remappings=_remappings(given, shown.cameras),
        additional_env=profile_variables(SHARE / "config" / "fastdds.xml"),
        output="screen",
        respawn=arguments["respawn"] == "true",
        respawn_delay=RESPAWN_DELAY,
        on_exit=shutting_down("the segmentation node") if _ends_all(context, arguments) else None,
    )
    return [segment, *_rviz(arguments, parameters, shown, node_name)]


def _remappings(given: dict[str, str], cameras: Sequence[str]) -> list[tuple[str, str]]:
    remappings = [
        (f"{camera}/{TOPICS[argument]}".lstrip("/"), topic)
        for argument in TOPICS
        if argument in given
        for camera, topic in zip(cameras, topics_of(argument, given[argument], cameras), strict=True)
    ]
    if "odom_topic" in given:
        remappings.append(("odom", topic_of("odom_topic", given["odom_topic"])))
    return remappings


def _rviz(arguments: dict[str, str], parameters: dict[str, Any], shown: Shown, node_name: str) -> list[Node]:
    if arguments["rviz"] == "false":
        return []
    if not has_ros_package("rviz2"):
        get_logger("segment.launch").warning(
            "rviz2 is not installed, so nothing is shown: sudo apt install ros-$ROS_DISTRO-rviz2, or rviz:=false"
        )
        return []
    content = yaml.safe_load((SHARE / "config" / "segment.rviz").read_text(encoding="utf-8"))
    _adapt(content, shown)
    config = Path(launch_config.log_dir) / f"{node_name.strip('/').replace('/', '.')}.rviz"
    config.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    topics = [display["Topic"]["Value"] for display in content["Visualization Manager"]["Displays"]]
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


def _adapt(content: dict[str, Any], shown: Shown) -> None:
    """Make of the displays of a camera without a name those of every camera.

    Those in three dimensions stay only where there is depth, and a frame that all cameras have in common.
    """
    manager, panels = content["Visualization Manager"], content["Window Geometry"]
    in_space = shown.depth != "none" and (len(shown.cameras) == 1 or shown.target_frame)
    displays = [display for display in manager["Displays"] if in_space or display["Name"] in panels]
    if shown.target_frame:
        manager["Global Options"]["Fixed Frame"] = shown.target_frame
    if any(shown.cameras):
        for display in displays:
            if panels.pop(display["Name"], None):
                panels.update({_name_of(camera, display): {"collapsed": False} for camera in shown.cameras})
        displays = [_display_of(camera, display) for camera in shown.cameras for display in displays]
    manager["Displays"] = displays


def _display_of(camera: str, display: dict[str, Any]) -> dict[str, Any]:
    topic = display["Topic"]
    value = topic["Value"].replace("/segment/", f"/segment/{camera}/", 1)
    return {**display, "Name": _name_of(camera, display), "Topic": {**topic, "Value": value}}


def _name_of(camera: str, display: dict[str, Any]) -> str:
    return f"{display['Name']} {camera}"


def _parameters(given: dict[str, str]) -> dict[str, Any]:
    values = {name: parsed(name, given[name]) for name in ("cameras", *PARAMETERS) if name in given}
    if "use_sim_time" in given:
        values["use_sim_time"] = TRUE_OR_FALSE[given["use_sim_time"]]
    return values


def _typed(value: Any) -> ParameterValue:
    # launch_ros reads a bare value as YAML: a model named 2024 would arrive as a number.
    if isinstance(value, tuple):
        return ParameterValue(list(value), value_type=list[type(value[0])])
    return ParameterValue(value, value_type=type(value))


def _value(name: str, parameters: dict[str, Any], path: str, in_file: dict[str, Any]) -> Any:
    """The value that a parameter of the node will have."""
    if name in parameters:
        return parameters[name]
    try:
        return checked_value(name, in_file.get(name, getattr(DEFAULTS, name)))
    except ParameterError as error:
        raise LaunchArgumentError(f"launch argument params_file: '{path}', {error}") from error


def _ends_all(context: LaunchContext, arguments: dict[str, str]) -> bool:
    if arguments["on_exit"] or arguments["respawn"] == "true":
        return arguments["on_exit"] == "shutdown"
    return is_launched_by_itself(context, __file__)
