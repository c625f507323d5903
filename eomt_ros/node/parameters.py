"""Every parameter of the node, declared once: name, default, meaning, range, and when it may change.

`config/segment.yaml` shows the same list to users; a test holds the two together.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from eomt_ros.continuity import MAX_GAP
from eomt_ros.model_options import GONE, ModelOptions, Rule, accepted, option, quoted, rules_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rclpy.node import Node
    from rclpy.parameter import Parameter


class ParameterError(ValueError):
    """A parameter has a value that the node cannot work with; the message names it, its value and what is expected."""


@dataclass(frozen=True)
class Parameters(ModelOptions):
    """The values of all parameters at one moment; a change makes a new object."""

    autostart: bool = option(
        True, "Configure and activate at start. False: wait for lifecycle transitions, as under a lifecycle manager."
    )

    cameras: tuple[str, ...] = option(
        ("",),
        "Names of the cameras, whose images go through the network together. For each, as 'front', the topics are"
        " 'front/image' and ~/front/semantic and so on. ['']: one camera without a name, on 'image'.",
    )
    sync_window: float = option(
        0.0,
        "Longest time that an image waits for those of the other cameras, so that they go through the network together"
        " (s): for cameras that are triggered together.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    shared_ids: bool = option(
        False,
        "The cameras have one memory and one count of ids: a thing that leaves one and enters another keeps its id"
        " (remember), and no id stands for two things. False: the ids of each camera are its own.",
    )
    rate: float = option(
        0.0,
        "Highest rate of processed frames of each camera (Hz); frames beyond it are skipped. 0: no limit.",
        minimum=0.0,
        maximum=1000.0,
        live=True,
    )
    max_latency: float = option(
        0.0,
        "At start, measure how long the engine takes for an image of each camera together, and use the largest size, up"
        " to 'size', that takes at most this (s) in 95 of 100 times; where none does, the start fails. 0: use 'size'.",
        minimum=0.0,
        maximum=60.0,
    )
    max_latency_image: tuple[int, ...] = option(
        (1920, 1080), "Width and height of the images that max_latency is measured with: those of the cameras (pixels)."
    )
    policy: str = option(
        "latest",
        "'latest': the newest frame wins, older ones that wait are dropped (for robots). 'every_frame': all in order"
        " (for evaluation, with reliability 'reliable' and a large qos_depth).",
        choices=("latest", "every_frame"),
        live=True,
    )
    queue_size: int = option(
        100,
        "Frames of a camera that may wait under policy 'every_frame'; where more come, the oldest is dropped, with a"
        " warning.",
        minimum=1,
        maximum=10000,
        live=True,
    )
    max_gap: float = option(
        MAX_GAP,
        "Longest gap between the stamps of two images of one epoch (s). 0: no limit. An image that is older than the"
        " one before it by no more than this (0: by 1 s) is dropped as late.",
        minimum=0.0,
        maximum=86400.0,
        live=True,
    )

    image_transport: str = option(
        "raw",
        "'raw': sensor_msgs/Image on 'image'. 'compressed': CompressedImage on 'image'/compressed.",
        choices=("raw", "compressed"),
    )
    reliability: str = option(
        "best_effort",
        "Quality of service of the image subscription. 'best_effort' connects to every camera; 'reliable' asks again"
        " for what got lost.",
        choices=("best_effort", "reliable", "system_default"),
    )
    qos_depth: int = option(5, "Queue length of every topic, in and out.", minimum=1, maximum=1000)

    depth: str = option(
        "none",
        "Depth that is registered to the image. 'raw': sensor_msgs/Image (16UC1 in mm, 32FC1 in m) on 'depth'."
        " 'compressed': CompressedImage (PNG or compressedDepth) on 'depth'/compressed. With it there are ~/points,"
        " ~/obstacles, ~/objects, ~/detections_3d and ~/markers; 'camera_info' is needed then.",
        choices=("none", "raw", "compressed"),
    )
    depth_slop: float = option(
        0.05,
        "Longest time between the stamps of an image and its depth (s), where none has the same stamp.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    target_frame: str = option(
        "",
        "Frame of ~/objects, ~/detections_3d and ~/markers: a fixed one, such as 'odom' or 'map', so that they have"
        " velocities. Empty: the camera's optical frame, without velocities.",
    )
    motion: str = option(
        "tf",
        "Where the camera's pose in target_frame comes from. 'tf': tf2_ros. 'odometry': nav_msgs/Odometry on 'odom',"
        " with camera_pose.",
        choices=("tf", "odometry"),
    )
    camera_pose: tuple[float, ...] = option(
        (0.0,) * 6,
        "With motion 'odometry': x y z (m) roll pitch yaw (rad) of the camera (x forward, y left, z up) in the"
        " odometry's child frame; with several cameras six numbers for each, or six for all.",
    )
    obstacle_voxel: float = option(
        0.05,
        "Edge of the cubes of which ~/obstacles has one point each (m).",
        minimum=0.01,
        maximum=1.0,
        live=True,
    )

    publish_masks: bool = option(False, "Fill mask_rle of every instance.", live=True)
    publish_embeddings: bool = option(
        False,
        "Fill embedding of every instance and object that is a thing, by which a fleet or a map can find it again.",
        live=True,
    )
    overlay_alpha: float = option(
        0.5,
        "Opacity of the segments' colours in ~/overlay: 0 shows the image alone, 1 hides it.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )

    @property
    def capacity(self) -> int:
        """Number of frames of a camera that may wait for the network."""
        return 1 if self.policy == "latest" else self.queue_size


CAMERA_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*", re.ASCII)
LARGEST_SIDE = 8192
"""Pixels of an image that max_latency is measured with."""
ALONE = "segmentation"
"""Name of the status of a camera without a name, in /diagnostics."""
ENGINE = "engine"
"""Name of the status of what the cameras share, in /diagnostics."""
RULES = rules_of(Parameters)
DEFAULTS = Parameters()


def declare(node: Node) -> Parameters:
    """Declare all parameters on `node` and return their values; names that it does not know are warned of.

    Raises ParameterError for a bad value, and rclpy's ParameterException for one outside its range.
    """
    for name, advice in GONE.items():
        given = node.declare_parameter(name, descriptor=ParameterDescriptor(dynamic_typing=True))
        node.undeclare_parameter(name)
        if given.value is not None:
            raise ParameterError(f"parameter {name} is gone: {advice}")
    node.declare_parameters(
        "", [(name, _as_ros(getattr(DEFAULTS, name)), _descriptor(name, rule)) for name, rule in RULES.items()]
    )
    for name in node._parameter_overrides:
        if not node.has_parameter(name) and not name.startswith("qos_overrides."):
            alike = "".join(f", but there is {near}" for near in difflib.get_close_matches(name, RULES, 1))
            node.get_logger().warning(f"parameter {name} has no effect: there is none of this name{alike}")
    return changed(DEFAULTS, node.get_parameters(list(RULES)))


def changed(current: Parameters, changes: Iterable[Parameter[Any]]) -> Parameters:
    """Return `current` with `changes` made; parameters that are not in RULES are left alone.

    Raises ParameterError if a value is not acceptable.
    """
    values = {change.name: checked_value(change.name, change.value) for change in changes if change.name in RULES}
    return dataclasses.replace(current, **values)


def check_change(current: Parameters, wanted: Parameters, *, configured: bool) -> None:
    """Raise ParameterError if a value is to change that cannot, now or at all, while the node runs."""
    for name, rule in RULES.items():
        value = getattr(wanted, name)
        if rule.live or value == getattr(current, name):
            continue
        value = _as_ros(value)
        if name == "autostart":
            raise ParameterError(f"parameter {name}: cannot become {value!r}, it is looked at when the node starts")
        if configured:
            raise ParameterError(
                f"parameter {name}: cannot become {value!r} while the node is configured; deactivate and clean up first"
            )


def parse_value(name: str, text: str) -> Any:
    """The value of the parameter `name` that a user wrote as `text`, a list with commas.

    Raises ParameterError if it is not acceptable.
    """
    kind = type(getattr(DEFAULTS, name))
    value: Any
    try:
        if kind is tuple:
            item = type(getattr(DEFAULTS, name)[0])
            value = [item(each) for each in text.split(",")]
        else:
            value = {"true": True, "false": False}[text] if kind is bool else kind(text)
    except (KeyError, ValueError):
        value = text
    return checked_value(name, value)


def checked_value(name: str, value: Any) -> Any:
    """The value of the parameter `name`, as the type of its default. Raises ParameterError if it is not acceptable."""
    if name in ("cameras", "classes") and value is None:
        value = []  # ROS tells no type of an empty list, and so no value
    if isinstance(value, array):  # a list of numbers that came in a message
        value = list(value)
    if name == "depth" and isinstance(value, int):
        raise ParameterError(f"parameter depth: got {value!r}; the length of the queues is the parameter qos_depth now")
    try:
        value = accepted(name, value, getattr(DEFAULTS, name), RULES[name])
    except ValueError as error:
        raise ParameterError(f"parameter {error}") from error
    if name == "cameras":
        _check_cameras(value)
    if name == "max_latency_image" and not (len(value) == 2 and all(0 < side <= LARGEST_SIDE for side in value)):
        raise ParameterError(
            f"parameter {name}: got {list(value)}, expected width and height, 1 to {LARGEST_SIDE} pixels each"
        )
    return value


def _descriptor(name: str, rule: Rule) -> ParameterDescriptor:
    # Static typing would refuse `rate:=15`, which every user writes sooner or later: `checked_value` looks at types.
    descriptor = ParameterDescriptor(description=rule.description, dynamic_typing=True)
    if rule.choices:
        descriptor.additional_constraints = f"One of: {quoted(rule.choices)}."
    if rule.minimum is None or rule.maximum is None:
        return descriptor
    if isinstance(getattr(DEFAULTS, name), float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=rule.minimum, to_value=rule.maximum)]
    else:
        descriptor.integer_range = [IntegerRange(from_value=int(rule.minimum), to_value=int(rule.maximum), step=1)]
    return descriptor


def _check_cameras(names: tuple[str, ...]) -> None:
    if names == DEFAULTS.cameras:
        return
    twice = sorted({name for name in names if names.count(name) > 1})
    nameless = [name for name in names if not CAMERA_NAME.fullmatch(name)]
    if twice:
        raise ParameterError(f"parameter cameras: {quoted(tuple(twice))} stands twice in {list(names)}; rename one")
    if ENGINE in names:
        raise ParameterError(
            f"parameter cameras: got {ENGINE!r} in {list(names)}, which is the status of what they share in"
            " /diagnostics; rename the camera"
        )
    if nameless or not names:
        got = f"{nameless[0]!r} in {list(names)}" if names else "an empty list"
        raise ParameterError(
            f"parameter cameras: got {got}, expected names of letters, digits and underscores that begin with a letter,"
            " or [''] for one camera without a name"
        )


def _as_ros(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
