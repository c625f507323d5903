"""Hand-over of images between threads, and how many of them are let through."""

from __future__ import annotations

import threading

import pytest

from eomt_ros.node.mailbox import Mailbox, Pacer


def test_capacity_of_one_keeps_the_newest_and_counts_the_others() -> None:
    mailbox: Mailbox[int] = Mailbox(1)
    assert [mailbox.put(item) for item in (1, 2, 3)] == [0, 1, 1]
    assert mailbox.take() == 3


def test_larger_capacity_keeps_the_order_and_gives_up_the_oldest() -> None:
    mailbox: Mailbox[int] = Mailbox(3)
    assert [mailbox.put(item) for item in (1, 2, 3, 4)] == [0, 0, 0, 1]
    assert [mailbox.take() for _ in range(3)] == [2, 3, 4]


def test_shrinking_keeps_the_newest_and_counts_the_others() -> None:
    mailbox: Mailbox[int] = Mailbox(5)
    for item in (1, 2, 3):
        mailbox.put(item)
    assert mailbox.resize(1) == 2
    assert mailbox.take() == 3


def test_take_waits_for_an_item() -> None:
    mailbox: Mailbox[str] = Mailbox(1)
    taken: list[str | None] = []
    taker = threading.Thread(target=lambda: taken.append(mailbox.take()))
    taker.start()
    mailbox.put("image")
    taker.join(10)
    assert taken == ["image"]


def test_closing_ends_a_waiting_take_and_leaves_what_waits() -> None:
    mailbox: Mailbox[str] = Mailbox(1)
    taken: list[str | None] = ["nothing yet"]
    taker = threading.Thread(target=lambda: taken.append(mailbox.take()))
    taker.start()
    mailbox.close()
    taker.join(10)
    assert taken == ["nothing yet", None]
    mailbox.put("image")
    assert mailbox.take() is None


def test_two_threads_hand_over_every_item_in_order() -> None:
    mailbox: Mailbox[int] = Mailbox(10_000)
    giver = threading.Thread(target=lambda: [mailbox.put(item) for item in range(10_000)])
    giver.start()
    assert [mailbox.take() for _ in range(10_000)] == list(range(10_000))
    giver.join(10)


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
