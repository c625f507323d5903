"""Stamps in messages become the nanoseconds that the evaluation knows them by."""

from __future__ import annotations

import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from eomt_ros.node.cdr import stamp_in
from test.evaluation import bags


@pytest.mark.parametrize("little_endian", [True, False])
def test_stamp_is_read_from_the_bytes_of_a_message(little_endian: bool) -> None:
    message = bags.compressed(bags.stamp(7), bags.scene(0)[0])
    data = bytes(bags.STORE.serialize_cdr(message, message.__msgtype__, little_endian=little_endian))
    assert stamp_in(data) == bags.stamp(7)


def test_stamp_is_read_from_what_ros_serialized() -> None:
    image = Image()
    image.header.stamp.sec, image.header.stamp.nanosec = 5, 600
    assert stamp_in(serialize_message(image)) == 5 * 10**9 + 600


def test_a_message_that_is_cut_before_its_stamp_has_none() -> None:
    assert stamp_in(serialize_message(Image())[:11]) == 0
