"""The check finds what is wrong with a data set, says it once with the first place, and tells errors from warnings."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eomt_ros.training.annotation_files import instances_file, panoptic_file
from eomt_ros.training.dataset import Dataset, DatasetClass, DatasetError
from eomt_ros.training.dataset_check import DatasetCheck, check_dataset
from eomt_ros.training.dataset_writer import DatasetWriter
from test.training.data_sets import (
    BALL,
    BOX,
    CLASSES,
    FLOOR,
    HEIGHT,
    WIDTH,
    change_json,
    frame_of,
    labels,
    picture,
    write_dataset,
    write_frames,
)
from test.training.tools import content_of, cvat, label_studio, rectangle, save


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data")


def panoptic(data: Path, change: Callable[[Any], object], split: str = "train") -> None:
    change_json(panoptic_file(data, split), change)


def instances(data: Path, change: Callable[[Any], object]) -> None:
    change_json(instances_file(data, "train"), change)


def expect(found: DatasetCheck, *, errors: tuple[str, ...] = (), warnings: tuple[str, ...] = ()) -> None:
    """Exactly these, in any order."""
    for sentences, expected in ((found.errors, errors), (found.warnings, warnings)):
        assert len(sentences) == len(expected), found.text()
        for pattern in expected:
            assert [each for each in sentences if re.search(pattern, each)], found.text()


def test_nothing_is_wrong_with_what_the_writer_writes(data: Path) -> None:
    looked: list[None] = []
    found = check_dataset(data, lambda: looked.append(None))
    expect(found)
    assert len(looked) == 9
    assert found.text() == f"{data}: 3 videos, 9 labelled pictures: 0 errors, 0 warnings"


def overlapping(content: Any) -> None:
    box = next(each for each in content["annotations"] if each["category_id"] == BOX + 1)
    content["annotations"].append({**box, "id": 999, "category_id": BALL + 1})


INSTANCES: dict[str, tuple[Callable[[Any], object], tuple[str, ...], tuple[str, ...]]] = {
    "overlap": (
        overlapping,
        (),
        (r"^1 thing lies on another; first: instances_train\.json: a/000000\.jpg, annotation of ball", "differ"),
    ),
    "empty": (
        lambda content: content["annotations"].append(
            {**content["annotations"][0], "segmentation": rectangle(slice(-9, -2), slice(-9, -2))}
        ),
        (),
        (r"^1 annotation has an empty mask", r"^1 annotation reaches outside its picture; first: .*a/000000\.jpg"),
    ),
    "outside": (
        lambda content: content["annotations"].insert(
            0, {**content["annotations"][0], "segmentation": rectangle(slice(-9, HEIGHT), slice(-9, WIDTH - 2))}
        ),
        (),
        (r"^1 annotation reaches outside its picture",),
    ),
    "other size": (
        lambda content: content["annotations"][0]["segmentation"].update(size=[5, 7]),
        (r"^1 annotation has no mask; first: .*that of a/000000\.jpg has run lengths of the size \[5, 7\]",),
        ("differ",),
    ),
    "box": (
        lambda content: content["annotations"][0].update(segmentation=[]),
        (r"^1 annotation has no mask; first: .*that of a/000000\.jpg has no outline",),
        ("differ",),
    ),
    "class": (
        lambda content: [each.update(category_id=9) for each in content["annotations"][:2]],
        (r"^2 annotations are of unknown classes; first: .*a/000000\.jpg: category_id 9",),
        ("differ",),
    ),
    "renamed class": (
        lambda content: content["categories"][BALL].update(name="sphere"),
        (r"^6 annotations are of unknown classes; first: .*category_id 4",),
        ("^6 pictures have instances that differ",),
    ),
    "picture": (
        lambda content: content["annotations"].append({**content["annotations"][0], "image_id": 77}),
        (r"^1 annotation is of an unknown picture; first: instances_train\.json: image_id 77",),
        (),
    ),
    "deleted": (
        lambda content: content["annotations"].pop(0),
        (),
        (r"^1 picture has instances that differ .*: a/000000\.jpg; --corrections \S*instances_train\.json takes",),
    ),
    "no list": (lambda content: content.pop("annotations"), (), (r"annotations is missing: annotation tools have",)),
}


@pytest.mark.parametrize("case", INSTANCES)
def test_what_is_wrong_with_the_instances_is_found(data: Path, case: str) -> None:
    change, errors, warnings = INSTANCES[case]
    instances(data, change)
    expect(check_dataset(data), errors=errors, warnings=warnings)
    # Training does not read them.
    assert len(Dataset.open(data).train) == 2


def test_instances_of_tools_in_the_place_of_our_own_are_equal(data: Path) -> None:
    for content in (cvat(content_of(data), keeps_track=False), label_studio(content_of(data), lambda name: name)):
        ids = {place: image["id"] for place, image in enumerate(content_of(data)["images"])}
        order = {image["id"]: place for place, image in enumerate(content["images"])}
        for annotation in content["annotations"]:
            annotation["image_id"] = ids[order[annotation["image_id"]]]
        save(instances_file(data, "train"), content)
        expect(check_dataset(data))


PANOPTIC: dict[str, tuple[Callable[[Any], object], tuple[str, ...], tuple[str, ...]]] = {
    "no labels": (
        lambda content: [content["annotations"].pop(0) for _ in range(2)],
        (),
        (r"^2 pictures have no labels; first: a/000000\.jpg",),
    ),
    "unknown class": (
        lambda content: content["annotations"][0]["segments_info"][0].update(category_id=9),
        (
            r"^1 segment is of an unknown class; first: panoptic_train\.json: segment 1 of a/000000\.png",
            "^2 segments change their class",
        ),
        ("differ",),
    ),
    "empty segment": (
        lambda content: content["annotations"][0]["segments_info"].append({"id": 99, "category_id": 3}),
        (),
        (r"^1 segment has no pixel; first: segment 99 of a/000000\.png",),
    ),
    "unlisted": (
        lambda content: content["annotations"][0]["segments_info"].pop(0),
        (r"^1 picture has labels of no use; first: .*panoptic/a/000000\.png has the segment 1",),
        (),
    ),
    "outside": (
        lambda content: content["images"][0].update(file_name="../../a/000000.jpg"),
        (r"^1 picture has a wrong name; first: .*'\.\./\.\./a/000000\.jpg'", "^1 annotation has a wrong name"),
        (r"^2 files belong to no entry; first: images/a/000000\.jpg",),
    ),
    "no video": (
        lambda content: content["videos"].pop(0),
        (r"^3 pictures are of unknown videos; first: .*a/000000\.jpg has video_id 1",),
        (r"^6 files belong to no entry; first: images/a/000000\.jpg",),
    ),
    "two flaws": (
        lambda content: (content["images"][1].update(stamp=-1), content["categories"][BOX].update(isthing=3)),
        (r"^1 picture is not in the order of time", r"^1 class is not as it should be; first: .*isthing is 3"),
        (),
    ),
    "categories": (
        lambda content: content["categories"][0].update(color=[1, 1, 1]),
        ("^panoptic_train.json and panoptic_val.json have different categories",),
        (),
    ),
    "damaged": (lambda content: content.pop("images"), (r"panoptic_train\.json: images is missing",), ("^12 files",)),
}


@pytest.mark.parametrize("case", PANOPTIC)
def test_what_is_wrong_with_the_panoptic_annotations_is_found(data: Path, case: str) -> None:
    change, errors, warnings = PANOPTIC[case]
    panoptic(data, change)
    found = check_dataset(data)
    expect(found, errors=errors, warnings=warnings)
    if errors and case != "unlisted":  # which is found when the picture is read
        with pytest.raises(DatasetError):
            Dataset.open(data)


def test_missing_damaged_and_resized_pictures_are_found(data: Path) -> None:
    (data / "images" / "a" / "000000.jpg").unlink()
    (data / "images" / "a" / "000001.jpg").write_bytes(b"\xff\xd8 nothing")
    cv2.imwrite(str(data / "images" / "a" / "000002.jpg"), np.zeros((5, 7, 3), np.uint8))
    (data / "panoptic" / "b" / "000000.png").unlink()
    cv2.imwrite(str(data / "panoptic" / "b" / "000001.png"), np.zeros((5, 7, 3), np.uint8))
    expect(
        check_dataset(data),
        errors=(
            r"^3 pictures cannot be used; first: .*images/a/000000\.jpg cannot be read: No such file",
            r"^2 pictures have labels of no use; first: .*panoptic/b/000000\.png cannot be read: No such file",
        ),
    )


def test_videos_of_several_sizes_are_a_warning(tmp_path: Path) -> None:
    small = np.zeros((5, 7), np.uint8)
    write_frames(
        tmp_path / "data",
        frame_of(0),
        {**frame_of(1), "video": "b", "split": "val"},
        {**frame_of(0), "video": "c", "image": picture(9)[:5, :7], "class_ids": small, "instances": None},
    )
    expect(check_dataset(tmp_path / "data"), warnings=("^the videos have 2 sizes: 32x24, 7x5",))


def test_a_video_in_both_parts_is_a_leak(data: Path) -> None:
    shutil.copy(panoptic_file(data, "train"), panoptic_file(data, "val"))
    shutil.copy(instances_file(data, "train"), instances_file(data, "val"))
    expect(
        check_dataset(data),
        errors=(
            "^2 videos are in both parts; first: a",
            r"^6 pictures of training are in validation too; first: a/000000\.jpg and a/000000\.jpg",
        ),
        warnings=(r"^6 files belong to no entry; first: images/c/000000\.jpg",),
    )


def test_the_same_picture_under_another_name_and_in_another_format_is_a_leak(data: Path) -> None:
    stolen = cv2.imread(str(data / "images" / "a" / "000001.jpg"))
    name = data / "images" / "c" / "000000.jpg"
    # By its content, JPEG is but a name.
    name.write_bytes(cv2.imencode(".png", stolen)[1].tobytes())
    expect(
        check_dataset(data),
        errors=(r"^1 picture of training is in validation too; first: a/000001\.jpg and c/000000\.jpg",),
    )


def test_classes_without_a_pixel_are_named(data: Path) -> None:
    for split in ("train", "val"):
        panoptic(
            data, lambda c: c["categories"].append({"id": 5, "name": "cat", "isthing": 1, "color": [0, 0, 0]}), split
        )
    expect(check_dataset(data), warnings=("^1 class has no pixel in training: cat",))


def test_classes_that_validation_cannot_judge_are_named(tmp_path: Path) -> None:
    write_frames(
        tmp_path / "data",
        frame_of(0),
        {**frame_of(1), "video": "b", "split": "val", "class_ids": np.full((HEIGHT, WIDTH), FLOOR, np.uint8)},
    )
    expect(check_dataset(tmp_path / "data"), warnings=("^3 classes are not in validation.*: wall, box, ball",))


def test_ten_thousand_classes_are_said_in_one_line(tmp_path: Path) -> None:
    classes = [DatasetClass(f"class {number}", number % 2 == 0, (0, 0, 0)) for number in range(10_000)]
    with DatasetWriter(tmp_path / "data", classes) as writer:
        for split in ("train", "val"):
            one = np.full((HEIGHT, WIDTH), 9_999, np.uint16)
            writer.add(split, split, 0, picture(len(split)), one, None)
    found = check_dataset(tmp_path / "data")
    expect(found, warnings=(r"^9,999 classes have no pixel in training: class 0, .*, class 9, \.\.\.$",))


def test_one_class_is_a_warning(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "data", CLASSES[:1]) as writer:
        for split in ("train", "val"):
            writer.add(split, split, 0, picture(len(split)), np.zeros((HEIGHT, WIDTH), np.uint8), None)
    expect(check_dataset(tmp_path / "data"), warnings=("^there is one class only, floor",))


def test_no_validation_is_a_warning_and_no_labels_an_error(tmp_path: Path) -> None:
    unlabelled = np.full((HEIGHT, WIDTH), 255, np.uint8)
    write_frames(tmp_path / "data", {**frame_of(0), "class_ids": unlabelled})
    expect(
        check_dataset(tmp_path / "data"),
        errors=("^nothing is labelled in training",),
        warnings=(
            r"^1 picture has labels in which everything is unlabelled; first: a/000000\.jpg",
            "^there is nothing to validate with",
        ),
    )


def test_a_crowd_is_no_pixel_to_train_on(tmp_path: Path) -> None:
    classes, _ = labels(0)
    nobody = np.zeros((HEIGHT, WIDTH), np.uint8)
    write_frames(
        tmp_path / "data",
        {**frame_of(0), "class_ids": classes, "instances": nobody},
        {**frame_of(1), "video": "b", "split": "val", "instances": nobody},
    )
    expect(check_dataset(tmp_path / "data"), warnings=("^2 classes have no pixel in training: box, ball",))


def test_links_out_of_the_folder_are_not_followed(data: Path, tmp_path: Path) -> None:
    (data / "images" / "a" / "000001.jpg").rename(tmp_path / "outside.jpg")
    (data / "images" / "a" / "000001.jpg").symlink_to(tmp_path / "outside.jpg")
    expect(check_dataset(data), errors=("^1 picture cannot be used; first: .*leads out of the data set",))


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"panoptic_train\.json is missing"):
        check_dataset(tmp_path)
    with pytest.raises(DatasetError, match="is no folder"):
        check_dataset(tmp_path / "nothing")
