"""What Nav2's layers and nvblox read of the node's topics, read as they read it. Sources: docs/navigation.md."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2, PointField

from eomt_ros.engine import Segmenter
from eomt_ros.engine.model.labels import load_labels
from test.engine.checkpoints import TABLE
from test.node.bad_depth import PARAMETERS
from test.node.conftest import StartRobot
from test.node.depth_camera import DepthCamera, raw, some_depth, xyz
from test.node.robot import HEIGHT, WIDTH, NodeProcess, Robot, picture, pixels_of, stamped
from test.node.spinning import spinning
from test.patience import PATIENCE

LATEST = 10
"""The layer's default of `sensor_data_depth`: messages that a subscription and the matching keep."""
LONGEST_INTERVAL = 100_000_000
"""ns between the stamps of one set."""


def sensor_data(depth: int) -> QoSProfile:
    """`nav2::qos::SensorDataQoS`."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)


LATCHED = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def stamp_of(message: Any) -> int:
    """ns."""
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


class ApproximateTime:
    """Matches messages of several topics as message_filters' policy of that name does.

    The newest of the messages that wait first in line is in the next set; with it go those of the other topics that
    make the set's interval the shortest. It is given once nothing that still comes could make it shorter.
    """

    def __init__(self, topics: int) -> None:
        self._queues = [deque[Any](maxlen=LATEST) for _ in range(topics)]

    def add(self, topic: int, message: Any) -> Iterator[tuple[Any, ...]]:
        """Take a message and give the sets that it completes."""
        self._queues[topic].append(message)
        while all(self._queues):
            heads = [stamp_of(queue[0]) for queue in self._queues]
            newest = max(heads)
            if newest - min(heads) > LONGEST_INTERVAL:
                self._queues[heads.index(min(heads))].popleft()
                continue
            if any(stamp_of(queue[-1]) < newest for queue in self._queues):
                return
            found = min(itertools.product(*(_beside(queue, newest) for queue in self._queues)), key=_interval)
            for queue, message in zip(self._queues, found, strict=True):
                while queue.popleft() is not message:
                    pass
            yield found


def _beside(queue: deque[Any], stamp: int) -> list[Any]:
    """The last message before a stamp and the first from it on."""
    return [*[m for m in queue if stamp_of(m) < stamp][-1:], *[m for m in queue if stamp_of(m) >= stamp][:1]]


def _interval(messages: tuple[Any, ...]) -> int:
    stamps = [stamp_of(message) for message in messages]
    return max(stamps) - min(stamps)


class Observation(NamedTuple):
    """What the layer hands to its buffer."""

    mask: Image
    confidence: Image
    cloud: PointCloud2


class SemanticLayer:
    """Subscribes, matches and checks as Nav2's SemanticSegmentationLayer does."""

    def __init__(self, robot: Robot, context: Context) -> None:
        self._process: NodeProcess = robot.process
        self._stack = ExitStack()
        node = Node("local_costmap", context=context, namespace=robot.process.namespace, start_parameter_services=False)
        self._stack.callback(node.destroy_node)
        self.observations: list[Observation] = []
        self.warnings: list[str] = []
        self.class_ids: dict[int, str] | None = None
        """Of the names that it was told, and None until then."""
        if find_spec("vision_msgs") is not None:
            from vision_msgs.msg import LabelInfo

            node.create_subscription(LabelInfo, "segment/label_info", self._labels_callback, LATCHED)
        self._sync = ApproximateTime(3)
        topics = {"semantic": Image, "confidence": Image, "points": PointCloud2}
        for number, (topic, kind) in enumerate(topics.items()):
            node.create_subscription(
                kind,
                f"segment/{topic}",
                lambda message, number=number: self._callback(number, message),
                sensor_data(LATEST),
            )
        self._stack.enter_context(spinning(node))

    def __enter__(self) -> SemanticLayer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def all(self) -> list[Observation]:
        """What was observed so far."""
        with self._process.changed:
            return list(self.observations)

    def wait_for(self, image: Image) -> Observation:
        """The observation of an image."""
        found = self._process.wait(
            lambda: [o for o in self.observations if stamp_of(o.mask) == stamp_of(image)],
            f"the set for {image.header.stamp} at the semantic layer (it warned: {self.warnings})",
        )
        return found[0]

    def _labels_callback(self, info: Any) -> None:
        with self._process.changed:
            self.class_ids = {entry.class_id: entry.class_name for entry in info.class_map}
            self._process.changed.notify_all()

    def _callback(self, topic: int, message: Any) -> None:
        with self._process.changed:
            for mask, confidence, cloud in self._sync.add(topic, message):
                self._observe(Observation(mask, confidence, cloud))
            self._process.changed.notify_all()

    def _observe(self, observation: Observation) -> None:
        mask, _, cloud = observation
        if mask.width * mask.height != cloud.width * cloud.height:
            self.warnings.append("Pointcloud and segmentation sizes are different, will not buffer message")
        elif len(mask.data) < mask.width * mask.height:
            self.warnings.append("segmentation arrays have wrong sizes, will not buffer message")
        elif find_spec("vision_msgs") is not None and not self.class_ids:
            self.warnings.append("Class map is empty because a labelinfo message has not been received")
        else:
            self.observations.append(observation)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of the model's classes, of which floor and wall are stuff, and so no obstacles."""
    table = tmp_path_factory.mktemp("labels") / "labels.yaml"
    table.write_text(TABLE)
    return table


@pytest.fixture(scope="module")
def robot(start_robot: StartRobot, checkpoint: Path, labels: Path) -> Iterator[Robot]:
    """A robot whose node listens to depth."""
    with start_robot({"model": str(checkpoint), "labels": str(labels), **PARAMETERS}) as robot:
        yield robot


@pytest.fixture(scope="module")
def camera(robot: Robot) -> DepthCamera:
    """Its camera, connected."""
    camera = DepthCamera(robot)
    camera.connect(raw(some_depth()))
    return camera


@pytest.fixture
def layer(robot: Robot, camera: DepthCamera, ros: Context) -> Iterator[SemanticLayer]:
    """The semantic layer, connected: it had a set, and its warnings are of the time before."""
    with SemanticLayer(robot, ros) as layer:
        for _ in range(round(PATIENCE)):
            camera.send(raw(some_depth()))
            with robot.process.changed:
                if robot.process.changed.wait_for(lambda: layer.observations, 1.0):
                    break
        layer.wait_for(camera.send(raw(some_depth())))
        layer.warnings.clear()
        yield layer


def test_semantic_layer_gets_one_complete_set_for_every_frame(layer: SemanticLayer, camera: DepthCamera) -> None:
    before = len(layer.all())
    sent = []
    for seed in range(8):
        sent.append(camera.send(raw(some_depth(seed)), step=0.1, seed=seed))
        layer.wait_for(sent[-1])
    observed = layer.all()[before:]
    assert [stamp_of(each.mask) for each in observed] == [stamp_of(image) for image in sent]
    for image, (mask, confidence, cloud) in zip(sent, observed, strict=True):
        assert mask.header == confidence.header == cloud.header == image.header
        assert {(each.height, each.width) for each in (mask, confidence, cloud)} == {(HEIGHT, WIDTH)}
        # The layer takes byte number v * width + u for pixel (u, v), whatever encoding and step say, and the point
        # with the same number.
        assert (mask.encoding, confidence.encoding) == ("mono8", "mono8")
        assert len(mask.data) == len(confidence.data) == HEIGHT * WIDTH
        assert len(cloud.data) == HEIGHT * WIDTH * cloud.point_step
    assert not layer.warnings


def test_point_of_a_pixel_is_seen_at_that_pixel_and_has_its_depth(layer: SemanticLayer, camera: DepthCamera) -> None:
    depth = some_depth(3)
    known = np.isfinite(depth)
    info = camera.send_info(d=[-0.2, 0.05, 0.001, -0.002, 0.0])
    layer.wait_for(camera.send(raw(depth)))  # with the camera_info from before, perhaps
    try:
        points = xyz(layer.wait_for(camera.send(raw(depth))).cloud)
    finally:
        camera.send_info()
    np.testing.assert_array_equal(np.isfinite(points).all(-1), known)
    assert np.isnan(points[~known]).all(), "the layer looks at z alone to leave a point out"
    np.testing.assert_allclose(points[known][:, 2], depth[known], rtol=1e-6)
    matrix, distortion = np.array(info.k).reshape(3, 3), np.array(info.d)
    seen, _ = cv2.projectPoints(points[known].astype(float), np.zeros(3), np.zeros(3), matrix, distortion)
    np.testing.assert_allclose(seen[:, 0], np.argwhere(known)[:, ::-1], atol=0.02)


def test_semantic_layer_never_mixes_frames_where_some_have_no_depth(layer: SemanticLayer, camera: DepthCamera) -> None:
    before = len(layer.all())
    with_depth = []
    for number in range(6):
        depth = raw(some_depth(number)) if number % 2 else None
        image = camera.send(depth, step=0.08, seed=number)  # closer than what the layer may take for one set
        if depth is not None:
            with_depth.append(image)
            layer.wait_for(image)
    observed = layer.all()[before:]
    assert [{stamp_of(message) for message in each} for each in observed] == [{stamp_of(m)} for m in with_depth]


def test_every_class_in_a_mask_has_a_name_that_the_layer_heard_before(
    layer: SemanticLayer, camera: DepthCamera, segmenter: Segmenter
) -> None:
    pytest.importorskip("vision_msgs.msg", reason="vision_msgs is optional")
    assert layer.class_ids == dict(enumerate(segmenter.labels.class_names))
    seen = np.unique(pixels_of(layer.wait_for(camera.send(raw(some_depth()), seed=1)).mask))
    assert {*seen.tolist()} <= {*layer.class_ids, 255}


def test_obstacle_layer_gets_points_of_obstacles_alone_with_the_header_of_the_image(
    robot: Robot, camera: DepthCamera, labels: Path
) -> None:
    obstacles = robot.listen(PointCloud2, "~/obstacles", sensor_data(50))
    camera.connect(raw(some_depth()), obstacles)
    image = camera.send(raw(some_depth()), seed=1)
    cloud, mask = obstacles.wait_for_stamp(image), pixels_of(camera.semantic.wait_for_stamp(image))
    assert cloud.header == image.header
    points, class_ids = xyz(cloud).reshape(-1, 3), class_ids_of(cloud)
    is_thing = np.array(load_labels(labels).is_thing)
    assert is_thing[class_ids].all()
    assert not is_thing[mask[mask < len(is_thing)]].all(), "points of what is no obstacle would not show"
    assert np.isfinite(points).all()
    # Each stands for the points of its class in a voxel of 0.05 m, so it is within the voxel's diagonal of one of them.
    all_points = camera.seen(image)
    for class_id in np.unique(class_ids):
        own = all_points[(mask == class_id) & np.isfinite(all_points[..., 2])]
        far = [np.linalg.norm(own - point, axis=1).min() for point in points[class_ids == class_id]]
        assert max(far) <= 0.05 * 3**0.5


def test_obstacle_layer_hears_that_there_is_no_obstacle(robot: Robot, camera: DepthCamera) -> None:
    """It marks the newest cloud again in every update until the next one comes."""
    obstacles = robot.listen(PointCloud2, "~/obstacles", sensor_data(50))
    camera.connect(raw(some_depth()), obstacles)
    assert obstacles.wait_for_stamp(camera.send(raw(some_depth()), seed=1)).width
    assert not robot.set(score_threshold=1.0)
    try:
        cloud = obstacles.wait_for_stamp(camera.send(raw(some_depth()), seed=1))
    finally:
        assert not robot.set(score_threshold=-1.0)
    assert (cloud.height * cloud.width, len(cloud.data)) == (0, 0)
    kinds = {field.name: field.datatype for field in cloud.fields}
    assert [kinds.get(axis) for axis in "xyz"] == [PointField.FLOAT32] * 3, "Nav2 throws where one of them is missing"
    assert cloud.point_step


def class_ids_of(cloud: PointCloud2) -> npt.NDArray[Any]:
    """(N,) the field class_id, read by its own type and offset."""
    (field,) = (field for field in cloud.fields if field.name == "class_id")
    kind = {PointField.UINT8: "u1", PointField.UINT16: "<u2", PointField.UINT32: "<u4"}[field.datatype]
    layout = np.dtype({"names": ["id"], "formats": [kind], "offsets": [field.offset], "itemsize": cloud.point_step})
    return np.frombuffer(cloud.data, layout)["id"]


def test_nvblox_gets_a_mask_that_is_255_where_a_class_of_the_group_is_and_0_elsewhere(
    start_robot: StartRobot, checkpoint: Path, tmp_path: Path
) -> None:
    """It masks every pixel that is not 0, so class 0 has to be told from none; and stamps have to be equal."""
    taxonomy = tmp_path / "robot.yaml"
    people = ", ".join(f"{{name: {name}, role: obstacle, groups: [people]}}" for name in ("ball", "box"))
    taxonomy.write_text(f"classes: [{people}, {{name: floor, role: ground}}, {{name: person, role: obstacle}}]\n")
    parameters = {"model": str(checkpoint), "taxonomy": str(taxonomy), "policy": "every_frame", "qos_depth": 100}
    with start_robot(parameters) as robot:
        camera, masks = robot.camera(), robot.listen(Image, "~/masks/people", sensor_data(10))
        semantic = robot.listen(Image, "~/semantic")
        robot.connect(camera, masks, semantic)
        seen = set()
        for seed in range(8):
            image = camera.publish(stamped(picture(seed), robot.next_stamp()))
            mask, class_ids = masks.wait_for_stamp(image), pixels_of(semantic.wait_for_stamp(image))
            assert (mask.header, mask.encoding) == (image.header, "mono8")
            np.testing.assert_array_equal(pixels_of(mask), np.where(class_ids < 2, 255, 0))
            seen |= {*np.unique(class_ids).tolist()}
        assert {0, 1} & seen
        assert {2, 3, 255} & seen
