"""Frames become videos, and these go to training or validation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pytest

from eomt_ros.evaluation.sources.sequence import FrameSequence, Problems, SourceFrame
from eomt_ros.stamps import SECOND
from eomt_ros.training.choosing import one_every
from eomt_ros.training.dataset import DatasetError
from eomt_ros.training.splitting import SeenFrame, VideoNames, in_stretches, parted, video_name, whole_parts

PERIOD = SECOND // 10


def sequence(name: str, bag: str = "") -> FrameSequence:
    def read(_: Problems) -> Iterator[SourceFrame]:
        yield from ()

    return FrameSequence(name, read, bag=bag)


def frames(*stamps: int, width: int = 8) -> list[SourceFrame]:
    return [SourceFrame(stamp, np.zeros((6, width, 3), np.uint8)) for stamp in stamps]


def stretches(given: Iterable[SourceFrame], problems: Problems | None = None) -> list[tuple[int, int]]:
    found = in_stretches(given, Problems() if problems is None else problems)
    return [(stretch, frame.stamp) for _, stretch, frame in found]


def splits(names: Sequence[str], val: float | Sequence[str]) -> list[str] | None:
    parts = whole_parts([sequence(name) for name in names], val)
    return None if parts is None else [part.split for part in parts]


def test_frames_that_follow_each_other_are_one_stretch() -> None:
    assert stretches(frames(0, PERIOD, 2 * PERIOD)) == [(0, 0), (0, PERIOD), (0, 2 * PERIOD)]


@pytest.mark.parametrize("then", [frames(5 * SECOND), frames(2 * PERIOD, width=10)], ids=["gap", "size"])
def test_after_a_gap_or_with_another_size_a_new_video_begins(then: list[SourceFrame]) -> None:
    assert [stretch for stretch, _ in stretches([*frames(0, PERIOD), *then])] == [0, 0, 1]


def test_a_late_frame_and_one_of_the_same_stamp_are_left_out_and_said() -> None:
    problems = Problems()
    assert len(stretches(frames(0, 2 * PERIOD, PERIOD, 3 * PERIOD, 3 * PERIOD), problems)) == 3
    assert [problem.split(";")[0] for problem in problems] == [
        "1 frame came late and was left out",
        "1 frame has the stamp of the frame before and was left out",
    ]


def test_whole_recordings_are_for_validation_evenly_spread() -> None:
    assert splits("abcdefghij", 0.2) == ["train", "train", "train", "train", "val"] * 2
    assert splits("abc", 0.05) == ["train", "train", "val"]
    assert splits("ab", 0.9) == ["train", "val"]


def test_all_or_nothing_may_be_for_validation() -> None:
    assert splits("ab", 0.0) == ["train", "train"]
    assert splits("ab", 1.0) == ["val", "val"]
    assert splits("a", 1.0) == ["val"]


def test_cameras_of_one_bag_are_in_the_same_split_because_they_see_the_same() -> None:
    rig = [sequence(f"{bag} {camera}", bag) for bag in "xyz" for camera in ("front", "rear")]
    parts = whole_parts(rig, 0.3)
    assert parts is not None
    assert [part.split for part in parts] == ["train"] * 4 + ["val"] * 2


def test_recordings_for_validation_can_be_named() -> None:
    assert splits(["night_1", "night_2", "day"], ("day",)) == ["train", "train", "val"]


def test_a_name_that_is_no_recording_is_refused_with_the_nearest() -> None:
    with pytest.raises(DatasetError, match=r"--val has 'nihgt_1', which is none of the recordings; .* 'night_1'"):
        splits(["night_1", "night_2"], ("nihgt_1",))


def test_the_end_of_the_only_recording_is_for_validation_with_a_gap() -> None:
    assert splits("a", 0.2) is None
    seen = [SeenFrame(number, 0, number * PERIOD, True) for number in range(600)]
    train, val = parted(0, "a", seen, 0.2)
    assert (train.split, train.first, train.end) == ("train", 0, 480)
    assert val.split == "val"
    assert seen[val.first].stamp - seen[479].stamp == 2 * SECOND
    assert train.name != val.name


def test_the_gap_leaves_most_of_a_short_validation() -> None:
    seen = [SeenFrame(number, 0, number * PERIOD, True) for number in range(50)]
    _, val = parted(0, "a", seen, 0.2)
    assert val.first == 42


def test_a_single_frame_is_to_train_on() -> None:
    assert [part.split for part in parted(0, "a", [SeenFrame(0, 0, 0, True)], 0.5)] == ["train"]


@pytest.mark.parametrize("name", ["/data/a b/c", "..", "", "bag (2)", "x" * 300, "a:b*c", "nachtfahrt_ü"])
def test_a_recordings_name_becomes_one_of_a_folder(name: str) -> None:
    from eomt_ros.training.annotation_flaws import is_video_name

    assert is_video_name(video_name(name))


def test_every_stretch_of_every_part_has_a_video_of_its_own() -> None:
    parts = whole_parts([sequence("a/b"), sequence("a_b"), sequence("a_b_2")], 0.0)
    assert parts is not None
    names = VideoNames()
    given = [names.of(part, stretch) for part in parts for stretch in (0, 1)]
    assert len(set(given)) == 6
    assert names.of(parts[1], 1) == given[3]


def test_one_frame_every_second_does_not_drift_with_the_cameras_period() -> None:
    seen = [SeenFrame(number, 0, number * 130_000_000, True) for number in range(100)]
    stamps = [frame.stamp / SECOND for frame in one_every(seen, 1.0)]
    assert [int(stamp) for stamp in stamps] == list(range(13))


def test_a_new_stretch_begins_with_a_frame() -> None:
    seen = [SeenFrame(0, 0, 0, True), SeenFrame(1, 0, PERIOD, True), SeenFrame(2, 1, 5 * PERIOD, True)]
    assert [frame.number for frame in one_every(seen, 1.0)] == [0, 2]
