"""Images and ground truth find each other by stamp wherever they were recorded, with little memory."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eomt_ros.evaluation.sources import matching
from eomt_ros.evaluation.sources.matching import Moment, in_order, match, matched_beside, nearest, unmatched

TOPIC = "/classes"
START = 1_700_000_000 * 10**9
PERIOD = 33_333_333


def moments(*stamps: int) -> list[Moment]:
    """Recorded in this order."""
    return [Moment(stamp, number) for number, stamp in enumerate(stamps)]


@pytest.mark.parametrize(
    ("stamp", "meant"),
    [
        (100, 100),
        (99, 100),
        (150, 100),
        (151, None),
        (195, 200),
        (205, 200),
        (206, 210),
        (216, None),
        (-50, 0),
        (-51, None),
    ],
)
def test_a_stamp_means_the_nearest_frame_as_far_as_half_way_to_its_neighbour(stamp: int, meant: int | None) -> None:
    assert nearest([0, 100, 200, 210], stamp) == meant


def test_a_tolerance_is_kept_and_half_way_is_never_passed() -> None:
    assert nearest([0, 100], 7, 7) == 0
    assert nearest([0, 100], 8, 7) is None
    assert nearest([0, 100], 0, 0) == 0
    assert nearest([0, 100], 160, 1000) is None
    assert (nearest([5], 5), nearest([5], 6), nearest([], 5)) == (5, None, None)


@settings(max_examples=100, deadline=None)
@given(count=st.integers(1, 200), seed=st.integers(0, 10**6), through_a_float=st.booleans())
def test_every_image_finds_its_own_in_whatever_order_they_were_recorded(
    count: int, seed: int, through_a_float: bool
) -> None:
    chance = random.Random(seed)
    stamps = [START + PERIOD * number + chance.randrange(10**6) for number in range(count)]
    labelled = [stamp for stamp in stamps if chance.random() < 0.7]
    chance.shuffle(labelled)
    seen = [round(stamp * 1e-9 * 1e9) if through_a_float and count > 1 else stamp for stamp in labelled]
    places = match(moments(*stamps), moments(*seen))
    assert [None if place is None else labelled[place] for place in places] == [
        stamp if stamp in labelled else None for stamp in stamps
    ]
    assert matched_beside(TOPIC, moments(*stamps), moments(*seen), places) == []


def test_frames_of_one_stamp_each_have_their_own_in_the_order_of_the_recording() -> None:
    # A simulation that began again, with labels beside the images, after them, and before them.
    frames = [Moment(stamp, 10 * number) for number, stamp in enumerate([5, 6, 1, 2, 5, 6])]
    for offset in (1, 1000, -1000):
        truth = [Moment(stamp, recorded + offset) for stamp, recorded in frames]
        assert match(frames, truth) == [0, 1, 2, 3, 4, 5]


def test_of_frames_of_one_stamp_that_lack_some_the_time_of_recording_tells_which() -> None:
    frames = [Moment(5, 0), Moment(6, 10), Moment(5, 100), Moment(6, 110)]
    assert match(frames, [Moment(6, 11), Moment(5, 101), Moment(6, 111)]) == [None, 0, 1, 2]


def test_of_several_that_would_do_the_nearest_is_taken_and_of_equal_ones_the_last() -> None:
    frames = moments(0, 100)
    assert match(frames, moments(3, 2, 98, 130)) == [1, 2]
    assert match(frames, [Moment(0, 7), Moment(0, 7)]) == [1, None]


def test_what_does_not_match_is_counted_with_the_nearest() -> None:
    frames = moments(10**9, 10**9 + 4_000_000)
    truth = moments(10**9 - 2_500_000, 10**9 + 3_000_000)
    places = match(frames, truth)
    assert places == [None, 1]
    assert unmatched(TOPIC, frames, truth, places) == [
        "1 of 2 frames has no ground truth in /classes; first: 1000000000 ns, the nearest has 997500000 ns (-2.500 ms)",
        "1 of 2 messages in /classes belongs to no frame; first: 997500000 ns",
    ]
    assert matched_beside(TOPIC, frames, truth, places) == [
        "1 frame is scored by ground truth in /classes with another stamp, at most -1.000 ms (that of 1004000000 ns); "
        "--truth-tolerance 0 leaves them out"
    ]


@dataclass(frozen=True)
class Message:
    number: int
    data: bytes = bytes(100)


class Topic:
    """Counts how often it is read, and how much of it is alive."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.times = 0

    def read(self) -> Iterator[Message]:
        self.times += 1
        for number in range(self.count):
            yield Message(number)


@settings(max_examples=60, deadline=None)
@given(order=st.permutations(range(40)), wanted=st.integers(0, 40), room=st.integers(0, 45))
def test_messages_come_in_the_order_in_which_they_are_wanted_within_the_memory(
    order: list[int], wanted: int, room: int
) -> None:
    topic = Topic(40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "MOST_HELD", 100 * room)
        found = [message.number for message in in_order(topic.read, order[:wanted])]
        assert found == order[:wanted]
    # Each reading brings what is wanted next, as much as there is room for.
    assert topic.times <= 1 + wanted // max(room, 1)


def test_labels_after_all_images_are_read_once_without_being_held(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic(1000)
    monkeypatch.setattr(matching, "MOST_HELD", 0)
    assert len(list(in_order(topic.read, range(1000)))) == 1000
    assert topic.times == 1


def test_a_stream_that_ends_too_early_gives_none() -> None:
    assert list(in_order(Topic(1).read, [0, 5])) == [Message(0), None]
