"""Identity: whose id a segment gets, on scenes that are told box by box."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eomt_ros.engine.tracking.tracker import LARGEST_ID, MAX_ABSENCE, Identities, Observation, overlaps
from eomt_ros.stamps import SECOND

WIDTH = 640
BALL, BOX, FLOOR, WALL = range(4)


def ns(seconds: float) -> int:
    return round(seconds * SECOND)


def thing(slot: int, x: int, y: int = 100, *, width: int = 60, height: int = 60, class_id: int = BALL) -> Observation:
    return Observation(slot, class_id, True, (x, y, width, height))


def stuff(slot: int, class_id: int, x: int = 0) -> Observation:
    return Observation(slot, class_id, False, (x, 300, 400, 100))


class Camera:
    """Shows a stream of frames at a steady rate."""

    def __init__(self, rate: float = 10.0) -> None:
        self.identities = Identities()
        self.rate = rate
        self.frames = 0

    def show(self, *observations: Observation) -> list[int]:
        """The ids of the next frame's segments."""
        stamp = 1000 * SECOND + ns(self.frames / self.rate)
        self.frames += 1
        return [identity.id for identity in self.identities.update(observations, WIDTH, stamp)]

    def show_nothing(self, seconds: float) -> None:
        """Frames without segments, so many that the next frame comes `seconds` after the last one with segments."""
        for _ in range(round(seconds * self.rate) - 1):
            assert self.show() == []


@pytest.fixture
def camera() -> Camera:
    return Camera()


# --- the same object


@pytest.mark.parametrize("step", [0, 5, 40, -90], ids="{} px a frame".format)
def test_a_thing_that_moves_keeps_its_id(camera, step):
    ids = [camera.show(thing(3, 300 + step * frame)) for frame in range(20)]
    assert ids == [[1]] * 20


def test_things_keep_their_ids_while_the_camera_turns_fast(camera):
    """100 degrees per second shift a usual camera's image by its own width in a second and a half."""
    ids = [
        camera.show(thing(3, 600 - 60 * frame, width=10, height=10), thing(4, 640 - 60 * frame)) for frame in range(9)
    ]
    assert ids == [[1, 2]] * 9


def test_a_thing_that_comes_nearer_keeps_its_id(camera):
    sizes = [round(10 * 1.3**frame) for frame in range(14)]
    assert [camera.show(thing(3, 300 - size // 2, width=size, height=size)) for size in sizes] == [[1]] * 14


def test_each_thing_has_its_own_id_in_order_of_appearance(camera):
    assert camera.show(thing(7, 0), thing(2, 100)) == [1, 2]
    assert camera.show(thing(0, 400), thing(2, 100), thing(7, 0)) == [3, 2, 1]


def test_ids_follow_the_order_of_the_segments_not_of_the_slots(camera):
    camera.show(thing(7, 0), thing(2, 100))
    assert camera.show(thing(2, 100), thing(7, 0)) == [2, 1]


@pytest.mark.parametrize("seconds", [0.2, 1.0, 1.9])
def test_a_short_occlusion_keeps_the_id(camera, seconds):
    camera.show(thing(3, 100))
    camera.show_nothing(seconds)
    assert camera.show(thing(3, 100 + round(60 * seconds))) == [1]


def test_a_thing_that_leaves_and_comes_back_later_gets_a_new_id(camera):
    camera.show(thing(3, 100))
    camera.show_nothing(2.2)
    assert camera.show(thing(3, 100)) == [2]


def test_a_thing_that_comes_back_in_its_slot_but_out_of_reach_gets_a_new_id(camera):
    camera.show(thing(3, 0))
    camera.show_nothing(0.3)
    assert camera.show(thing(3, 500)) == [2]


def test_reach_does_not_grow_with_the_camera_over_an_absence(camera):
    """A camera that may have turned all the while would leave no place out of reach."""
    camera.show(thing(3, 100, width=10, height=10))
    camera.show_nothing(0.5)
    assert camera.show(thing(3, 300, width=10, height=10)) == [2]


@pytest.mark.parametrize(("seconds", "reach"), [(0.1, 189), (1.0, 265)], ids=str)
def test_reach_is_a_diagonal_and_one_more_each_second_and_a_turn_of_the_camera(seconds, reach):
    """The diagonal is 84.9 px; 96 px are what a camera turns by in a tenth of a second, at most."""
    for step, expected in ((reach, 1), (-reach, 1), (reach + 1, 2), (-reach - 1, 2)):
        camera = Camera()
        camera.show(thing(3, 300))
        camera.show_nothing(seconds)
        assert camera.show(thing(3, 300 + step)) == [expected]


@pytest.mark.parametrize("across", [True, False], ids=["across", "down"])
def test_the_way_that_counts_is_that_of_the_centres(camera, across):
    """They are 400 px apart, within a reach of 407."""
    small, large = (600, 95), (105, 0)
    camera.show(thing(3, *(small if across else small[::-1]), width=10, height=10))
    assert camera.show(thing(3, *(large if across else large[::-1]), width=200, height=200)) == [1]


@pytest.mark.parametrize("sides", [(10, 100), (100, 10)], ids=["comes nearer", "goes away"])
def test_reach_is_that_of_the_larger_of_the_two_boxes(camera, sides):
    """Centres 200 px apart: beyond the reach of a thing of 10 px, within that of one of 100."""
    for frame, side in enumerate(sides):
        assert camera.show(thing(3, 200 + 200 * frame - side // 2, width=side, height=side)) == [1]


def test_absence_counts_for_each_thing_on_its_own(camera):
    camera.show(thing(3, 0), thing(4, 300))
    for _ in range(25):
        assert camera.show(thing(4, 300)) == [2]
    assert camera.show(thing(3, 0), thing(4, 300)) == [3, 2]


# --- a class that flickers


def test_a_thing_whose_class_flickers_keeps_its_id(camera):
    for frame in range(20):
        class_id = BOX if frame % 3 == 1 else BALL
        assert camera.show(thing(3, 100 + 8 * frame, class_id=class_id)) == [1]


@pytest.mark.parametrize(("step", "expected"), [(20, 1), (21, 2)], ids=["half", "just less"])
def test_a_class_flickers_from_an_overlap_of_one_half_on(camera, step, expected):
    camera.show(thing(3, 100))
    assert camera.show(thing(3, 100 + step, class_id=BOX)) == [expected]


def test_a_thing_that_flickers_into_stuff_keeps_its_id(camera):
    camera.show(thing(3, 100))
    assert camera.show(replace(thing(3, 100), slot=-4, class_id=WALL, is_thing=False)) == [2]
    assert camera.show(thing(3, 100)) == [1]


def test_stuff_never_continues_a_thing(camera):
    camera.show(thing(3, 100))
    assert camera.show(replace(thing(3, 100), is_thing=False)) == [2]


# --- a slot taken over


@pytest.mark.parametrize(
    "usurper", [thing(3, 500), thing(3, 130, class_id=BOX)], ids=["same class far away", "other class beside"]
)
def test_an_object_that_takes_over_a_slot_gets_a_new_id_and_the_old_one_is_gone(camera, usurper):
    for _ in range(5):
        assert camera.show(thing(3, 100)) == [1]
    for _ in range(40):
        assert camera.show(usurper) == [2]
    assert camera.show(thing(3, 100), replace(usurper, slot=4)) == [3, 2]


def test_an_object_that_took_over_a_slot_keeps_its_id_while_it_moves(camera):
    camera.show(thing(3, 0))
    assert [camera.show(thing(3, 500 - 50 * frame)) for frame in range(10)] == [[2]] * 10


def test_an_object_whose_slot_was_taken_goes_on_in_another_with_its_id(camera):
    camera.show(thing(3, 100))
    assert camera.show(thing(3, 500), thing(9, 110)) == [2, 1]
    assert camera.show(thing(3, 500), thing(9, 120)) == [2, 1]


def test_an_object_whose_slot_was_taken_comes_back_in_another_with_its_id(camera):
    camera.show(thing(3, 100))
    for _ in range(5):
        assert camera.show(thing(3, 500)) == [2]
    assert camera.show(thing(3, 500), thing(9, 110)) == [2, 1]


# --- a thing that changes its slot


@pytest.mark.parametrize("seconds", [0.1, 1.5])
def test_a_thing_that_moves_to_another_slot_keeps_its_id(camera, seconds):
    camera.show(thing(3, 100))
    camera.show_nothing(seconds)
    assert camera.show(thing(8, 110)) == [1]
    assert camera.show(thing(8, 160)) == [1]


@pytest.mark.parametrize(
    "newcomer", [thing(8, 145), thing(8, 100, class_id=BOX)], ids=["another place", "another class"]
)
def test_a_thing_in_another_slot_that_is_not_the_same_gets_a_new_id(camera, newcomer):
    camera.show(thing(3, 100))
    assert camera.show(newcomer) == [2]


@pytest.mark.parametrize(("step", "expected"), [(20, 1), (21, 2)], ids=["half", "just less"])
def test_a_thing_in_another_slot_is_the_same_from_an_overlap_of_one_half_on(camera, step, expected):
    """Boxes of 60 pixels that lie 20 apart share 40 of the 80 that they cover."""
    camera.show(thing(3, 100))
    assert camera.show(thing(8, 100 + step)) == [expected]


def test_a_newcomer_on_top_of_a_thing_that_is_seen_gets_a_new_id(camera):
    camera.show(thing(3, 100))
    assert camera.show(thing(3, 100), thing(8, 100)) == [1, 2]
    assert camera.show(thing(8, 100), thing(3, 100)) == [2, 1]


@pytest.mark.parametrize(("first", "second", "expected"), [(117, 101, [2, 1]), (101, 117, [1, 2])], ids=str)
def test_of_several_things_that_changed_slots_each_takes_the_id_that_fits_best(camera, first, second, expected):
    camera.show(thing(1, 100), thing(2, 118))
    assert camera.show(thing(5, first), thing(6, second)) == expected


@pytest.mark.parametrize(("first", "second", "expected"), [(112, 102, [2, 1]), (102, 112, [1, 2])], ids=str)
def test_of_two_segments_on_one_lost_thing_the_nearer_takes_its_id(camera, first, second, expected):
    camera.show(thing(1, 100))
    assert camera.show(thing(5, first), thing(6, second)) == expected


def test_of_two_lost_things_in_one_place_the_one_seen_last_goes_on(camera):
    assert camera.show(thing(1, 100), thing(2, 100)) == [1, 2]
    assert camera.show(thing(2, 100)) == [2]
    assert camera.show() == []
    assert camera.show(thing(9, 100)) == [2]


def test_things_that_exchange_their_slots_out_of_reach_keep_their_ids(camera):
    assert camera.show(thing(1, 0), thing(2, 500)) == [1, 2]
    assert camera.show(thing(1, 500), thing(2, 0)) == [2, 1]
    assert camera.show(thing(1, 500), thing(2, 0)) == [2, 1]


def test_things_of_two_classes_that_exchange_their_slots_keep_their_ids(camera):
    assert camera.show(thing(1, 100), thing(2, 150, class_id=BOX)) == [1, 2]
    assert camera.show(thing(1, 150, class_id=BOX), thing(2, 100)) == [2, 1]


def test_within_reach_the_slot_is_believed_more_than_the_place(camera):
    """A row of like things that a turning camera shifts by just their spacing."""
    row = [thing(slot, 100 * slot) for slot in range(5)]
    assert camera.show(*row) == [1, 2, 3, 4, 5]
    assert camera.show(*(replace(seen, box=(seen.box[0] + 100, *seen.box[1:])) for seen in row)) == [1, 2, 3, 4, 5]


# --- stuff


def test_fused_stuff_keeps_one_id_per_class_for_the_whole_epoch(camera):
    assert camera.show(stuff(-3, FLOOR), stuff(-4, WALL)) == [1, 2]
    camera.show_nothing(30.0)
    assert camera.show(stuff(-4, WALL, x=200), stuff(-3, FLOOR, x=90)) == [2, 1]


def test_stuff_that_is_not_fused_keeps_one_id_per_slot_and_class(camera):
    assert camera.show(stuff(5, FLOOR), stuff(6, FLOOR)) == [1, 2]
    assert camera.show(stuff(6, FLOOR), stuff(5, WALL), stuff(7, FLOOR)) == [2, 3, 4]
    camera.show_nothing(30.0)
    assert camera.show(stuff(5, FLOOR), stuff(5, WALL)) == [1, 3]


# --- age


def test_age_counts_the_frames_since_birth_seen_or_not():
    identities = Identities()
    shows = [[thing(3, 100)], [thing(3, 100), thing(4, 400)], [], [thing(4, 400)], [thing(3, 100), stuff(-3, FLOOR)]]
    ages = [[identity.age for identity in identities.update(frame, WIDTH)] for frame in shows]
    assert ages == [[0], [1, 0], [], [2], [4, 0]]


# --- time


def test_frames_without_stamps_count_a_tenth_of_a_second():
    for frames, expected in ((18, 1), (21, 2)):
        identities = Identities()
        identities.update([thing(3, 100)], WIDTH)
        for _ in range(frames):
            identities.update([], WIDTH)
        assert [identity.id for identity in identities.update([thing(3, 100)], WIDTH)] == [expected]


def test_absence_is_measured_in_seconds_not_in_frames():
    for period, expected in ((0.018, 1), (0.022, 2)):
        identities = Identities()
        ids = [
            identities.update([thing(3, 100)] if frame % 100 == 0 else [], WIDTH, ns(frame * period))
            for frame in range(101)
        ]
        assert ids[-1][0].id == expected


def test_irregular_stamps_measure_absence_and_reach():
    identities = Identities()
    identities.update([thing(3, 0), thing(4, 500)], WIDTH, ns(5.0))
    identities.update([thing(4, 500)], WIDTH, ns(5.033))
    identities.update([], WIDTH, ns(6.2))
    # 250 px are out of reach in a thirtieth of a second, and within it after 1.4 s.
    assert [identity.id for identity in identities.update([thing(4, 500), thing(3, 250)], WIDTH, ns(6.4))] == [2, 1]
    assert [identity.id for identity in identities.update([thing(4, 500), thing(3, 0)], WIDTH, ns(6.433))] == [2, 3]


def test_a_camera_slower_than_the_longest_absence_keeps_ids():
    slow = Camera(rate=0.2)
    assert [slow.show(thing(3, 100 + 20 * frame)) for frame in range(5)] == [[1]] * 5
    slow.show()
    assert slow.show(thing(3, 200)) == [2]


@pytest.mark.parametrize("step", [0, -SECOND], ids=["the same", "backwards"])
def test_stamps_that_do_not_go_on_count_as_none(step):
    identities = Identities()
    first, *absent, last = (70 * SECOND + frame * step for frame in range(30))
    identities.update([thing(3, 100)], WIDTH, first)
    for stamp in absent:
        identities.update([], WIDTH, stamp)
    assert [identity.id for identity in identities.update([thing(3, 100)], WIDTH, last)] == [2]


@pytest.mark.parametrize("shown", [1, 2, 5], ids="each frame {} times".format)
def test_a_frame_that_comes_again_takes_no_time(shown):
    identities = Identities()
    for frame in range(20):
        for _ in range(shown):
            identities.update([] if frame > 1 else [thing(3, 100)], WIDTH, ns(frame / 10))
    assert [identity.id for identity in identities.update([thing(3, 100)], WIDTH, ns(2.0))] == [1]


@pytest.mark.parametrize("start", [0.0, 1.7e9])
def test_absence_of_just_the_longest_is_the_same_on_any_clock(start):
    for frame in range(100):
        identities = Identities()
        first = ns(start) + frame * SECOND // 10
        identities.update([thing(3, 100)], WIDTH, first)
        identities.update([], WIDTH, first + SECOND)
        assert [identity.id for identity in identities.update([thing(3, 100)], WIDTH, first + MAX_ABSENCE)] == [1]


def test_time_goes_on_by_the_stamps_after_a_jump_back():
    identities = Identities()
    identities.update([], WIDTH, ns(500.0))
    identities.update([thing(3, 100)], WIDTH, ns(20.0))
    identities.update([], WIDTH, ns(21.8))
    assert [identity.id for identity in identities.update([thing(3, 100)], WIDTH, ns(21.9))] == [1]
    identities.update([], WIDTH, ns(22.0))
    assert [identity.id for identity in identities.update([thing(3, 100)], WIDTH, ns(24.0))] == [2]


# --- epochs


def test_a_restart_begins_the_next_epoch_with_id_1(camera):
    camera.show(thing(3, 100), thing(4, 300))
    assert camera.identities.epoch == 0
    camera.identities.restart()
    assert camera.identities.epoch == 1
    assert camera.show(thing(4, 300), stuff(-3, FLOOR)) == [1, 2]


def test_the_largest_id_is_the_largest_value_of_a_16_bit_image():
    assert LARGEST_ID == 2**16 - 1


def test_the_next_epoch_begins_when_the_ids_run_out():
    camera = Camera(rate=0.4)
    crowd = [thing(slot, 100) for slot in range(LARGEST_ID - 3)]
    assert camera.show(*crowd) == list(range(1, LARGEST_ID - 2))
    camera.show_nothing(5.0)
    assert camera.show(thing(1, 0), thing(2, 100)) == [LARGEST_ID - 2, LARGEST_ID - 1]
    assert camera.show(thing(1, 0), thing(2, 100), thing(3, 200)) == [LARGEST_ID - 2, LARGEST_ID - 1, LARGEST_ID]
    assert camera.identities.epoch == 0

    assert camera.show(thing(4, 300), thing(2, 100)) == [1, 2]
    assert camera.identities.epoch == 1
    assert [identity.age for identity in camera.identities.update([thing(2, 100)], WIDTH)] == [1]


# --- anything at all

CLASSES = {BALL: True, BOX: True, FLOOR: False, WALL: False}
BOXES = st.tuples(st.integers(0, 600), st.integers(0, 400), st.integers(1, 300), st.integers(1, 300))
PLACES = st.sampled_from([(100, 100, 60, 60), (110, 100, 60, 60), (200, 100, 60, 60), (500, 100, 80, 60)])
SEGMENTS = st.builds(
    lambda slot, class_id, box: Observation(slot, class_id, CLASSES[class_id], box),
    st.integers(0, 4),
    st.sampled_from(sorted(CLASSES)),
    PLACES | BOXES,
)
FRAMES = st.lists(SEGMENTS, max_size=5, unique_by=lambda seen: seen.slot)
STEPS = st.sampled_from([0.03, 0.1, 0.7, 1.9, 2.5])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(STEPS, FRAMES), max_size=16))
def test_whatever_happens_an_id_is_unique_in_its_frame_and_never_comes_back_from_the_dead(
    scene: Sequence[tuple[float, Iterable[Observation]]],
) -> None:
    identities = Identities()
    now = 0
    last_shown: dict[int, tuple[int, int]] = {}
    kinds: dict[int, bool] = {}
    for index, (step, observations) in enumerate(scene):
        now += ns(step)
        observations = list(observations)
        named = identities.update(observations, WIDTH, now)

        assert len(named) == len(observations)
        ids = [identity.id for identity in named]
        assert len(set(ids)) == len(ids)
        births = [identity.id for identity in named if identity.age == 0]
        assert births == list(range(len(kinds) + 1, len(kinds) + len(births) + 1))
        for identity, seen in zip(named, observations, strict=True):
            if identity.age == 0:
                kinds[identity.id] = seen.is_thing
            assert kinds[identity.id] == seen.is_thing
            if seen.is_thing and identity.age > 0:
                frame, moment = last_shown[identity.id]
                assert frame == index - 1 or now - moment <= MAX_ABSENCE
            last_shown[identity.id] = index, now
    assert identities.epoch == 0


@given(st.lists(BOXES, min_size=1, max_size=3), st.lists(BOXES, min_size=1, max_size=3))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_overlaps_are_what_counting_pixels_gives(first, second):
    def smaller(box):
        x, y, width, height = (value // 20 for value in box)
        return x, y, width + 1, height + 1

    def pixels(box):
        x, y, width, height = box
        return {(column, row) for column in range(x, x + width) for row in range(y, y + height)}

    one, two = [smaller(box) for box in first], [smaller(box) for box in second]
    expected = [[len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b)) for b in two] for a in one]
    assert overlaps(one, two) == pytest.approx(np.array(expected))
