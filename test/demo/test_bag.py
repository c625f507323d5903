"""The bag that ships with the repository: complete, aligned, small, and what its recorder would write."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader

from demo import BAG_SEED, CLASS_NAMES, FIRST_THING

BAG = Path(__file__).parents[2] / "demo" / "bag"
PICTURES = "/camera/image/compressed"
DEPTH = "/camera/depth/compressed"
SEMANTIC = "/ground_truth/semantic"
PANOPTIC = "/ground_truth/panoptic"
OBJECTS = "/ground_truth/objects"


@pytest.fixture(scope="module")
def messages() -> dict[str, list[Any]]:
    """The messages of every topic, in order."""
    found = defaultdict(list)
    with AnyReader([BAG]) as reader:
        for connection, received, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            assert stamp(message) == received
            found[connection.topic].append(message)
    return dict(found)


def stamp(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def label_image(message: Any) -> np.ndarray:
    kind = {"mono8": np.uint8, "16UC1": np.dtype("<u2")}[message.encoding]
    return np.frombuffer(message.data, kind).reshape(message.height, message.width)


def test_it_takes_at_most_six_megabytes() -> None:
    assert sum(file.stat().st_size for file in BAG.iterdir()) <= 6_000_000


def test_all_topics_have_the_same_stamps_ten_a_second_for_twenty_seconds(messages: dict[str, list[Any]]) -> None:
    assert set(messages) == {PICTURES, "/camera/camera_info", DEPTH, "/odom", SEMANTIC, PANOPTIC, OBJECTS}
    stamps = [stamp(message) for message in messages[PICTURES]]
    assert len(stamps) == 200
    assert set(np.diff(stamps)) == {100_000_000}
    for topic, found in messages.items():
        assert [stamp(message) for message in found] == stamps, topic


def test_every_picture_decodes_to_the_size_in_its_camera_info(messages: dict[str, list[Any]]) -> None:
    for picture, depth, info in zip(messages[PICTURES], messages[DEPTH], messages["/camera/camera_info"], strict=True):
        size = (info.height, info.width)
        assert cv2.imdecode(picture.data, cv2.IMREAD_COLOR).shape == (*size, 3)
        millimetres = cv2.imdecode(depth.data, cv2.IMREAD_UNCHANGED)
        assert millimetres.shape == size
        assert millimetres.dtype == np.uint16
        assert 300 < np.median(millimetres) < 15_000
        assert "jpeg" in picture.format
        assert depth.format.startswith("16UC1; png compressed")


def test_the_truth_labels_every_pixel_and_its_ids_keep_their_class(messages: dict[str, list[Any]]) -> None:
    class_of: dict[int, int] = {}
    for semantic, panoptic in zip(messages[SEMANTIC], messages[PANOPTIC], strict=True):
        classes, instances = label_image(semantic), label_image(panoptic)
        assert classes.max() < len(CLASS_NAMES)
        np.testing.assert_array_equal(instances > 0, classes >= FIRST_THING)
        pairs = np.unique(np.stack([instances[instances > 0], classes[instances > 0]]), axis=1)
        for instance, class_id in pairs.T.tolist():
            assert class_of.setdefault(instance, class_id) == class_id
    assert set(class_of.values()) == set(range(FIRST_THING, len(CLASS_NAMES)))


def test_the_true_boxes_hold_what_depth_shows_of_their_things(messages: dict[str, list[Any]]) -> None:
    checked = 0
    for number in range(0, 200, 20):
        info, odometry = messages["/camera/camera_info"][number], messages["/odom"][number]
        depth = cv2.imdecode(messages[DEPTH][number].data, cv2.IMREAD_UNCHANGED) / 1000.0
        ids = label_image(messages[PANOPTIC][number])
        q, place = odometry.pose.pose.orientation, odometry.pose.pose.position
        cross = np.array([[0.0, -q.z, q.y], [q.z, 0.0, -q.x], [-q.y, q.x, 0.0]])
        rotation = np.eye(3) + 2 * q.w * cross + 2 * cross @ cross
        objects = {thing.id: thing for thing in messages[OBJECTS][number].objects}
        assert set(objects) == set(np.unique(ids)) - {0}
        for thing in objects.values():
            rows, columns = np.nonzero((ids == thing.id) & (depth > 0) & (depth < 4.0))
            if not len(rows):
                continue
            rays = np.stack([columns, rows, np.ones(len(rows))]) * depth[rows, columns]
            x, y, z = np.linalg.inv(info.k.reshape(3, 3)) @ rays
            points = (rotation @ np.stack([z, -x, -y])).T + np.array([place.x, place.y, place.z])
            half = np.array([thing.size.x, thing.size.y, thing.size.z]) / 2
            outside = np.abs(points - [thing.position.x, thing.position.y, thing.position.z]) - half
            assert outside.max() < 0.05, "half a step of a stereo camera's disparity at 4 m is 3.3 cm"
            checked += 1
    assert checked > 20


def test_things_leave_the_view_and_come_back(messages: dict[str, list[Any]]) -> None:
    seen = [set(np.unique(label_image(message))) - {0} for message in messages[PANOPTIC]]
    returned = {
        instance
        for instance in set.union(*seen)
        if "0000000001" in "".join("01"[instance in ids] for ids in seen).lstrip("0")
    }
    assert len(returned) >= 3


def test_the_camera_drives_as_its_odometry_says(messages: dict[str, list[Any]]) -> None:
    odometry = messages["/odom"]
    places = np.array([[m.pose.pose.position.x, m.pose.pose.position.y] for m in odometry])
    assert np.linalg.norm(np.diff(places, axis=0), axis=1).sum() > 3.0
    speeds = np.array([np.hypot(m.twist.twist.linear.x, m.twist.twist.linear.z) for m in odometry[1:]])
    np.testing.assert_allclose(speeds, np.linalg.norm(np.diff(places, axis=0), axis=1) / 0.1, atol=1e-6)


def test_it_is_the_world_of_its_seed(messages: dict[str, list[Any]]) -> None:
    simulation = pytest.importorskip("demo.world", reason="only remaking it needs MuJoCo", exc_type=ImportError)
    with simulation.World(BAG_SEED, fine=True) as world:
        (frame,) = world.frames(0.1, start=15.0)
    # Another OpenGL may draw edges otherwise.
    assert np.mean(frame.classes == label_image(messages[SEMANTIC][150])) > 0.995
    assert np.mean(frame.instances == label_image(messages[PANOPTIC][150])) > 0.995


def test_rviz_has_the_frame_of_its_images(messages: dict[str, list[Any]]) -> None:
    config = yaml.safe_load((BAG.parents[1] / "config" / "segment.rviz").read_text())
    frame = config["Visualization Manager"]["Global Options"]["Fixed Frame"]
    assert {message.header.frame_id for message in messages[PICTURES]} == {frame}
