"""The bird's-eye view: things, tracks and obstacles where they are, in the robot's own view of the ground."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from eomt_ros.replay.birds_eye import AHEAD, BEHIND, TRACK, BirdsEye
from eomt_ros.space.pose import OPTICAL_IN_BODY, Pose

SIDE = 340
SCALE = SIDE / (AHEAD + BEHIND)
COLORS = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
NO_POINTS = np.zeros((0, 3)), np.zeros(0, np.uint16)
ORIGIN = Pose(np.eye(3), np.zeros(3))
WHITE = (255, 255, 255)


def xyz(x: float, y: float, z: float) -> SimpleNamespace:
    return SimpleNamespace(x=x, y=y, z=z)


def thing(position: SimpleNamespace, **fields: Any) -> SimpleNamespace:
    """An object of class 1 that stands still."""
    values: dict[str, Any] = {
        "id": 5,
        "class_id": 1,
        "class_name": "box",
        "size": xyz(1.0, 0.6, 0.8),
        "velocity_known": True,
        "velocity": xyz(0.0, 0.0, 0.0),
        "moving": False,
        "points": 100,
    }
    return SimpleNamespace(position=position, **(values | fields))


def view(*, fixed: bool = True) -> BirdsEye:
    return BirdsEye(SIDE, COLORS, np.radians(80.0), fixed=fixed)


def pixel(page: npt.NDArray[np.uint8], ahead: float, left: float) -> tuple[int, ...]:
    """What is drawn so many metres ahead of the robot and to its left."""
    return tuple(page[round((AHEAD - ahead) * SCALE), round(SIDE / 2 - left * SCALE)].tolist())


def is_green(color: tuple[int, ...]) -> bool:
    red, green, blue = color
    return green > 60 and max(red, blue) < green / 3


def test_a_box_fills_its_place_ahead_and_to_the_left_of_the_robot() -> None:
    page = view().draw(0.0, ORIGIN, [thing(xyz(3.0, 1.0, 0.4))], *NO_POINTS)
    assert page.shape == (SIDE, SIDE, 3)
    for ahead, left, inside in ((3, 1, True), (3.45, 1, True), (3, 1.25, True), (3.6, 1, False), (3, 1.4, False)):
        assert is_green(pixel(page, ahead, left)) == inside, (ahead, left)
    assert pixel(page, 0.0, 0.0) == WHITE, "the robot"


def test_the_view_turns_and_moves_with_the_robot() -> None:
    robot = Pose.from_rpy((10.0, 20.0, 0.0), 0.0, 0.0, np.pi / 2)  # looks along y
    page = view().draw(0.0, robot, [thing(xyz(9.0, 23.0, 0.4))], *NO_POINTS)
    assert is_green(pixel(page, 3.0, 1.0))
    assert is_green(pixel(page, 3.0, 1.45)), "the box is longer along x, which is to the left now"
    assert not is_green(pixel(page, 3.45, 1.0))


def test_positions_of_the_optical_frame_are_seen_from_above_too() -> None:
    box = thing(xyz(-1.0, 0.5, 3.0), size=xyz(0.6, 0.8, 1.0))  # x right, y down, z ahead
    page = view(fixed=False).draw(0.0, OPTICAL_IN_BODY.inverse(), [box], *NO_POINTS)
    assert is_green(pixel(page, 3.0, 1.0))
    assert is_green(pixel(page, 3.45, 1.0))
    assert not is_green(pixel(page, 3.0, 1.45))


def test_what_is_only_predicted_is_an_outline() -> None:
    page = view().draw(0.0, ORIGIN, [thing(xyz(3.0, 1.0, 0.4), points=0)], *NO_POINTS)
    assert not is_green(pixel(page, 3.0, 1.0))
    assert is_green(pixel(page, 3.5, 1.0))


def test_an_arrow_shows_a_second_of_motion_and_only_of_what_moves() -> None:
    moving = thing(xyz(3.0, 1.0, 0.4), velocity=xyz(0.0, -1.5, 0.0), moving=True)
    assert pixel(view().draw(0.0, ORIGIN, [moving], *NO_POINTS), 3.0, 0.0) == WHITE
    moving.moving = False
    assert pixel(view().draw(0.0, ORIGIN, [moving], *NO_POINTS), 3.0, 0.0) != WHITE
    moving.moving, moving.velocity_known = True, False
    assert pixel(view().draw(0.0, ORIGIN, [moving], *NO_POINTS), 3.0, 0.0) != WHITE


def test_a_track_is_where_the_thing_was_in_the_last_seconds() -> None:
    birds_eye = view()
    for number in range(11):
        page = birds_eye.draw(number / 10, ORIGIN, [thing(xyz(2.0 + number / 5, -1.0, 0.4))], *NO_POINTS)
    assert is_green(pixel(page, 2.6, -1.0))
    page = birds_eye.draw(1.0 + TRACK + 0.1, ORIGIN, [thing(xyz(4.0, -1.0, 0.4))], *NO_POINTS)
    assert not is_green(pixel(page, 2.6, -1.0))


def test_in_a_frame_that_moves_with_the_robot_there_are_no_tracks() -> None:
    birds_eye = view(fixed=False)
    for number in range(11):
        page = birds_eye.draw(number / 10, ORIGIN, [thing(xyz(2.0 + number / 5, -1.0, 0.4))], *NO_POINTS)
    assert not is_green(pixel(page, 2.6, -1.0))


def test_obstacles_have_the_colour_of_their_class_and_those_far_away_are_not_seen() -> None:
    points = np.array([[4.0, -1.0, 0.5], [60.0, 0.0, 0.5], [-5.0, 0.0, 0.5], [2.0, 2.0, 0.0]])
    page = view().draw(0.0, ORIGIN, [], points, np.array([2, 2, 2, 7], np.uint16))
    assert pixel(page, 4.0, -1.0) == COLORS[2]
    assert len(set(pixel(page, 2.0, 2.0))) == 1, "of a class without a colour"
    assert np.count_nonzero((page == COLORS[2]).all(axis=2)) == 4
