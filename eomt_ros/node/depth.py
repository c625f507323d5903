"""A camera's depth and camera_info: kept as they come, matched with images by stamp, and read when needed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from eomt_ros.images import ImageError
from eomt_ros.node.cdr import read_image, stamp_in, with_stamp
from eomt_ros.node.inputs import topic_of
from eomt_ros.node.silence import COMPRESSED_SUFFIX, why_no_depth
from eomt_ros.node.space_frame import Lack, LackError
from eomt_ros.printable import printable
from eomt_ros.space.depth import DepthError, decode_depth, depth_at
from eomt_ros.space.pinhole import CameraInfoError, Pinhole
from eomt_ros.stamps import SECOND

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from rclpy.node import Node
    from std_msgs.msg import Header

    from eomt_ros.node.camera import Camera
    from eomt_ros.node.parameters import Parameters

MOST_KEPT = 64  # depth messages, besides one for each image that may wait: two seconds at 30 Hz
NEAR_ENOUGH = SECOND // 100  # ns from an image, in which a camera that turns moves on by little
LONGEST_SLOP = 0.3  # s that is worth a larger depth_slop: in that time a robot has moved on by a step
TIME_JUMPS = SECOND  # depth that is older than the last by more is of another time
COMPRESSED = ("/compressed", "/compressedDepth")
"""How topics of image_transport end that carry depth in PNG."""
SWITCHES = (
    "let the driver align depth to colour (realsense2_camera: align_depth.enable:=true; depthai: stereo.i_align_depth;"
    " orbbec: depth_registration:=true) and remap depth to that topic"
)


@dataclass(frozen=True)
class _Kept:
    stamp: int
    """Nanoseconds."""
    message: bytes


class DepthInput:
    """Subscribes to a camera's depth and camera_info; its callbacks only store bytes, and never wait.

    Any thread may call `has_settled`, `view` and `view_so_far`. Raises ParameterError for a quality of service that
    cannot be.

    wake: called when depth came.
    """

    def __init__(self, camera: Camera, wake: Callable[[], None]) -> None:
        self._camera = camera
        self._node = camera.node
        self._wake = wake
        self._lock = threading.Lock()
        self._kept: deque[_Kept] = deque()
        self._info: bytes | None = None
        # Each is replaced as a whole, so that two threads do no more than the same work twice.
        self._last_view: tuple[tuple[bytes, str, int, int], Pinhole] | None = None
        self._last_depth: tuple[bytes, npt.NDArray[np.float32]] | None = None
        self._last_stamp: int | None = None
        self._heard = time.monotonic()

        chosen = camera.parameters
        self.topic, self.info_topic = topics_of(self._node, camera.name, chosen)
        last_step = topic_of(self._node, camera.name, chosen).removesuffix(COMPRESSED_SUFFIX).rpartition("/")[2]
        self._is_rectified = last_step.startswith("image_rect")
        self._kind: type[Any] = CompressedImage if chosen.depth == "compressed" else Image
        qos = QoSProfile(depth=chosen.qos_depth, reliability=ReliabilityPolicy[chosen.reliability.upper()])
        own, of_info = (camera.overrides.of_subscription(topic, qos) for topic in (self.topic, self.info_topic))
        create = partial(self._node.create_subscription, raw=True)
        self._subscriptions = [
            create(self._kind, self.topic, self._depth_callback, own),
            create(CameraInfo, self.info_topic, self._info_callback, of_info),
        ]

    def destroy(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    @property
    def silence(self) -> float:
        """Seconds since the last depth came."""
        return time.monotonic() - self._heard

    def why_silent(self) -> str:
        """Say what is likely to be wrong when no depth comes, and what to do about it."""
        return why_no_depth(self._node, self.topic, compressed=self._kind is CompressedImage)

    def has_settled(self, stamp: int) -> bool:
        """Say whether no better depth than what is there can come for an image of this stamp (ns)."""
        with self._lock:
            offsets = [kept.stamp - stamp for kept in self._kept]
        # Depth of much later is of the time before a jump.
        return any(0 <= offset <= TIME_JUMPS for offset in offsets)

    def view(self, image: Header, height: int, width: int) -> tuple[npt.NDArray[np.float32], Pinhole]:
        """The depth of an image, (height, width) metres, NaN where unknown, and its pinhole view. Raises LackError."""
        pinhole = self._pinhole(image.frame_id, height, width)
        message = self._nearest(image.stamp.sec * SECOND + image.stamp.nanosec).message
        try:
            return depth_at(self._decoded(message, image.frame_id), height, width), pinhole
        except (DepthError, ImageError) as error:
            raise LackError(Lack.BAD_DEPTH, f"{error} (on {self.topic})") from error

    def view_so_far(self, image: Header, height: int, width: int) -> tuple[npt.NDArray[np.float32], Pinhole]:
        """The same, without waiting for better depth than has come. Raises LackError where better may come."""
        stamp = image.stamp.sec * SECOND + image.stamp.nanosec
        if not self.has_settled(stamp) and abs(self._nearest(stamp).stamp - stamp) > NEAR_ENOUGH:
            raise LackError(Lack.NO_DEPTH, f"the image's depth has not come on {self.topic} before its ids were given")
        return self.view(image, height, width)

    def forget(self, stamp: int) -> None:
        """Free the depth that only images before this stamp (ns), which is that of an image, could need."""
        with self._lock:
            self._last_stamp = stamp
            oldest = stamp - round(self._camera.parameters.depth_slop * SECOND)
            # The last one stays, to tell how far it is.
            while len(self._kept) > 1 and self._kept[0].stamp < oldest:
                self._kept.popleft()

    def _depth_callback(self, message: bytes) -> None:
        self._heard = time.monotonic()
        self._camera.statistics.space.count_depth()
        if not self._camera.enabled:
            return
        kept = _Kept(stamp_in(message), message)
        most = MOST_KEPT + self._camera.parameters.capacity
        with self._lock:
            if self._kept and kept.stamp < self._kept[-1].stamp - TIME_JUMPS:
                self._kept.clear()
            self._kept.append(kept)
            while len(self._kept) > most:
                self._kept.popleft()
        self._wake()

    def _info_callback(self, message: bytes) -> None:
        self._info = message

    def _decoded(self, message: bytes, frame_id: str) -> npt.NDArray[np.float32]:
        """A depth message in metres, in its own size. Raises DepthError, ImageError, LackError."""
        last = self._last_depth
        if last is None or last[0] is not message:
            depth = read_image(message, self._kind)
            self._check_frame(depth.header.frame_id, frame_id)
            last = self._last_depth = message, decode_depth(depth)
        return last[1]

    def _nearest(self, stamp: int) -> _Kept:
        with self._lock:
            kept, last = list(self._kept), self._last_stamp
        if not kept:
            raise LackError(Lack.NO_DEPTH, f"no depth came on {self.topic}: {self.why_silent()}")
        if stamp == last:
            text = f"the stamp of the images does not change ({stamp / SECOND:.3f} s), so that no depth can be matched"
            raise LackError(Lack.DEPTH_TOO_FAR, text)
        nearest = min(kept, key=lambda each: abs(each.stamp - stamp))
        offset, slop = (nearest.stamp - stamp) / SECOND, self._camera.parameters.depth_slop
        if abs(offset) > slop:
            far = abs(offset) > LONGEST_SLOP
            mend = "it has stopped, or its stamps are of another clock" if far else "raise that if it is always so far"
            raise LackError(
                Lack.DEPTH_TOO_FAR,
                f"the nearest depth on {self.topic} is {abs(offset):.3f} s {'newer' if offset > 0 else 'older'} than"
                f" the image, depth_slop is {slop} s: {mend}",
            )
        return nearest

    def _pinhole(self, frame_id: str, height: int, width: int) -> Pinhole:
        """The view of an image of this frame and size. Raises LackError."""
        info = self._info
        if info is None:
            text = f"no camera_info came on {self.info_topic}: remap camera_info to that of the image's camera"
            raise LackError(Lack.NO_CAMERA_INFO, text)
        view = with_stamp(info, 0), frame_id, height, width
        last = self._last_view
        if last is None or last[0] != view:
            try:
                pinhole = self._read_info(info, frame_id).at(height, width)
                pinhole.rays()  # which says whether the distortion has any
                last = self._last_view = view, pinhole
            except CameraInfoError as error:
                raise LackError(Lack.BAD_CAMERA_INFO, f"{error} (on {self.info_topic})") from error
        return last[1]

    def _read_info(self, message: bytes, frame_id: str) -> Pinhole:
        """The view that a CameraInfo says, of an image of this frame. Raises CameraInfoError."""
        try:
            info = deserialize_message(message, CameraInfo)
        except RuntimeError as error:  # how rclpy refuses bytes that are no message
            raise CameraInfoError(f"camera_info cannot be read: {printable(str(error))}") from error
        if info.header.frame_id not in ("", frame_id):  # some drivers leave it empty
            raise CameraInfoError(
                f"camera_info is of the frame {printable(info.header.frame_id)!r}, expected the image's"
                f" {printable(frame_id)!r}; remap camera_info to that of the image's camera"
            )
        return Pinhole.of(info, rectified=self._is_rectified)

    def _check_frame(self, frame_id: str, expected: str) -> None:
        if frame_id != expected:
            raise LackError(
                Lack.OTHER_FRAME,
                f"depth on {self.topic} is in the frame {printable(frame_id)!r}, expected the image's"
                f" {printable(expected)!r}; {SWITCHES}",
            )


def topics_of(node: Node, camera: str, parameters: Parameters) -> tuple[str, str]:
    """Full names of the topics that depth and camera_info of a camera are expected on."""
    root = f"{camera}/" if camera else ""
    depth, info = node.resolve_topic_name(f"{root}depth"), node.resolve_topic_name(f"{root}camera_info")
    if parameters.depth == "raw" or depth.endswith(COMPRESSED):
        return depth, info
    name = f"{root}depth{COMPRESSED_SUFFIX}"
    remapped = node.resolve_topic_name(name)
    is_remapped = remapped != node.resolve_topic_name(name, only_expand=True)
    return remapped if is_remapped else f"{depth}{COMPRESSED_SUFFIX}", info
