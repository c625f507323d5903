"""The demo bag through the segmentation node, over and over until Ctrl-C. Needs ros2bag with the MCAP storage.

ros2 launch eomt_ros demo.launch.py
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import FindPackageShare

SHARE = Path(FindPackageShare("eomt_ros").find("eomt_ros"))


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
    bag = ExecuteProcess(
        cmd=["ros2", "bag", "play", "--loop", str(SHARE / "demo" / "bag")],
        output="screen",
        on_exit=Shutdown(reason="the bag is no longer played"),
    )
    rviz = DeclareLaunchArgument(
        "rviz", default_value="true", choices=["true", "false"], description="Show overlay, classes and ids in RViz."
    )
    return LaunchDescription([rviz, segment, bag])
