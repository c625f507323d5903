"""A node's callbacks are served beside the program, and the thread that serves them ends when it is asked to."""

from __future__ import annotations

import random
import sys
import threading
import time

import pytest
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.node import Node

from test.node.spinning import spinning
from test.patience import PATIENCE

STEADY = Clock(clock_type=ClockType.STEADY_TIME)


def test_callbacks_are_served_within_the_block_only(ros: Context) -> None:
    node = Node("served", context=ros, start_parameter_services=False)
    called = threading.Event()
    node.create_timer(0.001, called.set, clock=STEADY)
    others = set(threading.enumerate())  # of other tests, whose robots go on
    with spinning(node):
        assert called.wait(PATIENCE), "the timer was not served"
    assert set(threading.enumerate()) <= others
    node.destroy_node()


def test_the_thread_ends_cleanly_at_whatever_moment_it_is_asked_to(
    ros: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked while it is about to wait, rclpy's own way of stopping a spinning thread makes it wait for ever or fail."""
    failures: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: failures.append(arguments.exc_value))
    node = Node("busy", context=ros, start_parameter_services=False)
    node.create_timer(1e-4, lambda: None, clock=STEADY)
    moments = random.Random(0)
    others = set(threading.enumerate())
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # as many different orders of the two threads' steps as there can be
    try:
        for _ in range(500):
            with spinning(node):
                time.sleep(moments.uniform(0.0, 0.002))
            assert set(threading.enumerate()) <= others
    finally:
        sys.setswitchinterval(before)
        node.destroy_node()
    assert failures == []
