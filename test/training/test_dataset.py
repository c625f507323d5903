"""Data sets are read as they were written, and what is wrong with them is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eomt_ros.training.annotation_files import panoptic_file
from eomt_ros.training.dataset import Dataset, DatasetClass, DatasetError
from eomt_ros.training.dataset_writer import DatasetWriter
from test.training.data_sets import (
    BALL,
    BOX,
    CLASSES,
    FLOOR,
    HEIGHT,
    PERIOD,
    WALL,
    WIDTH,
    change_json,
    labels,
    picture,
    write_dataset,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data")


def change_panoptic(data: Path, change: Any, split: str = "train") -> None:
    change_json(panoptic_file(data, split), change)


def test_what_was_written_is_read(data: Path) -> None:
    found = Dataset.open(data)
    assert found.classes == CLASSES
    assert [video.name for video in found.train] == ["a", "b"]
    assert [video.name for video in found.val] == ["c"]
    for place, video in enumerate((*found.train, *found.val)):
        assert [frame.index for frame in video.frames] == [0, 1, 2]
        assert [frame.stamp for frame in video.frames] == [0, PERIOD, 2 * PERIOD]
        for number, frame in enumerate(video.frames):
            assert (frame.video, frame.height, frame.width) == (video.name, HEIGHT, WIDTH)
            image, segments = frame.read()
            assert image.dtype == np.uint8
            assert np.abs(image.astype(int) - picture(100 * place + number)).mean() < 4
            assert segments.dtype == np.int32
            classes, instances = labels(number)
            class_of = {0: 255} | {each.id: each.class_id for each in frame.segments}
            np.testing.assert_array_equal(np.vectorize(class_of.get)(segments), classes)
            # Each instance of each class is one segment, and the other way round.
            pairs = {(c, i, s) for c, i, s in zip(classes.flat, instances.flat, segments.flat, strict=True)}
            assert len(pairs) == 6 == len(frame.segments) + 1


def test_segments_and_tracks_last_the_video(data: Path) -> None:
    video = Dataset.open(data).train[0]
    assert len({frame.segments for frame in video.frames}) == 1
    segments = {(each.class_id, each.track): each for each in video.frames[0].segments}
    assert [key for key in segments if key[1] is None] == [(FLOOR, None), (WALL, None)]
    assert sorted(class_id for class_id, track in segments if track is not None) == [BOX, BOX, BALL]
    assert len({track for _, track in segments}) == 4
    assert len({each.id for each in segments.values()}) == 5
    for number, frame in enumerate(video.frames):
        (moving,) = {*frame.read_segments()[4:10, 2 + number : 8 + number].flat}
        assert moving == next(each.id for each in video.frames[0].segments if each.id == moving)


def test_things_that_nobody_told_apart_are_a_crowd_only_where_others_were(tmp_path: Path) -> None:
    classes, instances = labels(0)
    instances[14:20, 2:8] = 0
    with DatasetWriter(tmp_path / "data", CLASSES) as writer:
        writer.add("told", "train", 0, picture(0), classes, instances)
        writer.add("classes only", "train", 0, picture(1), classes, None)
    told, classes_only = Dataset.open(tmp_path / "data").train
    assert [(each.class_id, each.crowd) for each in told.frames[0].segments if each.track is None] == [
        (FLOOR, False),
        (WALL, False),
        (BOX, True),
    ]
    assert [(each.class_id, each.track, each.crowd) for each in classes_only.frames[0].segments] == [
        (class_id, None, False) for class_id in (FLOOR, WALL, BOX, BALL)
    ]


def test_class_ids_of_16_bits_have_another_value_for_unlabelled(tmp_path: Path) -> None:
    names = [DatasetClass(f"class {number}", False, (0, 0, 0)) for number in range(10_000)]
    classes = np.full((HEIGHT, WIDTH), 65535, np.uint16)
    classes[0, :3] = 0, 255, 9999
    with DatasetWriter(tmp_path / "data", names) as writer:
        writer.add("a", "train", 0, picture(0), classes, None)
    (frame,) = Dataset.open(tmp_path / "data").train[0].frames
    assert [each.class_id for each in frame.segments] == [0, 255, 9999]
    assert np.count_nonzero(frame.read_segments()) == 3


def test_the_fingerprint_is_that_of_the_content_wherever_it_is(data: Path, tmp_path: Path) -> None:
    before = Dataset.open(data).fingerprint
    other = data.rename(tmp_path / "elsewhere")
    assert Dataset.open(other).fingerprint == before
    change_panoptic(other, lambda content: content["categories"][0].update(color=[1, 2, 3]))
    change_panoptic(other, lambda content: content["categories"][0].update(color=[1, 2, 3]), "val")
    recoloured = Dataset.open(other).fingerprint
    assert recoloured != before
    with (other / "images" / "c" / "000001.jpg").open("ab") as file:
        file.write(b"\0")
    assert Dataset.open(other).fingerprint != recoloured


def test_pictures_without_an_annotation_are_left_out(data: Path) -> None:
    change_panoptic(data, lambda content: content["annotations"].pop(1))
    assert [[frame.index for frame in video.frames] for video in Dataset.open(data).train] == [[0, 2], [0, 1, 2]]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_pictures_of_all_kinds_become_rgb(data: Path, suffix: str) -> None:
    def rename(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image["file_name"] = image["file_name"].replace(".jpg", suffix)

    change_panoptic(data, rename)
    kinds = [np.full((HEIGHT, WIDTH), 77, np.uint8), np.full((HEIGHT, WIDTH, 3), 77, np.uint8)]
    if suffix == ".png":
        kinds += [np.full((HEIGHT, WIDTH, 4), 77, np.uint8), np.full((HEIGHT, WIDTH), 77 * 257, np.uint16)]
    for video in "ab":
        for number in range(3):
            kind = kinds[(3 * (video == "b") + number) % len(kinds)]
            assert cv2.imwrite(str(data / "images" / video / f"{number:06}{suffix}"), kind)
    for video_found in Dataset.open(data).train:
        for frame in video_found.frames:
            image = frame.read_image()
            assert image.shape == (HEIGHT, WIDTH, 3)
            assert (image == 77).all()


DAMAGES: dict[str, tuple[Any, str]] = {
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-200]), "is truncated or corrupt"),
    "empty": (lambda path: path.write_bytes(b""), "is neither JPEG nor PNG|is no PNG"),
    "text": (lambda path: path.write_text("no picture"), "is neither JPEG nor PNG|is no PNG"),
    "other size": (
        lambda path: cv2.imwrite(str(path), np.zeros((5, 7, 3), np.uint8)),
        f"is 7x5, expected {WIDTH}x{HEIGHT} as the annotations say",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["images/a/000001.jpg", "panoptic/a/000001.png"])
def test_a_damaged_file_is_named(data: Path, name: str, damage: str) -> None:
    act, said = DAMAGES[damage]
    act(data / name)
    frame = Dataset.open(data).train[0].frames[1]
    with pytest.raises(DatasetError, match=rf"{name}.* ({said})"):
        frame.read()


def test_a_picture_that_unfolds_to_more_than_its_entry_says_is_not_decoded(data: Path) -> None:
    # The header says 30000x30000; the few bytes after it would never be looked at.
    path = data / "panoptic" / "a" / "000000.png"
    assert cv2.imwrite(str(path), np.zeros((3000, 3000), np.uint8))
    with pytest.raises(DatasetError, match=f"is 3000x3000, expected {WIDTH}x{HEIGHT}"):
        Dataset.open(data).train[0].frames[0].read()


@pytest.mark.parametrize("name", ["images/a/000001.jpg", "panoptic/a/000001.png"])
def test_a_missing_file_is_named(data: Path, name: str) -> None:
    (data / name).unlink()
    with pytest.raises(DatasetError, match=rf"{name} cannot be read: No such file"):
        Dataset.open(data)


def test_a_segment_that_is_not_listed_is_named(data: Path) -> None:
    change_panoptic(data, lambda content: content["annotations"][0]["segments_info"].pop(0))
    with pytest.raises(DatasetError, match=r"panoptic/a/000000\.png has the segment 1, which .* do not list"):
        Dataset.open(data).train[0].frames[0].read()


@pytest.mark.parametrize("name", ["images/a", "images/a/000001.jpg", "panoptic/a/000001.png", "annotations"])
def test_links_out_of_the_folder_are_not_followed(data: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    (data / name).rename(outside)
    (data / name).symlink_to(outside)
    with pytest.raises(DatasetError, match="leads out of the data set"):
        Dataset.open(data)


def test_a_link_that_appears_later_is_not_followed_either(data: Path, tmp_path: Path) -> None:
    frame = Dataset.open(data).train[0].frames[0]
    frame.image.rename(tmp_path / "outside.jpg")
    frame.image.symlink_to(tmp_path / "outside.jpg")
    with pytest.raises(DatasetError, match="leads out of the data set"):
        frame.read()


def test_links_within_the_folder_are_followed(data: Path) -> None:
    (data / "images" / "a" / "000001.jpg").unlink()
    (data / "images" / "a" / "000001.jpg").symlink_to("000000.jpg")
    first, second, _ = Dataset.open(data).train[0].frames
    np.testing.assert_array_equal(first.read_image(), second.read_image())


def set_at(*keys: Any, to: Any) -> Any:
    """A change of JSON: the entry at these keys becomes another."""

    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = to

    return change


SEGMENTS = ("annotations", 0, "segments_info")
FLAWS: dict[str, tuple[Any, str]] = {
    "outside": (set_at("images", 0, "file_name", to="../../a/000000.jpg"), r"expected a/<frame>\.jpg or \.png"),
    "absolute": (set_at("images", 0, "file_name", to="/etc/passwd.png"), r"expected a/<frame>\.jpg or \.png"),
    "parent": (set_at("videos", 0, "name", to=".."), r"the video '\.\.'"),
    "backslash": (set_at("videos", 0, "name", to="a\\b"), "the video"),
    "labels outside": (set_at("annotations", 0, "file_name", to="../x.png"), r"expected a/000000\.png"),
    "unknown class": (set_at(*SEGMENTS, 0, "category_id", to=5), "category_id 5, expected 1 to 4"),
    "no class": (set_at(*SEGMENTS, 0, "category_id", to=0), "category_id 0, expected 1 to 4"),
    "unknown picture": (set_at("annotations", 0, "image_id", to=99), "image_id 99 .* in no entry of images"),
    "unknown video": (set_at("images", 0, "video_id", to=99), "video_id 99"),
    "no colour": (set_at(*SEGMENTS, 0, "id", to=1 << 24), "expected 1 to 16777215"),
    "zero": (set_at(*SEGMENTS, 0, "id", to=0), "expected 1 to 16777215"),
    "twice": (set_at(*SEGMENTS, 0, "id", to=2), "name one id twice"),
    "track of stuff": (set_at(*SEGMENTS, 0, "track_id", to=1), "floor is stuff"),
    "changing class": (set_at(*SEGMENTS, 2, "category_id", to=4), "give it an id of its own"),
    "changing track": (set_at(*SEGMENTS, 4, "track_id", to=77), "give it an id of its own"),
    "crowd": (set_at(*SEGMENTS, 0, "iscrowd", to=2), "expected 0 or 1"),
    "huge": (set_at("images", 0, "width", to=10**9), "expected at most 100,000,000 pixels"),
    "size": (set_at("images", 0, "width", to=31), "its video 32x24: make it two videos"),
    "time": (set_at("images", 1, "stamp", to=0), "expected both to rise"),
    "place": (set_at("images", 1, "frame_id", to=0), "expected both to rise"),
    "thing": (set_at("categories", 0, "isthing", to=7), "isthing is 7, expected 0 or 1"),
    "color": (set_at("categories", 0, "color", to=[0, 0, 256]), "from 0 to 255"),
    "name": (set_at("categories", 1, "name", to="floor"), "the name of another class too"),
    "line": (set_at("categories", 1, "name", to="fl\noor"), "expected a line"),
    "order": (set_at("categories", 1, "id", to=9), r"categories\[1\]\.id is 9, expected 2"),
    "none": (set_at("categories", to=[]), "there are 0 classes, expected 1 to 10,000"),
    "list": (set_at("images", to={}), "images is {}, expected a list"),
    "type": (set_at(*SEGMENTS, 0, "id", to="1"), r'annotations\[0\]\.segments_info\[0\]\.id is "1", expected int'),
    "entry": (set_at("annotations", 0, to={}), r"annotations\[0\]\.image_id is missing"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_entries_that_contradict_themselves_are_refused_by_place(data: Path, flaw: str) -> None:
    change, said = FLAWS[flaw]
    change_panoptic(data, change)
    with pytest.raises(DatasetError, match=rf"panoptic_train\.json: .*{said}"):
        Dataset.open(data)


def test_a_video_in_both_parts_is_refused(data: Path) -> None:
    val = panoptic_file(data, "val")
    val.write_text(panoptic_file(data, "train").read_text())
    with pytest.raises(DatasetError, match="the video a is in train and in val"):
        Dataset.open(data)


def test_other_classes_in_validation_are_refused(data: Path) -> None:
    change_panoptic(data, set_at("categories", 0, "name", to="ground"), "val")
    with pytest.raises(DatasetError, match=r"panoptic_val\.json has other categories"):
        Dataset.open(data)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", "[" * 100_000])
def test_annotations_that_are_no_json_are_refused(data: Path, text: str) -> None:
    panoptic_file(data, "val").write_text(text)
    with pytest.raises(DatasetError, match=r"panoptic_val\.json cannot be read"):
        Dataset.open(data)


def test_a_folder_that_is_no_data_set_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is no folder, expected a data set"):
        Dataset.open(tmp_path / "nothing")
    with pytest.raises(DatasetError, match=r"panoptic_train\.json is missing"):
        Dataset.open(tmp_path)


def test_data_without_labels_is_refused(tmp_path: Path) -> None:
    unlabelled = np.full((HEIGHT, WIDTH), 255, np.uint8)
    with DatasetWriter(tmp_path / "data", CLASSES) as writer:
        writer.add("a", "train", 0, picture(0), unlabelled, None)
        writer.add("b", "val", 0, picture(1), *labels(1))
    with pytest.raises(DatasetError, match=r"panoptic_train\.json has no segments, so there is nothing to train on"):
        Dataset.open(tmp_path / "data")


def test_one_class_and_one_frame_are_a_data_set(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "data", CLASSES[:1]) as writer:
        writer.add("a", "train", 0, picture(0), np.zeros((HEIGHT, WIDTH), np.uint8), None)
    found = Dataset.open(tmp_path / "data")
    assert (len(found.classes), len(found.train), found.val) == (1, 1, ())
