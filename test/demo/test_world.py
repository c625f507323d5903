"""The simulated world: what its frames promise. Needs MuJoCo and a renderer; skipped without."""

from collections.abc import Iterator

import numpy as np
import pytest

from demo import CLASS_NAMES, EVALUATION_SEEDS, FIRST_THING

pytest.importorskip("demo.world", reason="only remaking the demo files needs MuJoCo", exc_type=ImportError)
from demo.world import Frame, World

SEED = EVALUATION_SEEDS[3]
SIZE = (212, 120)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(SEED, *SIZE) as world:
        yield world


@pytest.fixture(scope="module")
def frames(world: World) -> list[Frame]:
    return list(world.frames(20.0, rate=1.0))


def same(first: Frame, second: Frame) -> bool:
    pairs = [(first, second), *zip(first.objects, second.objects, strict=True)]
    fields = [(a, b) for one, other in pairs for a, b in zip(vars(one).values(), vars(other).values(), strict=True)]
    return all(np.array_equal(a, b) for a, b in fields if a is not first.objects)


def test_the_same_seed_and_time_give_the_same_frame_wherever_the_clip_starts(frames: list[Frame]) -> None:
    with World(SEED, *SIZE) as again:
        for frame in again.frames(3.0, rate=1.0, start=5.0):
            assert same(frame, frames[round(frame.stamp)])


def test_another_seed_is_another_world(frames: list[Frame]) -> None:
    with World(SEED + 1, *SIZE) as other:
        frame = next(other.frames(1.0))
    assert np.mean(frame.classes != frames[0].classes) > 0.1
    assert np.mean(frame.image != frames[0].image) > 0.5


def test_every_pixel_has_a_class_and_no_ray_leaves_the_room(world: World, frames: list[Frame]) -> None:
    diagonal = np.linalg.norm([world.layout.length, world.layout.width, world.layout.height])
    for frame in frames:
        assert frame.classes.max() < len(CLASS_NAMES)
        assert frame.depth is not None
        assert frame.depth.min() > 0.2
        assert frame.depth.max() < diagonal


def test_things_have_ids_that_keep_their_class_and_stuff_has_none(frames: list[Frame]) -> None:
    class_of: dict[int, int] = {}
    for frame in frames:
        np.testing.assert_array_equal(frame.instances > 0, frame.classes >= FIRST_THING)
        for instance in np.unique(frame.instances[frame.instances > 0]):
            classes = np.unique(frame.classes[frame.instances == instance])
            assert len(classes) == 1
            assert class_of.setdefault(int(instance), int(classes[0])) == classes[0]
    assert len(class_of) > 5
    assert len(set(class_of.values())) >= 4


def test_pose_camera_matrix_and_depth_put_the_floor_on_the_ground(world: World, frames: list[Frame]) -> None:
    floor = CLASS_NAMES.index("floor")
    for frame in frames[::5]:
        assert frame.depth is not None
        rows, columns = np.nonzero(frame.classes == floor)
        rays = np.stack([columns, rows, np.ones(len(rows))]) * frame.depth[rows, columns]
        optical = np.linalg.inv(world.camera_matrix) @ rays
        body = np.stack([optical[2], -optical[0], -optical[1]])
        x, y, z, w = frame.orientation
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        ground = rotation @ body + frame.position[:, None]
        assert np.abs(ground[2]).max() < 0.03
        assert (ground[0] > -0.05).all()
        assert (ground[0] < world.layout.length + 0.05).all()


def test_depth_is_rendered_only_where_asked_for(world: World, frames: list[Frame]) -> None:
    frame = next(world.frames(1.0, depth=False))
    assert frame.depth is None
    np.testing.assert_array_equal(frame.image, frames[0].image)


def test_fine_pictures_show_the_same_truth(frames: list[Frame]) -> None:
    with World(SEED, *SIZE, fine=True) as fine:
        frame = next(fine.frames(1.0))
    np.testing.assert_array_equal(frame.classes, frames[0].classes)
    np.testing.assert_array_equal(frame.instances, frames[0].instances)
    assert np.abs(frame.image.astype(int) - frames[0].image).mean() < 12


@pytest.mark.parametrize("wrong", [{"seconds": -1.0}, {"rate": 0.0}, {"start": -0.1}])
def test_times_that_cannot_be_are_refused_at_once(world: World, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        world.frames(**{"seconds": 1.0, **wrong})
