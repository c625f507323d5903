"""Work beside the main thread: in order, not too far behind, and no failure is lost."""

from __future__ import annotations

import threading

import pytest

from eomt_ros.evaluation.background import Background
from test.patience import PATIENCE


def test_everything_is_done_in_order_at_the_end_of_the_block() -> None:
    done: list[int] = []
    with Background(done.append, waiting=2) as background:
        for number in range(50):
            background.put(number)
    assert done == list(range(50))


def test_work_is_done_in_another_thread() -> None:
    threads: list[int] = []
    with Background(lambda _: threads.append(threading.get_ident()), waiting=1) as background:
        background.put(None)
        background.put(0)
    assert threads
    assert threading.get_ident() not in threads


def test_put_waits_when_enough_is_waiting() -> None:
    go, third = threading.Event(), threading.Event()

    def feed(background: Background[int]) -> None:
        for number in (1, 2, 3):
            background.put(number)
        third.set()

    with Background(lambda _: _expect(go.wait(PATIENCE)), waiting=1) as background:
        feeder = threading.Thread(target=feed, args=(background,))
        feeder.start()
        # One is in work and one waits, so the third cannot have been taken.
        assert not third.wait(0.05)
        go.set()
        assert third.wait(PATIENCE)
        feeder.join(PATIENCE)


def test_a_failure_ends_the_work_and_is_raised() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 2:
            raise OSError("no space left")
        done.append(number)

    with pytest.raises(OSError, match="no space left"), Background(work, waiting=1) as background:  # noqa: PT012
        for number in range(100):
            background.put(number)
    assert done == [0, 1]


def test_a_failure_with_the_last_item_is_raised_at_the_end() -> None:
    with pytest.raises(OSError, match="too late"), Background(_fail, waiting=1) as background:
        background.put("too late")


def test_a_block_that_is_left_by_an_error_leaves_what_waits() -> None:
    done: list[int] = []
    started, go = threading.Event(), threading.Event()

    def work(number: int) -> None:
        started.set()
        _expect(go.wait(PATIENCE))
        done.append(number)

    def leave() -> None:
        with Background(work, waiting=4) as background:
            for number in range(3):
                background.put(number)
            _expect(started.wait(PATIENCE))
            threading.Timer(0.05, go.set).start()  # when the block is being left
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert done == [0]


def _expect(happened: bool) -> None:
    assert happened


def _fail(message: str) -> None:
    raise OSError(message)
