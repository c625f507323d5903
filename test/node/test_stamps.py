"""Stamps in messages become the nanoseconds and the seconds that the evaluation knows them by."""

from __future__ import annotations

import random

import pytest
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from eomt_ros.node.stamps import seconds, stamp_in
from test.evaluation import bags


def test_seconds_are_those_of_the_evaluation_to_the_last_bit() -> None:
    generator = random.Random(0)
    for _ in range(1000):
        nanoseconds = generator.randrange(1, 2**31 * 10**9)
        sec, nanosec = divmod(nanoseconds, 10**9)
        assert seconds(Time(sec=sec, nanosec=nanosec)) == nanoseconds * 1e-9


def test_stamp_of_zero_is_none() -> None:
    assert seconds(Time()) is None


@pytest.mark.parametrize("little_endian", [True, False])
def test_stamp_is_read_from_the_bytes_of_a_message(little_endian: bool) -> None:
    message = bags.compressed(bags.stamp(7), bags.scene(0)[0])
    data = bytes(bags.STORE.serialize_cdr(message, message.__msgtype__, little_endian=little_endian))
    assert stamp_in(data) == bags.stamp(7)


def test_stamp_is_read_from_what_ros_serialized() -> None:
    image = Image()
    image.header.stamp.sec, image.header.stamp.nanosec = 5, 600
    assert stamp_in(serialize_message(image)) == 5 * 10**9 + 600
