"""Helpers that the launch files share: a launch ends no processes of others, and leaves none of its own behind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext
from launch.actions import IncludeLaunchDescription, OpaqueFunction, Shutdown, TimerAction
from launch.events import IncludeLaunchDescription as Included
from launch.events.process import ProcessExited
from launch.launch_description_entity import LaunchDescriptionEntity
from launch_ros.utilities import make_namespace_absolute, prefix_namespace
from rclpy.exceptions import InvalidNamespaceException, InvalidTopicNameException
from rclpy.validate_namespace import validate_namespace
from rclpy.validate_topic_name import validate_topic_name

from eomt_ros.node.parameters import ParameterError, parse_value

CAMERA = "{camera}"
"""Stands for the name of each camera in the argument that says where images come from."""
EMPTY = "''"
"""The value of an argument for an empty text; one without characters is not given."""
MOST_NAMES = 5  # of a file, in a complaint

Entities = Iterable[LaunchDescriptionEntity]


class LaunchArgumentError(ValueError):
    """A launch argument is not acceptable; the message names it, its value and what is expected."""


def checked(entities: Callable[[LaunchContext], Entities]) -> OpaqueFunction:
    """The action that visits `entities(context)`, or ends the whole launch if that raises a LaunchArgumentError."""

    def visit(context: LaunchContext) -> Entities:
        try:
            return entities(context)
        except LaunchArgumentError as error:
            # Not at once: launch forgets the processes that it was about to start when a file that it includes raises,
            # and leaves them running. What raises in an event of its own, launch ends with all that it has started.
            return [TimerAction(period=0.0, actions=[OpaqueFunction(function=_raise, args=[error])])]

    return OpaqueFunction(function=visit)


def is_launched_by_itself(context: LaunchContext, file: str) -> bool:
    """Say whether `file` is what was launched, and not a file included by another."""
    event = getattr(context.locals, "event", None)
    if not isinstance(event, Included):
        return False
    return any(
        isinstance(entity, IncludeLaunchDescription)
        and Path(entity.launch_description_source.location).resolve() == Path(file).resolve()
        for entity in event.launch_description.entities
    )


def shutting_down(what: str, *, unless: Iterable[int] = (0,)) -> Callable[[ProcessExited, LaunchContext], Shutdown]:
    """The `on_exit` of a process that the launch is for: ends the launch, with an error unless the code is expected."""

    def end(event: ProcessExited, context: LaunchContext) -> Shutdown:
        if event.returncode not in unless:
            # An exception is what makes `ros2 launch` itself end with a non-zero code.
            raise RuntimeError(f"{what} ended with exit code {event.returncode}")
        return Shutdown(reason=f"{what} has ended")

    return end


def has_ros_package(package: str) -> bool:
    """Say whether a ROS package is installed."""
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True


def full_node_name(context: LaunchContext, namespace: str, name: str) -> str:
    """The name of a node with its namespace, below that of a surrounding group. Raises LaunchArgumentError."""
    surrounding = context.launch_configurations.get("ros_namespace")
    absolute = make_namespace_absolute(prefix_namespace(surrounding, namespace or None)) or "/"
    try:
        validate_namespace(absolute)
    except InvalidNamespaceException as error:
        raise LaunchArgumentError(f"launch argument namespace: got '{namespace}', {_reason(error)}") from error
    return f"{absolute.rstrip('/')}/{name}"


def check_choices(arguments: Mapping[str, str], choices: Mapping[str, Sequence[str]]) -> None:
    """Raise LaunchArgumentError for an argument that is none of its choices.

    Here and not in DeclareLaunchArgument, which raises where launch leaves processes behind, see `checked`.
    """
    for name, expected in choices.items():
        if arguments[name] not in expected:
            quoted = " or ".join(f"'{choice}'" for choice in expected if choice)
            raise LaunchArgumentError(f"launch argument {name}: got '{arguments[name]}', expected {quoted}")


def parsed(name: str, text: str) -> Any:
    """The value of the node's parameter that has a launch argument of the same name. Raises LaunchArgumentError."""
    try:
        return parse_value(name, "" if text == EMPTY else text)
    except ParameterError as error:
        raise LaunchArgumentError(str(error).replace("parameter", "launch argument", 1)) from error


def topics_of(argument: str, topic: str, cameras: Sequence[str]) -> list[str]:
    """The topic of each camera: `topic`, with the camera's name where it has `{camera}`. Raises LaunchArgumentError."""
    complaint = f"launch argument {argument}: got '{topic}'"
    if not any(cameras) and CAMERA in topic:
        raise LaunchArgumentError(
            f"{complaint}, but no camera has a name; name them, as in cameras:=front,rear, or leave {CAMERA} out"
        )
    if len(cameras) > 1 and CAMERA not in topic:
        raise LaunchArgumentError(
            f"{complaint} for the cameras {', '.join(cameras)}; write {CAMERA} where each has its name, as in"
            f" {argument}:=/{CAMERA}/{topic.rpartition('/')[2] or 'image_raw'}"
        )
    topics = [topic.replace(CAMERA, camera) for camera in cameras]
    for each in topics:
        _check_topic(argument, each)
    return topics


def topic_of(argument: str, topic: str) -> str:
    """The one topic of an argument that is for all cameras. Raises LaunchArgumentError."""
    if CAMERA in topic:
        raise LaunchArgumentError(
            f"launch argument {argument}: got '{topic}', expected one topic for all cameras, without {CAMERA}"
        )
    _check_topic(argument, topic)
    return topic


def _check_topic(argument: str, topic: str) -> None:
    try:
        validate_topic_name(topic)
    except InvalidTopicNameException as error:
        raise LaunchArgumentError(f"launch argument {argument}: got '{topic}', {_reason(error)}") from error
    if "{" in topic:  # rclpy takes names in braces, and rcl ends a node that is remapped to one
        raise LaunchArgumentError(f"launch argument {argument}: got '{topic}', expected no braces but {{camera}}")


def parameters_in(path: str, node_name: str) -> dict[str, Any]:
    """The parameters that a file has for the node, whose name comes with its namespace.

    Raises LaunchArgumentError if it has none: launch_ros and rcl would take that for a node that is to have its
    defaults.
    """
    complaint = "launch argument params_file:"
    if not Path(path).is_file():
        raise LaunchArgumentError(f"{complaint} there is no file '{path}'")
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LaunchArgumentError(f"{complaint} '{path}' cannot be read: {' '.join(str(error).split())}") from error
    sections = list(_sections_of(content))
    fitting = [parameters for name, parameters in sections if _matches(name, node_name)]
    if fitting:  # of those that have a parameter the last one counts, as for rclpy
        return {name: value for parameters in fitting for name, value in parameters.items()}
    names = [name for name, _ in sections]
    has = f"has parameters of {', '.join(names[:MOST_NAMES])}" if names else "has no ros__parameters"
    raise LaunchArgumentError(
        f"{complaint} '{path}' {has}, but none of {node_name}; name its section '{node_name}', or '/**' for any node"
    )


def _sections_of(content: Any, above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        name = str(key).strip("/")
        if name == "ros__parameters":
            yield above, value if isinstance(value, dict) else {}
        else:
            yield from _sections_of(value, f"{above}/{name}" if name else above)


def _matches(pattern: str, node_name: str) -> bool:
    # The rules of rcl_yaml_param_parser: ** stands for any number of names, * for one.
    any_of = {"**": "(/[^/]+)*", "*": "/[^/]+"}
    steps = [any_of.get(step, f"/{re.escape(step)}") for step in pattern.split("/")[1:]]
    return re.fullmatch("".join(steps), node_name) is not None


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(":")


def _raise(context: LaunchContext, error: LaunchArgumentError) -> None:
    raise error
