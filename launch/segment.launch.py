"""The segmentation node on a camera topic, and RViz beside it if wanted.

ros2 launch eomt_ros segment.launch.py image_topic:=/camera/image_raw model:=tue-mps/videomt-dinov2-small-ytvis2019
"""

import math
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from eomt_ros.node.fast_dds import profile_variables

SHARE = Path(FindPackageShare("eomt_ros").find("eomt_ros"))
FILE = "Empty: as in params_file."

# Node parameters that have a launch argument of the same name.
PARAMETERS = {
    "image_transport": str,
    "model": str,
    "task": str,
    "rate": float,
    "policy": str,
    "device": str,
    "backend": str,
    "reliability": str,
    "depth": int,
    "use_sim_time": bool,
}

ARGUMENTS = [
    DeclareLaunchArgument(
        "image_topic", default_value="image", description="Topic of the images, without the ending /compressed."
    ),
    DeclareLaunchArgument(
        "image_transport",
        default_value="",
        choices=["", "raw", "compressed"],
        description=f"'compressed' listens to image_topic/compressed (JPEG or PNG). {FILE}",
    ),
    DeclareLaunchArgument(
        "model",
        default_value="",
        description=f"A folder with config.json and model.safetensors, a Hugging Face hub id, or 'demo'. {FILE}",
    ),
    DeclareLaunchArgument(
        "task",
        default_value="",
        choices=["", "semantic", "instance", "panoptic"],
        description=f"What to segment. {FILE}",
    ),
    DeclareLaunchArgument(
        "rate",
        default_value="",
        description=f"Frames per second at most; 0 takes them as fast as they come. {FILE}",
    ),
    DeclareLaunchArgument(
        "policy",
        default_value="",
        choices=["", "latest", "every_frame"],
        description=f"'latest' drops frames that have become old, 'every_frame' none. {FILE}",
    ),
    DeclareLaunchArgument(
        "device", default_value="", description=f"'auto', 'cpu', 'cuda' or one GPU such as 'cuda:1'. {FILE}"
    ),
    DeclareLaunchArgument(
        "backend",
        default_value="",
        description=f"What runs the network: 'auto', 'torch', 'openvino' or 'onnxruntime'. {FILE}",
    ),
    DeclareLaunchArgument(
        "reliability",
        default_value="",
        choices=["", "best_effort", "reliable", "system_default"],
        description=f"Of the image subscription: 'reliable' asks again for what got lost. {FILE}",
    ),
    DeclareLaunchArgument(
        "depth", default_value="", description=f"Messages kept per topic, in and out, while they wait. {FILE}"
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
        choices=["", "true", "false"],
        description=f"Take the time from /clock. {FILE}",
    ),
    DeclareLaunchArgument(
        "rviz", default_value="false", choices=["true", "false"], description="Show overlay, classes and ids in RViz."
    ),
]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=_nodes)])


def _nodes(context: LaunchContext) -> list[Node]:
    given = {name: value for name, value in context.launch_configurations.items() if value}
    params_file, rate = given.get("params_file", ""), given.get("rate", "0")
    # launch_ros would only warn, and the node run with its defaults.
    if not Path(params_file).is_file():
        raise RuntimeError(f"launch argument params_file: there is no file '{params_file}'")
    if not _is_number(rate):
        raise RuntimeError(f"launch argument rate: got '{rate}', expected frames per second, for example 15")
    # Typed, because launch_ros reads a bare value as YAML: a model named 2024 would arrive as a number.
    parameters = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, kind in PARAMETERS.items()
        if name in given
    }
    namespace = given.get("namespace", "")
    segment = Node(
        package="eomt_ros",
        executable="segment_node",
        name="segment",
        namespace=namespace,
        parameters=[params_file, parameters],
        remappings=[("image", given.get("image_topic", "image"))],
        additional_env=profile_variables(SHARE / "config" / "fastdds.xml"),
        output="screen",
        on_exit=_end,
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=namespace,
        arguments=["-d", str(SHARE / "config" / "segment.rviz")],
        parameters=[{name: value for name, value in parameters.items() if name == "use_sim_time"}],
        # The file names the topics of a node without a namespace.
        remappings=[(f"/segment/{topic}", f"segment/{topic}") for topic in ("overlay", "semantic", "panoptic")],
        additional_env=profile_variables(SHARE / "config" / "fastdds.xml"),
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return [segment, rviz]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _end(event: ProcessExited, context: LaunchContext) -> Shutdown:
    if event.returncode:
        # An exception is what makes `ros2 launch` itself end with a non-zero code.
        raise RuntimeError(f"the segmentation node ended with exit code {event.returncode}")
    return Shutdown(reason="the segmentation node has ended")
