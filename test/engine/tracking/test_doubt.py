"""Identity: a slot is doubted where what it shows looks other than what it showed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eomt_ros.engine.tracking.reidentify import MOST_BYTES, NOTHING_REMEMBERED, Recall
from eomt_ros.engine.tracking.tracker import Identities, Identity, Observation
from eomt_ros.stamps import SECOND

WIDTH = 640
CHANNELS = 16
RED, GREEN, BLUE, GREY = range(4)


def looks(colour: int, part: float = 1.0) -> np.ndarray:
    """An embedding whose cosine with that of the pure colour is `part`."""
    found = np.zeros(CHANNELS, np.float32)
    found[colour], found[-1] = part, math.sqrt(1 - part**2)
    return found


def thing(slot: int, x: int, embedding: np.ndarray | None, class_id: int = 0) -> Observation:
    """One of 60 x 60 pixels; its reach in a tenth of a second is 189."""
    return Observation(slot, class_id, True, (x, 100, 60, 60), embedding)


RECALL = Recall(60.0, 0.4)


class Camera:
    """Shows ten frames a second."""

    def __init__(self, recall: Recall = RECALL) -> None:
        self.identities = Identities()
        self.recall = recall
        self._frames = 0

    def names(self, *observations: Observation) -> list[Identity]:
        self._frames += 1
        return self.identities.update(observations, WIDTH, self._frames * SECOND // 10, recall=self.recall)

    def show(self, *observations: Observation) -> list[int]:
        return [name.id for name in self.names(*observations)]


@pytest.fixture
def camera() -> Camera:
    return Camera()


def test_a_thing_of_other_looks_beside_the_last_one_in_its_slot_gets_a_new_id(camera: Camera) -> None:
    assert camera.show(thing(3, 100, looks(RED))) == [1]
    assert camera.show(thing(3, 200, looks(GREEN))) == [2]


def test_a_thing_that_jumps_keeps_its_id_where_it_looks_the_same(camera: Camera) -> None:
    assert camera.show(thing(3, 100, looks(RED))) == [1]
    assert camera.show(thing(3, 200, looks(RED))) == [1]


@pytest.mark.parametrize(("cosine", "expected"), [(0.81, 1), (0.79, 2)])
def test_looks_are_other_below_a_cosine_of_eight_tenths(camera: Camera, cosine: float, expected: int) -> None:
    camera.show(thing(3, 100, looks(RED)))
    assert camera.show(thing(3, 200, looks(RED, cosine))) == [expected]


@pytest.mark.parametrize(("step", "expected"), [(59, 1), (60, 2)], ids=["boxes overlap", "boxes touch"])
def test_a_thing_whose_looks_change_keeps_its_id_where_its_boxes_overlap(
    camera: Camera, step: int, expected: int
) -> None:
    camera.show(thing(3, 100, looks(RED)))
    assert camera.show(thing(3, 100 + step, looks(GREEN))) == [expected]


def test_looks_are_those_of_all_frames_not_of_the_last_alone(camera: Camera) -> None:
    for _ in range(5):
        assert camera.show(thing(3, 100, looks(RED))) == [1]
    assert camera.show(thing(3, 110, looks(GREEN))) == [1]
    assert camera.show(thing(3, 200, looks(RED))) == [1]


def test_a_lost_thing_in_the_slot_of_another_gets_its_old_id_though_the_boxes_overlap(camera: Camera) -> None:
    red, green, blue = (thing(slot, x, looks(slot)) for slot, x in ((RED, 100), (GREEN, 300), (BLUE, 500)))
    for _ in range(5):
        assert camera.show(red, green, blue) == [1, 2, 3]
    for _ in range(30):
        assert camera.show(red) == [1]
    (name,) = camera.names(thing(RED, 140, looks(GREEN)))
    assert (name.id, name.returned) == (2, True)
    assert camera.show(thing(RED, 140, looks(GREEN)), thing(7, 120, looks(RED))) == [2, 1]


def test_things_of_other_looks_that_exchange_their_slots_keep_their_ids(camera: Camera) -> None:
    for _ in range(3):
        assert camera.show(thing(1, 100, looks(RED)), thing(2, 200, looks(GREEN))) == [1, 2]
    assert camera.show(thing(1, 200, looks(GREEN)), thing(2, 100, looks(RED))) == [2, 1]


def test_a_thing_that_moved_to_another_slot_has_its_id_where_another_overlaps_it_in_its_own(camera: Camera) -> None:
    assert camera.show(thing(3, 100, looks(RED))) == [1]
    assert camera.show(thing(3, 140, looks(GREEN)), thing(9, 105, looks(RED))) == [2, 1]


def test_a_thing_that_was_doubted_and_goes_on_has_not_returned(camera: Camera) -> None:
    for _ in range(3):
        camera.show(thing(1, 100, looks(RED)), thing(2, 300, looks(GREEN)), thing(3, 500, looks(BLUE)))
    (name,) = camera.names(thing(1, 140, looks(GREY)))
    assert (name.id, name.age, name.returned) == (1, 3, False)


@pytest.mark.parametrize("unknown", [None, np.full(CHANNELS, np.nan, np.float32)], ids=["none", "NaN"])
@pytest.mark.parametrize("first", [True, False], ids=["before", "now"])
def test_unknown_looks_are_no_reason_to_doubt(camera: Camera, unknown: np.ndarray | None, first: bool) -> None:
    before, now = (unknown, looks(RED)) if first else (looks(RED), unknown)
    camera.show(thing(3, 100, before))
    assert camera.show(thing(3, 200, now)) == [1]


def test_nothing_is_doubted_where_nothing_is_remembered() -> None:
    camera = Camera(NOTHING_REMEMBERED)
    camera.show(thing(3, 100, looks(RED)))
    assert camera.show(thing(3, 200, looks(GREEN))) == [1]


def test_nothing_is_doubted_any_more_where_nothing_is_remembered_any_more(camera: Camera) -> None:
    camera.show(thing(3, 100, looks(RED)))
    camera.recall = NOTHING_REMEMBERED
    assert camera.show(thing(3, 200, looks(GREEN))) == [1]


def test_what_made_room_for_another_in_the_memory_is_not_doubted_for_the_looks_of_that(camera: Camera) -> None:
    """With embeddings so large it holds one thing."""
    red, green = (np.pad(looks(colour), (0, MOST_BYTES // 4 - CHANNELS)) for colour in (RED, GREEN))
    for x in (100, 200):
        assert camera.show(thing(1, x, red), thing(2, 400, green)) == [1, 2]
