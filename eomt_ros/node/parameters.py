"""Every parameter of the node, declared once: name, default, meaning, range, and when it may change.

`config/segment.yaml` shows the same list to users; a test holds the two together.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rclpy.node import Node
    from rclpy.parameter import Parameter


class ParameterError(ValueError):
    """A parameter has a value that the node cannot work with; the message names it, its value and what is expected."""


@dataclass(frozen=True)
class Rule:
    """Meaning and range of a parameter; `live`: it may change while the node is configured."""

    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    @property
    def text(self) -> str:
        """The description, with the choices where there are any."""
        return f"{self.description} One of: {_quoted(self.choices)}." if self.choices else self.description


_RULE = "rule"


def _parameter(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    rule = Rule(description, minimum, maximum, choices, live)
    return dataclasses.field(default=default, metadata={_RULE: rule})


@dataclass(frozen=True)
class Parameters:
    """The values of all parameters at one moment; a change makes a new object."""

    autostart: bool = _parameter(
        True, "Configure and activate at start. False: wait for lifecycle transitions, as under a lifecycle manager."
    )

    model: str = _parameter(
        "demo",
        "A folder with config.json and model.safetensors, a Hugging Face hub id, or 'demo' (comes with the package).",
    )
    task: str = _parameter(
        "",
        "What to segment. Empty: what the checkpoint was trained for.",
        choices=("", "semantic", "instance", "panoptic"),
    )
    device: str = _parameter("auto", "'cpu', 'cuda', 'cuda:1', ... 'auto': the GPU if there is one, else the CPU.")
    precision: str = _parameter(
        "auto",
        "Arithmetic of the network: 'float32', 'bfloat16' or 'float16'. 'auto': float16 on a GPU, and another as soon"
        " as that overflows; on a CPU bfloat16 where it computes in it, else float32.",
    )
    backend: str = _parameter(
        "auto",
        "What runs the network: 'torch', 'openvino' or 'onnxruntime'. 'auto': torch on a GPU; on the CPU OpenVINO where"
        " it is installed and has an export of the model, else torch.",
    )
    fit: str = _parameter(
        "stretch",
        "How an image is brought to VidEoMT's size: 'stretch' as in Hugging Face, 'keep_aspect' as published. The other"
        " families have one way each.",
        choices=("stretch", "keep_aspect"),
    )
    labels: str = _parameter(
        "",
        "A YAML file of class names and thing/stuff kinds. Empty: the package's table for the model, else its names.",
    )

    score_threshold: float = _parameter(
        -1.0,
        "Segments that score lower are left out. Negative: the family's default for the task"
        " (VidEoMT: panoptic 0.8, instance 0.5).",
        minimum=-1.0,
        maximum=1.0,
        live=True,
    )
    mask_threshold: float = _parameter(
        0.5, "A pixel belongs to a mask from this probability on.", minimum=0.0, maximum=1.0, live=True
    )
    overlap_threshold: float = _parameter(
        0.8,
        "Panoptic: a segment of which a smaller part than this is left after overlaps is dropped.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    fuse_stuff: bool = _parameter(True, "Panoptic: regions of one stuff class become one segment.", live=True)
    score_memory: float = _parameter(
        0.0,
        "VidEoMT: how much of a query's class scores is remembered from frame to frame. 0: nothing, as Hugging Face. 1:"
        " the mean of all frames, as published. Between: an exponential mean.",
        minimum=0.0,
        maximum=1.0,
    )
    top_k: int = _parameter(
        0,
        "VidEoMT and EoMT, instance task: so many likeliest pairs of query and class can be instances, as published. 0:"
        " each query with its likeliest class, as Hugging Face.",
        minimum=0,
        maximum=10000,
    )

    rate: float = _parameter(
        0.0,
        "Highest rate of processed frames (Hz); frames beyond it are skipped. 0: no limit.",
        minimum=0.0,
        maximum=1000.0,
        live=True,
    )
    policy: str = _parameter(
        "latest",
        "'latest': the newest frame wins, older ones that wait are dropped (for robots). 'every_frame': all in order"
        " (for evaluation, with reliability 'reliable' and a large depth).",
        choices=("latest", "every_frame"),
        live=True,
    )
    queue_size: int = _parameter(
        100,
        "Frames that may wait under policy 'every_frame'; where more come, the oldest is dropped, with a warning.",
        minimum=1,
        maximum=10000,
        live=True,
    )
    max_gap: float = _parameter(
        2.0,
        "Longest gap between the stamps of two images of one epoch (s). 0: no limit. An image that is older than the"
        " one before it by no more than this (0: by 1 s) is dropped as late.",
        minimum=0.0,
        maximum=86400.0,
        live=True,
    )

    image_transport: str = _parameter(
        "raw",
        "'raw': sensor_msgs/Image on 'image'. 'compressed': CompressedImage on 'image'/compressed.",
        choices=("raw", "compressed"),
    )
    reliability: str = _parameter(
        "best_effort",
        "Quality of service of the image subscription. 'best_effort' connects to every camera; 'reliable' asks again"
        " for what got lost.",
        choices=("best_effort", "reliable", "system_default"),
    )
    depth: int = _parameter(5, "Queue length of every topic, in and out.", minimum=1, maximum=1000)

    publish_masks: bool = _parameter(False, "Fill mask_rle of every instance.", live=True)
    overlay_alpha: float = _parameter(
        0.5,
        "Opacity of the segments' colours in ~/overlay: 0 shows the image alone, 1 hides it.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )

    @property
    def capacity(self) -> int:
        """Number of frames that may wait for the network."""
        return 1 if self.policy == "latest" else self.queue_size


RULES: dict[str, Rule] = {field.name: field.metadata[_RULE] for field in dataclasses.fields(Parameters)}
DEFAULTS = Parameters()
GONE = {"compile": "frames run as CUDA graphs without it; take it out of params_file and launch file"}
"""Names of former versions, and what to do instead."""


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
        "", [(name, getattr(DEFAULTS, name), _descriptor(name, rule)) for name, rule in RULES.items()]
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
    values = {change.name: _checked(change.name, change.value) for change in changes if change.name in RULES}
    return dataclasses.replace(current, **values)


def check_change(current: Parameters, wanted: Parameters, *, configured: bool) -> None:
    """Raise ParameterError if a value is to change that cannot, now or at all, while the node runs."""
    for name, rule in RULES.items():
        value = getattr(wanted, name)
        if rule.live or value == getattr(current, name):
            continue
        if name == "autostart":
            raise ParameterError(f"parameter {name}: cannot become {value!r}, it is looked at when the node starts")
        if configured:
            raise ParameterError(
                f"parameter {name}: cannot become {value!r} while the node is configured; deactivate and clean up first"
            )


def parse_value(name: str, text: str) -> Any:
    """The value of the parameter `name` that a user wrote as `text`. Raises ParameterError if it is not acceptable."""
    try:
        value = _READ[type(getattr(DEFAULTS, name))](text)
    except (KeyError, ValueError):
        value = text
    return _checked(name, value)


def _descriptor(name: str, rule: Rule) -> ParameterDescriptor:
    # Static typing would refuse `rate:=15`, which every user writes sooner or later: `_checked` looks at types instead.
    descriptor = ParameterDescriptor(description=rule.description, dynamic_typing=True)
    if rule.choices:
        descriptor.additional_constraints = f"One of: {_quoted(rule.choices)}."
    if rule.minimum is None or rule.maximum is None:
        return descriptor
    if isinstance(getattr(DEFAULTS, name), float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=rule.minimum, to_value=rule.maximum)]
    else:
        descriptor.integer_range = [IntegerRange(from_value=int(rule.minimum), to_value=int(rule.maximum), step=1)]
    return descriptor


def _checked(name: str, value: Any) -> Any:
    rule = RULES[name]
    kind = type(getattr(DEFAULTS, name))
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ParameterError(f"parameter {name}: got {value!r} ({type(value).__name__}), expected a {_KINDS[kind]}")
    if rule.choices and value not in rule.choices:
        raise ParameterError(f"parameter {name}: got {value!r}, expected one of {_quoted(rule.choices)}")
    # Written so that NaN is refused too.
    if rule.minimum is not None and rule.maximum is not None and not rule.minimum <= value <= rule.maximum:
        raise ParameterError(f"parameter {name}: got {value}, expected {rule.minimum} to {rule.maximum}")
    return value


def _quoted(choices: tuple[str, ...]) -> str:
    return ", ".join(repr(choice) for choice in choices)


_READ: dict[type, Callable[[str], Any]] = {
    bool: {"true": True, "false": False}.__getitem__,
    int: int,
    float: float,
    str: str,
}
_KINDS = {bool: "boolean", int: "whole number", float: "number", str: "string (quote it)"}
