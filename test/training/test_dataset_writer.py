"""Data sets are written whole or not at all, and tools for COCO read them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from eomt_ros.training.annotation_files import instances_file, panoptic_file
from eomt_ros.training.dataset import Dataset, DatasetClass, DatasetError
from eomt_ros.training.dataset_writer import DatasetWriter
from test.training.data_sets import (
    BOX,
    CLASSES,
    HEIGHT,
    WIDTH,
    Frame,
    frame_of,
    labels,
    picture,
    write_dataset,
    write_frames,
)


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_instances_are_those_of_the_panoptic_png_for_pycocotools(tmp_path: Path, split: str) -> None:
    data = write_dataset(tmp_path / "data")
    coco = COCO(str(instances_file(data, split)))
    panoptic = json.loads(panoptic_file(data, split).read_text())
    assert coco.loadCats(coco.getCatIds(catNms=["box"]))[0]["id"] == BOX + 1
    assert [image["id"] for image in panoptic["images"]] == coco.getImgIds()
    for frame in panoptic["annotations"]:
        colours = cv2.imread(str(data / "panoptic" / frame["file_name"]))[..., ::-1].astype(int)
        ids = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[frame["image_id"]]))
        assert len(annotations) == len(frame["segments_info"]) == len(np.unique(ids)) - 1
        for annotation, segment in zip(annotations, frame["segments_info"], strict=True):
            mask = coco.annToMask(annotation)
            np.testing.assert_array_equal(mask, ids == segment["id"])
            assert annotation["area"] == segment["area"] == mask.sum()
            rows, columns = np.nonzero(mask)
            box = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
            assert tuple(annotation["bbox"]) == tuple(segment["bbox"]) == box
            assert annotation["category_id"] == segment["category_id"]
            assert annotation.get("track_id") == segment.get("track_id")
            assert annotation.get("attributes", {}).get("track") == segment.get("track_id")
            assert annotation["video_id"] == frame["video_id"] == coco.imgs[frame["image_id"]]["video_id"]


def test_ids_are_those_of_the_whole_data_set(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    for file in (instances_file, panoptic_file):
        train, val = (json.loads(file(data, split).read_text()) for split in ("train", "val"))
        for kind in ("images", "videos", "annotations"):
            ids = [each.get("id", each.get("image_id")) for each in (*train[kind], *val[kind])]
            assert max(Counter(ids).values()) == 1
    assert [video["length"] for video in train["videos"]] == [3, 3]


def test_frames_of_several_videos_may_come_in_turns(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "data", CLASSES) as writer:
        for number in range(2):
            for video in ("a", "b"):
                writer.add(video, "train", number, picture(number), *labels(number))
    assert [len(video.frames) for video in Dataset.open(tmp_path / "data").train] == [2, 2]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with DatasetWriter(tmp_path / "data", CLASSES) as writer:
            writer.add(**frame_of(0))
            assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 6
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("kept")
    with pytest.raises(DatasetError, match="exists: give another folder"), DatasetWriter(tmp_path / "data", CLASSES):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "mine"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert len(Dataset.open(write_dataset(tmp_path / "data")).classes) == len(CLASSES)


def test_no_frames_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there are no frames"), DatasetWriter(tmp_path / "data", CLASSES):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_a_killed_process_left_is_never_taken_for_a_data_set_and_goes_with_the_next(tmp_path: Path) -> None:
    killed = (
        "import os, signal; from pathlib import Path; from test.training.data_sets import *\n"
        "with DatasetWriter(Path('data'), CLASSES) as writer:\n"
        "    writer.add('a', 'train', 0, picture(0), *labels(0)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}
    subprocess.run([sys.executable, "-c", killed], cwd=tmp_path, env=environment)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".data.")
    write_dataset(tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


CASES: dict[str, tuple[Frame, str]] = {
    "other size": ({"image": np.zeros((5, 7, 3), np.uint8)}, "is 7x5, and earlier frames 32x24: a video has one size"),
    "other labels": ({"class_ids": np.zeros((5, 7), np.uint8)}, r"has classes of shape \(5, 7\), and is 32x24"),
    "other ids": ({"instances": np.zeros((5, 7), np.uint8)}, r"has instance ids of shape \(5, 7\), and is 32x24"),
    "class": ({"class_ids": np.full((HEIGHT, WIDTH), 4, np.uint8)}, "has class 4, expected 0 to 3, or 255 unlabelled"),
    "time": ({"stamp": 0}, "comes after the frame at 0 ns, expected the order of time"),
    "split": ({"split": "val"}, "belongs to val, and earlier frames to train: a video is in one split"),
    "name": ({"video": "../a"}, "cannot be written: a video's name has to be that of a folder"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_frame_that_does_not_fit_is_named_and_leaves_nothing(tmp_path: Path, case: str) -> None:
    changed, said = CASES[case]
    frame: Frame = {**frame_of(1), **changed}
    with pytest.raises(DatasetError, match=rf"^video \S+ at \d+ ns {said}"):
        write_frames(tmp_path / "data", frame_of(0), frame)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "there are 0 classes, expected 1 to 10,000"),
        (["a"] * 2, "the name of another class too"),
        ([""], "expected a line"),
        (map(str, range(10_001)), "there are 10,001 classes, expected 1 to 10,000"),
    ],
)
def test_classes_that_cannot_be_are_refused(tmp_path: Path, names: list[str], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        DatasetWriter(tmp_path / "data", [DatasetClass(name, True, (0, 0, 0)) for name in names])
