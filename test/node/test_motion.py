"""Where the camera is at the stamp of an image: by odometry between its poses, or not at all, and why."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.node import Node
from scipy.spatial.transform import Rotation

from eomt_ros.node.motion import Motion, OdometryMotion, check_motion, open_motion
from eomt_ros.node.parameters import ParameterError, Parameters
from eomt_ros.node.qos import QosOverrides
from eomt_ros.node.space_frame import Lack, LackError
from eomt_ros.space.pose import Pose
from test.node.spinning import spinning
from test.patience import PATIENCE

OPTICAL = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
"""Axes of an optical frame (x right, y down, z ahead) in its body's (x ahead, y left, z up): REP 103."""
SECOND = 10**9


class Base:
    """A robot's base that publishes odometry, and the motion that listens to it."""

    def __init__(self, ros: Context, **parameters: object) -> None:
        self._node = Node("base", context=ros, namespace="/motion", start_parameter_services=False)
        self._came = threading.Condition()
        self._count = 0
        self.told: list[str] = []
        chosen = Parameters(depth="raw", target_frame="odom", motion="odometry", reliability="reliable", **parameters)
        overrides = QosOverrides(self._node)
        motion = open_motion(self._node, chosen, overrides, wake=self._wake, tell=self.told.append)
        assert isinstance(motion, OdometryMotion)
        self.motion: Motion = motion
        self._publisher = self._node.create_publisher(Odometry, motion.topic, 100)
        self._spinning = spinning(self._node)
        self._spinning.__enter__()

    def close(self) -> None:
        """Leave the network."""
        self._spinning.__exit__(None, None, None)
        self.motion.destroy()
        self._node.destroy_node()

    def _wake(self) -> None:
        with self._came:
            self._count += 1
            self._came.notify_all()

    def move(self, *poses: tuple[float, float, float], yaw: float = 0.0, frame_id: str = "odom") -> None:
        """Publish odometry, each a stamp (s), x and y, and wait until it has come."""
        for stamp, x, y in poses:
            message = Odometry(child_frame_id="base_link")
            message.header.frame_id = frame_id
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(round(stamp * SECOND), SECOND)
            message.pose.pose.position.x, message.pose.pose.position.y = x, y
            message.pose.pose.orientation.z, message.pose.pose.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
            self.publish(message)

    def publish(self, message: Odometry) -> None:
        """Publish odometry and wait until it has come."""
        with self._came:
            wanted = self._count + 1
        # Both ends learn at different moments that they found each other.
        for _ in range(round(PATIENCE / 0.5)):
            self._publisher.publish(message)
            with self._came:
                if self._came.wait_for(lambda: self._count >= wanted, 0.5):
                    return
        pytest.fail("odometry did not come")

    def pose(self, stamp: float, camera: str = "") -> Pose:
        """That of the camera."""
        return self.motion.pose(camera, "camera_optical", round(stamp * SECOND))[0]

    def jumps(self, stamp: float) -> int:
        """How often the pose has jumped."""
        return self.motion.pose("", "camera_optical", round(stamp * SECOND))[1]

    def lack(self, stamp: float) -> str:
        """Why there is no pose."""
        with pytest.raises(LackError) as caught:
            self.pose(stamp)
        assert caught.value.lack is Lack.NO_POSE
        return str(caught.value)


@pytest.fixture
def base(ros: Context) -> Iterator[Base]:
    base = Base(ros)
    yield base
    base.close()


def test_pose_is_interpolated_between_those_round_the_stamp(base: Base) -> None:
    base.move((1.0, 2.0, 0.0))
    base.move((1.1, 3.0, 0.0), yaw=0.4)
    base.move((1.2, 4.0, 0.0))
    assert base.motion.has_settled("camera_optical", round(1.2 * SECOND))
    assert not base.motion.has_settled("camera_optical", round(1.2 * SECOND) + 1)
    found = base.pose(1.025)
    np.testing.assert_allclose(found.translation, [2.25, 0, 0], atol=1e-9)
    expected = Rotation.from_euler("z", 0.1).as_matrix() @ OPTICAL
    np.testing.assert_allclose(found.rotation, expected, atol=1e-9)
    np.testing.assert_allclose(base.pose(1.1).translation, [3, 0, 0], atol=1e-9)


@pytest.mark.parametrize("poses", [1, 2])
def test_each_camera_is_mounted_by_its_camera_pose(ros: Context, poses: int) -> None:
    front = (0.3, 0.1, 0.5, 0.0, 0.2, 0.0)
    rear = (-0.3, 0.0, 0.4, 0.1, 0.0, math.pi)
    mounted = {"front": front, "rear": rear} if poses == 2 else {"front": front, "rear": front}
    base = Base(ros, cameras=("front", "rear"), camera_pose=front + rear if poses == 2 else front)
    try:
        base.move((5.0, 1.0, 2.0), yaw=math.pi / 2)
        for camera, numbers in mounted.items():
            found = base.pose(5.0, camera)
            x, y, z = numbers[:3]
            np.testing.assert_allclose(found.translation, [1 - y, 2 + x, z], atol=1e-9)
            body = Rotation.from_euler("z", math.pi / 2) * Rotation.from_euler("xyz", numbers[3:])
            np.testing.assert_allclose(found.rotation, body.as_matrix() @ OPTICAL, atol=1e-9)
    finally:
        base.close()


def test_pose_goes_on_as_it_moved_for_a_tenth_of_a_second_and_no_longer(base: Base) -> None:
    base.move((1.0, 0.0, 0.0), (1.05, 0.05, 0.0), (1.051, 0.06, 0.0), (1.1, 0.1, 0.0))
    # Not by the last two alone, which noise is in.
    np.testing.assert_allclose(base.pose(1.15).translation, [0.15, 0, 0], atol=1e-9)
    assert "the last is 0.110 s older than the image" in base.lack(1.21)


def test_single_pose_holds_for_a_tenth_of_a_second(base: Base) -> None:
    base.move((1.0, 4.0, 0.0))
    np.testing.assert_allclose(base.pose(1.1).translation, [4, 0, 0], atol=1e-9)


def test_no_pose_is_made_up_before_the_first_nor_across_a_gap(base: Base) -> None:
    assert "none came" in base.lack(1.0)
    base.move((2.0, 0.0, 0.0), (3.5, 1.0, 0.0))
    assert "the first is 0.500 s newer than the image" in base.lack(1.5)
    assert "gap of 1.500 s" in base.lack(2.5)


def test_odometry_in_another_frame_is_refused_with_both_names(base: Base) -> None:
    base.move((1.0, 0.0, 0.0), frame_id="map")
    told = base.lack(1.0)
    assert "target_frame 'odom'" in told
    assert "in the frame 'map'" in told


@pytest.mark.parametrize("numbers", [(math.nan, 1.0), (0.0, 0.0)])
def test_pose_that_is_none_is_left_out_and_told(base: Base, numbers: tuple[float, float]) -> None:
    message = Odometry()
    message.header.frame_id = "odom"
    message.header.stamp.sec = 1
    message.pose.pose.position.x, message.pose.pose.orientation.w = numbers
    base.publish(message)
    assert "expected finite numbers and a quaternion of length 1" in base.lack(1.0)
    base.move((1.0, 1.0, 0.0))
    np.testing.assert_allclose(base.pose(1.0).translation, [1, 0, 0])


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ((1.2, 9.0, 0.0, 0.0), "jumped by 8.90 m in 0.100 s"),
        ((1.2, 0.1, 0.0, 3.0), "turned by 3.00 rad in 0.100 s"),
        ((0.05, 0.1, 0.0, 0.0), "went back in time by 1.050 s"),
    ],
)
def test_jump_is_counted_and_told_and_nothing_is_interpolated_across_it(
    base: Base, step: tuple[float, float, float, float], told: str
) -> None:
    stamp, x, y, yaw = step
    base.move((1.0, 0.0, 0.0), (1.1, 0.1, 0.0))
    assert base.jumps(1.1) == 0
    base.move((stamp, x, y), yaw=yaw)
    assert base.jumps(stamp) == 1
    np.testing.assert_allclose(base.pose(stamp).translation, [x, y, 0], atol=1e-9)
    assert "newer than the image" in base.lack(stamp - 0.01)
    assert [told in line for line in base.told] == [True]


def test_odometry_that_is_a_little_late_is_left_out_and_no_jump(base: Base) -> None:
    base.move((1.0, 0.0, 0.0), (1.1, 0.1, 0.0), (1.05, 7.0, 0.0), (1.2, 0.2, 0.0))
    np.testing.assert_allclose(base.pose(1.05).translation, [0.05, 0, 0], atol=1e-9)
    assert base.jumps(1.2) == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"motion": "odometry"}, "parameter motion: got 'odometry' without target_frame"),
        (
            {"motion": "odometry", "target_frame": "odom", "camera_pose": (1.0,) * 7},
            "camera_pose: .*six finite numbers",
        ),
        (
            {"motion": "odometry", "target_frame": "odom", "camera_pose": (math.nan,) + (0.0,) * 5},
            "camera_pose: .*six finite numbers",
        ),
        (
            {"motion": "odometry", "target_frame": "odom", "cameras": ("a", "b", "c"), "camera_pose": (0.0,) * 12},
            "camera_pose: .*for each of the 3 cameras, or six for all",
        ),
    ],
)
def test_motion_that_cannot_be_is_refused(given: dict[str, Sequence[float] | str], expected: str) -> None:
    with pytest.raises(ParameterError, match=expected):
        check_motion(Parameters(depth="raw", **given))


def test_transforms_without_tf2_ros_are_refused_with_the_package_to_install() -> None:
    try:
        import tf2_ros  # noqa: F401
    except ImportError:
        with pytest.raises(ParameterError, match=r"ros-\$ROS_DISTRO-tf2-ros, or set motion to 'odometry'"):
            check_motion(Parameters(depth="raw", target_frame="map"))
    else:
        pytest.skip("tf2_ros is installed")
