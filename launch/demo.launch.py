"""The demo's bag through the segmentation node, over and over until Ctrl-C.

ros2 launch eomt_ros demo.launch.py
ros2 launch eomt_ros demo.launch.py cameras:=2
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, Shutdown
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from eomt_ros.node.launching import check_choices, checked, has_ros_package, is_launched_by_itself

SHARE = Path(FindPackageShare("eomt_ros").find("eomt_ros"))


def _topics(camera: str) -> dict[str, str]:
    topics = {"image_topic": "image", "depth_topic": "depth", "camera_info_topic": "camera_info"}
    return {argument: f"{camera}/{topic}" for argument, topic in topics.items()}


# By number of cameras: the bag's folder, and what the node needs to know of its cameras.
SCENES = {
    "1": ("bag", {"cameras": "''", **_topics("/camera")}),
    "2": ("rig", {"cameras": "front,rear", **_topics("/{camera}")}),
}


def generate_launch_description() -> LaunchDescription:
    """The description that `ros2 launch` asks for."""
    rviz = DeclareLaunchArgument("rviz", default_value="true", description="Show results in RViz: 'true' or 'false'.")
    cameras = DeclareLaunchArgument(
        "cameras", default_value="1", description="Number of cameras, '1' or '2', each in a world of its own."
    )
    return LaunchDescription([rviz, cameras, checked(_processes)])


def _processes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    number = context.launch_configurations["cameras"]
    check_choices({"cameras": number}, {"cameras": tuple(SCENES)})
    folder, scene = SCENES[number]
    # Where colcon has installed links, the folder that they lead to: the player follows no link out of a bag.
    bag = str((SHARE / "demo" / folder / "metadata.yaml").resolve().parent)
    by_itself = is_launched_by_itself(context, __file__)
    segment = IncludeLaunchDescription(
        str(SHARE / "launch" / "segment.launch.py"),
        launch_arguments={
            **scene,
            "image_transport": "compressed",
            "depth": "compressed",
            "model": "demo",
            "rviz": LaunchConfiguration("rviz"),
            "on_exit": "shutdown" if by_itself else "nothing",
        }.items(),
    )
    common = {"output": "screen", "on_exit": Shutdown(reason="the bag is no longer played") if by_itself else None}
    if has_ros_package("ros2bag") and has_ros_package("rosbag2_storage_mcap"):
        player = ExecuteProcess(cmd=["ros2", "bag", "play", "--loop", bag], **common)
    else:
        player = Node(package="eomt_ros", executable="play_bag", arguments=[bag, "--loop"], **common)
    return [segment, player]
