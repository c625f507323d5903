"""The demo bag through the segmentation node, over and over until Ctrl-C.

ros2 launch eomt_ros demo.launch.py
"""

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

SHARE = Path(FindPackageShare("eomt_ros").find("eomt_ros"))
BAG = str(SHARE / "demo" / "bag")


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    segment = IncludeLaunchDescription(
        str(SHARE / "launch" / "segment.launch.py"),
        launch_arguments={
            "image_topic": "/camera/image",
            "image_transport": "compressed",
            "model": "demo",
            "rviz": LaunchConfiguration("rviz"),
        }.items(),
    )
    rviz = DeclareLaunchArgument(
        "rviz", default_value="true", choices=["true", "false"], description="Show overlay, classes and ids in RViz."
    )
    return LaunchDescription([rviz, segment, _player()])


def _player() -> ExecuteProcess:
    end = Shutdown(reason="the bag is no longer played")
    if _is_installed("ros2bag") and _is_installed("rosbag2_storage_mcap"):
        return ExecuteProcess(cmd=["ros2", "bag", "play", "--loop", BAG], output="screen", on_exit=end)
    return Node(package="eomt_ros", executable="play_bag", arguments=[BAG, "--loop"], output="screen", on_exit=end)


def _is_installed(package: str) -> bool:
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True
