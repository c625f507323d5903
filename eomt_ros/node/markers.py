"""Objects as visualization_msgs/MarkerArray for RViz, a package that need not be installed: then MarkerArray is None.

Of an object: a box, text above it, and an arrow if it moves, each with the object's id in a namespace of its own. What
is no longer there is deleted; where results stop, all of it fades after `LIFETIME`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from geometry_msgs.msg import Pose as PoseMessage
from std_msgs.msg import ColorRGBA

from eomt_ros.node.messages import vector

try:
    from visualization_msgs.msg import Marker, MarkerArray
except ImportError:  # an optional dependency: RViz brings it along
    MarkerArray = None

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from std_msgs.msg import Header

    from eomt_ros.space.locator import LocatedObject
    from eomt_ros.space.pose import Pose

__all__ = ["MISSING", "MarkerArray", "ObjectMarkers"]

MISSING = "visualization_msgs is not installed (ros-$ROS_DISTRO-visualization-msgs)"
LIFETIME = Duration(sec=2)
BOX, NAME, VELOCITY = "box", "name", "velocity"
OPACITY = 0.5
OPACITY_PREDICTED = 0.15
"""Of the box of an object that is not seen in this image."""
TEXT_HEIGHT = 0.2  # m
SHAFT, HEAD = 0.05, 0.12  # diameters of an arrow, m
ARROW_TIME = 1.0  # s: an arrow ends where its object would be then
THINNEST = 0.01  # m: RViz refuses a box without extent
UP = np.array([0.0, 0.0, 1.0])  # in target_frame, as REP 103 has it
UP_OPTICAL = np.array([0.0, -1.0, 0.0])
WHITE = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)


class ObjectMarkers:
    """The markers of one camera, and which of them viewers have.

    colors: RGB, 0..255, by class.
    """

    def __init__(self, colors: Sequence[tuple[int, int, int]]) -> None:
        self._colors = colors
        self._shown: set[tuple[str, int]] = set()

    def array(self, objects: Iterable[LocatedObject], header: Header, pose: Pose | None) -> Any:
        """The message that brings viewers from the last one's objects to these.

        pose: the camera's in the header's frame; None: that is the camera's own.
        """
        markers = [marker for each in objects for marker in self._markers_of(each, header, pose)]
        shown = {(marker.ns, marker.id) for marker in markers}
        gone = [Marker(header=header, ns=ns, id=number, action=Marker.DELETE) for ns, number in self._shown - shown]
        self._shown = shown
        return MarkerArray(markers=[*gone, *markers])

    def _markers_of(self, each: LocatedObject, header: Header, pose: Pose | None) -> list[Marker]:
        camera_at, up = (np.zeros(3), UP_OPTICAL) if pose is None else (pose.translation, UP)
        size = np.maximum(each.size, THINNEST)
        above = each.position + up * (np.abs(up) @ size / 2 + TEXT_HEIGHT)
        velocity = each.velocity if each.moving else None
        told = f"{each.class_name} {each.id}\n{np.linalg.norm(each.position - camera_at):.1f} m"
        told += "" if velocity is None else f", {np.linalg.norm(velocity):.1f} m/s"
        box = _marker(header, BOX, each.id, Marker.CUBE, at=each.position, scale=size, color=self._color(each))
        name = _marker(header, NAME, each.id, Marker.TEXT_VIEW_FACING, at=above, scale=(0, 0, TEXT_HEIGHT))
        name.text = told
        if velocity is None:
            return [box, name]
        arrow = _marker(header, VELOCITY, each.id, Marker.ARROW, scale=(SHAFT, HEAD, 0))
        arrow.points = [vector(Point, at) for at in (each.position, each.position + velocity * ARROW_TIME)]
        return [box, name, arrow]

    def _color(self, each: LocatedObject) -> ColorRGBA:
        red, green, blue = (value / 255 for value in self._colors[each.class_id])
        return ColorRGBA(r=red, g=green, b=blue, a=OPACITY if each.points else OPACITY_PREDICTED)


def _marker(
    header: Header,
    namespace: str,
    number: int,
    kind: int,
    *,
    at: Iterable[float] = (0, 0, 0),
    scale: Iterable[float],
    color: ColorRGBA = WHITE,
) -> Any:
    return Marker(
        header=header,
        ns=namespace,
        id=number,
        type=kind,
        action=Marker.ADD,
        pose=PoseMessage(position=vector(Point, at)),
        scale=vector(Vector3, scale),
        color=color,
        lifetime=LIFETIME,
    )
