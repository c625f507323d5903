"""The overlay video of recorded results: over the images, and in metres beside them where a node gave those."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eomt_ros.evaluation.bag import Bag
from eomt_ros.evaluation.output_bag import OutputBag
from eomt_ros.evaluation.recorded import RecordedPredictions
from eomt_ros.evaluation.sources import FrameSequence, TruthSource, open_sequences
from eomt_ros.evaluation.true_masks import TrueMasks
from eomt_ros.replay.result_video import VIEW_SIDE, ResultVideo
from eomt_ros.video import TimedImage, read_video
from test import ROOT
from test.evaluation import bags

FRAMES = 4
WITHOUT = 2
"""Number of the frame for which the node has no objects."""
HEIGHT, WIDTH = 240, 424


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of the demo bag."""
    return bags.write_beginning(tmp_path_factory.mktemp("played") / "bag", ROOT / "demo" / "bag", FRAMES)


@pytest.fixture(scope="module")
def sequences(played: Path) -> list[FrameSequence]:
    return list(open_sequences([played], truth=TruthSource()))


@pytest.fixture(scope="module")
def recorded(played: Path, sequences: list[FrameSequence], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a node would publish that knows the truth."""
    path = tmp_path_factory.mktemp("recorded") / "bag"
    predictions = TrueMasks("demo")
    with OutputBag(path) as out, Bag(played) as bag:
        for number, frame in enumerate(sequences[0].frames(predictions.labels.class_names)):
            found = predictions.find(frame)
            assert found is not None
            out.write_found(found, frame.stamp, sequence=number, task="panoptic", model="demo", identity="query")
        for number, message in enumerate(bag.messages("/ground_truth/objects")):
            kind = message.content.__msgtype__
            if number != WITHOUT:
                data = bytes(bags.STORE.serialize_cdr(message.content, kind))
                out.write("/segment/objects", kind, message.stamp, data)
    return path


def video(recorded: Path, sequences: list[FrameSequence], path: Path, **fields: Any) -> list[TimedImage]:
    values: dict[str, Any] = {"cameras": {bags.IMAGES: ""}, "fixed": True} | fields
    assert (
        ResultVideo(recorded, partial(RecordedPredictions, recorded), **values).write(
            path, sequences, threading.Event()
        )
        is None
    )
    return list(read_video(path))


def coloured(page: TimedImage) -> int:
    """The number of pixels beside the picture that are no shade of grey."""
    beside = page.image[:, -VIEW_SIDE:].astype(int)
    return int(np.count_nonzero(np.ptp(beside, axis=2) > 60))


def test_the_view_from_above_is_beside_the_enlarged_picture_of_every_result(
    recorded: Path, sequences: list[FrameSequence], tmp_path: Path
) -> None:
    frames = video(recorded, sequences, tmp_path / "overlay.mp4")
    assert len(frames) == FRAMES
    width = WIDTH * VIEW_SIDE // HEIGHT
    assert {frame.image.shape for frame in frames} == {(VIEW_SIDE, width + VIEW_SIDE, 3)}
    assert [coloured(frame) > 500 for frame in frames] == [number != WITHOUT for number in range(FRAMES)]


def test_objects_of_the_camera_s_own_frame_are_drawn_in_it(
    recorded: Path, sequences: list[FrameSequence], tmp_path: Path
) -> None:
    fixed, moving = (video(recorded, sequences, tmp_path / f"{fixed}.mp4", fixed=fixed) for fixed in (True, False))
    assert not np.array_equal(fixed[0].image[:, -VIEW_SIDE:], moving[0].image[:, -VIEW_SIDE:])


def test_without_anything_in_metres_the_picture_is_as_it_is(
    recorded: Path, sequences: list[FrameSequence], tmp_path: Path
) -> None:
    frames = video(recorded, sequences, tmp_path / "overlay.mp4", cameras={})
    assert {frame.image.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}


def test_where_the_recording_does_not_say_where_the_camera_was_the_view_is_black(
    recorded: Path, played: Path, tmp_path: Path
) -> None:
    def messages() -> Iterator[tuple[str, int, Any]]:
        with Bag(played) as bag:
            for topic in set(bag.topics) - {"/odom"}:
                yield from ((topic, message.stamp, message.content) for message in bag.messages(topic))

    path = bags.write_bag(tmp_path / "bag", sorted(messages(), key=lambda each: each[1]))
    for page in video(recorded, list(open_sequences([path], truth=TruthSource())), tmp_path / "overlay.mp4"):
        assert page.image[:, -VIEW_SIDE + 8 :].max() < 40
