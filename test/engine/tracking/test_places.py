"""A fixed frame that jumps: what was known of places is forgotten, and looks alone decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from eomt_ros.engine.tracking.places import Places
from eomt_ros.engine.tracking.reidentify import NEAR, Recall
from eomt_ros.engine.tracking.shared_ids import SharedIds
from eomt_ros.engine.tracking.tracker import Identities, Observation
from eomt_ros.stamps import SECOND

WIDTH, PERIOD = 640, 0.1
RECALL = Recall(60.0, 0.4)
HERE, FAR_FROM_HERE = (0.0, 0.0, 0.0), (NEAR + 2, 0.0, 0.0)


def thing(number: int, place: Sequence[float] | None, look: int | None = None) -> Observation:
    """Of its own slot, part of the image and look, or with that of another, which is nothing like it."""
    embedding = np.zeros(16, np.float32)
    embedding[number if look is None else look] = 1.0
    box = 20 + 40 * number, 100, 30, 30
    return Observation(number, 0, True, box, embedding, None if place is None else np.array(place))


@dataclass
class Camera:
    identities: Identities = field(default_factory=Identities)
    time: float = 0.0

    def show(self, *things: Observation, jumps: int = 0, elapsed: float = PERIOD) -> list[int]:
        self.time += elapsed
        named = self.identities.update(things, WIDTH, round(self.time * SECOND), None, RECALL, jumps)
        return [each.id for each in named]


@pytest.fixture
def camera() -> Camera:
    """A thing was seen here, and then no more."""
    camera = Camera()
    assert camera.show(thing(0, HERE)) == [1]
    camera.show(elapsed=3.0)
    return camera


def back(place: Sequence[float] | None) -> Observation:
    """The thing again, in another slot and elsewhere in the image."""
    return thing(12, place, look=0)


def test_without_a_jump_a_thing_too_far_away_is_another(camera: Camera) -> None:
    assert camera.show(back(FAR_FROM_HERE)) == [2]


def test_after_a_jump_distance_is_not_held_against_a_thing_that_looks_the_same(camera: Camera) -> None:
    assert camera.show(back(FAR_FROM_HERE), jumps=1) == [1]


def test_a_stream_that_begins_after_jumps_knows_of_none(camera: Camera) -> None:
    """Of two that share a memory, the second makes the first forget nothing."""
    shared = SharedIds()
    first, second = Camera(Identities(shared)), Camera(Identities(shared))
    first.show(thing(0, HERE))
    first.show(elapsed=3.0)
    second.show(thing(1, HERE), jumps=4, elapsed=3.0)
    assert first.show(back(FAR_FROM_HERE)) == [3]


def seen_again(camera: Camera, ways: Sequence[float], elapsed: float = PERIOD) -> bool:
    """Things come into view, and are seen again `elapsed` later, each so many metres from where it was.

    Returns whether they kept their ids.
    """
    places = [(0.0, 2.0 * number, 0.0) for number in range(1, len(ways) + 1)]
    ids = camera.show(*(thing(number, place) for number, place in enumerate(places, 1)))
    moved = [(way, y, z) for way, (_, y, z) in zip(ways, places, strict=True)]
    return camera.show(*(thing(number, place) for number, place in enumerate(moved, 1)), elapsed=elapsed) == ids


@pytest.mark.parametrize("ways", [(2.0, 2.0), (2.0, -2.0, 3.0), (2.0, 2.0, 2.0, 0.0)])
def test_things_that_leap_all_together_say_that_the_frame_has_jumped(camera: Camera, ways: Sequence[float]) -> None:
    assert seen_again(camera, ways)
    assert camera.show(back(FAR_FROM_HERE)) == [1]


@pytest.mark.parametrize(
    ("ways", "elapsed"),
    [
        ((2.0,), PERIOD),  # one alone may be measured wrongly
        ((2.0, 0.0), PERIOD),
        ((2.0, 2.0, 0.0), PERIOD),
        ((2.0, math.nan), PERIOD),  # the other's place is not known
        ((0.99,) * 3, PERIOD),  # half a metre, and what a thing of 5 m/s goes in the time
        ((2.0, 2.0), 0.5),  # in that time they can have walked there
        ((20.0, 20.0), 1.5),  # after so long nothing is compared
    ],
)
def test_things_that_move_as_they_can_say_nothing_of_the_frame(
    camera: Camera, ways: Sequence[float], elapsed: float
) -> None:
    seen_again(camera, ways, elapsed)
    assert 1 not in camera.show(back(FAR_FROM_HERE))


def test_of_things_one_behind_another_each_counts_as_the_one_it_is_nearest_to(camera: Camera) -> None:
    """Their boxes overlap, and most pairs of them lie far apart."""
    one = thing(1, None)
    behind = [replace(thing(number, (6.0 * number, 2.0, 0.0)), box=one.box) for number in range(1, 5)]
    camera.show(*behind)
    camera.show(*behind)
    assert 1 not in camera.show(back(FAR_FROM_HERE))


def test_things_of_another_class_that_come_before_others_say_nothing_of_the_frame(camera: Camera) -> None:
    camera.show(*(thing(number, (6.0, number, 0.0)) for number in (1, 2)))
    camera.show(*(replace(thing(number, (2.0, number, 0.0)), class_id=1) for number in (1, 2)))
    assert 1 not in camera.show(back(FAR_FROM_HERE))


def test_a_jump_is_no_way_that_a_thing_has_gone(camera: Camera) -> None:
    assert camera.show(thing(1, HERE)) == [2]
    for _ in range(15):
        assert camera.show(thing(1, (10.0, 0.0, 0.0)), jumps=1) == [2]
    camera.show(jumps=1, elapsed=3.0)
    assert camera.show(thing(13, (12.0, 0.0, 0.0), look=1), jumps=1) == [3]


def test_a_place_with_a_number_that_is_none_is_not_known() -> None:
    places = Places(np.array([[1.0, 2.0, 3.0], [np.nan, 0.0, 0.0], [0.0, np.inf, 0.0]]))
    first, second, third = places.each()
    np.testing.assert_array_equal(first, [1, 2, 3])
    assert second is None
    assert third is None
