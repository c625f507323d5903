"""The true boxes of things: as MuJoCo's own collision code and renderer have them. Skipped without MuJoCo."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from demo import EVALUATION_SEEDS, FIRST_THING, class_names

pytest.importorskip("demo.world", reason="only remaking the demo files needs MuJoCo", exc_type=ImportError)
import mujoco

from demo.builder import CAMERA, MESH, PLANE
from demo.layout import make_layout
from demo.scene import Scene, build_scene
from demo.sites import SITES
from demo.truth import Shapes
from demo.world import Frame, World

SEED = EVALUATION_SEEDS[5]
WIDTH, HEIGHT = 424, 240


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(SEED, WIDTH, HEIGHT) as world:
        yield world


@pytest.fixture(scope="module")
def frames(world: World) -> list[Frame]:
    return list(world.frames(20.0, rate=2.0))


@pytest.fixture(scope="module")
def tumbled() -> tuple[Scene, mujoco.MjData]:
    """A scene whose things have been turned every way about their feet, and whose people swing every limb."""
    rng = np.random.default_rng(0)
    scene = build_scene(make_layout(rng, rng), rng, WIDTH, HEIGHT, fine=False, site=SITES["day"])
    data = mujoco.MjData(scene.model)
    data.mocap_quat[1:] = rng.normal(size=data.mocap_quat[1:].shape)
    data.mocap_quat /= np.linalg.norm(data.mocap_quat, axis=1, keepdims=True)
    data.mocap_pos[1:] = rng.uniform(2.0, 6.0, data.mocap_pos[1:].shape)
    data.qpos[:] = rng.uniform(-1.0, 1.0, data.qpos.shape)
    mujoco.mj_kinematics(scene.model, data)
    return scene, data


def test_the_box_of_every_kind_of_thing_is_as_far_from_the_walls_as_mujoco_says(
    tumbled: tuple[Scene, mujoco.MjData],
) -> None:
    scene, data = tumbled
    model, instances = scene.model, scene.instances[:-1]
    shapes = Shapes(model, data, instances)
    walls = np.flatnonzero(model.geom_type == int(PLANE))
    assert len(walls) == 6, "four walls, floor and ceiling"
    for instance in range(1, instances.max() + 1):
        corners = np.stack(shapes.box(instance))
        geoms = np.flatnonzero(instances == instance)
        for wall in walls:
            inward = data.geom_xmat[wall].reshape(3, 3)[:, 2]
            expected = min(mujoco.mj_geomDistance(model, data, int(wall), int(geom), 50.0, None) for geom in geoms)
            found = min(corners[:, np.abs(inward) > 0.5] * inward[np.abs(inward) > 0.5])[0]
            assert found - data.geom_xpos[wall] @ inward == pytest.approx(expected, abs=1e-4), (instance, inward)
    assert set(np.unique(model.geom_type[instances > 0])) > {int(MESH)}
    assert set(scene.classes[:-1][instances > 0]) == set(range(FIRST_THING, len(class_names("pallet"))))


def test_an_outline_has_the_pixels_that_the_renderer_gives_a_thing_alone() -> None:
    rng = np.random.default_rng(1)
    scene = build_scene(make_layout(rng, rng), rng, WIDTH, HEIGHT, fine=False, site=SITES["day"])
    data = mujoco.MjData(scene.model)
    data.mocap_quat[0] = [1.0, 0.0, 0.0, 0.0]
    data.mocap_pos[1:] = [4.0, 0.4, -0.3]  # all in one place before the camera
    mujoco.mj_kinematics(scene.model, data)
    mujoco.mj_camlight(scene.model, data)
    shapes = Shapes(scene.model, data, scene.instances[:-1])
    focal = HEIGHT / 2 / np.tan(np.radians(scene.model.cam_fovy[0]) / 2)
    matrix = np.array([[focal, 0.0, (WIDTH - 1) / 2], [0.0, focal, (HEIGHT - 1) / 2], [0.0, 0.0, 1.0]])
    projection = matrix @ np.array([[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    option = mujoco.MjvOption()
    option.geomgroup[:] = [0, 1, 0, 0, 0, 0]
    with mujoco.Renderer(scene.model, HEIGHT, WIDTH, max_geom=scene.model.ngeom + 50) as renderer:
        renderer.enable_segmentation_rendering()
        for instance in range(1, scene.instances.max() + 1):
            scene.model.geom_group[:] = scene.instances[:-1] == instance
            renderer.update_scene(data, CAMERA, option)
            alone = np.count_nonzero(renderer.render()[..., 0] >= 0)
            assert shapes.outline(instance, projection, HEIGHT, WIDTH) == pytest.approx(alone, rel=0.08), instance


def test_what_depth_shows_of_a_thing_lies_in_its_box(world: World, frames: list[Frame]) -> None:
    for frame in frames:
        assert frame.depth is not None
        for thing in frame.objects:
            rows, columns = np.nonzero(frame.instances == thing.id)
            rays = np.stack([columns, rows, np.ones(len(rows))]) * frame.depth[rows, columns]
            optical = np.linalg.inv(world.camera_matrix) @ rays
            body = np.stack([optical[2], -optical[0], -optical[1]])
            rotation = np.zeros(9)
            mujoco.mju_quat2Mat(rotation, frame.orientation[[3, 0, 1, 2]])
            points = (rotation.reshape(3, 3) @ body).T + frame.position
            assert (np.abs(points - thing.position) <= thing.size / 2 + 0.01).all()


def test_objects_are_the_things_of_the_picture(frames: list[Frame]) -> None:
    for frame in frames:
        assert [thing.id for thing in frame.objects] == sorted(set(np.unique(frame.instances)) - {0})
        for thing in frame.objects:
            mask = frame.instances == thing.id
            assert thing.points == np.count_nonzero(mask)
            assert set(frame.classes[mask]) == {thing.class_id}
            if mask[[0, -1]].any() or mask[:, [0, -1]].any():
                assert thing.partial
    assert {thing.partial for frame in frames for thing in frame.objects} == {True, False}


def test_velocity_is_what_moves_a_box_and_zero_for_what_stands_still(world: World) -> None:
    seconds, rate = 10, 5
    by_time = [{thing.id: thing for thing in each.objects} for each in world.frames(seconds, rate, depth=False)]
    speeds, errors = [], []
    for number, layout in enumerate(world.layout.things, start=1):
        for first in range(len(by_time) - rate):
            window = [each[number] for each in by_time[first : first + rate + 1] if number in each]
            if len(window) <= rate:
                continue
            # By the trapezoid rule, over a second: a person's arms and legs widen the box to and fro meanwhile.
            expected = (window[-1].position - window[0].position)[:2]
            found = np.mean([each.velocity for each in window[:-1]] + [each.velocity for each in window[1:]], axis=0)
            if not layout.speed:
                assert not found.any()
            speeds.append(np.linalg.norm(found))
            errors.append(np.linalg.norm(found[:2] - expected))
    assert max(speeds) > 0.5
    assert np.median(np.array(errors)[np.array(speeds) > 0.2]) < 0.06
