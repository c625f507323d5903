"""A depth camera beside the node: image, depth and camera_info of one moment, and the points that they are."""

from __future__ import annotations

import array
import struct
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from bench.messages import to_image
from test.node.robot import HEIGHT, WIDTH, Inbox, Robot, picture, stamped

Depth = npt.NDArray[np.float32]
SECOND = 10**9


class View(NamedTuple):
    """Focal lengths and centre of a pinhole camera, in pixels."""

    fx: float = 50.0
    fy: float = 40.0
    cx: float = 30.5
    cy: float = 25.0

    def points(self, depth: Depth) -> npt.NDArray[np.float64]:
        """(H, W, 3) metres: where the pixels are."""
        rows, columns = np.indices(depth.shape)
        return np.stack([(columns - self.cx) * depth / self.fx, (rows - self.cy) * depth / self.fy, depth], axis=-1)


class DepthCamera:
    """What a driver publishes: image, depth and camera_info, with or without a name in front."""

    def __init__(
        self, robot: Robot, name: str = "", *, kind: type[Any] = Image, view: View | None = None, listens: bool = True
    ) -> None:
        self.robot = robot
        self.view = view or View()
        self.frame_id = f"{name or 'camera'}_optical"
        root = f"{name}/" if name else ""
        self.images = robot.camera(topic=f"{root}image" if name else "camera/image_raw")
        self.depths = robot.camera(kind, f"{root}depth" if kind is Image else f"{root}depth/compressed")
        self.infos = robot.camera(CameraInfo, f"{root}camera_info")
        self.semantic = robot.listen(Image, f"~/{root}semantic")
        self.inboxes = [self.semantic]
        if listens:
            self.points = robot.listen(PointCloud2, f"~/{root}points")
            self.inboxes.append(self.points)

    def connect(self, depth: CompressedImage | Image, *more: Inbox) -> None:
        """Publish all three, with this depth, until points came, and results in `more`; then forget them."""

        def send(stamp: float) -> Image:
            self.send_info()
            self.send_depth(depth, stamp)
            return stamped(picture(), stamp, frame_id=self.frame_id)

        self.depths.connect()
        self.infos.connect()
        self.robot.connect(self.images, *self.inboxes, *more, image=send)

    def send(
        self, depth: CompressedImage | Image | None = None, *, offset: float = 0.0, step: float = 0.5, seed: int = 0
    ) -> Image:
        """Publish the next image, `step` seconds after the last, and its depth, `offset` seconds later than the image.

        seed: that of the picture. Returns the image.
        """
        stamp = self.robot.next_stamp(step)
        if depth is not None:
            self.send_depth(depth, stamp + offset)
        return self.images.publish(stamped(picture(seed), stamp, frame_id=self.frame_id))

    def send_depth(self, depth: CompressedImage | Image, stamp: float) -> None:
        """Publish depth of that moment (s), in the image's frame if it names none."""
        depth.header.frame_id = depth.header.frame_id or self.frame_id
        depth.header.stamp.sec, depth.header.stamp.nanosec = divmod(round(stamp * SECOND), SECOND)
        self.depths.publish(depth)

    def send_info(self, **fields: Any) -> CameraInfo:
        """Publish the camera_info of the view, but for these fields, and return it."""
        fx, fy, cx, cy = self.view
        info = CameraInfo(height=HEIGHT, width=WIDTH, distortion_model="plumb_bob", d=[0.0] * 5)
        info.header.frame_id = self.frame_id
        info.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
        info.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
        for name, value in fields.items():
            setattr(info, name, value)
        return self.infos.publish(info)

    def seen(self, image: Image) -> npt.NDArray[np.float32]:
        """(H, W, 3) metres: the points of an image, once they come."""
        return xyz(self.points.wait_for_stamp(image))

    def assert_seen(self, image: Image, depth: Depth, tolerance: float = 1e-4) -> None:
        """The points of an image are those of this depth."""
        np.testing.assert_allclose(self.seen(image), self.view.points(depth), atol=tolerance)

    def is_seen(self, image: Image) -> bool:
        """Say whether the image has points, once its results in pixels and those of an image after it are there."""
        return any(cloud.header.stamp == image.header.stamp for cloud in self.points.all())


def some_depth(seed: int = 0) -> Depth:
    """(H, W) whole millimetres between 0.5 and 5 m, in metres, with a tenth of it unknown."""
    random = np.random.default_rng(seed)
    depth = random.integers(500, 5000, (HEIGHT, WIDTH)).astype(np.float32) / 1000
    depth[random.random(depth.shape) < 0.1] = np.nan
    return depth


def millimetres(depth: Depth) -> npt.NDArray[np.uint16]:
    """16UC1, 0 where unknown."""
    return np.nan_to_num(depth * 1000).round().astype(np.uint16)


def raw(depth: Depth, encoding: str = "32FC1") -> Image:
    """The depth as an Image, 32FC1 or 16UC1."""
    return to_image(depth if encoding == "32FC1" else millimetres(depth), encoding, Header())


def png(depth: Depth) -> CompressedImage:
    """The depth as image_transport's compressed has it: a PNG of millimetres."""
    return _file("16UC1; png compressed ", b"", millimetres(depth))


def compressed_depth(depth: Depth, encoding: str = "32FC1") -> CompressedImage:
    """The depth as compressed_depth_image_transport has it: a header, and a PNG of millimetres or inverse depth."""
    if encoding == "16UC1":
        return _file("16UC1; compressedDepth png", struct.pack("<iff", 0, 0.0, 0.0), millimetres(depth))
    quantum, most = 100.0, 10.0
    a = quantum * (quantum + 1.0)
    b = 1.0 - a / most
    return _file("32FC1; compressedDepth png", struct.pack("<iff", 0, a, b), np.nan_to_num(a / depth + b).round())


def _file(format_: str, header: bytes, pixels: npt.NDArray[Any]) -> CompressedImage:
    done, file = cv2.imencode(".png", pixels.astype(np.uint16))
    assert done
    return CompressedImage(format=format_, data=array.array("B", header + file.tobytes()))


def xyz(cloud: PointCloud2) -> npt.NDArray[np.float32]:
    """(H, W, 3) of an organised cloud."""
    offsets = [next(field.offset for field in cloud.fields if field.name == name) for name in "xyz"]
    assert not cloud.is_bigendian
    layout = np.dtype({"names": list("xyz"), "formats": ["<f4"] * 3, "offsets": offsets, "itemsize": cloud.point_step})
    points = np.frombuffer(cloud.data, layout).reshape(cloud.height, cloud.width)
    return np.stack([points[name] for name in "xyz"], axis=-1)


def of(inbox: Inbox, image: Image) -> Any:
    """The message on a topic that is of this image, or None if none came so far."""
    return next((message for message in inbox.all() if message.header.stamp == image.header.stamp), None)
