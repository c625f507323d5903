"""Identity by place: whose id a segment gets where the network carries nothing from frame to frame.

Queries are drawn anew in every frame, as such networks give them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest

from eomt_ros.engine.tracking.by_overlap import OverlapIdentities
from eomt_ros.engine.tracking.tracker import LARGEST_ID, Observation

HEIGHT, WIDTH = 480, 640
BALL, BOX, FLOOR, WALL = range(4)


@dataclass(frozen=True)
class Thing:
    """A disc that fills its box."""

    x: int
    y: int = 200
    size: int = 60
    class_id: int = BALL
    is_thing: bool = True

    def mask(self) -> np.ndarray:
        y, x = np.ogrid[:HEIGHT, :WIDTH]
        radius = self.size / 2
        return (x + 0.5 - self.x - radius) ** 2 + (y + 0.5 - self.y - radius) ** 2 <= radius**2


class Camera:
    """Shows a stream of frames at ten a second; later things cover earlier ones."""

    def __init__(self) -> None:
        self.identities = OverlapIdentities()
        self.frames = 0
        self._random = random.Random(0)

    def show(self, *things: Thing) -> list[int]:
        """The ids of the next frame's things."""
        index = np.zeros((HEIGHT, WIDTH), np.uint8)
        observations = []
        queries = self._random.sample(range(200), len(things))
        for number, (thing, query) in enumerate(zip(things, queries, strict=True), start=1):
            index[thing.mask()] = number
            slot = query if thing.is_thing else -1 - thing.class_id
            box = (thing.x, thing.y, thing.size, thing.size)
            observations.append(Observation(slot, thing.class_id, thing.is_thing, box))
        stamp = self.frames * 10**8
        self.frames += 1
        return [name.id for name in self.identities.update(observations, WIDTH, stamp, index)]

    def show_nothing(self, frames: int) -> None:
        for _ in range(frames):
            assert self.show() == []


@pytest.fixture
def camera() -> Camera:
    return Camera()


@pytest.mark.parametrize("step", [0, 5, 20, 40, 80], ids="{} px a frame".format)
def test_a_thing_that_moves_keeps_its_id(camera: Camera, step: int) -> None:
    assert [camera.show(Thing(10 + step * frame)) for frame in range(8)] == [[1]] * 8


def test_a_thing_that_comes_nearer_keeps_its_id(camera: Camera) -> None:
    sizes = [round(10 * 1.25**frame) for frame in range(14)]
    assert [camera.show(Thing(300 - size // 2, 200 - size // 2, size)) for size in sizes] == [[1]] * 14


def test_ids_follow_the_things_whatever_their_order(camera: Camera) -> None:
    first, second, third = Thing(50), Thing(250), Thing(450)
    assert camera.show(first, second, third) == [1, 2, 3]
    assert camera.show(third, first, second) == [3, 1, 2]


def test_the_best_pairing_as_a_whole_counts(camera: Camera) -> None:
    """Each moves so far that it lies nearer to where its neighbour was; pair by pair the first would go wrong."""
    assert camera.show(Thing(100), Thing(150), Thing(200)) == [1, 2, 3]
    assert camera.show(Thing(127), Thing(177), Thing(227)) == [1, 2, 3]


@pytest.mark.parametrize("frames", [1, 10, 18])
def test_a_short_occlusion_keeps_the_id(camera: Camera, frames: int) -> None:
    assert camera.show(Thing(300)) == [1]
    camera.show_nothing(frames)
    assert camera.show(Thing(305)) == [1]


def test_a_thing_that_comes_back_later_gets_a_new_id(camera: Camera) -> None:
    assert camera.show(Thing(300)) == [1]
    camera.show_nothing(25)
    assert camera.show(Thing(300)) == [2]


def test_a_thing_elsewhere_gets_a_new_id(camera: Camera) -> None:
    assert camera.show(Thing(300)) == [1]
    assert camera.show(Thing(500)) == [2]


def test_a_thing_whose_class_flickers_keeps_its_id(camera: Camera) -> None:
    assert camera.show(Thing(300)) == [1]
    assert camera.show(Thing(303, class_id=BOX)) == [1]
    assert camera.show(Thing(306)) == [1]


def test_a_thing_of_another_class_beside_it_gets_a_new_id(camera: Camera) -> None:
    assert camera.show(Thing(300)) == [1]
    assert camera.show(Thing(330, class_id=BOX)) == [2]


@pytest.mark.parametrize(("step", "expected"), [(14, 1), (18, 2)], ids=["more than half", "less than half"])
def test_a_class_flickers_where_masks_overlap_by_half(camera: Camera, step: int, expected: int) -> None:
    assert camera.show(Thing(300)) == [1]
    assert camera.show(Thing(300 + step, class_id=BOX)) == [expected]


@pytest.mark.parametrize(("step", "expected"), [(20, 1), (21, 2)], ids=["half", "just less"])
def test_a_thing_that_was_hidden_is_the_same_where_boxes_overlap_by_half(
    camera: Camera, step: int, expected: int
) -> None:
    assert camera.show(Thing(300)) == [1]
    camera.show_nothing(3)
    assert camera.show(Thing(300 + step)) == [expected]


def test_a_newcomer_on_top_of_a_thing_that_is_seen_gets_a_new_id(camera: Camera) -> None:
    assert camera.show(Thing(300, size=100)) == [1]
    assert camera.show(Thing(300, size=100), Thing(330, 230, 40)) == [1, 2]


def test_a_small_thing_that_no_pixel_looked_at_shows_keeps_its_id(camera: Camera) -> None:
    assert [camera.show(Thing(301, 201, 1)) for _ in range(5)] == [[1]] * 5


def test_fused_stuff_keeps_one_id_per_class_for_the_whole_epoch(camera: Camera) -> None:
    floor, wall = (Thing(0, 100, 300, class_id, is_thing=False) for class_id in (FLOOR, WALL))
    assert camera.show(floor) == [1]
    assert camera.show(wall) == [2]
    camera.show_nothing(30)
    assert camera.show(wall, Thing(500), floor) == [2, 3, 1]


def test_stuff_never_continues_a_thing(camera: Camera) -> None:
    assert camera.show(Thing(100, size=300)) == [1]
    assert camera.show(Thing(100, size=300, class_id=FLOOR, is_thing=False)) == [2]
    assert camera.show(Thing(100, size=300)) == [1]


def test_an_image_of_another_size_is_matched_by_boxes(camera: Camera) -> None:
    assert camera.show(Thing(100, 100)) == [1]
    index = np.zeros((HEIGHT // 2, WIDTH), np.uint8)
    index[100:160, 100:160] = 1
    seen = [Observation(7, BALL, True, (100, 100, 60, 60))]
    assert [name.id for name in camera.identities.update(seen, WIDTH, camera.frames / 10, index)] == [1]


def test_a_restart_begins_the_next_epoch_with_id_1(camera: Camera) -> None:
    camera.show(Thing(100), Thing(300))
    camera.identities.restart()
    assert camera.show(Thing(300)) == [1]
    assert camera.identities.epoch == 1


def test_the_next_epoch_begins_when_the_ids_run_out(camera: Camera) -> None:
    crowd = [Observation(slot, BALL, True, (100, 100, 60, 60)) for slot in range(LARGEST_ID - 2)]
    camera.identities.update(crowd, WIDTH, 0, np.zeros((HEIGHT, WIDTH), np.uint8))
    camera.show_nothing(30)
    assert camera.show(Thing(100)) == [LARGEST_ID - 1]
    assert camera.show(Thing(100), Thing(300)) == [LARGEST_ID - 1, LARGEST_ID]
    assert camera.show(Thing(500, 10), Thing(100), Thing(300)) == [1, 2, 3]
    assert camera.identities.epoch == 1
    assert camera.show(Thing(300), Thing(100)) == [3, 2]


def test_whatever_happens_an_id_is_unique_in_its_frame_and_never_comes_back_from_the_dead(camera: Camera) -> None:
    chance = random.Random(1)
    last_seen: dict[int, int] = {}
    highest = 0
    for frame in range(150):
        things = [
            Thing(chance.randrange(580), chance.randrange(420), chance.randrange(5, 60), chance.choice((BALL, BOX)))
            for _ in range(chance.randrange(6))
        ]
        ids = camera.show(*things)
        assert len(set(ids)) == len(ids)
        for name in ids:
            assert name > highest or frame - last_seen[name] <= 20
            last_seen[name] = frame
        highest = max([highest, *ids])
    assert highest > 50


def test_overlap_counts_more_than_nearness(camera: Camera) -> None:
    """A small thing in the middle of where a large one was is nearer to it than the large one, which moved."""
    assert camera.show(Thing(200, 100, 200)) == [1]
    assert camera.show(Thing(290, 190, 20), Thing(240, 100, 200)) == [2, 1]
