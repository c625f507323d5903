"""Where the cameras are in `target_frame` at the stamp of an image: from TF, or from odometry."""

from __future__ import annotations

import importlib
import math
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.time import Time

from eomt_ros.node.cdr import stamp_in
from eomt_ros.node.parameters import ParameterError
from eomt_ros.node.space_frame import Lack, LackError
from eomt_ros.printable import printable
from eomt_ros.space.jumps import Steps
from eomt_ros.space.pose import OPTICAL_IN_BODY, Pose, PoseError
from eomt_ros.stamps import SECOND

if TYPE_CHECKING:
    from rclpy.node import Node

    from eomt_ros.node.parameters import Parameters
    from eomt_ros.node.qos import QosOverrides

MOST_POSES = 1000  # that are kept of odometry
TIME_JUMPS = SECOND  # ns; what is older than the last by more is of another time
LONGEST_GAP = SECOND  # ns between two poses, of which the way between is taken for straight
LONGEST_EXTRAPOLATION = SECOND // 10  # ns


class Motion(Protocol):
    """Knows where an optical frame is in target_frame; any thread may call `has_settled` and `pose`."""

    def has_settled(self, frame_id: str, stamp: int) -> bool:
        """Say whether no better pose than what is known can come for this optical frame and stamp (ns)."""

    def pose(self, camera: str, frame_id: str, stamp: int, reader: str = "") -> tuple[Pose, int]:
        """The pose of a camera's optical frame at a stamp (ns), and how often it has jumped so far.

        reader: a name for who asks for stamps in their order, if another asks for them at other times. It never waits.
        Raises LackError where the pose is not known.
        """

    def destroy(self) -> None:
        """Stop listening."""


class TransformMotion:
    """From TF, at the image's stamp. Raises ParameterError where tf2_ros is not installed."""

    def __init__(self, node: Node, target_frame: str, tell: Callable[[str], None]) -> None:
        self._tf2 = tf2_ros()
        self._target = target_frame
        self._tell = tell
        self._lock = threading.Lock()
        self._steps: dict[tuple[str, str], Steps] = {}
        self._newest: dict[str, int] = {}
        self._buffer = self._tf2.Buffer()
        self._listener = self._tf2.TransformListener(self._buffer, node)

    def has_settled(self, frame_id: str, stamp: int) -> bool:
        """See `Motion`."""
        self._heed(stamp, "")
        return bool(self._buffer.can_transform(self._target, frame_id, Time(nanoseconds=stamp)))

    def pose(self, camera: str, frame_id: str, stamp: int, reader: str = "") -> tuple[Pose, int]:
        """See `Motion`."""
        if reader:
            self._heed(stamp, reader)
        try:
            found = self._buffer.lookup_transform(self._target, frame_id, Time(nanoseconds=stamp)).transform
            pose = Pose.of(_numbers(found.translation, "xyz"), _numbers(found.rotation, "xyzw"))
        except (self._tf2.TransformException, PoseError) as error:
            text = f"no transform of {printable(frame_id)!r} to target_frame {self._target!r} at the image's stamp"
            raise LackError(Lack.NO_POSE, f"{text}: {printable(str(error))}") from error
        with self._lock:
            steps = self._steps.setdefault((camera, reader), Steps())
        if jump := steps.add(stamp, pose):
            self._tell(f"the camera's pose in {self._target!r} {jump}: tracks begin anew")
        return pose, steps.jumps

    def destroy(self) -> None:
        """See `Motion`."""
        self._listener.unregister()

    def _heed(self, stamp: int, reader: str) -> None:
        """Forget the transforms of another time, where an image is of long before the others of this reader."""
        with self._lock:
            newest = self._newest.get(reader, stamp)
            if stamp < newest - TIME_JUMPS:
                self._buffer.clear()  # or it would take what comes now for too old; transforms that are static stay
                newest = stamp
            self._newest[reader] = max(newest, stamp)


class OdometryMotion:
    """From the nav_msgs/Odometry on `odom`, by interpolation between its poses. Raises ParameterError.

    wake: called when odometry came; tell: takes a warning.
    """

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        overrides: QosOverrides,
        *,
        wake: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        self._node = node
        self._target = parameters.target_frame
        self._mounted = {name: body @ OPTICAL_IN_BODY for name, body in mounting(parameters).items()}
        self._wake = wake
        self._tell = tell
        self._arrived: deque[bytes] = deque(maxlen=MOST_POSES)
        self._lock = threading.Lock()
        self._stamps: list[int] = []
        self._poses: list[Pose] = []
        self._steps = Steps()
        self._fault = ""
        self.topic = node.resolve_topic_name("odom")
        qos = QoSProfile(depth=parameters.qos_depth, reliability=ReliabilityPolicy[parameters.reliability.upper()])
        self._subscription = node.create_subscription(
            Odometry, self.topic, self._odometry_callback, overrides.of_subscription(self.topic, qos), raw=True
        )

    def has_settled(self, frame_id: str, stamp: int) -> bool:
        """See `Motion`."""
        with self._lock:
            self._read()
            return bool(self._stamps) and self._stamps[-1] >= stamp

    def pose(self, camera: str, frame_id: str, stamp: int, reader: str = "") -> tuple[Pose, int]:
        """See `Motion`."""
        with self._lock:
            self._read()
            return self._body(stamp) @ self._mounted[camera], self._steps.jumps

    def destroy(self) -> None:
        """See `Motion`."""
        self._node.destroy_subscription(self._subscription)

    def _odometry_callback(self, message: bytes) -> None:
        self._arrived.append(message)
        self._wake()

    def _body(self, stamp: int) -> Pose:
        """The pose of the odometry's child frame. Raises LackError."""
        stamps, poses = self._stamps, self._poses
        if not stamps:
            raise self._lack(self._fault or "none came")
        late = stamp - stamps[-1]
        if stamp < stamps[0]:
            raise self._lack(f"the first is {(stamps[0] - stamp) / SECOND:.3f} s newer than the image")
        if late > LONGEST_EXTRAPOLATION:
            raise self._lack(self._fault or f"the last is {late / SECOND:.3f} s older than the image")
        after = min(bisect_left(stamps, stamp), len(stamps) - 1)
        # From poses that are almost at one time, the way ahead would be mostly noise.
        before = bisect_left(stamps, stamps[after] - LONGEST_EXTRAPOLATION) if late > 0 else after - 1
        if stamps[after] == stamp or before >= after:
            return poses[after]
        gap = stamps[after] - stamps[before]
        if gap > LONGEST_GAP:
            raise self._lack(f"it has a gap of {gap / SECOND:.3f} s at the image's stamp")
        return Pose.between(poses[before], poses[after], (stamp - stamps[before]) / gap)

    def _lack(self, text: str) -> LackError:
        return LackError(Lack.NO_POSE, f"no pose by odometry on {self.topic} for target_frame {self._target!r}: {text}")

    def _read(self) -> None:
        """Take what has arrived."""
        while self._arrived:
            message = self._arrived.popleft()
            try:
                odometry = deserialize_message(message, Odometry)
                frame_id = odometry.header.frame_id
                if frame_id != self._target:
                    self._fault = f"it is in the frame {printable(frame_id)!r}; set target_frame to the odometry's"
                    continue
                position, orientation = odometry.pose.pose.position, odometry.pose.pose.orientation
                self._add(stamp_in(message), Pose.of(_numbers(position, "xyz"), _numbers(orientation, "xyzw")))
            except (RuntimeError, PoseError) as error:  # RuntimeError: how rclpy refuses bytes that are no message
                self._fault = printable(str(error))

    def _add(self, stamp: int, pose: Pose) -> None:
        if self._stamps and 0 <= self._stamps[-1] - stamp < TIME_JUMPS:  # late
            return
        if jump := self._steps.add(stamp, pose):
            self._stamps, self._poses = [], []
            publishers = self._node.count_publishers(self.topic)
            several = f"; it has {publishers} publishers" if publishers > 1 else ""
            self._tell(f"odometry on {self.topic} {jump}: tracks begin anew{several}")
        self._stamps.append(stamp)
        self._poses.append(pose)
        del self._stamps[:-MOST_POSES], self._poses[:-MOST_POSES]
        self._fault = ""


def open_motion(
    node: Node,
    parameters: Parameters,
    overrides: QosOverrides,
    *,
    wake: Callable[[], None],
    tell: Callable[[str], None],
) -> Motion | None:
    """Begin to listen to what says where the cameras are; None without target_frame. Raises ParameterError."""
    if not parameters.target_frame:
        return None
    if parameters.motion == "odometry":
        return OdometryMotion(node, parameters, overrides, wake=wake, tell=tell)
    return TransformMotion(node, parameters.target_frame, tell)


def check_motion(parameters: Parameters) -> None:
    """Raise ParameterError where `open_motion` would, before anything is opened."""
    if parameters.motion == "odometry":
        if not parameters.target_frame:
            raise ParameterError(
                "parameter motion: got 'odometry' without target_frame, expected the frame that the odometry is in; set"
                " target_frame to the frame_id of its header, often 'odom'"
            )
        mounting(parameters)
    elif parameters.target_frame:
        tf2_ros()


def mounting(parameters: Parameters) -> dict[str, Pose]:
    """The pose of each camera's body in the odometry's child frame, by the camera's name. Raises ParameterError."""
    names, numbers = parameters.cameras, parameters.camera_pose
    if len(numbers) not in (6, 6 * len(names)) or not all(map(math.isfinite, numbers)):
        each = f"for each of the {len(names)} cameras, or six for all" if len(names) > 1 else "for the camera"
        raise ParameterError(
            f"parameter camera_pose: got {list(numbers)}, expected six finite numbers (x y z in m, roll pitch yaw in"
            f" rad) {each}"
        )
    poses = [numbers[at : at + 6] for at in range(0, len(numbers), 6)] * (len(names) if len(numbers) == 6 else 1)
    return {name: Pose.from_rpy(each[:3], *each[3:]) for name, each in zip(names, poses, strict=True)}


def tf2_ros() -> Any:
    """The package tf2_ros, imported only where TF is asked for. Raises ParameterError."""
    try:
        return importlib.import_module("tf2_ros")
    except ImportError as error:
        raise ParameterError(
            f"parameter motion: got 'tf' with a target_frame, which needs tf2_ros ({error}); install"
            " ros-$ROS_DISTRO-tf2-ros, or set motion to 'odometry'"
        ) from error


def _numbers(message: Any, names: str) -> list[float]:
    return [getattr(message, name) for name in names]
