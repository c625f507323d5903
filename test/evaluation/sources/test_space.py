"""Depth, intrinsics, odometry and true boxes of a bag: what belongs to a frame, and what is said of what is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eomt_ros.evaluation.account import Account
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.metrics import STANDARD_LIMITS, Scores
from eomt_ros.evaluation.sources import TruthSource, open_sequences
from eomt_ros.evaluation.sources.sequence import FrameInSpace
from eomt_ros.evaluation.true_masks import TrueMasks
from test import ROOT
from test.evaluation import bags
from test.evaluation.bags import STORE, header, stamp
from test.evaluation.sources.recordings import FRAMES, Message, frame, read, read_one, write

DEPTH, INFO, ODOMETRY, OBJECTS = "/camera/depth", "/camera/camera_info", "/odom", "/ground_truth/objects"
MILLISECOND = 10**6
FOCAL = 64.0


def vector(kind: str, *values: float) -> Any:
    return STORE.types[f"geometry_msgs/msg/{kind}"](*values)


def depth(nanoseconds: int, *, metres: float = 2.0, frame_id: str = "camera", height: int = 48) -> Any:
    pixels = np.full((height, 64), round(1000 * metres), np.uint16)
    return replace(bags.image(nanoseconds, pixels, "16UC1"), header=header(nanoseconds, frame_id))


def depth_png(nanoseconds: int) -> Any:
    _, data = cv2.imencode(".png", np.full((48, 64), 2000, np.uint16))
    return STORE.types["sensor_msgs/msg/CompressedImage"](header(nanoseconds), "16UC1; png compressed ", data)


def camera_info(nanoseconds: int, *, focal: float = FOCAL) -> Any:
    k = np.array([focal, 0, 31.5, 0, focal, 23.5, 0, 0, 1], np.float64)
    p = np.array([focal, 0, 31.5, 0, 0, focal, 23.5, 0, 0, 0, 1, 0], np.float64)
    roi = STORE.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    return STORE.types["sensor_msgs/msg/CameraInfo"](
        header(nanoseconds), 48, 64, "plumb_bob", np.zeros(5), k, np.eye(3).ravel(), p, 0, 0, roi
    )


def odometry(nanoseconds: int, x: float, *, frame_id: str = "odom") -> Any:
    """Of a camera that looks to the left of the odometry's frame: turned by 90 degrees about z."""
    half = float(np.sqrt(0.5))
    pose = vector("Pose", vector("Point", x, 0.0, 0.5), vector("Quaternion", 0.0, 0.0, half, half))
    still = vector("Twist", vector("Vector3", 0.0, 0.0, 0.0), vector("Vector3", 0.0, 0.0, 0.0))
    return STORE.types["nav_msgs/msg/Odometry"](
        header(nanoseconds, frame_id),
        "camera_link",
        vector("PoseWithCovariance", pose, np.zeros(36)),
        vector("TwistWithCovariance", still, np.zeros(36)),
    )


def objects(nanoseconds: int, *, known: bool = True, frame_id: str = "odom") -> Any:
    """One box of id 1, as `bags.scene` has it, 2 m to the left."""
    nothing = np.zeros(9)
    box = STORE.types["eomt_ros/msg/Object"](
        id=1,
        class_id=3,
        class_name="class 3",
        score=1.0,
        position=vector("Point", 0.2, 2.1, 0.5),
        position_covariance=nothing,
        size=vector("Vector3", 0.5, 0.3, 0.5),
        size_covariance=nothing,
        velocity_known=known,
        velocity=vector("Vector3", 0.1, 0.0, 0.0),
        velocity_covariance=nothing,
        moving=True,
        partial=False,
        points=256,
        age=0,
        returned=False,
        embedding=np.empty(0, np.float32),
    )
    return STORE.types["eomt_ros/msg/ObjectArray"](header(nanoseconds, frame_id), 0, [box])


def beside(number: int, *, shift: int = 0) -> list[Message]:
    """What a bag has beside the images of one moment. shift: ns by which depth and true boxes are late."""
    at = stamp(number)
    return [
        (DEPTH, at, depth(at + shift)),
        (INFO, at, camera_info(at)),
        (ODOMETRY, at, odometry(at, 0.1 * number)),
        (OBJECTS, at, objects(at + shift)),
    ]


def bag_with(path: Path, messages: Callable[[int], Iterable[Message]]) -> Path:
    return write(path, [[*frame(number), *messages(number)] for number in range(FRAMES)])


def spaces(path: Path) -> tuple[list[FrameInSpace | None], list[str]]:
    sequence, frames = read_one(path)
    return [each.space for each in frames], sequence.problems


def without(topic: str) -> Callable[[int], list[Message]]:
    return lambda number: [message for message in beside(number) if message[0] != topic]


def instead(topic: str, make: Callable[[int], Any], name: str = "") -> Callable[[int], list[Message]]:
    """The same with another message on a topic, or on one of another name. make: from the stamp."""
    return lambda number: [*without(topic)(number), (name or topic, stamp(number), make(stamp(number)))]


def test_a_frame_has_its_depth_view_pose_and_true_boxes(tmp_path: Path) -> None:
    found, problems = spaces(bag_with(tmp_path / "bag", beside))
    assert problems == []
    space = found[3]
    assert space is not None
    assert space.depth.shape == (48, 64)
    assert float(space.depth[0, 0]) == pytest.approx(2.0)
    # Ahead of the camera is the odometry's y, right of it its x.
    assert space.pose.apply(np.array([0.0, 0.0, 2.0])) == pytest.approx(np.array([0.3, 2.0, 0.5]))
    assert space.pose.apply(np.array([1.0, 0.0, 0.0])) == pytest.approx(np.array([1.3, 0.0, 0.5]))
    assert space.pinhole.rays()[23, 63] == pytest.approx([31.5 / FOCAL, -0.5 / FOCAL])
    box = space.truth[1]
    assert box.position == pytest.approx([0.2, 2.1, 0.5])
    assert box.size == pytest.approx([0.5, 0.3, 0.5])
    assert box.velocity == pytest.approx([0.1, 0.0, 0.0])


def test_depth_may_be_compressed(tmp_path: Path) -> None:
    found, problems = spaces(bag_with(tmp_path / "bag", instead(DEPTH, depth_png, f"{DEPTH}/compressed")))
    assert problems == []
    assert all(space is not None and space.depth.min() == pytest.approx(2.0) for space in found)


def test_raw_depth_goes_before_the_same_compressed(tmp_path: Path) -> None:
    found, problems = spaces(
        bag_with(
            tmp_path / "bag",
            lambda number: [*beside(number), (f"{DEPTH}/compressed", stamp(number), depth_png(stamp(number)))],
        )
    )
    assert problems == []
    assert None not in found


def test_a_velocity_that_the_truth_does_not_know_is_none(tmp_path: Path) -> None:
    found, _ = spaces(bag_with(tmp_path / "bag", instead(OBJECTS, lambda at: objects(at, known=False))))
    assert found[0] is not None
    assert found[0].truth[1].velocity is None


def test_depth_and_boxes_with_another_stamp_belong_to_the_nearest_frame_within_50_ms(tmp_path: Path) -> None:
    near, problems = spaces(bag_with(tmp_path / "near", lambda number: beside(number, shift=40 * MILLISECOND)))
    assert None not in near
    assert problems == []
    # Frames are 100 ms apart, but for a gap after the third.
    late = [[*frame(number), *beside(number, shift=60 * MILLISECOND)] for number in (0, 1, 2, 9)]
    far, problems = spaces(write(tmp_path / "far", late))
    assert [space is None for space in far] == [True, False, False, True]
    assert [problem for problem in problems if "in metres" in problem] == [
        f"2 frames without depth are not scored in metres; first: at {stamp(0)} ns"
    ]


def test_a_pose_between_two_messages_of_odometry_is_between_theirs(tmp_path: Path) -> None:
    def early(at: int) -> Any:
        return odometry(at - 25 * MILLISECOND, (at - stamp(0)) * 1e-9)

    found, problems = spaces(bag_with(tmp_path / "bag", instead(ODOMETRY, early)))
    assert [None if space is None else float(space.pose.translation[0]) for space in found[:-1]] == pytest.approx(
        [0.1 * number + 0.025 for number in range(FRAMES - 1)]
    )
    # After the last one nobody knows.
    assert found[-1] is None
    assert problems == [f"1 frame without odometry is not scored in metres; first: at {stamp(FRAMES - 1)} ns"]


def test_a_gap_in_the_odometry_is_not_bridged(tmp_path: Path) -> None:
    frames = [[*frame(number), *(beside if number in (0, 9) else without(ODOMETRY))(number)] for number in range(10)]
    found, _ = spaces(write(tmp_path / "bag", frames))
    assert [space is not None for space in found] == [True, *[False] * 8, True]


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        (DEPTH, "one topic of depth images in /camera, found none"),
        (INFO, "one topic of sensor_msgs/msg/CameraInfo in /camera, found none"),
        (ODOMETRY, "one topic of nav_msgs/msg/Odometry, found none"),
    ],
)
def test_true_boxes_without_the_rest_are_not_used_and_the_reason_is_said(
    topic: str, expected: str, tmp_path: Path
) -> None:
    found, problems = spaces(bag_with(tmp_path / "bag", without(topic)))
    assert found == [None] * FRAMES
    assert problems == [f"{OBJECTS} is not used: expected {expected}"]


def test_two_topics_of_odometry_are_named(tmp_path: Path) -> None:
    found, problems = spaces(
        bag_with(
            tmp_path / "bag",
            lambda number: [*beside(number), ("/wheels/odom", stamp(number), odometry(stamp(number), 0.0))],
        )
    )
    assert found == [None] * FRAMES
    assert problems[0].endswith("found /odom, /wheels/odom")


@pytest.mark.parametrize(
    ("topic", "make", "said"),
    [
        (DEPTH, lambda at: depth(at, frame_id="depth_optical"), "/camera/depth is in the frame 'depth_optical'"),
        (OBJECTS, lambda at: objects(at, frame_id="map"), "/ground_truth/objects is in the frame 'map'"),
        (INFO, lambda at: camera_info(at, focal=0.0), "is not used: "),
    ],
)
def test_what_does_not_go_together_is_not_used(
    topic: str, make: Callable[[int], Any], said: str, tmp_path: Path
) -> None:
    found, problems = spaces(bag_with(tmp_path / "bag", instead(topic, make)))
    assert found == [None] * FRAMES
    assert len(problems) == 1
    assert said in problems[0]


def test_frames_whose_depth_is_of_another_view_are_told(tmp_path: Path) -> None:
    found, problems = spaces(bag_with(tmp_path / "bag", instead(DEPTH, lambda at: depth(at, height=30))))
    assert found == [None] * FRAMES
    assert len(problems) == 1
    assert problems[0].startswith(f"{FRAMES} frames whose depth cannot be used are not scored in metres; first: at")


def test_each_camera_of_a_rig_has_the_boxes_in_its_namespace(tmp_path: Path) -> None:
    def renamed(messages: Iterable[Message], camera: str) -> list[Message]:
        own = {
            bags.IMAGES: bags.rig_topic(camera),
            DEPTH: f"/{camera}/depth",
            INFO: f"/{camera}/camera_info",
            ODOMETRY: ODOMETRY,
        }
        return [(own.get(topic, f"/{camera}{topic}"), recorded, message) for topic, recorded, message in messages]

    frames = [
        [
            *renamed([*frame(number), *beside(number)], "front"),
            *renamed(frame(number), "rear"),
        ]
        for number in range(FRAMES)
    ]
    path = write(tmp_path / "bag", frames)
    sequences = open_sequences([path], topics=[bags.rig_topic("front"), bags.rig_topic("rear")], truth=TruthSource())
    front, rear = ([each.space is not None for each in sequence.frames()] for sequence in sequences)
    assert front == [True] * FRAMES
    assert rear == [False] * FRAMES
    assert [sequence.problems for sequence in sequences] == [[], []]


def test_the_odometry_in_the_cameras_namespace_goes_before_others(tmp_path: Path) -> None:
    def messages(number: int) -> list[Message]:
        return [*beside(number), ("/camera/odom", stamp(number), odometry(stamp(number), 7.0))]

    found, problems = spaces(bag_with(tmp_path / "bag", messages))
    assert problems == []
    assert [None if space is None else float(space.pose.translation[0]) for space in found] == [7.0] * FRAMES


def static(*transforms: tuple[str, str, float]) -> Any:
    """A message of TF: parent, child, and metres along the parent's x; optical frames are turned as such."""
    made = []
    for parent, child, x in transforms:
        turn = (-0.5, 0.5, -0.5, 0.5) if child == "camera" else (0.0, 0.0, 0.0, 1.0)
        place = vector("Vector3", x, 0.0, 0.0)
        transform = vector("Transform", place, vector("Quaternion", *turn))
        made.append(vector("TransformStamped", header(stamp(0), parent), child, transform))
    return STORE.types["tf2_msgs/msg/TFMessage"](made)


@pytest.mark.parametrize(
    "transforms",
    [
        [("camera_link", "camera", 0.3)],
        [("camera_link", "mast", 0.2), ("mast", "camera", 0.1)],
        # Beside each other on the robot.
        [("base", "camera_link", 1.0), ("base", "camera", 1.3), ("base", "laser", 5.0)],
    ],
)
def test_the_camera_is_where_static_transforms_put_it(transforms: list[tuple[str, str, float]], tmp_path: Path) -> None:
    mounted = [("/tf_static", stamp(0), static(*transforms))]
    found, problems = spaces(write(tmp_path / "bag", [[*mounted, *frame(0), *beside(0)]]))
    assert problems == []
    assert found[0] is not None
    # The body looks along the odometry's y.
    assert found[0].pose.apply(np.array([0.5, 0.0, 2.0])) == pytest.approx(np.array([0.5, 2.3, 0.5]))


@pytest.mark.parametrize(
    ("transforms", "said"),
    [
        ([("base", "camera", 0.3)], "does not lead from the odometry's frame 'camera_link' to the camera's 'camera'"),
        ([("a", "camera", 0.3), ("camera", "a", 0.0)], "goes round in a circle"),
    ],
)
def test_static_transforms_without_the_camera_are_told(
    transforms: list[tuple[str, str, float]], said: str, tmp_path: Path
) -> None:
    mounted = [("/tf_static", stamp(0), static(*transforms))]
    found, problems = spaces(write(tmp_path / "bag", [[*mounted, *frame(0), *beside(0)]]))
    assert found == [None]
    assert len(problems) == 1
    assert said in problems[0]


def scores_of(*paths: Path) -> Scores:
    """Of true masks on recordings."""
    predictions = TrueMasks("demo")
    with Account(predictions, None, Convention.STANDARD, STANDARD_LIMITS) as account:
        for sequence, frames in read(*paths):
            account.start_sequence(sequence.name, None)
            predictions.start_sequence(sequence.name)
            for each in frames:
                found = predictions.find(each)
                assert found is not None
                account.add(each, found)
            account.end_sequence()
    return account.scores


def test_an_evaluation_with_true_masks_locates_every_thing(tmp_path: Path) -> None:
    scores = scores_of(bag_with(tmp_path / "bag", beside))
    figures = scores.figures().objects_in_metres
    assert figures is not None
    assert figures.things == FRAMES
    assert figures.position_error_m.p95 < 1.5  # the scene puts the mask a metre beside its true box
    assert [drawn.sequence for drawn in scores.maps()] == ["bag"]


def test_a_recording_knows_nothing_of_the_things_of_the_one_before(tmp_path: Path) -> None:
    # The second goes on where the first ends, but what it has under the same id is twice as far.
    far = instead(DEPTH, lambda at: depth(at, metres=4.0))
    one = write(tmp_path / "one", [[*frame(number), *beside(number)] for number in range(6)])
    other = write(tmp_path / "other", [[*frame(number), *far(number)] for number in range(6, 12)])
    alone = scores_of(other).figures().objects_in_metres
    assert scores_of(one, other).figures_by_sequence()[1].objects_in_metres == alone


def test_without_true_boxes_nothing_changes_and_nothing_of_space_is_imported(tmp_path: Path) -> None:
    path = bag_with(tmp_path / "bag", without(OBJECTS))
    found, problems = spaces(path)
    assert found == [None] * FRAMES
    assert problems == []
    words = ["evaluate", str(path), "--predictions", "truth", "--no-video", "--out", str(tmp_path / "out")]
    program = (
        "import sys\n"
        "from eomt_ros.cli.main import main\n"
        f"main({words!r})\n"
        "assert not any(name.startswith('eomt_ros.space') for name in sys.modules)\n"
        "assert 'eomt_ros.evaluation.metrics.metres' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"objects_in_metres": null' in (tmp_path / "out" / "metrics.json").read_text()
