"""What the topics in metres and the masks of groups hold, all of one image: they agree pixel for pixel."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import yaml
from sensor_msgs.msg import Image, PointCloud2

from eomt_ros.msg import InstanceArray, ObjectArray
from test.engine.checkpoints import write_checkpoint
from test.node.conftest import StartRobot
from test.node.depth_camera import DepthCamera, raw, some_depth, xyz
from test.node.robot import HEIGHT, WIDTH, Inbox, Robot, picture, pixels_of
from test.node.test_point_clouds import read

TAXONOMY = {
    "classes": [
        {"name": "floor", "from": ["a"], "role": "ground"},
        {"name": "person", "from": ["b", "c"], "role": "obstacle", "groups": ["people", "living"]},
        {"name": "dog", "from": ["d"], "role": "obstacle", "groups": ["living"]},
        {"name": "lamp", "from": ["e"], "role": "none"},
    ],
    "others": "unlabelled",
}
GROUPS = {"people": [1], "living": [1, 2]}
OBSTACLES = [1, 2]
VOXEL = 0.0483  # such that no point of the scene lies on the side of a cube
DEPTH = np.full((HEIGHT, WIDTH), 2.0, np.float32)
DEPTH[some_depth() > 4.0] = np.nan
SPACE = ("points", "obstacles", "objects", "detections_3d", "markers")
PACKAGES = {"detections_3d": "vision_msgs", "markers": "visualization_msgs"}
"""Of topics that are there only where these are installed."""


Seen = tuple[Image, dict[str, Any]]
"""An image, and what the node told of it, by topic."""


class Listener:
    """A depth camera beside a node, and all that the node tells."""

    def __init__(self, robot: Robot, name: str = "") -> None:
        self.robot = robot
        root = f"~/{name}/" if name else "~/"
        self.camera = DepthCamera(robot, name)
        kinds: dict[str, type[Any]] = {
            **dict.fromkeys(("semantic", "panoptic", "confidence"), Image),
            **{f"masks/{group}": Image for group in GROUPS},
            **dict.fromkeys(("points", "obstacles"), PointCloud2),
            "objects": ObjectArray,
            "instances": InstanceArray,
        }
        if find_spec("visualization_msgs"):
            from visualization_msgs.msg import MarkerArray

            kinds["markers"] = MarkerArray
        if find_spec("vision_msgs"):
            from vision_msgs.msg import Detection2DArray, Detection3DArray

            kinds |= {"detections": Detection2DArray, "detections_3d": Detection3DArray}
        self.outputs = {topic: robot.listen(kind, root + topic) for topic, kind in kinds.items()}
        self.camera.inboxes += [inbox for topic, inbox in self.outputs.items() if topic != "markers"]
        self.camera.connect(raw(DEPTH))
        while "markers" in self.outputs and not self.outputs["markers"].all():  # which has no stamp to wait for
            self.outputs["objects"].wait_for_stamp(self.camera.send(raw(DEPTH)))

    def see(self) -> Seen:
        """Send an image with its depth, and return it and what the node tells of it, by topic."""
        image = self.camera.send(raw(DEPTH))
        return image, {topic: _told(inbox, image) for topic, inbox in self.outputs.items()}


def _told(inbox: Inbox, image: Image) -> Any:
    if "marker" not in inbox.topic:
        return inbox.wait_for_stamp(image)
    return inbox.wait_for(lambda array: any(each.header.stamp == image.header.stamp for each in array.markers), "one")


@pytest.fixture(scope="module")
def parameters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("space")
    model = write_checkpoint(folder / "small", id2label=dict(enumerate("abcde")))
    (folder / "robot.yaml").write_text(yaml.safe_dump(TAXONOMY))
    every_frame = {"policy": "every_frame", "reliability": "reliable", "qos_depth": 100}
    known = {"model": str(model), "taxonomy": str(folder / "robot.yaml"), "precision": "float32"}
    return {**known, **every_frame, "obstacle_voxel": VOXEL}


@pytest.fixture(scope="module")
def seen(start_robot: StartRobot, parameters: dict[str, Any]) -> Iterator[Seen]:
    """An image, and what the node told of it."""
    with start_robot({**parameters, "depth": "raw"}) as robot:
        yield Listener(robot).see()


def test_points_agree_with_the_images_pixel_for_pixel(seen: Seen) -> None:
    _, told = seen
    points = read(told["points"])
    assert points.shape == (HEIGHT, WIDTH)
    assert told["points"].is_dense is False
    for topic, field in (("semantic", "class_id"), ("panoptic", "id"), ("confidence", "confidence")):
        np.testing.assert_array_equal(points[field], pixels_of(told[topic]))
    packed = np.ascontiguousarray(points["rgb"]).view("<u4")
    np.testing.assert_array_equal(np.stack([packed >> shift & 255 for shift in (16, 8, 0)], -1), picture())
    np.testing.assert_array_equal(points["z"], DEPTH)
    assert np.isnan(points["x"][np.isnan(DEPTH)]).all()


def test_everything_carries_the_header_of_the_image(seen: Seen) -> None:
    image, told = seen
    messages = {topic: message for topic, message in told.items() if topic != "markers"}
    assert {topic: message.header for topic, message in messages.items()} == dict.fromkeys(messages, image.header)


def test_obstacles_are_one_point_for_each_voxel_of_the_classes_that_are_obstacles(seen: Seen) -> None:
    _, told = seen
    obstacles = read(told["obstacles"])[0]
    assert set(obstacles["class_id"]) <= set(OBSTACLES)
    all_points = read(told["points"])
    of_obstacles = np.isin(all_points["class_id"], OBSTACLES) & np.isfinite(all_points["z"])
    assert of_obstacles.any()

    def cells(points: np.ndarray) -> list[tuple[int, ...]]:
        found = np.stack([points[axis] for axis in "xyz"], -1)
        return [tuple(cell) for cell in np.floor(found / np.float32(VOXEL)).astype(int).tolist()]

    assert len(set(cells(obstacles))) == len(obstacles)
    assert set(cells(obstacles)) == set(cells(all_points[of_obstacles]))


@pytest.mark.parametrize("group", GROUPS)
def test_mask_of_a_group_is_white_where_its_classes_are(seen: Seen, group: str) -> None:
    _, told = seen
    mask = told[f"masks/{group}"]
    expected = np.isin(pixels_of(told["semantic"]), GROUPS[group])
    assert mask.encoding == "mono8"
    assert expected.any()
    np.testing.assert_array_equal(pixels_of(mask), np.where(expected, 255, 0))


def test_objects_are_instances_that_have_depth(seen: Seen) -> None:
    _, told = seen
    instances = {each.id: each for each in told["instances"].instances}
    points, ids = xyz(told["points"]), pixels_of(told["panoptic"])
    assert told["objects"].epoch == told["instances"].epoch
    assert told["objects"].objects
    for each in told["objects"].objects:
        assert (each.class_id, each.class_name) == (instances[each.id].class_id, instances[each.id].class_name)
        assert 0 < each.points <= np.count_nonzero((ids == each.id) & np.isfinite(points[..., 2]))
        assert not each.velocity_known  # the frame is the camera's own
        # test/space measures how exact it is; here it is the right thing, in the right frame.
        assert abs(each.position.z - 2.0) <= each.size.z / 2 + 0.01


def test_markers_show_every_object(seen: Seen) -> None:
    _, told = seen
    if "markers" not in told:
        pytest.skip("visualization_msgs is not installed")
    boxes = {marker.id: marker for marker in told["markers"].markers if marker.ns == "box"}
    assert boxes.keys() == {each.id for each in told["objects"].objects}
    for each in told["objects"].objects:
        assert boxes[each.id].pose.position == each.position


def test_detections_are_the_same_things(seen: Seen) -> None:
    _, told = seen
    if "detections" not in told:
        pytest.skip("vision_msgs is not installed")
    instances = told["instances"].instances
    assert [each.id for each in told["detections"].detections] == [str(each.id) for each in instances if each.is_thing]
    assert [each.id for each in told["detections_3d"].detections] == [str(each.id) for each in told["objects"].objects]


def test_only_cameras_with_depth_have_topics_in_metres(start_robot: StartRobot, parameters: dict[str, Any]) -> None:
    offered = {topic for topic in SPACE if find_spec(PACKAGES.get(topic, "sensor_msgs"))}
    for depth, expected in (("raw", offered), ("none", set())):
        with start_robot({**parameters, "depth": depth, "cameras": ["front"]}) as robot:
            robot.process.wait_for_output("waiting for images")
            robot.quality(f"{robot.process.namespace}/segment/front/masks/people")
            topics = robot.topics()
            root = f"{robot.process.namespace}/segment/front/"
            assert {topic for topic in SPACE if root + topic in topics} == expected
