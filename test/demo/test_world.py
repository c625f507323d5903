"""The simulated world: what its frames promise. Needs MuJoCo and a renderer; skipped without."""

from collections.abc import Iterator

import numpy as np
import pytest

from demo import CLASS_NAMES, EVALUATION_SEEDS, FIRST_THING, class_names

pytest.importorskip("demo.world", reason="only remaking the demo files needs MuJoCo", exc_type=ImportError)
from demo.layout import PALLET, make_layout
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


@pytest.mark.parametrize("degrees", [0, 90, -200])
def test_pose_camera_matrix_and_depth_put_the_floor_on_the_ground(world: World, degrees: int) -> None:
    floor = CLASS_NAMES.index("floor")
    for frame in world.frames(20.0, rate=0.2, degrees=degrees):
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


def test_cameras_that_take_turns_see_one_world_each_its_own_way(world: World, frames: list[Frame]) -> None:
    shared = 0
    for alone, ahead, aside in zip(frames, world.frames(20.0, 1.0), world.frames(20.0, 1.0, degrees=60), strict=True):
        assert same(alone, ahead)
        np.testing.assert_array_equal(ahead.position, aside.position)
        yaws = [2 * np.arctan2(frame.orientation[2], frame.orientation[3]) for frame in (ahead, aside)]
        assert np.degrees(yaws[1] - yaws[0]) % 360 == pytest.approx(60)
        places = [{thing.id: thing.position for thing in frame.objects} for frame in (ahead, aside)]
        for number in places[0].keys() & places[1].keys():
            np.testing.assert_array_equal(places[0][number], places[1][number])
            shared += 1
        assert np.mean(ahead.image != aside.image) > 0.5
    assert shared


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


def test_at_night_the_same_things_are_in_the_dark_and_every_picture_has_grain_of_its_own(
    world: World, frames: list[Frame]
) -> None:
    with World(SEED, *SIZE, site="night") as night:
        seen = list(night.frames(5.0, rate=1.0))
        again = next(night.frames(1.0, rate=1.0, start=3.0))
    assert night.layout == world.layout
    assert same(seen[3], again)
    assert np.mean([frame.image for frame in seen]) < 0.6 * np.mean([frame.image for frame in frames])
    grain = [frame.image[::8, ::8].astype(int) - frame.image[1::8, ::8] for frame in seen]
    assert min(np.std(each) for each in grain) > 3
    for frame, by_day in zip(seen, frames, strict=False):
        assert np.mean(frame.instances != by_day.instances) < 0.02  # people are not as wide


def test_pallets_are_things_that_come_last_and_move_nothing_else(world: World, frames: list[Frame]) -> None:
    pallet = class_names("pallet").index("pallet")
    assert pallet == len(CLASS_NAMES)
    with World(SEED, *SIZE, extra="pallet") as extra:
        seen = list(extra.frames(20.0, rate=1.0))
    count = len(world.layout.things)
    assert extra.layout.things[:count] == world.layout.things
    assert {thing.class_id for thing in extra.layout.things[count:]} >= {pallet}
    assert any((frame.classes == pallet).sum() > 100 for frame in seen)
    for frame in seen:
        ids = np.unique(frame.instances[frame.classes == pallet])
        assert all(extra.layout.things[number - 1].class_id == pallet for number in ids)
    assert not any((frame.classes == pallet).any() for frame in frames)


def test_pallets_stand_clear_of_walls_and_of_all_that_they_do_not_carry() -> None:
    for seed in range(40):
        rngs = [np.random.default_rng([seed, part]) for part in (0, 3)]
        layout = make_layout(*rngs)
        floor = [thing for thing in layout.things if thing.elevation == 0.0]
        room = np.array([layout.length, layout.width])
        for thing in (thing for thing in floor if thing.class_id == PALLET):
            turned = abs(np.array([np.cos(thing.heading), np.sin(thing.heading)]))
            reach = turned * thing.size[0] + turned[::-1] * thing.size[1]
            place = np.array(thing.position)
            assert (place - reach > 0.05).all(), seed
            assert (room - place - reach > 0.05).all(), seed
            others = [other for other in floor if other is not thing]
            gaps = [np.linalg.norm(place - other.position) - other.radius - thing.radius for other in others]
            assert min(gaps) > 0.03, seed
