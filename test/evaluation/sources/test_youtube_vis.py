"""YouTube-VIS and OVIS as they are published, in small: masks by pycocotools become the classes and ids of pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from eomt_ros.evaluation.sources import SourceError, open_sequences
from eomt_ros.evaluation.sources.sequence import FrameSequence, SourceFrame

HEIGHT, WIDTH = 12, 16
CATEGORIES = {5: "dog", 2: "person", 9: "train"}
"""By numbers that have gaps, and not in order."""
CLASSES = ("person", "dog", "train")
FRAMES = 3

Masks = list[np.ndarray | None]


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """As YouTube-VIS is published."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    return {"counts": [0, *runs] if flat[0] else runs, "size": list(mask.shape)}


def compressed(mask: np.ndarray) -> dict[str, Any]:
    """As pycocotools writes it."""
    found = coco.encode(np.asfortranarray(mask))
    return {"counts": found["counts"].decode(), "size": found["size"]}


def polygons(mask: np.ndarray) -> list[list[float]]:
    """Of a box."""
    rows, columns = np.nonzero(mask)
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    return [[float(each) for each in (left, top, right, top, right, bottom, left, bottom)]]


TRACKS: list[tuple[int, int, Masks]] = [
    (2, 0, [box(1, 1, 9, 9), box(1, 2, 9, 10), None]),
    (5, 0, [box(3, 3, 6, 6), None, box(3, 3, 6, 6)]),
    (9, 1, [box(10, 0, 12, 16), None, None]),
]
"""(category, whether it is a crowd, masks). The dog is before the person, who is listed first."""


def write(path: Path, json_file: str, images: str, encode: Callable[[np.ndarray], Any] = run_lengths) -> Path:
    names = ["0a_video", "9z_other"]
    videos = [
        {"id": 7 + number, "file_names": [f"{name}/{5 * frame:05}.jpg" for frame in range(FRAMES)]}
        for number, name in enumerate(names)
    ]
    for video in videos:
        for number, file in enumerate(video["file_names"]):  # type: ignore[var-annotated, arg-type]
            target = path / images / file
            target.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(target), np.full((HEIGHT, WIDTH, 3), 40 * number, np.uint8))
    annotations = [
        {
            "id": number + 1,
            "video_id": 8,
            "category_id": category,
            "iscrowd": crowd,
            "segmentations": [None if mask is None else encode(mask) for mask in masks],
        }
        for number, (category, crowd, masks) in enumerate(TRACKS)
    ]
    categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
    content = {"videos": videos, "categories": categories, "annotations": annotations}
    (path / json_file).parent.mkdir(parents=True, exist_ok=True)
    (path / json_file).write_text(json.dumps(content))
    return path


def change(file: Path, change_it: Callable[[Any], object]) -> None:
    content = json.loads(file.read_text())
    change_it(content)
    file.write_text(json.dumps(content))


def read(path: Path, split: str = "val") -> tuple[list[FrameSequence], list[list[SourceFrame]]]:
    sequences = open_sequences([path], split=split)
    return sequences, [list(sequence.frames(sequence.class_names)) for sequence in sequences]


def expected(frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes and ids: the dog on the person, no id for a crowd."""
    classes, ids = np.full((HEIGHT, WIDTH), 65535), np.zeros((HEIGHT, WIDTH))
    for track in (2, 0, 1):
        category, crowd, masks = TRACKS[track]
        if (mask := masks[frame]) is not None:
            classes[mask > 0] = CLASSES.index(CATEGORIES[category])
            ids[mask > 0] = 0 if crowd else track + 1
    return classes, ids


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "ytvis_2021", "valid/instances.json", "valid/JPEGImages")


FILE = "valid/instances.json"


@pytest.mark.parametrize("encode", [run_lengths, compressed, polygons])
@pytest.mark.parametrize(
    ("json_file", "images"),
    [
        ("valid.json", "valid/JPEGImages"),
        ("valid/instances.json", "valid/JPEGImages"),
        ("annotations_valid.json", "valid"),
        ("val/instances.json", "val/JPEGImages"),
    ],
    ids=["2019", "2021", "ovis", "own"],
)
def test_masks_become_classes_and_ids_of_pixels(
    tmp_path: Path, json_file: str, images: str, encode: Callable[[np.ndarray], Any]
) -> None:
    sequences, frames = read(write(tmp_path, json_file, images, encode))
    assert [sequence.name for sequence in sequences] == ["0a_video", "9z_other"]
    assert [sequence.count for sequence in sequences] == [FRAMES, FRAMES]
    assert all(sequence.class_names == CLASSES and sequence.problems == [] for sequence in sequences)
    for number, frame in enumerate(frames[1]):
        assert frame.truth is not None
        classes, ids = expected(number)
        np.testing.assert_array_equal(frame.truth.classes, classes)
        np.testing.assert_array_equal(frame.truth.instances, ids)  # type: ignore[arg-type]
        assert frame.truth.is_exhaustive
        np.testing.assert_allclose(frame.image, 40 * number, atol=2)
        assert round(frame.stamp / 1e9, 3) == round(number / 6, 3)


def test_video_without_any_track_is_all_unlabelled(data: Path) -> None:
    frame = read(data)[1][0][0]
    assert frame.truth is not None
    assert (frame.truth.classes == 65535).all()


def test_numbers_of_the_data_set_come_along(data: Path) -> None:
    numbering = read(data)[0][1].numbering
    assert numbering is not None
    assert (numbering.video, numbering.frames, numbering.categories) == (8, ("00000", "00005", "00010"), (2, 5, 9))


def test_split_as_it_is_published_without_annotations_has_no_ground_truth(data: Path) -> None:
    change(data / FILE, lambda content: content.pop("annotations"))
    sequences, frames = read(data)
    assert [sequence.truth for sequence in sequences] == [None, None]
    assert all(frame.truth is None for frame in frames[1])
    assert sequences[1].problems == []


def test_split_that_is_missing_is_told_with_those_that_are_there(data: Path) -> None:
    with pytest.raises(SourceError, match=r"no split train .*train/instances\.json.*there are folders for: valid$"):
        read(data, "train")


def names_outside(name: str) -> Callable[[Any], object]:
    return lambda content: content["videos"][1]["file_names"].__setitem__(0, name)


def of_a_mask(value: Any) -> Callable[[Any], object]:
    return lambda content: content["annotations"][0]["segmentations"].__setitem__(0, value)


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/secret.jpg", "9z_other/../../secret.jpg", "", "a\0b"])
def test_picture_outside_of_the_data_set_is_refused(data: Path, name: str) -> None:
    change(data / FILE, names_outside(name))
    with pytest.raises(
        SourceError, match=r"instances\.json names the picture .*, expected one in the data set's folder"
    ):
        read(data)


def test_link_out_of_the_data_set_is_not_followed(data: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    assert cv2.imwrite(str(secret), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    picture = data / "valid/JPEGImages/9z_other/00000.jpg"
    picture.unlink()
    picture.symlink_to(secret)
    sequences, frames = read(data)
    assert len(frames[1]) == FRAMES - 1
    assert "is a link that leads out of" in sequences[1].problems[0]


def test_pictures_whose_whole_folder_is_a_link_of_the_users_are_read(data: Path, tmp_path: Path) -> None:
    (data / "valid/JPEGImages").rename(tmp_path / "disk")
    (data / "valid/JPEGImages").symlink_to(tmp_path / "disk")
    assert len(read(data)[1][1]) == FRAMES


@pytest.mark.parametrize(
    "mask",
    [
        {"size": [2**31 - 1, 2**31 - 1], "counts": [2**30, 2**30]},
        {"size": [2**31 - 1, 2**31 - 1], "counts": "0" * 9},
        {"size": [HEIGHT, WIDTH], "counts": [10, 2**31 - 1]},
        {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH + 10, -10]},
        {"size": [HEIGHT, WIDTH], "counts": [[1, 2], [3, 4]]},
        {"size": [HEIGHT, WIDTH], "counts": "oooooooooooooooooo"},
        {"size": [HEIGHT, WIDTH], "counts": "12_\u00e9"},
        {"size": [HEIGHT, WIDTH], "counts": "P"},
        {"size": [HEIGHT, WIDTH], "counts": 5},
        {"size": [HEIGHT, WIDTH], "counts": [10**400]},
        {"size": [HEIGHT, WIDTH], "counts": [0.5, 191.5]},
        {"size": [HEIGHT, WIDTH]},
        {"size": 7, "counts": [3]},
        [[1.0, 2.0]],
        [[-1e12, -1e12, 1e12, -1e12, 1e12, 1e12]],
        [[0.0, 0.0, 1.0, 1.0, "x", 3.0]],
        [["nan", 0, 1, 1, 2, 2]],
        5,
        "text",
    ],
    ids=str,
)
def test_mask_that_makes_no_sense_costs_the_frame_its_ground_truth(data: Path, mask: Any) -> None:
    change(data / FILE, of_a_mask(mask))
    sequences, frames = read(data)
    assert [frame.truth is None for frame in frames[1]] == [True, False, False]
    (problem,) = sequences[1].problems
    assert problem.startswith("1 frame's ground truth is not used: it cannot be read; first: ")


@pytest.mark.parametrize(
    "change_it",
    [
        lambda content: content.pop("videos"),
        lambda content: content.pop("categories"),
        lambda content: content["annotations"][0].pop("segmentations"),
        lambda content: content["annotations"][0]["segmentations"].pop(),
        lambda content: content["annotations"][0].update(category_id=3),
        lambda content: content["annotations"][0].update(category_id=1e400),
        lambda content: content["videos"].append([]),
    ],
)
def test_json_of_another_shape_is_refused(data: Path, change_it: Callable[[Any], object]) -> None:
    change(data / FILE, change_it)
    with pytest.raises(SourceError, match=r"instances\.json is not in YouTube-VIS' format: "):
        read(data)
