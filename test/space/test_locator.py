"""Things in metres: where boxes are that a robot drives past, and what is said of those that are seen in part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from eomt_ros.space.locator import LocatedObject, Locator
from eomt_ros.space.pose import OPTICAL_IN_BODY, Pose
from test.space.cameras import SIZE, Scene, pinhole, scene

FAR_LOW, FAR_HIGH = (2.8, -0.3, 0.0), (3.4, 0.3, 0.6)
Box = tuple[tuple[float, ...], tuple[float, ...]]


def box_at(x: float, y: float, *, bottom: float = 0.0, half: float = 0.25, height: float = 0.5) -> Box:
    return (x - half, y - half, bottom), (x + half, y + half, bottom + height)


def eye_at(time: float, speed: float = 0.0) -> tuple[float, float, float]:
    return speed * time, 0.0, 0.8


def pose_of(eye: tuple[float, ...]) -> Pose:
    return Pose(np.eye(3), np.array(eye)) @ OPTICAL_IN_BODY


def drive(
    boxes: Callable[[float], dict[int, Box]], *, frames: int = 1, speed: float = 0.0, noise: float = 0.0
) -> list[list[LocatedObject]]:
    """The located things of some frames, at 10 Hz. boxes: of a time; speed: the robot's, along x, m/s."""
    locator, rng, found = Locator(), np.random.default_rng(0), []
    for frame in range(frames):
        time = frame / 10
        eye = eye_at(time, speed)
        view = scene(boxes(time), eye)
        depth = (view.depth + noise * rng.normal(size=SIZE) * view.depth**2).astype(np.float32)
        found.append(locator.locate(view, depth, pinhole(), pose_of(eye), 1000 + time, fixed=True))
    return found


def test_a_box_is_where_it_is_with_its_hidden_side() -> None:
    (found,) = drive(lambda _: {7: (FAR_LOW, FAR_HIGH)})[0]
    assert (found.id, found.class_id, found.class_name, found.score, found.age) == (7, 1, "class 1", 0.9, 0)
    assert found.position == pytest.approx([3.1, 0.0, 0.3], abs=0.05)
    assert found.size == pytest.approx([0.6, 0.6, 0.6], abs=0.08)
    assert not found.partial
    assert not found.moving
    assert found.velocity == pytest.approx(np.zeros(3))
    assert found.points > 1000
    error = found.position - [3.1, 0.0, 0.3]
    assert error @ np.linalg.solve(found.position_covariance, error) < 11.3  # 99 % of three dimensions


def test_covariances_are_proper_and_largest_along_the_ray() -> None:
    (found,) = drive(lambda _: {7: (FAR_LOW, FAR_HIGH)})[0]
    assert found.velocity_covariance is not None
    for each in (found.position_covariance, found.size_covariance, found.velocity_covariance):
        np.testing.assert_allclose(each, each.T)
        assert (np.linalg.eigvalsh(each) > 0).all()
    assert np.argmax(np.diag(found.position_covariance)) == 0


def test_doubt_grows_with_distance() -> None:
    near, far = (drive(lambda _, x=x: {7: box_at(x, 0.0)})[0][0] for x in (2.5, 8.0))
    assert (np.diag(far.position_covariance) > np.diag(near.position_covariance)).all()


def test_without_a_target_frame_things_are_in_the_optical_frame_and_have_no_velocity() -> None:
    view = scene({7: (FAR_LOW, FAR_HIGH)}, eye_at(0))
    (found,) = Locator().locate(view, view.depth, pinhole(), None, 0.0, fixed=False)
    assert found.position == pytest.approx([0.0, 0.5, 3.1], abs=0.05)
    assert found.size == pytest.approx([0.6, 0.6, 0.6], abs=0.08)
    assert found.velocity is None
    assert found.velocity_covariance is None
    assert not found.moving
    assert np.argmax(np.diag(found.position_covariance)) == 2


def test_a_camera_on_its_side_sees_the_same() -> None:
    view = scene({7: box_at(2.5, -1.4)}, eye_at(0))
    assert drive(lambda _: {7: box_at(2.5, -1.4)})[0][0].partial
    # Turned by 90 degrees about its axis: the picture's right is now below.
    turned = Scene(np.rot90(view.panoptic).copy(), [], np.rot90(view.depth).copy())
    y, x = np.nonzero(turned.panoptic == 7)
    box = (int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1)
    turned = replace(turned, segments=[replace(view.segments[0], box=box)])
    upright = pinhole()
    lying = replace(upright, height=SIZE[1], width=SIZE[0], matrix=upright.matrix[[1, 0, 2]][:, [1, 0, 2]])
    roll = Pose(np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), np.zeros(3))
    (found,) = Locator().locate(turned, turned.depth, lying, pose_of(eye_at(0)) @ roll, 0.0, fixed=True)
    expected = drive(lambda _: {7: box_at(2.5, -1.4)})[0][0]
    assert found.position == pytest.approx(expected.position, abs=0.05)
    assert found.size == pytest.approx(expected.size, abs=0.1)
    assert found.partial


def test_pixels_of_the_background_in_a_mask_do_not_move_it() -> None:
    view = scene({7: (FAR_LOW, FAR_HIGH)}, eye_at(0))
    y, x = np.nonzero(view.panoptic == 7)
    leak = np.random.default_rng(0).random(len(y)) < 0.2
    depth = view.depth.copy()
    depth[y[leak], x[leak]] = 8.0  # seen through it
    depth[y[::50], x[::50]] = np.linspace(3.5, 7.5, len(y[::50]))  # flying pixels
    (found,) = Locator().locate(view, depth, pinhole(), pose_of(eye_at(0)), 0.0, fixed=True)
    assert found.position == pytest.approx([3.1, 0.0, 0.3], abs=0.08)


@pytest.mark.parametrize(
    ("boxes", "is_partial"),
    [
        ({7: box_at(3.0, 0.0)}, False),
        ({7: box_at(2.5, -1.4)}, True),  # at the picture's right border
        ({7: box_at(1.2, 0.0)}, True),  # below its lower one
        ({7: box_at(3.0, 0.0, half=0.4), 8: box_at(2.0, 0.25, half=0.15, height=0.9)}, True),  # behind another's
        ({7: box_at(3.0, 0.0), 8: box_at(4.5, 0.4, height=1.0)}, False),  # before another
    ],
)
def test_what_is_cut_or_hidden_is_said_to_be_partial(boxes: dict[int, Box], is_partial: bool) -> None:
    found = {each.id: each for each in drive(lambda _: boxes)[0]}
    assert found[7].partial == is_partial


def test_a_thing_that_leaves_the_picture_keeps_its_size_and_place() -> None:
    # The robot passes it by: in the end it sees the left part of it.
    found = drive(lambda _: {7: box_at(3.0, -0.9)}, frames=25, speed=0.5)
    last = found[-1][0]
    assert last.partial
    assert last.position == pytest.approx([3.0, -0.9, 0.25], abs=0.06)
    assert last.size == pytest.approx([0.5, 0.5, 0.5], abs=0.12)


def test_an_id_that_goes_over_to_another_thing_takes_nothing_along() -> None:
    first, second = box_at(3.0, 0.8, half=0.4, height=1.2), box_at(4.0, -0.8, half=0.2, height=0.4)
    found = drive(lambda time: {7: first if time < 0.95 else second}, frames=15)
    (after,) = found[10]
    assert after.age == 0
    assert not any(each.moving for frame in found for each in frame)
    for frame in found[10:]:
        assert frame[0].position == pytest.approx([4.0, -0.8, 0.2], abs=0.08)
        assert frame[0].size == pytest.approx([0.4, 0.4, 0.4], abs=0.12)


def test_the_robots_motion_is_not_the_things() -> None:
    found = drive(lambda _: {7: box_at(3.5, -0.6), 8: box_at(4.5, 0.8)}, frames=30, speed=0.5, noise=0.002)
    assert not any(each.moving or np.any(each.velocity) for frame in found for each in frame)


@pytest.mark.parametrize("velocity", [(0.0, 0.8), (0.6, 0.0), (-0.4, -0.3)])
def test_what_moves_has_its_velocity_within_a_second(velocity: tuple[float, float]) -> None:
    def boxes(time: float) -> dict[int, Box]:
        return {7: box_at(3.0 + velocity[0] * time, velocity[1] * time)}

    found = drive(boxes, frames=16, speed=0.2, noise=0.002)
    for frame in found[10:]:
        assert frame[0].moving
        assert frame[0].velocity == pytest.approx([*velocity, 0.0], abs=0.15)
    assert found[-1][0].position[:2] == pytest.approx([3.0 + 1.5 * velocity[0], 1.5 * velocity[1]], abs=0.08)


def test_what_stops_is_said_to_stand() -> None:
    found = drive(lambda time: {7: box_at(3.0, 0.6 * min(time, 1.5) - 0.5)}, frames=50)
    assert found[15][0].moving
    assert not found[-1][0].moving
    assert found[-1][0].position == pytest.approx([3.0, 0.4, 0.25], abs=0.05)


def test_what_is_hidden_for_a_while_is_predicted_and_keeps_its_id_and_age() -> None:
    locator = Locator()
    for frame in range(15):
        view = scene({7: box_at(3.0, 0.05 * frame - 0.5)}, eye_at(0))
        locator.locate(view, view.depth, pinhole(), pose_of(eye_at(0)), frame / 10, fixed=True)
    empty = scene({}, eye_at(0))

    def predicted(time: float) -> list[LocatedObject]:
        return locator.locate(empty, empty.depth, pinhole(), pose_of(eye_at(0)), time, fixed=True)

    first, later = predicted(1.6)[0], predicted(2.2)[0]
    assert (first.points, first.age, first.moving) == (0, 14, True)
    assert later.position[1] == pytest.approx(0.05 * 22 - 0.5, abs=0.1)
    assert np.trace(later.position_covariance) > np.trace(first.position_covariance)
    assert predicted(2.5) == []
    view = scene({7: box_at(3.0, 1.0)}, eye_at(0))
    (back,) = locator.locate(view, view.depth, pinhole(), pose_of(eye_at(0)), 3.0, fixed=True)
    assert (back.id, back.age) == (7, 15)
    assert back.position == pytest.approx([3.0, 1.0, 0.25], abs=0.05)
    assert not back.moving


@pytest.mark.parametrize("what", ["epoch", "stamp"])
def test_a_new_epoch_and_a_clock_that_goes_back_forget_all(what: str) -> None:
    locator, pose = Locator(), pose_of(eye_at(0))
    view = scene({7: box_at(3.0, 0.0)}, eye_at(0))
    locator.locate(view, view.depth, pinhole(), pose, 10.0, fixed=True)
    other = scene({8: box_at(3.0, 0.0)}, eye_at(0))
    epoch, stamp = (2, 10.1) if what == "epoch" else (1, 9.0)
    found = locator.locate(replace(other, epoch=epoch), other.depth, pinhole(), pose, stamp, fixed=True)
    assert [(each.id, each.age) for each in found] == [(8, 0)]


def test_stuff_and_things_without_depth_are_not_located() -> None:
    stuff = scene({7: box_at(3.0, 0.0)}, eye_at(0), is_thing=False)
    assert Locator().locate(stuff, stuff.depth, pinhole(), None, 0.0, fixed=False) == []
    thing = scene({7: box_at(3.0, 0.0)}, eye_at(0))
    unknown = np.full(SIZE, np.nan, np.float32)
    assert Locator().locate(thing, unknown, pinhole(), None, 0.0, fixed=False) == []


def test_a_thing_that_fills_the_picture_is_partial() -> None:
    view = Scene(np.full(SIZE, 7, np.uint16), [], np.full(SIZE, 1.5, np.float32))
    view = replace(view, segments=[replace(scene({7: box_at(3, 0)}, eye_at(0)).segments[0], box=(0, 0, *SIZE[::-1]))])
    (found,) = Locator().locate(view, view.depth, pinhole(), pose_of(eye_at(0)), 0.0, fixed=True)
    assert found.partial
    assert np.isfinite(found.position).all()


def test_many_frames_of_one_stamp_do_no_harm() -> None:
    locator, pose = Locator(), pose_of(eye_at(0))
    view = scene({7: box_at(3.0, 0.0)}, eye_at(0))
    for _ in range(5):
        (found,) = locator.locate(view, view.depth, pinhole(), pose, 1.0, fixed=True)
    assert found.position == pytest.approx([3.0, 0.0, 0.25], abs=0.03)
    assert not found.moving
