"""Image messages are read in place, and written, as ROS itself does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from bench.messages import to_image
from eomt_ros.images import ImageError, decode
from eomt_ros.node.cdr import read_image, write_cloud, write_image
from test.evaluation import bags
from test.node.robot import picture, stamped

FRAME_IDS = ["", "c", "cam", "camera_optical", "Kamera für hinten"]


@pytest.mark.parametrize("frame_id", FRAME_IDS)
@pytest.mark.parametrize("encoding", ["rgb8", "8UC3"])
def test_image_is_read_as_ros_wrote_it(frame_id: str, encoding: str) -> None:
    message = stamped(picture(1), 12.5, encoding, frame_id)
    read = read_image(serialize_message(message), Image)
    assert_same(read, message, "height", "width", "encoding", "is_bigendian", "step")
    np.testing.assert_array_equal(decode(read), decode(message))


@pytest.mark.parametrize("frame_id", FRAME_IDS)
def test_compressed_image_is_read_as_ros_wrote_it(frame_id: str) -> None:
    message = CompressedImage(header=Header(frame_id=frame_id), format="jpeg", data=bytes(range(7)))
    assert_same(read_image(serialize_message(message), CompressedImage), message, "format")


@pytest.mark.parametrize("kind", [Image, CompressedImage])
def test_other_byte_order_is_read(kind: type[Any]) -> None:
    pixels = bags.scene(0)[0]
    written = bags.image(bags.stamp(7), pixels, "rgb8") if kind is Image else bags.compressed(bags.stamp(7), pixels)
    data = bytes(bags.STORE.serialize_cdr(written, written.__msgtype__, little_endian=False))
    read = read_image(data, kind)
    assert (read.header.stamp.sec * 10**9 + read.header.stamp.nanosec) == bags.stamp(7)
    np.testing.assert_array_equal(decode(read), pixels)


def test_data_are_not_copied() -> None:
    data = serialize_message(stamped(picture(1), 1.0))
    assert np.shares_memory(decode(read_image(data, Image)), np.frombuffer(data, np.uint8))


def test_message_that_ends_anywhere_too_early_is_a_bad_image() -> None:
    image = Image(header=Header(frame_id="camera"), height=1, width=3, step=9, encoding="rgb8", data=bytes(9))
    whole = serialize_message(image)
    whole = whole[: len(whole) - (-9 % 4 if len(whole) % 4 == 0 else 0)]  # what fills up to 4 bytes is no field
    for length in range(4, len(whole)):
        with pytest.raises(ImageError, match=f"message of {length} bytes ends before its fields do"):
            read_image(whole[:length], Image)


@pytest.mark.parametrize(("dtype", "encoding"), [(np.uint8, "mono8"), (np.uint16, "16UC1")])
@pytest.mark.parametrize("width", [1, 5, 64])
@pytest.mark.parametrize("frame_id", FRAME_IDS)
def test_image_is_written_so_that_ros_reads_what_it_would_have_written(
    dtype: type[Any], encoding: str, width: int, frame_id: str
) -> None:
    pixels = np.arange(7 * width).astype(dtype).reshape(width, 7).T  # not contiguous
    expected = to_image(pixels, encoding, stamped(picture(1), 12.5, frame_id=frame_id).header)
    written = write_image(pixels, expected.header)
    assert deserialize_message(written, Image) == expected
    assert len(serialize_message(expected)) - len(written) in range(4)  # which fill up, and are no field


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (4,), (0,)])
@pytest.mark.parametrize("frame_id", FRAME_IDS)
def test_cloud_is_written_so_that_ros_reads_what_it_would_have_written(shape: tuple[int, ...], frame_id: str) -> None:
    parts = {"names": ["far", "id", "kind"], "formats": ["f4", "u2", "u1"], "offsets": [0, 8, 10], "itemsize": 12}
    points = np.zeros(shape, np.dtype(parts))  # type: ignore[call-overload]
    points["far"].flat = np.arange(points.size) / 4
    points["id"].flat = np.arange(points.size) * 257
    points["kind"] = 7
    header = stamped(picture(1), 12.5, frame_id=frame_id).header
    width = shape[-1]
    expected = PointCloud2(
        header=header,
        height=points.size // width if width else 1,
        width=width,
        fields=[
            PointField(name="far", offset=0, datatype=PointField.FLOAT32, count=1),
            PointField(name="id", offset=8, datatype=PointField.UINT16, count=1),
            PointField(name="kind", offset=10, datatype=PointField.UINT8, count=1),
        ],
        is_bigendian=False,
        point_step=12,
        row_step=12 * width,
        data=points.tobytes(),
        is_dense=False,
    )
    written = write_cloud(points, header)
    assert deserialize_message(written, PointCloud2) == expected
    assert len(serialize_message(expected)) - len(written) in range(4)  # which fill up, and are no field


def assert_same(read: Any, message: Any, *fields: str) -> None:
    assert read.header == message.header
    assert [getattr(read, field) for field in fields] == [getattr(message, field) for field in fields]
    assert bytes(read.data) == bytes(message.data)
