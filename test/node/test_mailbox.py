"""Hand-over of images between threads, and how many of them are let through."""

from __future__ import annotations

import threading

import pytest

from eomt_ros.node.mailbox import Mailbox, Pacer
from test.patience import PATIENCE


def test_capacity_of_one_keeps_the_newest_and_counts_the_others() -> None:
    mailbox: Mailbox[str, int] = Mailbox(["front"], 1)
    assert [mailbox.put("front", item) for item in (1, 2, 3)] == [0, 1, 1]
    assert mailbox.take() == {"front": 3}


def test_larger_capacity_keeps_the_order_and_gives_up_the_oldest() -> None:
    mailbox: Mailbox[str, int] = Mailbox(["front"], 3)
    assert [mailbox.put("front", item) for item in (1, 2, 3, 4)] == [0, 0, 0, 1]
    assert [mailbox.take() for _ in range(3)] == [{"front": 2}, {"front": 3}, {"front": 4}]


def test_each_sender_has_a_queue_of_its_own_and_gives_one_item_at_a_time() -> None:
    mailbox: Mailbox[str, int] = Mailbox(["front", "rear", "left"], 2)
    assert [mailbox.put("front", item) for item in (1, 2, 3)] == [0, 0, 1]
    assert mailbox.put("rear", 9) == 0
    assert mailbox.take() == {"front": 2, "rear": 9}
    assert mailbox.take() == {"front": 3}


def test_shrinking_keeps_the_newest_and_counts_the_others() -> None:
    mailbox: Mailbox[str, int] = Mailbox(["front", "rear"], 5)
    for item in (1, 2, 3):
        mailbox.put("front", item)
    mailbox.put("rear", 9)
    assert mailbox.resize(1) == {"front": 2, "rear": 0}
    assert mailbox.take() == {"front": 3, "rear": 9}


def test_take_waits_for_an_item() -> None:
    mailbox: Mailbox[str, str] = Mailbox(["front", "rear"], 1)
    taken: list[dict[str, str] | None] = []
    taker = threading.Thread(target=lambda: taken.append(mailbox.take()))
    taker.start()
    mailbox.put("rear", "image")
    taker.join(PATIENCE)
    assert taken == [{"rear": "image"}]


def test_an_item_waits_for_the_other_senders_within_the_window() -> None:
    mailbox: Mailbox[str, str] = Mailbox(["front", "rear"], 1)
    mailbox.put("front", "image")
    taken: list[dict[str, str] | None] = []
    taker = threading.Thread(target=lambda: taken.append(mailbox.take(window=lambda: PATIENCE)))
    taker.start()
    mailbox.put("rear", "another")
    taker.join(PATIENCE)
    assert taken == [{"front": "image", "rear": "another"}]


def test_the_window_is_that_of_the_moment_when_an_item_comes() -> None:
    window = [0.0]
    mailbox: Mailbox[str, str] = Mailbox(["front", "rear"], 1)
    taken: list[dict[str, str] | None] = []
    taker = threading.Thread(target=lambda: taken.append(mailbox.take(window=lambda: window[0])))
    taker.start()
    taker.join(0.1)  # until it waits for an item; if that takes longer, the test is the easier
    window[0] = PATIENCE
    mailbox.put("front", "image")
    mailbox.put("rear", "another")
    taker.join(PATIENCE)
    assert taken == [{"front": "image", "rear": "another"}]


def test_the_window_begins_when_the_first_item_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("eomt_ros.node.mailbox.time.monotonic", lambda: clock[0])
    mailbox: Mailbox[str, int] = Mailbox(["front", "silent"], 1)
    mailbox.put("front", 1)
    clock[0] += 10.0  # as where the taker is busy
    mailbox.put("front", 2)
    assert mailbox.take(window=lambda: 10.0) == {"front": 2}


def test_closing_ends_a_waiting_take_and_leaves_what_waits() -> None:
    mailbox: Mailbox[str, str] = Mailbox(["front"], 1)
    taken: list[dict[str, str] | None] = [{}]
    taker = threading.Thread(target=lambda: taken.append(mailbox.take()))
    taker.start()
    mailbox.close()
    taker.join(PATIENCE)
    assert taken == [{}, None]
    mailbox.put("front", "image")
    assert mailbox.take() is None


def test_two_threads_hand_over_every_item_in_order() -> None:
    mailbox: Mailbox[str, int] = Mailbox(["front"], 10_000)
    giver = threading.Thread(target=lambda: [mailbox.put("front", item) for item in range(10_000)])
    giver.start()
    assert [mailbox.take() for _ in range(10_000)] == [{"front": item} for item in range(10_000)]
    giver.join(PATIENCE)


def test_the_newest_that_is_due_overtakes_the_older_ones_and_leaves_those_that_are_not_due() -> None:
    mailbox: Mailbox[str, int] = Mailbox(["front"], 10)
    for item in (1, 2, 3, 4):
        mailbox.put("front", item)
    assert mailbox.take_due(lambda _, item: item in (1, 3), newest=True) == ("front", 3, 2)
    assert mailbox.take_due(lambda _, item: True, newest=True) == ("front", 4, 0)


def test_in_order_an_item_that_is_not_due_holds_up_those_behind_it_and_no_other_sender() -> None:
    mailbox: Mailbox[str, int] = Mailbox(["front", "rear"], 10)
    for item in (1, 2):
        mailbox.put("front", item)
    mailbox.put("rear", 3)
    assert mailbox.take_due(lambda _, item: item != 1, newest=False) == ("rear", 3, 0)
    assert mailbox.take_due(lambda _, item: True, newest=False) == ("front", 1, 0)
    assert mailbox.take_due(lambda _, item: True, newest=False) == ("front", 2, 0)


def test_senders_take_turns_where_all_are_due() -> None:
    mailbox: Mailbox[str, int] = Mailbox(["front", "rear"], 10)
    for item in (1, 2):
        mailbox.put("front", item)
        mailbox.put("rear", item)
    taken = [mailbox.take_due(lambda _, item: True, newest=False) for _ in range(4)]
    assert taken == [("front", 1, 0), ("rear", 1, 0), ("front", 2, 0), ("rear", 2, 0)]


@pytest.mark.parametrize("wakes", [True, False])
def test_an_item_that_becomes_due_is_taken_also_where_nobody_wakes(wakes: bool) -> None:
    mailbox: Mailbox[str, int] = Mailbox(["front"], 10)
    mailbox.put("front", 1)
    asked, is_due = threading.Event(), threading.Event()

    def ask(sender: str, item: int) -> bool:
        asked.set()
        return is_due.is_set()

    taken: list[tuple[str, int, int] | None] = []
    taker = threading.Thread(target=lambda: taken.append(mailbox.take_due(ask, newest=True)))
    taker.start()
    assert asked.wait(PATIENCE)
    is_due.set()
    if wakes:
        mailbox.wake()
    taker.join(PATIENCE)
    assert taken == [("front", 1, 0)]


def test_closing_ends_the_wait_for_what_is_due() -> None:
    mailbox: Mailbox[str, int] = Mailbox(["front"], 10)
    taken: list[tuple[str, int, int] | None] = []
    taker = threading.Thread(target=lambda: taken.append(mailbox.take_due(lambda *_: False, newest=True)))
    taker.start()
    mailbox.put("front", 1)
    mailbox.close()
    taker.join(PATIENCE)
    assert taken == [None]


@pytest.mark.parametrize(
    ("camera_rate", "rate", "expected"),
    [(30, 0, 30), (30, 30, 30), (30, 20, 20), (30, 15, 15), (10, 15, 10), (60, 7, 7)],
)
def test_pacer_gives_the_rate_asked_for_at_any_camera_rate(camera_rate: int, rate: float, expected: float) -> None:
    pacer = Pacer()
    seconds = 20
    admitted = sum(pacer.admits(100 + number / camera_rate, rate) for number in range(seconds * camera_rate))
    assert admitted / seconds == pytest.approx(expected, abs=0.1)


def test_pacer_keeps_all_frames_of_a_camera_that_jitters_round_the_rate() -> None:
    pacer = Pacer()
    arrivals = [number / 15 + (0.004 if number % 2 else -0.004) for number in range(300)]
    assert sum(pacer.admits(arrival, 15) for arrival in arrivals) >= 298


def test_pacer_makes_up_for_one_frame_at_most_after_a_pause() -> None:
    pacer = Pacer()
    assert pacer.admits(0.0, 10)
    burst = [100 + number / 1000 for number in range(50)]
    assert sum(pacer.admits(arrival, 10) for arrival in burst) <= 2
