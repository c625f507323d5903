"""A network that overflows, a device that is full: the image is lost, the node is not."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from rclpy.context import Context
from rclpy.node import Node
from rclpy.serialization import serialize_message
from safetensors.torch import load_file, save_file
from sensor_msgs.msg import Image

from eomt_ros.engine import Segmenter
from eomt_ros.msg import InstanceArray
from eomt_ros.node.camera import Camera
from eomt_ros.node.inputs import Arrival
from eomt_ros.node.mailbox import Mailbox
from eomt_ros.node.parameters import DEFAULTS
from eomt_ros.node.qos import QosOverrides
from eomt_ros.node.statistics import BatchStatistics, Drop
from eomt_ros.node.worker import Worker
from test.engine.checkpoints import write_checkpoint
from test.node.conftest import StartRobot
from test.node.robot import HEIGHT, WIDTH, Pixels, picture, stamped
from test.patience import PATIENCE

DARK, WHITE = 60, 255


def plain(grey: int) -> Pixels:
    """An image of one shade."""
    return np.full((HEIGHT, WIDTH, 3), grey, np.uint8)


def write_overflowing(folder: Path) -> Path:
    """Write a checkpoint of finite weights whose numbers overflow float32 for images that are bright."""
    write_checkpoint(folder)
    weights = load_file(folder / "model.safetensors")
    # After normalising, blue is -1.8 (black) to 2.6 (white). This makes it 0 to 1.3e20 in the first number of a token,
    # and beyond about 6e19 the sum of squares in a layer norm is too much for float32.
    weights["embeddings.patch_embeddings.projection.weight"][0, 2, 0, 0] = 3e19
    weights["embeddings.patch_embeddings.projection.bias"][0] = 3e19 * 1.8
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_image_that_gives_nan_is_dropped_counted_and_reported_and_resets_the_stream(
    start_robot: StartRobot, tmp_path: Path
) -> None:
    overflowing = write_overflowing(tmp_path / "overflowing")
    parameters = {"model": str(overflowing), "policy": "every_frame", "reliability": "reliable", "qos_depth": 100}
    with start_robot(parameters) as robot:
        camera, instances = robot.camera(), robot.listen(InstanceArray, "~/instances")
        diagnostics = robot.diagnostics()
        robot.connect(camera, instances, image=lambda stamp: stamped(plain(DARK), stamp))

        def send(grey: int) -> Image:
            return camera.publish(stamped(plain(grey), robot.next_stamp()))

        before = instances.wait_for_stamp(send(DARK))
        send(WHITE)
        after = instances.wait_for_stamp(send(DARK))
        assert after.dropped == before.dropped + 1
        assert after.epoch == before.epoch + 1
        robot.process.wait_for_output(f"ERROR.* image dropped and stream reset, epoch {after.epoch} begins: .*logits")

        send(WHITE)
        status, values = diagnostics.wait_for(lambda status, _: status.level == b"\x02", "an error")
        assert "logits" in status.message
        assert int(values["dropped: not_finite"]) == 2
        assert instances.wait_for_stamp(send(DARK)).epoch == before.epoch + 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), Drop.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: unspecified launch failure"), Drop.DEVICE_LOST),
    ],
)
def test_image_that_the_device_fails_is_dropped_and_counted_and_resets_the_stream(
    ros: Context, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: Drop
) -> None:
    segmenter = Segmenter.load(checkpoint)
    node = Node("full_device", context=ros)
    camera = Camera(node, "", segmenter, lambda: DEFAULTS, QosOverrides(node))
    mailbox: Mailbox[Camera, Arrival] = Mailbox([camera], 10)
    worker = Worker(segmenter, mailbox, BatchStatistics(), lambda: DEFAULTS)
    convolve = torch.nn.Conv2d.forward
    fails = iter([True])

    def forward(self: torch.nn.Conv2d, pixels: torch.Tensor) -> torch.Tensor:
        if next(fails, False):
            raise error
        return convolve(self, pixels)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", forward)
    for stamp in (1.0, 1.1):
        message = serialize_message(stamped(picture(1), stamp))
        mailbox.put(camera, Arrival(message, Image, time.monotonic(), camera.stream.admit(stamp)))
    worker.start()
    deadline = time.monotonic() + PATIENCE
    while not camera.statistics.counts.processed:
        assert time.monotonic() < deadline, "the image after the one that failed was not processed"
        time.sleep(0.01)
    worker.stop()
    node.destroy_node()

    counts = camera.statistics.counts
    assert (counts.processed, dict(counts.dropped)) == (1, {reason: 1})
    assert camera.stream.epoch == 1
