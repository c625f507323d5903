"""Evaluates the segmentation node: plays a bag through the real node, and leaves metrics.json and report.html.

ros2 launch eomt_ros evaluate.launch.py bag:=BAG
ros2 launch eomt_ros evaluate.launch.py bag:=BAG policy:=latest  # as a robot runs it: what would it have lost?
ros2 launch eomt_ros evaluate.launch.py bag:=BAG cameras:=front,rear topic:=/{camera}/image/compressed
ros2 launch eomt_ros evaluate.launch.py bag:=BAG depth:=compressed depth_topic:=/camera/depth \\
    camera_info_topic:=/camera/camera_info motion:=odometry odom_topic:=/odom target_frame:=odom
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, IncludeLaunchDescription
from launch.events.process import ShutdownProcess
from launch.launch_description_entity import LaunchDescriptionEntity
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from eomt_ros.node.launching import (
    EMPTY,
    LaunchArgumentError,
    check_choices,
    checked,
    full_node_name,
    is_launched_by_itself,
    parsed,
    shutting_down,
    topics_of,
)
from eomt_ros.node.parameters import RULES

SHARE = Path(FindPackageShare("eomt_ros").find("eomt_ros"))
STOPPED = 130  # exit code of an evaluation that Ctrl-C ended: it has written its report
PARAMETERS = ("model", "task", "device", "depth", "target_frame", "motion", "camera_pose")  # of the node
DEPTH_TOPICS = ("depth_topic", "camera_info_topic", "odom_topic")
CHOICES = {"overwrite": ("true", "false"), "policy": ("every_frame", "latest")}

ARGUMENTS = [
    DeclareLaunchArgument("bag", default_value="", description="A rosbag2. Has to be given."),
    DeclareLaunchArgument("out", default_value="evaluation", description="The folder to write."),
    DeclareLaunchArgument(
        "overwrite",
        default_value="false",
        description="Replace the evaluation that is in the folder: 'true' or 'false'.",
    ),
    DeclareLaunchArgument(
        "policy",
        default_value="every_frame",
        description="'every_frame': the bag waits for the node, and no frame is lost. 'latest': the bag plays at its"
        " own pace, and the report says what the node lost.",
    ),
    DeclareLaunchArgument(
        "rate",
        default_value="",
        description="How many times as fast the bag is played. Empty: as fast as the node can with 'every_frame', as it"
        " was recorded with 'latest'.",
    ),
    DeclareLaunchArgument(
        "topic",
        default_value="",
        description="Topic of the images in the bag; {camera} stands for the name of each of the cameras. Empty: that"
        " of its only camera.",
    ),
    DeclareLaunchArgument(
        "depth_topic",
        default_value="",
        description="Topic of the depth in the bag that is registered to the image, as for segment.launch.py.",
    ),
    DeclareLaunchArgument(
        "camera_info_topic", default_value="", description="Topic of the image's CameraInfo in the bag, likewise."
    ),
    DeclareLaunchArgument(
        "odom_topic",
        default_value="",
        description="Topic of the robot's odometry in the bag, with motion:=odometry. Not given: odom.",
    ),
    DeclareLaunchArgument(
        "cameras",
        default_value="",
        description="Names of the bag's cameras, with commas between them: front,rear. Empty: one camera without a"
        " name, whatever params_file says.",
    ),
    DeclareLaunchArgument(
        "truth_classes",
        default_value="",
        description="Topic of the ground truth's classes in the bag. Empty: /ground_truth/semantic if there is one.",
    ),
    DeclareLaunchArgument(
        "truth_instances",
        default_value="",
        description="Topic of the ground truth's ids of things. Empty: /ground_truth/panoptic if there is one.",
    ),
    DeclareLaunchArgument(
        "truth", default_value="", description="A folder of PNG files, if the ground truth is there."
    ),
    DeclareLaunchArgument(
        "truth_map",
        default_value="",
        description="What the values of the truth's classes mean where they are not the model's ids: 'offset=-1',"
        " 'ignore=200', 'channel=r', '7=road', '#804080=road', several with commas between them, or a YAML file.",
    ),
    DeclareLaunchArgument(
        "truth_tolerance",
        default_value="",
        description="Seconds by which a truth's stamp may be beside its frame's. Empty: half way to the next frame.",
    ),
    *(
        DeclareLaunchArgument(name, default_value="", description=f"{RULES[name].text} Not given: as in params_file.")
        for name in PARAMETERS
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(SHARE / "config" / "segment.yaml"),
        description="YAML file of node parameters; the arguments here override it where they are given.",
    ),
]
# Where the values of these go in the commands that are started.
TRUTH = ("truth_classes", "truth_instances", "truth_map", "truth_tolerance")
IMAGE_OPTIONS = {name: "--" + name.replace("_", "-") for name in ("topic", *TRUTH)}
OPTIONS = {**IMAGE_OPTIONS, "truth": "--truth", "rate": "--rate", "out": "--out"}
# With every_frame nothing may be lost; with latest the node is to be as it is on the robot.
LOSSLESS = {"rate": "0", "reliability": "reliable", "qos_depth": "100"}
# Values of launch arguments; of `topic`, one for each camera.
Words = Mapping[str, Sequence[str]]


def generate_launch_description() -> LaunchDescription:
    """The description that `ros2 launch` asks for."""
    return LaunchDescription([*ARGUMENTS, checked(_processes)])


def _processes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    arguments = {argument.name: context.launch_configurations[argument.name] for argument in ARGUMENTS}
    given = {name: value for name, value in arguments.items() if value}
    check_choices(arguments, CHOICES)
    if "bag" not in given:  # launch would leave processes behind, see `checked`
        raise LaunchArgumentError("launch argument bag: not given, expected a rosbag2")
    cameras = parsed("cameras", given.get("cameras", EMPTY))
    several = len(cameras) > 1
    topics = topics_of("topic", arguments["topic"], cameras) if several or "topic" in given else []
    words = {**{name: [value] for name, value in given.items()}, "topic": topics}
    image_topic, image_transport = _images(given["bag"], words)
    if several:
        image_topic = given["topic"].removesuffix("/compressed" if image_transport == "compressed" else "")
    by_itself = is_launched_by_itself(context, __file__)
    segment = IncludeLaunchDescription(
        str(SHARE / "launch" / "segment.launch.py"),
        launch_arguments={
            "image_topic": image_topic,
            "image_transport": image_transport,
            "cameras": given.get("cameras", EMPTY),
            # All that has a name here too, because an included file sees the arguments of this one.
            **{name: arguments[name] for name in (*PARAMETERS, *DEPTH_TOPICS, "policy", "params_file")},
            **(LOSSLESS if given["policy"] == "every_frame" else dict.fromkeys(LOSSLESS, "")),
            # The evaluation starts it when there is something to see, and stops it when that is over.
            "autostart": "false",
            "on_exit": "shutdown" if by_itself else "nothing",
        }.items(),
    )
    node = full_node_name(context, "", "segment")
    end_node = EmitEvent(event=ShutdownProcess(process_matcher=lambda action: _is_node(action, node)))
    # It plays the bag itself, when the node and all topics are ready, with our own play_bag and not `ros2 bag`: only
    # that waits for results, so that no queue on the way can overflow.
    evaluation = Node(
        package="eomt_ros",
        executable="evaluate_bag",
        arguments=[
            given["bag"],
            *_options(OPTIONS, words),
            *(["--overwrite"] if given["overwrite"] == "true" else []),
        ],
        output="screen",
        # After Ctrl-C it scores what came until then, which may take as long as it takes.
        sigterm_timeout="86400",
        on_exit=shutting_down("the evaluation", unless=(0, STOPPED)) if by_itself else [end_node],
    )
    return [segment, evaluation]


def _is_node(action: LaunchDescriptionEntity, name: str) -> bool:
    return isinstance(action, Node) and action.node_name == name


def _images(bag: str, words: Words) -> tuple[str, str]:
    """The values of image_topic, of the first camera if there are several, and of image_transport."""
    command = ["python3", "-m", "eomt_ros.replay.bag_images", bag, *_options(IMAGE_OPTIONS, words)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise LaunchArgumentError(f"launch argument {_named_as_here(answer.stderr.strip())}")
    image_topic, *_, image_transport = answer.stdout.splitlines()
    return image_topic, image_transport


def _named_as_here(complaint: str) -> str:
    """A complaint about an option of the command in terms of the launch argument that it was made of."""
    for name, option in IMAGE_OPTIONS.items():
        if complaint.startswith(f"{option} "):
            return complaint.replace(f"{option} ", f"{name}:=", 1)
    return f"bag: {complaint}"


def _options(options: dict[str, str], words: Words) -> list[str]:
    return [each for name, option in options.items() for word in words.get(name, []) for each in (option, word)]
