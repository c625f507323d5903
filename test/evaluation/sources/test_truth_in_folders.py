"""Ground truth in PNG files that are named by stamp or index."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from eomt_ros.evaluation.sources import SourceError, TruthSource
from eomt_ros.evaluation.sources.truth_map import parse_truth_map
from test.evaluation import bags
from test.evaluation.sources.recordings import (
    FRAMES,
    expect_scene,
    frame,
    read,
    read_one,
    unscored,
    write,
    write_folder,
)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A bag without ground truth."""
    return write(tmp_path / "plain", [frame(number)[:1] for number in range(FRAMES)])


@pytest.mark.parametrize("name", ["{index}", "{index:06}", "{stamp}"])
def test_a_folder_goes_by_stamp_or_index(tmp_path: Path, plain: Path, name: str) -> None:
    folder = write_folder(tmp_path / "truth", range(FRAMES), name)
    sequence, frames = read_one(plain, truth=TruthSource(folder=folder))
    expect_scene(frames, range(FRAMES))
    assert (sequence.truth, sequence.problems) == (str(folder), [])


def test_a_folder_may_have_classes_only_and_directly_in_it(tmp_path: Path, plain: Path) -> None:
    folder = write_folder(tmp_path / "truth", range(FRAMES), "{index}", ids=False) / "semantic"
    expect_scene(read_one(plain, truth=TruthSource(folder=folder))[1], range(FRAMES), instances=False)


def test_indices_may_count_from_one(tmp_path: Path, plain: Path) -> None:
    folder = write_folder(tmp_path / "truth", range(FRAMES), "{index}")
    for kind in ("semantic", "panoptic"):
        for number in reversed(range(FRAMES)):
            (folder / kind / f"{number}.png").rename(folder / kind / f"{number + 1}.png")
    expect_scene(read_one(plain, truth=TruthSource(folder=folder))[1], range(FRAMES))


def test_an_index_counts_pictures_that_do_not_decode(tmp_path: Path) -> None:
    messages = [frame(number)[:1] for number in range(3)]
    messages[1][0][2].data = messages[1][0][2].data[:40]
    folder = write_folder(tmp_path / "truth", range(3), "{index}")
    expect_scene(read_one(write(tmp_path / "bag", messages), truth=TruthSource(folder=folder))[1], [0, 2])


def test_files_and_frames_without_each_other_are_counted(tmp_path: Path, plain: Path) -> None:
    folder = write_folder(tmp_path / "truth", [0, 2, 4, 70, 71], "{stamp}")
    (folder / "semantic" / f"{bags.stamp(4)}.png").write_bytes(b"broken")
    sequence, frames = read_one(plain, truth=TruthSource(folder=folder))
    assert unscored(frames) == [1, 3, 4, 5]
    assert sequence.problems == [
        "1 frame's ground truth is not used: it cannot be read; "
        f"first: {folder}/semantic/{bags.stamp(4)}.png is 6 bytes that are no PNG, expected a label image as PNG: "
        "other formats do not keep ids exactly",
        f"3 of 6 frames have no ground truth in {folder}, whose files go by stamp; "
        f"first: frame 1 at {bags.stamp(1)} ns",
        f"2 of 5 files in {folder} belong to no frame; first: {bags.stamp(70)}.png",
    ]


@pytest.mark.parametrize("name", ["left_{index}", "{index}.5"])
def test_names_that_are_no_numbers_are_refused(tmp_path: Path, plain: Path, name: str) -> None:
    folder = write_folder(tmp_path / "truth", range(1), name)
    with pytest.raises(SourceError, match="expected a stamp in nanoseconds or an index"):
        read(plain, truth=TruthSource(folder=folder))


def test_an_empty_folder_is_refused(tmp_path: Path, plain: Path) -> None:
    (tmp_path / "truth").mkdir()
    with pytest.raises(SourceError, match=r"no PNG in it, expected semantic/\*\.png"):
        read(plain, truth=TruthSource(folder=tmp_path / "truth"))


@pytest.mark.parametrize("beside", [-49_000_000, -300, 300, 49_000_000])
def test_files_named_by_a_stamp_beside_the_frames_belong_to_the_nearest(
    tmp_path: Path, plain: Path, beside: int
) -> None:
    folder = write_folder(tmp_path / "truth", [1, 3, 5], "{stamp}")
    for file in list(folder.glob("*/*.png")):
        file.rename(file.with_stem(str(int(file.stem) + beside)))
    _, frames = read_one(plain, truth=TruthSource(folder=folder))
    assert unscored(frames) == [0, 2, 4]
    expect_scene([each for each in frames if each.truth], [1, 3, 5])
    assert unscored(read_one(plain, truth=TruthSource(folder=folder, tolerance=0))[1]) == list(range(FRAMES))


def test_files_may_have_colours(tmp_path: Path, plain: Path) -> None:
    (tmp_path / "truth").mkdir()
    for number in range(FRAMES):
        red = np.zeros((48, 64, 4), np.uint8)
        red[..., 2], red[..., 3] = bags.scene(number)[1], 255
        cv2.imwrite(str(tmp_path / "truth" / f"{number}.png"), red)
    source = TruthSource(folder=tmp_path / "truth", map=parse_truth_map("channel=r"))
    expect_scene(read_one(plain, truth=source, classes=4)[1], range(FRAMES), instances=False)
