"""The segmentation node on a camera topic, and RViz beside it if wanted.

ros2 launch eomt_ros segment.launch.py image_topic:=/camera/image_raw model:=tue-mps/videomt-dinov2-small-ytvis2019
"""

from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.logging import get_logger
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from eomt_ros.node.fast_dds import profile_variables
from eomt_ros.node.launching import (
    LaunchArgumentError,
    check_choices,
    check_params_file,
    check_topic,
    checked,
    full_node_name,
    has_ros_package,
    is_launched_by_itself,
    shutting_down,
)
from eomt_ros.node.parameters import RULES, ParameterError, parse_value

SHARE = Path(FindPackageShare("eomt_ros").find("eomt_ros"))
RESPAWN_DELAY = 2.0  # s

# Node parameters that have a launch argument of the same name.
PARAMETERS = (
    "image_transport",
    "model",
    "task",
    "rate",
    "policy",
    "device",
    "backend",
    "reliability",
    "depth",
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
        "image_topic", default_value="image", description="Topic of the images, without the ending /compressed."
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
    namespace, image_topic = arguments["namespace"], given.get("image_topic", "image")
    check_topic("image_topic", image_topic)
    check_params_file(arguments["params_file"], full_node_name(context, namespace, "segment"))
    parameters = _parameters(given)
    segment = Node(
        package="eomt_ros",
        executable="segment_node",
        name="segment",
        namespace=namespace,
        parameters=[arguments["params_file"], parameters],
        remappings=[("image", image_topic)],
        additional_env=profile_variables(SHARE / "config" / "fastdds.xml"),
        output="screen",
        respawn=arguments["respawn"] == "true",
        respawn_delay=RESPAWN_DELAY,
        on_exit=shutting_down("the segmentation node") if _ends_all(context, arguments) else None,
    )
    return [segment, *_rviz(arguments, parameters)]


def _rviz(arguments: dict[str, str], parameters: dict[str, Any]) -> list[Node]:
    if arguments["rviz"] == "false":
        return []
    if not has_ros_package("rviz2"):
        get_logger("segment.launch").warning(
            "rviz2 is not installed, so nothing is shown: sudo apt install ros-$ROS_DISTRO-rviz2, or rviz:=false"
        )
        return []
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            namespace=arguments["namespace"],
            arguments=["-d", str(SHARE / "config" / "segment.rviz")],
            parameters=[{name: value for name, value in parameters.items() if name == "use_sim_time"}],
            # The file names the topics of a node without a namespace.
            remappings=[(f"/segment/{topic}", f"segment/{topic}") for topic in ("overlay", "semantic_color")],
            additional_env=profile_variables(SHARE / "config" / "fastdds.xml"),
        )
    ]


def _parameters(given: dict[str, str]) -> dict[str, Any]:
    try:
        values = {name: parse_value(name, given[name]) for name in PARAMETERS if name in given}
    except ParameterError as error:
        raise LaunchArgumentError(str(error).replace("parameter", "launch argument", 1)) from error
    if "use_sim_time" in given:
        values["use_sim_time"] = TRUE_OR_FALSE[given["use_sim_time"]]
    # Typed, because launch_ros reads a bare value as YAML: a model named 2024 would arrive as a number.
    return {name: ParameterValue(value, value_type=type(value)) for name, value in values.items()}


def _ends_all(context: LaunchContext, arguments: dict[str, str]) -> bool:
    if arguments["on_exit"] or arguments["respawn"] == "true":
        return arguments["on_exit"] == "shutdown"
    return is_launched_by_itself(context, __file__)
