"""Several cameras with one memory and one count of ids, on scenes that are told thing by thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from eomt_ros.engine.tracking import tracker
from eomt_ros.engine.tracking.by_overlap import OverlapIdentities
from eomt_ros.engine.tracking.reidentify import BESIDE, Recall
from eomt_ros.engine.tracking.shared_ids import SharedIds
from eomt_ros.engine.tracking.tracker import LARGEST_ID, Identities, Identity, Observation
from eomt_ros.stamps import SECOND

HEIGHT, WIDTH, SIZE = 480, 640, 40
PERSON, CONE = range(2)


def look(degrees: float) -> np.ndarray:
    """An embedding; the likeness of two is the cosine of the angle between them."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


@dataclass(frozen=True)
class Thing:
    """A square of a camera's image."""

    look: np.ndarray
    x: int = 100
    slot: int = 0
    class_id: int = PERSON
    place: Sequence[float] | None = None

    def at(self, *place: float) -> Thing:
        return replace(self, place=place)

    def seen(self) -> Observation:
        place = None if self.place is None else np.array(self.place)
        return Observation(self.slot, self.class_id, True, (self.x, 100, SIZE, SIZE), self.look, place)


ANNA, BERT, CLEO = Thing(look(0)), Thing(look(60), x=300, slot=1), Thing(look(120), x=500, slot=2)
"""Three that nobody takes for one another."""


class Robot:
    """Cameras whose ticks are a tenth of a second apart."""

    def __init__(self, kind: type[Identities], remember: float = 60.0) -> None:
        self.ids = SharedIds()
        self.front, self.left = kind(self.ids), kind(self.ids)
        self.recall = Recall(remember, 0.8)
        self.time = 1000.0
        self.jumps = {self.front: 0, self.left: 0}

    def names(self, camera: Identities, *things: Thing, clock: float = 0.0) -> list[Identity]:
        index = np.zeros((HEIGHT, WIDTH), np.uint8)
        for number, thing in enumerate(things, start=1):
            index[100 : 100 + SIZE, thing.x : thing.x + SIZE] = number
        stamp = round((self.time + clock) * SECOND)
        return camera.update(
            [thing.seen() for thing in things], WIDTH, stamp, index, self.recall, self.jumps.get(camera)
        )

    def tick(self, front: Sequence[Thing], left: Sequence[Thing], clock: float = 0.0) -> tuple[list[int], list[int]]:
        """The ids in the next frames of both. clock: seconds by which that of the left camera is fast."""
        self.time += 0.1
        found = self.names(self.front, *front), self.names(self.left, *left, clock=clock)
        return [name.id for name in found[0]], [name.id for name in found[1]]

    def ticks(self, count: int, front: Sequence[Thing], left: Sequence[Thing]) -> None:
        for _ in range(count):
            self.tick(front, left)


@pytest.fixture(params=[Identities, OverlapIdentities])
def robot(request: pytest.FixtureRequest) -> Robot:
    return Robot(request.param)


# --- one count


def test_no_id_is_of_two_things_of_different_cameras(robot: Robot) -> None:
    assert robot.tick([ANNA, BERT], [CLEO]) == ([1, 2], [3])
    assert robot.tick([ANNA, BERT], [replace(BERT, look=look(200)), CLEO]) == ([1, 2], [4, 3])


def test_without_a_memory_ids_are_still_of_one_count(robot: Robot) -> None:
    robot.recall = Recall(0.0, 0.8)
    assert robot.tick([ANNA], [BERT]) == ([1], [2])
    robot.tick([], [BERT])
    assert robot.tick([], [BERT, ANNA]) == ([], [2, 3])


def test_stuff_is_of_its_camera(robot: Robot) -> None:
    floor = Observation(-1, CONE, False, (0, 300, WIDTH, 100))
    names = [robot.front.update([floor], WIDTH), robot.left.update([floor], WIDTH)] if _by_query(robot) else None
    assert names is None or [each[0].id for each in names] == [1, 2]


def _by_query(robot: Robot) -> bool:
    return not isinstance(robot.front, OverlapIdentities)


# --- from camera to camera


def test_a_person_who_leaves_one_camera_and_enters_another_keeps_the_id_and_returns_with_age_0(robot: Robot) -> None:
    robot.ticks(5, [ANNA], [BERT])
    robot.ticks(3, [], [BERT])
    robot.time += 0.1
    assert robot.names(robot.left, BERT, CLEO)[1] == Identity(3, 0)
    assert robot.names(robot.left, BERT, replace(ANNA, x=20, slot=7), CLEO)[1] == Identity(1, 0, returned=True)
    assert robot.names(robot.left, BERT, replace(ANNA, x=20, slot=7), CLEO)[1] == Identity(1, 1)


def test_two_who_change_cameras_at_once_keep_their_ids(robot: Robot) -> None:
    robot.ticks(5, [ANNA], [BERT])
    robot.tick([], [])
    assert robot.tick([replace(BERT, slot=7)], [replace(ANNA, slot=7)]) == ([2], [1])
    assert robot.tick([replace(BERT, slot=7)], [replace(ANNA, slot=7)]) == ([2], [1])


def test_who_went_over_is_not_continued_where_it_was(robot: Robot) -> None:
    """Another person stands in its place, with its query, within the time that an absence may last."""
    robot.ticks(5, [ANNA], [])
    robot.tick([], [])
    assert robot.tick([], [ANNA]) == ([], [1])
    assert robot.tick([replace(ANNA, look=look(60))], [ANNA]) == ([2], [1])


def test_there_and_back(robot: Robot) -> None:
    robot.ticks(5, [ANNA], [])
    robot.ticks(5, [], [])
    for _ in range(3):
        for camera in (robot.left, robot.front):
            robot.time += 0.1
            assert robot.names(camera, replace(ANNA, slot=7))[0].id == 1
            robot.ticks(5, [], [])


def test_a_thing_that_looks_like_one_in_view_of_another_camera_gets_no_id_of_a_lost_one(robot: Robot) -> None:
    """It may as well be the one that is in view."""
    robot.ticks(5, [ANNA], [replace(ANNA, look=look(4))])
    robot.tick([], [replace(ANNA, look=look(4))])
    front, _ = robot.tick([replace(ANNA, x=300, slot=7, look=look(2))], [replace(ANNA, look=look(4))])
    assert front == [3]


# --- both see it


def test_a_thing_that_both_see_in_one_place_has_one_id(robot: Robot) -> None:
    robot.ticks(5, [ANNA.at(2, 1, 0)], [])
    assert robot.tick([ANNA.at(2, 1, 0)], [ANNA.at(2.2, 1.1, 0)]) == ([1], [1])
    assert robot.tick([ANNA.at(2, 1, 0)], [ANNA.at(2.2, 1.1, 0)]) == ([1], [1])
    assert robot.tick([], [ANNA.at(2.2, 1.1, 0)]) == ([], [1])
    assert robot.tick([ANNA.at(2, 1, 0)], [ANNA.at(2.2, 1.1, 0)]) == ([1], [1]), "an absence of a frame"


def test_things_that_look_the_same_in_other_places_have_ids_of_their_own(robot: Robot) -> None:
    away = 2 + BESIDE + 0.1
    robot.ticks(5, [ANNA.at(2, 1, 0)], [])
    assert robot.tick([ANNA.at(2, 1, 0)], [ANNA.at(away, 1, 0)]) == ([1], [2])


def test_each_camera_has_its_own_count_of_the_jumps_of_places(robot: Robot) -> None:
    robot.jumps[robot.left] = 3
    robot.ticks(5, [ANNA.at(2, 1, 0)], [])
    assert robot.tick([ANNA.at(2, 1, 0)], [ANNA.at(2.2, 1.1, 0)]) == ([1], [1])
    robot.jumps[robot.left] = 4
    assert robot.tick([ANNA.at(2, 1, 0)], [replace(ANNA, x=300, slot=7).at(2.2, 1.1, 0)]) == ([1], [2])


def test_without_a_place_what_both_see_has_two_ids(robot: Robot) -> None:
    robot.ticks(5, [ANNA], [])
    assert robot.tick([ANNA], [ANNA]) == ([1], [2])
    robot.ticks(5, [ANNA.at(2, 1, 0)], [ANNA])
    assert robot.tick([ANNA.at(2, 1, 0)], [ANNA, replace(ANNA, x=300, slot=7)]) == ([1], [2, 3])


def test_one_camera_never_shows_an_id_twice(robot: Robot) -> None:
    both = [ANNA.at(2, 1, 0)]
    robot.ticks(5, both, [])
    robot.ticks(5, both, both)
    robot.tick([], both)  # the front camera has a track of it that nothing shows
    other = replace(ANNA, x=400, slot=7).at(2.1, 1, 0)
    assert robot.tick([other], both) == ([1], [1])
    front, _ = robot.tick([other, *both], both)
    assert front == [1, 2]


# --- clocks, silence


@pytest.mark.parametrize("fast", [-1e6, 0.0, 1e6])
def test_the_clocks_of_the_cameras_need_not_be_one(robot: Robot, fast: float) -> None:
    for _ in range(20):
        robot.tick([ANNA], [BERT], fast)
    for _ in range(20):
        robot.tick([], [BERT], fast)
    assert robot.tick([], [BERT, ANNA], fast) == ([], [2, 1])


def test_what_is_remembered_for_a_time_is_forgotten_after_it_in_every_camera(robot: Robot) -> None:
    robot.recall = Recall(3.0, 0.8)
    robot.ticks(5, [ANNA], [BERT])
    robot.ticks(31, [], [BERT])
    assert robot.tick([], [BERT, ANNA]) == ([], [2, 3])


@pytest.mark.parametrize(("ticks", "expected"), [(10, 1), (40, 2)])
def test_a_camera_that_starts_late_counts_the_time_of_the_others(robot: Robot, ticks: int, expected: int) -> None:
    robot.recall = Recall(3.0, 0.8)
    for things in [[ANNA]] * 5 + [[]] * ticks:
        robot.time += 0.1
        robot.names(robot.front, *things)
    assert [name.id for name in robot.names(robot.left, ANNA)] == [expected]


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, 3), (3.0, 1)])
def test_a_camera_that_is_silent_shows_its_things_no_longer(robot: Robot, seconds: float, expected: int) -> None:
    robot.ticks(5, [ANNA], [BERT])
    for _ in range(round(10 * seconds)):
        robot.time += 0.1
        robot.names(robot.left, BERT)
    assert [name.id for name in robot.names(robot.left, BERT, ANNA)] == [2, expected]


# --- epochs


def test_a_camera_that_forgets_goes_on_with_new_ids_in_the_epoch_of_all(robot: Robot) -> None:
    robot.ticks(5, [ANNA, BERT], [CLEO])
    robot.ticks(5, [ANNA], [CLEO])
    robot.front.restart()
    assert (robot.front.epoch, robot.left.epoch) == (0, 0)
    assert robot.tick([ANNA, BERT], [CLEO]) == ([4, 5], [3])


def test_what_a_camera_forgot_comes_back_in_no_other(robot: Robot) -> None:
    robot.ticks(5, [ANNA], [CLEO])
    robot.ticks(5, [], [CLEO])
    robot.front.restart()
    assert robot.tick([], [CLEO, ANNA]) == ([], [3 - 1, 3])


def test_what_has_gone_over_is_no_longer_of_the_camera_that_forgets(robot: Robot) -> None:
    robot.ticks(5, [ANNA], [])
    robot.tick([], [])
    assert robot.tick([], [ANNA]) == ([], [1])
    robot.front.restart()
    assert robot.tick([], [ANNA]) == ([], [1])
    robot.ticks(5, [], [])
    robot.front.restart()
    assert robot.tick([ANNA], []) == ([1], [])


def test_a_new_epoch_of_all_begins_in_each_camera_with_its_next_frame(robot: Robot) -> None:
    robot.ticks(5, [ANNA], [BERT, CLEO])
    robot.ids.restart()
    assert (robot.front.epoch, robot.left.epoch) == (0, 0)
    robot.time += 0.1
    assert [name.id for name in robot.names(robot.left, CLEO, BERT)] == [1, 2]
    assert (robot.front.epoch, robot.left.epoch) == (0, 1)
    robot.time += 0.1
    assert [name.id for name in robot.names(robot.front, ANNA)] == [3]
    assert (robot.front.epoch, robot.left.epoch) == (1, 1)


def test_an_id_of_the_epoch_before_is_in_no_view(robot: Robot) -> None:
    robot.ticks(5, [BERT], [])
    robot.ids.restart()
    shown = [[ANNA], [ANNA], [], [replace(ANNA, x=300, slot=7)]]
    assert [[name.id for name in robot.names(robot.left, *things)] for things in shown] == [[1], [1], [], [1]]


def test_when_ids_run_out_the_next_epoch_of_all_begins(robot: Robot) -> None:
    assert robot.tick([ANNA], [BERT]) == ([1], [2])
    robot.ids.last_id = LARGEST_ID - 1
    assert robot.tick([ANNA, CLEO], [BERT]) == ([1, LARGEST_ID], [2])
    assert robot.tick([ANNA, CLEO], [BERT, replace(CLEO, look=look(200))]) == ([1, LARGEST_ID], [1, 2])
    assert (robot.front.epoch, robot.left.epoch) == (0, 1)
    assert robot.tick([ANNA, CLEO], [BERT, replace(CLEO, look=look(200))]) == ([3, 4], [1, 2])
    assert (robot.front.epoch, robot.left.epoch) == (1, 1)


def test_streams_with_ids_of_their_own_share_nothing(robot: Robot) -> None:
    alone = type(robot.front)(), type(robot.front)()
    for camera in alone:
        assert [name.id for name in robot.names(camera, ANNA)] == [1]
    alone[0].restart()
    assert [camera.epoch for camera in alone] == [1, 0]


def test_a_stream_that_is_gone_shows_nothing() -> None:
    ids = SharedIds()
    front, left = tracker.Identities(ids), tracker.Identities(ids)
    recall = Recall(60.0, 0.8)
    front.update([ANNA.seen()], WIDTH, None, None, recall)
    del front
    assert [name.id for name in left.update([ANNA.seen()], WIDTH, None, None, recall)] == [1]
