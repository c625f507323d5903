"""The demo bag through the segmentation node, over and over until Ctrl-C.

ros2 launch eomt_ros demo.launch.py
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from eomt_ros.node.launching import has_ros_package, is_launched_by_itself

SHARE = Path(FindPackageShare("eomt_ros").find("eomt_ros"))
# Where colcon has installed links, the folder that they lead to: the player follows no link out of a bag.
BAG = str((SHARE / "demo" / "bag" / "metadata.yaml").resolve().parent)


def generate_launch_description() -> LaunchDescription:
    """The description that `ros2 launch` asks for."""
    rviz = DeclareLaunchArgument(
        "rviz", default_value="true", description="Show overlay and classes in RViz: 'true' or 'false'."
    )
    return LaunchDescription([rviz, OpaqueFunction(function=_processes)])


def _processes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    by_itself = is_launched_by_itself(context, __file__)
    segment = IncludeLaunchDescription(
        str(SHARE / "launch" / "segment.launch.py"),
        launch_arguments={
            "image_topic": "/camera/image",
            "image_transport": "compressed",
            "model": "demo",
            "rviz": LaunchConfiguration("rviz"),
            "on_exit": "shutdown" if by_itself else "nothing",
        }.items(),
    )
    common = {"output": "screen", "on_exit": Shutdown(reason="the bag is no longer played") if by_itself else None}
    if has_ros_package("ros2bag") and has_ros_package("rosbag2_storage_mcap"):
        player = ExecuteProcess(cmd=["ros2", "bag", "play", "--loop", BAG], **common)
    else:
        player = Node(package="eomt_ros", executable="play_bag", arguments=[BAG, "--loop"], **common)
    return [segment, player]
