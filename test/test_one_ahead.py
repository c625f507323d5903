"""The next item is made while one is in use, and nothing goes on behind the user's back."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Generator

import pytest

from eomt_ros.one_ahead import one_ahead

PATIENCE = 60
"""Seconds that a test waits for another thread."""


class Items:
    """Counts to `number`; notes the threads that it runs on."""

    def __init__(self, number: int) -> None:
        self.threads: list[threading.Thread] = []
        self.made = [threading.Event() for _ in range(number)]
        self.is_closed = False

    def each(self) -> Generator[int, None, None]:
        try:
            for number, made in enumerate(self.made, start=1):
                self.threads.append(threading.current_thread())
                made.set()
                yield number
        finally:
            self.threads.append(threading.current_thread())
            self.is_closed = True


def test_the_next_item_and_no_more_is_made_while_one_is_in_use() -> None:
    items = Items(5)
    ahead = one_ahead(items.each())
    for number in range(1, 5):
        assert next(ahead) == number
        assert items.made[number].wait(PATIENCE)
        assert len(items.threads) == number + 1, "one in use, one made"
    assert list(ahead) == [5]
    assert items.is_closed
    (thread,) = set(items.threads)
    assert thread is not threading.current_thread()
    assert not thread.is_alive()


def test_an_error_comes_in_its_place() -> None:
    def failing() -> Generator[int, None, None]:
        yield 1
        yield 2
        raise OSError("the end is missing")

    ahead = one_ahead(failing())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(OSError, match="the end is missing"):
        next(ahead)


@pytest.mark.parametrize("used", [1, 3])
def test_who_stops_early_leaves_no_thread_and_the_items_are_closed_where_they_were_made(used: int) -> None:
    items = Items(5)
    ahead = one_ahead(items.each())
    for _ in range(used):
        next(ahead)
    ahead.close()
    assert items.is_closed
    (thread,) = set(items.threads)
    assert not thread.is_alive()


def test_a_program_that_ends_in_the_middle_ends_quietly() -> None:
    program = "from eomt_ros.one_ahead import one_ahead; each = one_ahead(iter_ for iter_ in 'abc'); next(each)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert (ended.returncode, ended.stderr) == (0, "")
