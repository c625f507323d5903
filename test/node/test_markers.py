"""Markers of objects, as RViz takes them in: by namespace and id."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from std_msgs.msg import Header

pytest.importorskip("visualization_msgs")

from visualization_msgs.msg import Marker, MarkerArray

from eomt_ros.node.markers import ObjectMarkers
from eomt_ros.space.pose import OPTICAL_IN_BODY, Pose
from test.node.results import located

COLORS = ((0, 0, 0), (255, 0, 51))
HEADER = Header(frame_id="odom")
POSE = Pose(OPTICAL_IN_BODY.rotation, np.array([1.0, 2.0, 1.0]))


class Viewer:
    """What is to be seen after the messages so far."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, int], Marker] = {}

    def show(self, array: MarkerArray) -> None:
        """Take a message in."""
        keys = [(marker.ns, marker.id) for marker in array.markers]
        assert len(set(keys)) == len(keys), "RViz complains of a marker that stands twice in a message"
        for key, marker in zip(keys, array.markers, strict=True):
            if marker.action == Marker.DELETE:
                self.seen.pop(key)  # only what was there
            else:
                self.seen[key] = marker

    @property
    def namespaces(self) -> dict[int, set[str]]:
        """Those that each object is shown in."""
        found: dict[int, set[str]] = {}
        for namespace, number in self.seen:
            found.setdefault(number, set()).add(namespace)
        return found


@pytest.fixture
def viewer() -> Viewer:
    return Viewer()


@pytest.fixture
def markers() -> ObjectMarkers:
    return ObjectMarkers(COLORS)


def array(number: int, pose: Pose | None = POSE, **changes: Any) -> dict[str, Marker]:
    """The markers of one object, by namespace."""
    message = ObjectMarkers(COLORS).array([located(number, **changes)], HEADER, pose)
    return {marker.ns: marker for marker in message.markers}


def xyz(vector: Any) -> tuple[float, float, float]:
    return vector.x, vector.y, vector.z


def test_box_is_where_the_object_is_in_the_color_of_its_class() -> None:
    box = array(7)["box"]
    assert (box.type, box.id, box.header) == (Marker.CUBE, 7, HEADER)
    assert (xyz(box.pose.position), xyz(box.scale)) == ((1.0, 2.0, 3.0), (0.5, 0.25, 2.0))
    assert box.pose.orientation.w == 1.0
    assert (box.color.r, box.color.g, box.color.b) == pytest.approx((1.0, 0.0, 0.2))


def test_flat_object_has_a_box_that_rviz_accepts() -> None:
    assert array(7, size=np.array([0.5, 0.0, 2.0]))["box"].scale.y > 0


def test_object_that_is_only_predicted_is_fainter() -> None:
    assert array(7, points=0)["box"].color.a < array(7)["box"].color.a


def test_text_names_the_object_its_distance_from_the_camera_and_its_speed() -> None:
    assert array(7)["name"].text == "person 7\n2.0 m, 5.0 m/s"
    assert array(7, moving=False)["name"].text == "person 7\n2.0 m"
    assert array(7, None, velocity=None)["name"].text == f"person 7\n{np.sqrt(14):.1f} m"


def test_text_is_above_the_box_also_in_the_frame_of_the_camera() -> None:
    box, name = (array(7)[namespace].pose.position for namespace in ("box", "name"))
    assert (name.x, name.y) == (box.x, box.y)
    assert name.z > box.z + 1.0
    box, name = (array(7, None)[namespace].pose.position for namespace in ("box", "name"))
    assert (name.x, name.z) == (box.x, box.z)
    assert name.y < box.y - 0.125


def test_arrow_shows_where_a_moving_object_is_in_a_second() -> None:
    arrow = array(7)["velocity"]
    assert arrow.type == Marker.ARROW
    assert [xyz(point) for point in arrow.points] == [(1.0, 2.0, 3.0), (4.0, 2.0, 7.0)]
    assert "velocity" not in array(7, moving=False)
    assert "velocity" not in array(7, velocity=None)


def test_what_has_gone_is_deleted(markers: ObjectMarkers, viewer: Viewer) -> None:
    viewer.show(markers.array([located(7), located(8)], HEADER, POSE))
    assert viewer.namespaces == {7: {"box", "name", "velocity"}, 8: {"box", "name", "velocity"}}
    viewer.show(markers.array([located(8, moving=False)], HEADER, POSE))
    assert viewer.namespaces == {8: {"box", "name"}}
    viewer.show(markers.array([], HEADER, POSE))
    assert viewer.namespaces == {}


def test_all_of_it_fades_where_results_stop() -> None:
    assert all(0 < marker.lifetime.sec < 10 for marker in array(7).values())
