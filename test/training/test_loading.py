"""Decoded frames in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eomt_ros.engine.preprocess.geometry import stretch
from eomt_ros.training.dataset import Dataset, DatasetError
from eomt_ros.training.loading import FrameLoader
from test.training.data_sets import HEIGHT, WIDTH, labels, write_dataset

FRAME_BYTES = HEIGHT * WIDTH * 4
"""Of three colours and one label."""


def test_frames_are_kept_within_the_bound_and_the_one_not_used_for_longest_goes(tmp_path: Path) -> None:
    frames = Dataset.open(write_dataset(tmp_path / "data", frames=4, train=("a",))).train[0].frames
    loader = FrameLoader(stretch((32, 32)), most_bytes=2 * FRAME_BYTES)
    for place in (0, 1, 0, 2):
        loader.read(frames[place])
    for frame in frames:
        frame.image.unlink()
    loader.read(frames[0])
    loader.read(frames[2])
    for place in (1, 3):
        with pytest.raises(DatasetError, match=str(frames[place].image)):
            loader.read(frames[place])


def test_a_frame_larger_than_the_bound_is_read_every_time(tmp_path: Path) -> None:
    frame = Dataset.open(write_dataset(tmp_path / "data", frames=1)).train[0].frames[0]
    loader = FrameLoader(stretch((32, 32)), most_bytes=FRAME_BYTES - 1)
    assert loader.read(frame) is not loader.read(frame)


def test_labels_are_places_among_the_segments(tmp_path: Path) -> None:
    frame = Dataset.open(write_dataset(tmp_path / "data", frames=1)).train[0].frames[0]
    decoded = FrameLoader(stretch((32, 32))).read(frame)
    classes = np.array([*(segment.class_id for segment in decoded.segments), 255])
    np.testing.assert_array_equal(classes[decoded.places], labels(0)[0])


def test_the_nearest_frame_that_can_be_read_takes_the_place_of_a_damaged_one(tmp_path: Path) -> None:
    frames = Dataset.open(write_dataset(tmp_path / "data", frames=6)).train[0].frames
    loader = FrameLoader(stretch((32, 32)))
    for place in (3, 4, 5):
        frames[place].labels.write_bytes(b"none")
    np.testing.assert_array_equal(loader.nearest(frames, 4).image, frames[2].read_image())
    assert loader.nearest(frames, 1) is loader.read(frames[1])
    assert sorted(loader.damaged) == [frames[place].image for place in (3, 4, 5)]
