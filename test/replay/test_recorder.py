"""What the recorder of an evaluation does where its disk is full."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="it listens to a node")

from sensor_msgs.msg import Image

from eomt_ros.evaluation.bag import Bag
from eomt_ros.evaluation.output_bag import SEMANTIC, OutputBag
from eomt_ros.replay.participant import Participant
from eomt_ros.replay.recorder import Recorder
from test.patience import PATIENCE

SIDE = 1200  # a message of which fills a chunk of the bag


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """What a write beyond that raises is an OSError as that of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_the_recording_and_what_was_recorded_can_be_read(
    domain: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "bag"
    noise = np.random.default_rng(0)
    with Participant("recorder") as participant:
        with OutputBag(path) as bag:
            recorder = Recorder(participant.node, bag)
            recorder.record([""])
            publisher = participant.node.create_publisher(Image, SEMANTIC, 1000)
            assert participant.serve(lambda: publisher.get_subscription_count() > 0, PATIENCE)
            with no_file_larger_than(3 * SIDE * SIDE // 2):
                for number in range(3):
                    message = Image(height=SIDE, width=SIDE, encoding="mono8", step=SIDE)
                    message.header.stamp.sec = number + 1
                    message.data = noise.integers(0, 256, SIDE * SIDE, np.uint8).tobytes()
                    publisher.publish(message)
                assert participant.serve(lambda: recorder.failure is not None, PATIENCE)
        assert recorder.counts[SEMANTIC] == 1
        assert recorder.failure is not None
        assert recorder.failure.strerror == "File too large"
    with Bag(path) as recorded:
        assert [message.stamp for message in recorded.messages(SEMANTIC)] == [10**9]
