"""A stream begins anew by itself where its camera's frames do not go on."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from eomt_ros.engine import FrameResult, LateFrameError, Segmenter, Stream
from test.engine.checkpoints import write_checkpoint

BEGIN = 1_700_000_000
"""Seconds; clocks of robots count since 1970."""


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> Segmenter:
    folder: Path = write_checkpoint(tmp_path_factory.mktemp("checkpoint"), num_queries=24)
    return Segmenter.load(folder, device="cpu", precision="float32", score_threshold=0.3, overlap_threshold=0.3)


def picture(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def equal(one: FrameResult, other: FrameResult) -> bool:
    assert one.segments, "nothing to compare"
    return np.array_equal(one.panoptic, other.panoptic) and one.segments == other.segments


def after(segmenter: Segmenter, *seeds: int) -> Stream:
    """A stream that has seen some frames, a tenth of a second apart."""
    stream = segmenter.open_stream()
    for number, seed in enumerate(seeds):
        stream.segment(picture(seed), stamp=BEGIN + Fraction(number, 10))
    return stream


def test_what_goes_on_is_segmented_as_the_segmenter_does(segmenter):
    stream, plain = segmenter.open_stream(), segmenter.open_stream()
    for number in range(3):
        stamp = BEGIN + Fraction(number, 10)
        ours = stream.segment(picture(number), stamp=stamp)
        assert equal(ours, segmenter.segment(picture(number), plain, stamp=stamp))
        assert (ours.epoch, ours.reset_reason) == (0, "")


@pytest.mark.parametrize(
    ("second", "size", "reason"),
    [
        (BEGIN + 9, (96, 128), r"a gap of 8\.900 s between frames exceeds max_gap \(2\.0 s\)"),
        (BEGIN - 60, (96, 128), r"time jumped back by 60\.100 s, from "),
        (BEGIN + 0.2, (64, 96), "the image size changed from 128x96 to 96x64"),
        (None, (64, 96), "the image size changed from 128x96 to 96x64"),
    ],
)
def test_a_break_begins_an_epoch_with_its_reason_and_what_a_fresh_stream_gives(segmenter, second, size, reason):
    stream = after(segmenter, 1, 2)
    broken = stream.segment(picture(3, *size), stamp=second)
    assert broken.epoch == 1
    assert broken.reset_reason.startswith(reason.replace("\\", ""))
    assert equal(broken, segmenter.open_stream().segment(picture(3, *size)))
    following = stream.segment(picture(4, *size), stamp=None if second is None else second + 0.1)
    assert (following.epoch, following.reset_reason) == (1, "")


def test_a_late_frame_is_refused_and_changes_nothing(segmenter):
    stream, other = after(segmenter, 1, 2), after(segmenter, 1, 2)
    with pytest.raises(LateFrameError, match=r"is 0\.050 s before that of the newest image"):
        stream.segment(picture(9), stamp=BEGIN + Fraction(5, 100))
    stamp = BEGIN + Fraction(2, 10)
    assert equal(stream.segment(picture(3), stamp=stamp), other.segment(picture(3), stamp=stamp))


def test_max_gap_is_the_users(segmenter):
    stream = segmenter.open_stream(max_gap=30)
    assert [stream.segment(picture(0), stamp=BEGIN + seconds).epoch for seconds in (0, 20, 40)] == [0, 0, 0]
    stream.max_gap = 1
    assert stream.segment(picture(0), stamp=BEGIN + 60).epoch == 1


def test_a_frame_that_fails_at_a_break_leaves_the_stream_to_break_at_the_next(segmenter):
    stream = after(segmenter, 1, 2)
    admitted = stream.admit(BEGIN + 100)
    with pytest.raises(ValueError, match="image is"):
        stream.segment(picture(3)[..., 0], stamp=admitted)
    assert stream.epoch == 0
    assert "a gap of" in stream.segment(picture(3), stamp=admitted).reset_reason


def test_frames_that_were_admitted_and_left_out_are_no_gap(segmenter):
    stream = segmenter.open_stream()
    admitted = [stream.admit(BEGIN + number) for number in range(10)]
    results = [stream.segment(picture(0), stamp=frame) for frame in admitted[::5]]
    assert [result.reset_reason for result in results] == ["", ""]


def test_a_frame_that_is_begun_before_the_one_before_is_done_gets_the_same(segmenter):
    sizes = [(96, 128), (96, 128), (64, 96), (64, 96), (64, 96), (64, 96)]
    seconds = [0, 0.1, 0.2, 0.3, 60, 60.1]
    stream, plain = segmenter.open_stream(), segmenter.open_stream()
    rests = [
        stream.begin(picture(number, *size), stamp=BEGIN + second)
        for number, (size, second) in enumerate(zip(sizes, seconds, strict=True))
    ]
    epochs = []
    for number, (size, second, rest) in enumerate(zip(sizes, seconds, rests, strict=True)):
        ours, theirs = rest(), plain.segment(picture(number, *size), stamp=BEGIN + second)
        assert equal(ours, theirs)
        assert np.array_equal(ours.confidence, theirs.confidence)
        assert (ours.epoch, ours.reset_reason) == (theirs.epoch, theirs.reset_reason)
        epochs.append(ours.epoch)
    assert epochs == [0, 0, 1, 1, 2, 2]


def test_in_a_batch_one_stream_breaks_alone(segmenter):
    streams = [after(segmenter, 1, 2), after(segmenter, 1, 2)]
    stamps = [streams[0].admit(BEGIN + 60), streams[1].admit(BEGIN + Fraction(2, 10))]
    results = segmenter.segment_batch([picture(3), picture(3)], streams, stamps=stamps)
    assert [result.epoch for result in results] == [1, 0]
    unbroken = [segmenter.open_stream(), after(segmenter, 1, 2)]
    expected = segmenter.segment_batch([picture(3), picture(3)], unbroken, stamps=[None, BEGIN + Fraction(2, 10)])
    assert all(map(equal, results, expected))


def test_the_segmenter_alone_goes_on_as_it_is_told(segmenter):
    stream = segmenter.open_stream()
    for size, stamp in (((96, 128), 10.0), ((64, 96), 9.5), ((64, 96), 100.0)):
        assert segmenter.segment(picture(1, *size), stream, stamp=stamp).epoch == 0
