"""Poses, beside OpenCV's rotations."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from eomt_ros.space.pose import OPTICAL_IN_BODY, Pose, PoseError

TURN = np.array([0.3, -0.5, 0.9])
ANGLE = float(np.linalg.norm(TURN))
QUATERNION = np.append(TURN / ANGLE * np.sin(ANGLE / 2), np.cos(ANGLE / 2))


def test_a_quaternion_turns_as_the_axis_and_angle_do() -> None:
    np.testing.assert_allclose(Pose.of((1, 2, 3), QUATERNION).rotation, cv2.Rodrigues(TURN)[0], atol=1e-12)


def test_rounded_quaternions_are_made_unit() -> None:
    rotation = Pose.of((0, 0, 0), 0.97 * QUATERNION).rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("position", "quaternion"),
    [
        ((0, 0, 0), (0, 0, 0, 0)),
        ((np.nan, 0, 0), (0, 0, 0, 1)),
        ((0, 0, 0), (0, 0, np.inf, 1)),
        ((0, 0, 0), (2, 0, 0, 0)),
    ],
)
def test_numbers_that_are_no_pose_are_refused(position: tuple[float, ...], quaternion: tuple[float, ...]) -> None:
    with pytest.raises(PoseError, match="quaternion of length 1"):
        Pose.of(position, quaternion)


def test_poses_chain_and_invert() -> None:
    first, second = Pose.of((1, 2, 3), QUATERNION), Pose.from_rpy((-1, 0, 2), 0.1, 0.2, 0.3)
    points = np.random.default_rng(0).normal(size=(4, 5, 3))
    np.testing.assert_allclose((first @ second).apply(points), first.apply(second.apply(points)))
    np.testing.assert_allclose(first.inverse().apply(first.apply(points)), points)


def test_roll_pitch_and_yaw_turn_about_fixed_axes_in_this_order() -> None:
    quarter = np.pi / 2
    # x goes by the roll to x, by the pitch to -z; z's opposite stays by the yaw.
    np.testing.assert_allclose(
        Pose.from_rpy((0, 0, 0), quarter, quarter, quarter).apply(np.eye(3)[0]), [0, 0, -1], atol=1e-12
    )
    np.testing.assert_allclose(Pose.from_rpy((0, 0, 0), 0, 0, quarter).apply(np.eye(3)[0]), [0, 1, 0], atol=1e-12)


def test_half_way_is_half_the_turn_and_half_the_distance() -> None:
    still, turned = Pose(np.eye(3), np.zeros(3)), Pose(cv2.Rodrigues(TURN)[0], np.array([2.0, 0.0, 4.0]))
    half = Pose.between(still, turned, 0.5)
    np.testing.assert_allclose(half.rotation, cv2.Rodrigues(TURN / 2)[0], atol=1e-12)
    np.testing.assert_allclose(half.translation, [1, 0, 2])


def test_what_is_ahead_in_the_picture_is_ahead_of_the_body() -> None:
    np.testing.assert_allclose(
        OPTICAL_IN_BODY.apply(np.array([[0, 0, 1.0], [1.0, 0, 0], [0, 1.0, 0]])), [[1, 0, 0], [0, -1, 0], [0, 0, -1]]
    )
