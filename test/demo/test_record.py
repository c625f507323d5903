"""The recorder: bags that say what the frames say, and nothing overwritten unasked."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from demo import CLASS_NAMES, EVALUATION_SEEDS

pytest.importorskip("demo.world", reason="only remaking the demo files needs MuJoCo", exc_type=ImportError)
from demo.record import main, stereo_depth, write_bag, write_rig
from demo.world import Frame, World
from test.patience import PATIENCE

CAMERA_MATRIX = np.diag([64.0, 64.0, 1.0])


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    with World(EVALUATION_SEEDS[0], 100, 60) as world:
        return list(world.frames(0.5, start=12.0))


@pytest.fixture(scope="module")
def bag(frames: list[Frame], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    path = tmp_path_factory.mktemp("record") / "bag"
    write_bag(path, frames, CAMERA_MATRIX)
    return read(path)


def test_truth_is_kept_to_the_bit_and_pictures_nearly(frames: list[Frame], bag: dict[str, list[Any]]) -> None:
    for number, frame in enumerate(frames):
        assert bag["/ground_truth/semantic"][number].data.tobytes() == frame.classes.tobytes()
        assert bag["/ground_truth/panoptic"][number].data.tobytes() == frame.instances.astype("<u2").tobytes()
        picture = cv2.imdecode(bag["/camera/image/compressed"][number].data, cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(picture.astype(int) - frame.image).mean() < 8


def test_objects_are_in_the_bag_as_the_world_has_them(frames: list[Frame], bag: dict[str, list[Any]]) -> None:
    seen: dict[int, int] = {}
    for number, (frame, message) in enumerate(zip(frames, bag["/ground_truth/objects"], strict=True)):
        assert message.header.frame_id == bag["/odom"][number].header.frame_id == "odom"
        assert [thing.id for thing in message.objects] == [thing.id for thing in frame.objects]
        for found, thing in zip(message.objects, frame.objects, strict=True):
            assert found.class_name == CLASS_NAMES[found.class_id] == CLASS_NAMES[thing.class_id]
            assert (found.position.x, found.position.y, found.position.z) == tuple(thing.position)
            assert (found.size.x, found.size.y, found.size.z) == tuple(thing.size)
            assert (found.velocity.x, found.velocity.y, found.velocity.z) == tuple(thing.velocity)
            assert (found.partial, found.points) == (thing.partial, thing.points)
            assert found.moving == (np.linalg.norm(thing.velocity) >= 0.05)
            assert found.age == number - seen.setdefault(found.id, number)
    assert seen


def read(bag: Path) -> dict[str, list[Any]]:
    """The messages by their topics."""
    found: dict[str, list[Any]] = {}
    with AnyReader([bag]) as reader:
        for connection, _, raw in reader.messages():
            found.setdefault(connection.topic, []).append(reader.deserialize(raw, connection.msgtype))
    return found


@pytest.mark.parametrize("one_world", [True, False])
def test_a_rig_has_what_each_camera_sees_in_its_namespace_and_frames(
    one_world: bool, frames: list[Frame], tmp_path: Path
) -> None:
    seen = {"front": frames, "rear": list(reversed(frames))}
    stamped = {name: [replace(each, stamp=n / 10) for n, each in enumerate(of)] for name, of in seen.items()}
    write_rig(tmp_path / "rig", stamped, CAMERA_MATRIX, one_world=one_world)
    found = read(tmp_path / "rig")
    assert len(found) == 2 * 7
    for camera, of in stamped.items():
        for number, frame in enumerate(of):
            semantic = found[f"/{camera}/ground_truth/semantic"][number]
            panoptic = found[f"/{camera}/ground_truth/panoptic"][number]
            assert semantic.data.tobytes() == frame.classes.tobytes()
            assert panoptic.data.tobytes() == frame.instances.astype("<u2").tobytes()
            objects = found[f"/{camera}/ground_truth/objects"][number]
            assert [thing.id for thing in objects.objects] == [thing.id for thing in frame.objects]
            image, depth, info, odometry = (
                found[f"/{camera}/{topic}"][number]
                for topic in ("image/compressed", "depth/compressed", "camera_info", "odom")
            )
            seen_in = (image, depth, info, semantic, panoptic)
            assert {each.header.frame_id for each in seen_in} == {f"{camera}_optical"}
            fixed = "odom" if one_world else f"{camera}_odom"
            assert {each.header.frame_id for each in (objects, odometry)} == {fixed}
            assert odometry.child_frame_id == f"{camera}_link"
            picture = cv2.imdecode(image.data, cv2.IMREAD_COLOR)[..., ::-1]
            assert np.abs(picture.astype(int) - frame.image).mean() < 8


def test_cameras_on_one_robot_have_its_velocity_each_in_its_own_axes(tmp_path: Path) -> None:
    with World(EVALUATION_SEEDS[0], 100, 60) as world:
        cameras = {"front": 0, "left": 90}
        seen = {name: world.frames(0.5, start=12.0, degrees=way) for name, way in cameras.items()}
        write_rig(tmp_path / "rig", seen, CAMERA_MATRIX, one_world=True)
    found = read(tmp_path / "rig")
    assert found["/left/odom"][-1].twist.twist.linear.y < -0.2  # the robot goes to its right
    for messages in zip(found["/front/odom"], found["/left/odom"], strict=True):
        front, left = ([_in_odom(message, each) for each in ("linear", "angular")] for message in messages)
        np.testing.assert_allclose(left, front, atol=1e-9)


def _in_odom(message: Any, part: str) -> NDArray[np.float64]:
    """A part of the velocity along the axes of `odom`."""
    turn, velocity = message.pose.pose.orientation, getattr(message.twist.twist, part)
    axis = np.array([turn.x, turn.y, turn.z])
    rotation = cv2.Rodrigues(2 * np.arccos(turn.w) * axis / np.linalg.norm(axis))[0]
    return np.asarray(rotation @ [velocity.x, velocity.y, velocity.z])


def test_the_velocity_leads_from_each_pose_to_the_next(bag: dict[str, list[Any]]) -> None:
    for before, after in pairwise(bag["/odom"]):
        then, now, twist = before.pose.pose, after.pose.pose, after.twist.twist
        turn = np.hypot(now.orientation.z, now.orientation.w)
        # The yaw of a pose whose pitch is small and constant.
        yaw = [2 * np.arctan2(pose.orientation.z, pose.orientation.w) for pose in (then, now)]
        assert turn > 0.9
        assert np.hypot(twist.angular.z, twist.angular.x) == pytest.approx(abs(yaw[1] - yaw[0]) / 0.1, abs=1e-6)
        moved = np.array([now.position.x - then.position.x, now.position.y - then.position.y])
        assert twist.linear.y == pytest.approx((moved @ [-np.sin(yaw[1]), np.cos(yaw[1])]) / 0.1, abs=1e-6)


def test_stereo_depth_is_fine_nearby_coarse_far_away_and_zero_where_it_sees_nothing() -> None:
    depth = np.array([[0.5, 1.0, 8.0, 39.0, 1e6]], np.float32)
    millimetres = stereo_depth(depth, 257.0)
    errors = np.abs(millimetres[0, :3] / 1000.0 - depth[0, :3])
    assert errors[0] < 0.001
    assert errors[1] < 0.003
    assert errors[2] < 0.2
    assert millimetres[0, 4] == 0


def test_an_existing_folder_is_refused_and_only_a_bag_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    monkeypatch.setattr(sys, "argv", ["demo.record", str(precious)])
    with pytest.raises(SystemExit, match=r"exists already.*--overwrite"):
        main()
    monkeypatch.setattr(sys, "argv", ["demo.record", str(precious), "--overwrite"])
    with pytest.raises(SystemExit, match="is not a bag's folder"):
        main()
    assert (precious / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("cameras", "complaint"),
    [
        (["front"], "'front', expected a name, a seed and where it looks, such as front=8 or left=8@90"),
        (["2d=8"], "'2d=8', expected a name, a seed"),
        (["front=-8"], "'front=-8', expected a name, a seed"),
        (["front=8@left"], "'front=8@left', expected a name, a seed"),
        (["front=8", "front=9"], "two cameras of one name: front, front"),
        (
            ["front=8@90", "rear=9", "left=8@-270"],
            "front and left look the same way, 90 degrees to the left in the world of seed 8; expected another way, as "
            "left=8@180",
        ),
    ],
)
def test_cameras_that_make_no_rig_are_refused(
    cameras: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [word for camera in cameras for word in ("--camera", camera)]
    monkeypatch.setattr(sys, "argv", ["demo.record", str(tmp_path / "rig"), *words])
    with pytest.raises(SystemExit):
        main()
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "rig").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "odometry"),
    [
        (("--seed", "101"), {"/odom": "odom"}),
        (("--camera", "a=101", "--camera", "b=102"), {"/a/odom": "a_odom", "/b/odom": "b_odom"}),
        (("--camera", "a=101", "--camera", "b=101@-90"), {"/a/odom": "odom", "/b/odom": "odom"}),
    ],
)
def test_the_command_writes_a_bag_and_replaces_it_when_told_to(
    world: tuple[str, ...], odometry: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "demo.record", *world, "--seconds", "0.2", str(tmp_path / "bag")]
    for arguments in (command, [*command, "--overwrite"]):
        done = subprocess.run(
            arguments, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr
    found = read(tmp_path / "bag")
    assert [len(messages) for messages in found.values()] == [2] * 7 * len(odometry)
    assert {topic: found[topic][0].header.frame_id for topic in odometry} == odometry
