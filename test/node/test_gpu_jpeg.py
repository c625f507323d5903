"""JPEG messages decoded where the network runs; OpenCV stands in for the GPU's decoder, which it is held to."""

from __future__ import annotations

import array
import logging
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from eomt_ros.engine import Segmenter
from eomt_ros.images import ImageError, decode
from eomt_ros.node.diagnostics import Statistics
from eomt_ros.node.gpu_jpeg import GpuJpegs
from eomt_ros.node.inputs import Arrival
from eomt_ros.node.mailbox import Mailbox
from eomt_ros.node.outputs import Outputs
from eomt_ros.node.parameters import DEFAULTS
from eomt_ros.node.qos import QosOverrides
from eomt_ros.node.worker import Worker
from test.engine.cuda.machine import on_gpu
from test.engine.cuda.test_frames import jpeg, opencv_decodes
from test.engine.test_segmenter import picture
from test.node.robot import PATIENCE

log = logging.getLogger(__name__)


class Decoder:
    """Counts what it decodes, brighter by `change`."""

    def __init__(self, change: int = 0) -> None:
        self.decoded = 0
        self._change = change

    def __call__(self, data: bytes) -> torch.Tensor:
        self.decoded += 1
        return opencv_decodes(data).add(self._change)


def message(data: bytes, format_: str = "rgb8; jpeg compressed bgr8") -> SimpleNamespace:
    return SimpleNamespace(data=data, format=format_)


def jpegs(checkpoint: Path, decoder: Decoder) -> GpuJpegs:
    return GpuJpegs(on_gpu(Segmenter.load(checkpoint, device="cpu", backend="torch"), decode=decoder), log)


def test_jpegs_are_decoded_on_the_gpu_and_the_first_is_compared(checkpoint, monkeypatch):
    decoder = Decoder()
    decodes = jpegs(checkpoint, decoder)
    compared = []
    monkeypatch.setattr("eomt_ros.node.gpu_jpeg.decode", lambda *given: compared.append(given) or decode(*given))
    for number in range(3):
        sent = message(jpeg(picture(40, 60, number)))
        found = decodes.decode(sent)
        assert isinstance(found, torch.Tensor)
        assert np.array_equal(found.numpy(), decode(sent))
    assert decoder.decoded == 3
    assert [len(given) for given in compared] == [2, 1, 2, 2]  # the host alone, once


def test_a_decoder_that_gives_another_picture_is_not_used_and_that_is_said(checkpoint, caplog):
    decoder = Decoder(change=5)
    decodes = jpegs(checkpoint, decoder)
    for number in range(3):
        sent = message(jpeg(picture(40, 60, number) // 2))
        assert np.array_equal(decodes.decode(sent), decode(sent))
    assert decoder.decoded == 1
    (warning,) = (record.message for record in caplog.records if "JPEG" in record.message)
    assert "5.0 grey levels from OpenCV's in the mean, expected at most 2" in warning


@pytest.mark.parametrize(
    "sent",
    [
        message(cv2.imencode(".png", picture(40, 60, 0))[1].tobytes(), "rgb8; png compressed"),
        message(jpeg(picture(40, 60, 0)), "bayer_rggb8; jpeg compressed"),
    ],
    ids=["png", "mosaic"],
)
def test_what_is_no_plain_jpeg_is_decoded_on_the_host(checkpoint, sent):
    decoder = Decoder()
    assert np.array_equal(jpegs(checkpoint, decoder).decode(sent), decode(sent))
    assert decoder.decoded == 0


def test_a_truncated_jpeg_reaches_no_decoder(checkpoint):
    decoder = Decoder()
    with pytest.raises(ImageError, match="truncated"):
        jpegs(checkpoint, decoder).decode(message(jpeg(picture(40, 60, 0))[:-20]))
    assert decoder.decoded == 0


def test_a_jpeg_of_another_size_than_its_header_says_is_not_taken(checkpoint):
    def decoder(data: bytes) -> torch.Tensor:
        return opencv_decodes(data)[:-1]

    sent = message(jpeg(picture(40, 60, 0)))
    assert np.array_equal(jpegs(checkpoint, decoder).decode(sent), decode(sent))


def test_the_node_publishes_of_a_jpeg_on_the_gpu_what_it_does_of_one_on_the_host(ros, checkpoint):
    """The overlay too, for which the picture is fetched."""
    data = jpeg(picture(40, 60, 0))
    published = []
    for name, decoder in {"on_host": None, "on_gpu": Decoder()}.items():
        segmenter = Segmenter.load(checkpoint, device="cpu", precision="float32", backend="torch")
        if decoder is not None:
            on_gpu(segmenter, decode=decoder)
        node = Node(name, context=ros)
        outputs = Outputs(node, segmenter, 1, QosOverrides(node))
        heard: dict[str, list[Image]] = {"overlay": [], "panoptic": []}
        for topic, inbox in heard.items():
            node.create_subscription(Image, f"/{name}/{topic}", inbox.append, 1)
        mailbox: Mailbox[Arrival] = Mailbox(10)
        statistics = Statistics()
        worker = Worker(
            segmenter, segmenter.open_stream(), mailbox, outputs, statistics, lambda: DEFAULTS, node.get_logger()
        )
        sent = serialize_message(CompressedImage(format="jpeg", data=array.array("B", data)))
        mailbox.put(Arrival(sent, CompressedImage, time.monotonic()))
        executor = SingleThreadedExecutor(context=ros)
        executor.add_node(node)
        deadline = time.monotonic() + PATIENCE
        (publisher,) = (each for each in node.publishers if each.topic.endswith("/overlay"))
        while not publisher.get_subscription_count():
            executor.spin_once(timeout_sec=0.1)
            assert time.monotonic() < deadline, "the subscriptions did not connect"
        worker.start()
        while not all(heard.values()):
            executor.spin_once(timeout_sec=0.1)
            missing = [topic for topic, inbox in heard.items() if not inbox]
            assert time.monotonic() < deadline, f"nothing came on {missing}; dropped: {statistics.counts.dropped}"
        worker.stop()
        executor.shutdown()
        node.destroy_node()
        published.append([bytes(heard[topic][0].data) for topic in ("overlay", "panoptic")])
        assert decoder is None or decoder.decoded == 1
    assert published[0] == published[1]
