"""What is in the points of a cloud, read from its bytes as consumers read them: by the fields that it names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from eomt_ros.node.cdr import write_cloud
from eomt_ros.node.point_clouds import labelled_points, obstacle_points
from test.node.results import result

KINDS = {PointField.UINT8: "u1", PointField.UINT16: "u2", PointField.UINT32: "u4", PointField.FLOAT32: "f4"}
SIZE = 4, 6


def read(cloud: PointCloud2) -> np.ndarray:
    """The points by their fields, (height, width)."""
    kind = np.dtype(
        {
            "names": [field.name for field in cloud.fields],
            "formats": [(">" if cloud.is_bigendian else "<") + KINDS[field.datatype] for field in cloud.fields],
            "offsets": [field.offset for field in cloud.fields],
            "itemsize": cloud.point_step,
        }
    )
    assert cloud.row_step == cloud.width * cloud.point_step
    assert len(cloud.data) == cloud.height * cloud.row_step
    return np.frombuffer(bytes(cloud.data), kind).reshape(cloud.height, cloud.width)


@pytest.fixture
def points() -> np.ndarray:
    """(H, W, 3) float32, unknown in one pixel."""
    points = np.random.default_rng(0).random((*SIZE, 3), np.float32)
    points[1, 2] = np.nan
    return points


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)


def labelled(points: np.ndarray, pixels: np.ndarray, semantic: np.ndarray, ids: np.ndarray) -> PointCloud2:
    frame = replace(result(semantic), panoptic=ids)
    confidence = np.arange(semantic.size, dtype=np.uint8).reshape(semantic.shape)
    header = Header(frame_id="camera_optical")
    return deserialize_message(write_cloud(labelled_points(points, pixels, frame, confidence), header), PointCloud2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixel_has_its_point_color_class_id_and_confidence(
    points: np.ndarray, pixels: np.ndarray, dtype: type[Any]
) -> None:
    semantic = np.full(SIZE, np.iinfo(dtype).max, dtype)
    semantic[2] = 3
    ids = np.zeros(SIZE, np.uint16)
    ids[2] = 65535
    cloud = labelled(points, pixels, semantic, ids)
    assert (cloud.height, cloud.width, cloud.is_dense, cloud.header.frame_id) == (*SIZE, False, "camera_optical")
    told = read(cloud)
    for axis, name in enumerate("xyz"):
        np.testing.assert_array_equal(told[name], points[..., axis])
    np.testing.assert_array_equal(told["class_id"], semantic)
    np.testing.assert_array_equal(told["id"], ids)
    np.testing.assert_array_equal(told["confidence"].ravel(), range(semantic.size))


def test_color_is_packed_as_rviz_and_pcl_unpack_it(points: np.ndarray, pixels: np.ndarray) -> None:
    told = read(labelled(points, pixels[:, ::-1, ::-1], np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint16)))
    packed = np.ascontiguousarray(told["rgb"]).view("<u4")
    red, green, blue = (packed >> shift & 255 for shift in (16, 8, 0))
    np.testing.assert_array_equal(np.stack([red, green, blue], -1), pixels[:, ::-1, ::-1])
    assert not (packed >> 24).any()


def test_fields_have_the_types_and_places_that_consumers_read() -> None:
    cloud = labelled(
        np.zeros((*SIZE, 3), np.float32), np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.uint8), np.zeros(SIZE, "u2")
    )
    kinds = {field.name: field.datatype for field in cloud.fields}
    # PCL matches fields by name and type; RViz takes these types for positions and packed colours.
    assert kinds == {
        **dict.fromkeys(("x", "y", "z", "rgb"), PointField.FLOAT32),
        "id": PointField.UINT32,
        "class_id": PointField.UINT16,
        "confidence": PointField.UINT8,
    }
    for field in cloud.fields:
        size = np.dtype(KINDS[field.datatype]).itemsize
        assert field.count == 1
        assert field.offset % size == 0
        assert cloud.point_step % size == 0


def test_obstacle_has_its_point_and_class() -> None:
    points = np.random.default_rng(0).random((5, 3), np.float32)
    classes = np.arange(5, dtype=np.uint8)
    cloud = deserialize_message(write_cloud(obstacle_points(points, classes), Header()), PointCloud2)
    assert (cloud.height, cloud.width) == (1, 5)
    told = read(cloud)[0]
    np.testing.assert_array_equal(np.stack([told[name] for name in "xyz"], -1), points)
    np.testing.assert_array_equal(told["class_id"], classes)


def test_no_obstacles_are_an_empty_cloud() -> None:
    cloud = deserialize_message(
        write_cloud(obstacle_points(np.zeros((0, 3), np.float32), np.zeros(0, np.uint8)), Header()), PointCloud2
    )
    assert (cloud.height, cloud.width, len(cloud.data)) == (1, 0, 0)
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "class_id"]
