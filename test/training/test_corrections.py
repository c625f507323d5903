"""What annotation tools give back becomes the data set's labels: all of it or nothing, by names, with tracks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pycocotools.coco import COCO

from eomt_ros.training.annotation_files import instances_file, panoptic_file
from eomt_ros.training.corrections import Correction, correct
from eomt_ros.training.dataset import Dataset, DatasetError, LabelledFrame
from test.training.data_sets import (
    BALL,
    BOX,
    CLASSES,
    FLOOR,
    HEIGHT,
    WALL,
    WIDTH,
    Frame,
    change_json,
    frame_of,
    write_dataset,
    write_frames,
)
from test.training.tools import (
    Content,
    content_of,
    cvat,
    label_studio,
    listed_runs,
    mask_of,
    rectangle,
    save,
    text_runs,
)

Meaning = tuple[int, int | None, bool]
STILL_BOX = slice(14, 20), slice(2, 8)
NEW = slice(20, 24), slice(12, 20)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data")


def frames_of(data: Path) -> list[LabelledFrame]:
    found = Dataset.open(data)
    return [frame for video in (*found.train, *found.val) for frame in video.frames]


def meanings(frame: LabelledFrame) -> npt.NDArray[np.object_]:
    """(H, W) class, track and crowd of each pixel, None where unlabelled."""
    of: dict[int, Meaning | None] = {each.id: (each.class_id, each.track, each.crowd) for each in frame.segments}
    found = np.empty((frame.height, frame.width), object)
    for pixel, segment in np.ndenumerate(frame.read_segments()):
        found[pixel] = of.get(int(segment))
    return found


def put(found: npt.NDArray[np.object_], where: tuple[slice, slice], meaning: Meaning | None) -> None:
    for row in range(where[0].start, where[0].stop):
        for column in range(where[1].start, where[1].stop):
            found[row, column] = meaning


def state_of(data: Path) -> dict[str, bytes]:
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}


def expect_equal(data: Path, before: list[npt.NDArray[np.object_]]) -> None:
    for frame, meant in zip(frames_of(data), before, strict=True):
        np.testing.assert_array_equal(meanings(frame), meant)


def expect_instances_are_the_png(data: Path) -> None:
    """By pycocotools, of both parts."""
    frames = {f"{frame.video}/{frame.index:06}.jpg": frame for frame in frames_of(data)}
    for split in ("train", "val"):
        coco = COCO(str(instances_file(data, split)))
        for image in coco.imgs.values():
            annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
            segments = frames[image["file_name"]].read_segments()
            assert len(annotations) == len(np.unique(segments[segments > 0]))
            listed = {each.id: each for each in frames[image["file_name"]].segments}
            for annotation in annotations:
                (segment,) = np.unique(segments[coco.annToMask(annotation) == 1])
                np.testing.assert_array_equal(coco.annToMask(annotation), segments == segment)
                assert annotation["category_id"] == listed[segment].class_id + 1
                assert annotation.get("track_id") == listed[segment].track
        ids = [annotation["id"] for part in ("train", "val") for annotation in content_of(data, part)["annotations"]]
        assert len(ids) == len(set(ids))


def annotation_of(content: Content, image: str, where: tuple[int, int]) -> Content:
    """The annotation of a picture that has this pixel."""
    (image_id,) = (each["id"] for each in content["images"] if each["file_name"].endswith(image))
    found: Content
    (found,) = (each for each in content["annotations"] if each["image_id"] == image_id and mask_of(each)[where])
    return found


EXPORTS: dict[str, Callable[[Content], Content]] = {
    "as it is": lambda content: content,
    "CVAT with an attribute for the track": lambda content: cvat(content, keeps_track=True),
    "CVAT without tracks": lambda content: cvat(content, keeps_track=False),
    "Label Studio": lambda content: label_studio(content, lambda name: f"images/{name}"),
    "Label Studio with lists": lambda content: label_studio(content, lambda name: f"images/{name}", runs=listed_runs),
}


@pytest.mark.parametrize("export", EXPORTS)
def test_what_comes_back_unchanged_changes_nothing(data: Path, tmp_path: Path, export: str) -> None:
    before = [meanings(frame) for frame in frames_of(data)]
    file = save(tmp_path / "export.json", EXPORTS[export](content_of(data)))
    assert correct(data, file) == Correction(pictures=6)
    expect_equal(data, before)
    expect_instances_are_the_png(data)
    assert sorted(path.name for path in data.iterdir()) == ["annotations", "images", "panoptic"]


@pytest.mark.parametrize("export", EXPORTS)
def test_changed_added_and_deleted_annotations_are_taken_over(data: Path, tmp_path: Path, export: str) -> None:
    before = [meanings(frame) for frame in frames_of(data)]
    content = EXPORTS[export](content_of(data))
    category = {each["name"]: each["id"] for each in content["categories"]}
    deleted = annotation_of(content, "a/000001.jpg", (13, 21))
    content["annotations"].remove(deleted)
    changed = annotation_of(content, "a/000001.jpg", (15, 3))
    changed.update(segmentation=rectangle(slice(14, 20), slice(2, 10)), iscrowd=0)
    added = {"segmentation": rectangle(*NEW), "category_id": category["ball"], "image_id": changed["image_id"]}
    content["annotations"].append(added)
    done = correct(data, save(tmp_path / "export.json", content))
    # The floor is changed too: a strip of it is covered.
    assert done == Correction(pictures=6, changed=2, added=1, deleted=1)
    expected = before[1].copy()
    put(expected, (slice(14, 20), slice(2, 10)), expected[16, 3])
    put(expected, (slice(12, 16), slice(20, 24)), None)
    found = meanings(frames_of(data)[1])
    (new,) = {*found[NEW].flat}
    assert new[0] == BALL
    assert new[1] not in {meaning[1] for meaning in before[1].flat if meaning is not None}
    put(expected, NEW, new)
    np.testing.assert_array_equal(found, expected)
    before[1] = expected
    expect_equal(data, before)
    expect_instances_are_the_png(data)
    assert "segments: 2 changed, 1 added, 1 deleted" in done.text()


def test_pictures_that_are_not_in_the_file_stay_as_they_are(data: Path, tmp_path: Path) -> None:
    content = content_of(data)
    content["images"] = [each for each in content["images"] if each["file_name"] == "b/000001.jpg"]
    kept = {each["id"] for each in content["images"]}
    content["annotations"] = [each for each in content["annotations"] if each["image_id"] in kept][:1]
    before = [meanings(frame) for frame in frames_of(data)]
    others = {name: data for name, data in state_of(data).items() if not name.startswith("annotations")}
    assert correct(data, save(tmp_path / "export.json", content)) == Correction(pictures=1, changed=0, deleted=4)
    after = state_of(data)
    assert [name for name in others if after[name] != others[name]] == ["panoptic/b/000001.png"]
    floor = before[4][-1, 0]
    before[4] = np.frompyfunc(lambda meaning: meaning if meaning == floor else None, 1, 1)(before[4])
    expect_equal(data, before)
    expect_instances_are_the_png(data)


def test_pictures_of_both_parts_are_corrected_at_once(data: Path, tmp_path: Path) -> None:
    train, val = (content_of(data, split) for split in ("train", "val"))
    both = {**train, "images": train["images"] + val["images"], "annotations": []}
    done = correct(data, save(tmp_path / "export.json", both))
    assert done == Correction(pictures=9, deleted=45, emptied=9)
    assert "warning: 9 pictures had labels and have none in the file" in done.text()
    assert all(not content_of(data, split)["annotations"] for split in ("train", "val"))


def test_later_annotations_lie_on_top(data: Path, tmp_path: Path) -> None:
    content = content_of(data)
    first, second = content["annotations"][:2]
    content["annotations"] = [first, second]
    first["segmentation"] = rectangle(slice(0, 10), slice(0, 10))
    second["segmentation"] = rectangle(slice(5, 15), slice(5, 15))
    correct(data, save(tmp_path / "export.json", content))
    classes = [meaning and meaning[0] for meaning in meanings(frames_of(data)[0]).diagonal()]
    assert classes == [FLOOR] * 5 + [WALL] * 10 + [None] * 9


def test_annotations_without_a_pixel_are_counted_and_left_out(data: Path, tmp_path: Path) -> None:
    content = content_of(data)
    content["annotations"].insert(0, {**content["annotations"][0], "id": 999})
    outside = {**content["annotations"][0], "id": 998, "segmentation": rectangle(slice(-9, -3), slice(-9, -3))}
    content["annotations"].append(outside)
    done = correct(data, save(tmp_path / "export.json", content))
    assert done.hidden == 2
    assert "warning: 2 annotations without a pixel that can be seen, left out" in done.text()


# Tracks.


def things(data: Path, where: tuple[slice, slice], video: str = "a") -> list[Meaning | None]:
    """What each frame of a video has at the first of these pixels."""
    return [meanings(frame)[where][0, 0] for frame in frames_of(data) if frame.video == video]


@pytest.mark.parametrize("kind", ["track_id", "attribute of CVAT", "own attribute", "text"])
def test_a_given_track_is_kept(data: Path, tmp_path: Path, kind: str) -> None:
    content = content_of(data)
    given: Content = {
        "track_id": {"track_id": 77},
        "attribute of CVAT": {"attributes": {"occluded": False, "track_id": 77}},
        "own attribute": {"attributes": {"track": 77, "track_id": 5}},
        "text": {"attributes": {"track": "77"}},
    }[kind]
    for number in range(3):
        annotation = annotation_of(content, f"a/00000{number}.jpg", (15, 3))
        del annotation["track_id"], annotation["attributes"]
        annotation.update(given)
    correct(data, save(tmp_path / "export.json", content))
    assert things(data, STILL_BOX) == [(BOX, 77, False)] * 3


@pytest.mark.parametrize("export", EXPORTS)
def test_a_thing_of_another_class_in_all_frames_keeps_its_track(data: Path, tmp_path: Path, export: str) -> None:
    ((_, track, _), *_) = things(data, STILL_BOX)  # type: ignore[misc]
    content = EXPORTS[export](content_of(data))
    category = {each["name"]: each["id"] for each in content["categories"]}
    for number in range(3):
        annotation_of(content, f"a/00000{number}.jpg", (15, 3))["category_id"] = category["ball"]
    correct(data, save(tmp_path / "export.json", content))
    assert things(data, STILL_BOX) == [(BALL, track, False)] * 3


@pytest.mark.parametrize("export", EXPORTS)
def test_a_thing_of_another_class_in_one_frame_has_a_track_of_its_own_there(
    data: Path, tmp_path: Path, export: str
) -> None:
    before = things(data, STILL_BOX)
    content = EXPORTS[export](content_of(data))
    category = {each["name"]: each["id"] for each in content["categories"]}
    annotation_of(content, "a/000001.jpg", (15, 3))["category_id"] = category["ball"]
    correct(data, save(tmp_path / "export.json", content))
    first, second, third = things(data, STILL_BOX)
    assert (first, third) == (before[0], before[2])
    assert second is not None
    assert second[0] == BALL
    tracks = {each.track for frame in frames_of(data)[:3] for each in frame.segments if each.class_id != BALL}
    assert second[1] not in tracks


def test_a_new_thing_without_tracks_is_one_where_it_overlaps_from_frame_to_frame(data: Path, tmp_path: Path) -> None:
    content = label_studio(content_of(data), lambda name: name)
    for number, shift in enumerate((0, 2, 12)):
        image = next(each["id"] for each in content["images"] if each["file_name"] == f"a/00000{number}.jpg")
        place = slice(20, 24), slice(2 + shift, 12 + shift)
        content["annotations"].append({"segmentation": rectangle(*place), "category_id": BALL, "image_id": image})
    correct(data, save(tmp_path / "export.json", content))
    first, second, third = (
        meanings(frame)[22, 4 + 10 * (place > 1)] for place, frame in enumerate(frames_of(data)[:3])
    )
    assert first == second
    assert first[0] == third[0] == BALL
    assert first[1] != third[1]


def test_a_new_thing_is_the_one_of_a_frame_before_that_is_not_in_the_file(data: Path, tmp_path: Path) -> None:
    before = things(data, STILL_BOX)
    content = content_of(data)
    content["images"] = [each for each in content["images"] if each["file_name"] == "a/000001.jpg"]
    shown = content["images"][0]["id"]
    content["annotations"] = []
    correct(data, save(tmp_path / "none.json", content))
    content["annotations"] = [{"segmentation": rectangle(*STILL_BOX), "category_id": BOX + 1, "image_id": shown}]
    correct(data, save(tmp_path / "export.json", content))
    assert things(data, STILL_BOX) == before


def test_numbers_that_a_tool_gave_by_itself_do_not_make_two_things_one(data: Path, tmp_path: Path) -> None:
    (known,) = {*things(data, STILL_BOX)}
    assert known is not None
    content = cvat(content_of(data), keeps_track=False)
    ball = next(each["id"] for each in content["categories"] if each["name"] == "ball")
    for number in range(3):
        image = next(each["id"] for each in content["images"] if each["file_name"] == f"a/00000{number}.jpg")
        new = {"segmentation": rectangle(*NEW), "category_id": ball, "image_id": image, "iscrowd": 0}
        content["annotations"].append({**new, "attributes": {"track_id": known[1], "keyframe": True}})
    correct(data, save(tmp_path / "export.json", content))
    assert things(data, NEW) == [(BALL, known[1], False)] * 3
    (box,) = {*things(data, STILL_BOX)}
    assert box is not None
    assert (box[0], box[1] == known[1]) == (BOX, False)


def only(content: Content, *images: str) -> Content:
    """The same of these pictures alone."""
    shown = [each for each in content["images"] if each["file_name"] in images]
    ids = {each["id"] for each in shown}
    return {**content, "images": shown, "annotations": [a for a in content["annotations"] if a["image_id"] in ids]}


def without_track(annotation: Content) -> None:
    del annotation["track_id"], annotation["attributes"]


def test_a_thing_that_lost_its_track_in_one_frame_is_still_the_one_of_the_others(data: Path, tmp_path: Path) -> None:
    before = things(data, STILL_BOX)
    content = content_of(data)
    without_track(annotation_of(content, "a/000001.jpg", (15, 3)))
    assert correct(data, save(tmp_path / "export.json", content)) == Correction(pictures=6)
    assert things(data, STILL_BOX) == before


def test_a_class_that_frames_outside_of_the_file_have_is_the_tracks(data: Path, tmp_path: Path) -> None:
    before = things(data, STILL_BOX)
    content = only(content_of(data), "a/000001.jpg", "a/000002.jpg")
    for image in ("a/000001.jpg", "a/000002.jpg"):
        annotation_of(content, image, (15, 3))["category_id"] = BALL + 1
    correct(data, save(tmp_path / "export.json", content))
    first, second, third = things(data, STILL_BOX)
    assert first == before[0]
    assert second == third
    assert second is not None
    assert before[0] is not None
    assert (second[0], second[1] == before[0][1]) == (BALL, False)


def test_a_given_track_that_frames_outside_of_the_file_have_is_theirs(data: Path, tmp_path: Path) -> None:
    before = things(data, STILL_BOX)
    content = only(content_of(data), "a/000001.jpg", "a/000002.jpg")
    annotation_of(content, "a/000001.jpg", (15, 3))["segmentation"] = rectangle(*NEW)
    without_track(annotation_of(content, "a/000002.jpg", (15, 3)))
    correct(data, save(tmp_path / "export.json", content))
    assert (things(data, STILL_BOX)[0], things(data, NEW)[1], things(data, STILL_BOX)[2]) == tuple(before)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("is_known", [True, False], ids=["known in its frame", "known in the frame before"])
def test_a_track_that_is_given_in_a_frame_is_taken_by_nothing_else_there(
    data: Path, tmp_path: Path, order: int, is_known: bool
) -> None:
    ((_, track, _), *_) = things(data, STILL_BOX)  # type: ignore[misc]
    content = only(content_of(data), "a/000001.jpg")
    box = annotation_of(content, "a/000001.jpg", (15, 3))
    if not is_known:
        correct(data, save(tmp_path / "none.json", {**content, "annotations": []}))
    moved = {**box, "segmentation": rectangle(*NEW)}
    without_track(box)
    content["annotations"] = [box, moved][::order]
    correct(data, save(tmp_path / "export.json", content))
    assert things(data, NEW)[1] == (BOX, track, False)
    other = things(data, STILL_BOX)[1]
    assert other is not None
    assert (other[0], other[1] == track) == (BOX, False)


def test_a_crowd_stays_one_and_masks_of_cvat_are_none(tmp_path: Path) -> None:
    frame: Frame = frame_of(0)
    instances = frame["instances"]
    assert instances is not None
    instances[STILL_BOX] = 0
    write_frames(tmp_path / "data", frame)
    before = [meanings(each) for each in frames_of(tmp_path / "data")]
    assert before[0][15, 3] == (BOX, None, True)
    for name, export in EXPORTS.items():
        content = export(content_of(tmp_path / "data"))
        assert correct(tmp_path / "data", save(tmp_path / f"{name}.json", content)) == Correction(pictures=1), name
    expect_equal(tmp_path / "data", before)


def test_things_that_nobody_told_apart_stay_so_until_somebody_does(tmp_path: Path) -> None:
    write_frames(tmp_path / "data", {**frame_of(0), "instances": None})
    content = label_studio(content_of(tmp_path / "data"), lambda name: name)
    assert correct(tmp_path / "data", save(tmp_path / "export.json", content)) == Correction(pictures=1)
    boxes = annotation_of(content, "a/000000.jpg", (15, 3))
    for rows, columns in (STILL_BOX, (slice(4, 10), slice(2, 8))):
        content["annotations"].append({**boxes, "segmentation": rectangle(rows, columns)})
    correct(tmp_path / "data", save(tmp_path / "export.json", content))
    (frame,) = frames_of(tmp_path / "data")
    tracks = [each.track for each in frame.segments if each.class_id == BOX]
    assert len(tracks) == len(set(tracks)) == 2
    assert None not in tracks


# Names.

NAMES: dict[str, Callable[[str], str]] = {
    "folders": lambda name: f"export/images/train/{name}",
    "absolute": lambda name: f"/label-studio/data/{name}",
    "Windows": lambda name: "images\\" + name.replace("/", "\\"),
    "hash": lambda name: "images/" + name.replace("/", "/0a1b2c3d-"),
    "flat": lambda name: "images/0a1b2c3d-" + name.replace("/", "_"),
    "flat with dashes": lambda name: name.replace("/", "-"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_pictures_are_known_by_the_names_that_tools_make_of_theirs(data: Path, tmp_path: Path, kind: str) -> None:
    content = label_studio(content_of(data), NAMES[kind])
    assert correct(data, save(tmp_path / "export.json", content)) == Correction(pictures=6)


def test_a_name_without_its_video_is_known_where_there_is_one_video(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", train=("a",), val=())
    content = label_studio(content_of(data), lambda name: name.rpartition("/")[2])
    assert correct(data, save(tmp_path / "export.json", content)) == Correction(pictures=3)


def test_a_name_without_its_video_is_refused_where_there_are_more(data: Path, tmp_path: Path) -> None:
    content = label_studio(content_of(data), lambda name: name.rpartition("/")[2])
    expect_refused(data, tmp_path, content, r"'000000\.jpg' may be 3 pictures there, a/000000\.jpg first; .*<frame>")


def expect_refused(data: Path, tmp_path: Path, content: Content, said: str) -> None:
    before = state_of(data)
    with pytest.raises(DatasetError, match=said):
        correct(data, save(tmp_path / "export.json", content))
    assert state_of(data) == before


def test_an_unknown_picture_is_refused_only_if_it_has_annotations(data: Path, tmp_path: Path) -> None:
    content = content_of(data)
    content["images"].append({"id": 999, "file_name": "other/1.jpg"})
    assert correct(data, save(tmp_path / "export.json", content)) == Correction(pictures=6)
    content["annotations"].append({**content["annotations"][0], "image_id": 999})
    expect_refused(data, tmp_path, content, r"'other/1\.jpg' is none of the data set's")


def test_a_picture_that_is_there_twice_is_refused(data: Path, tmp_path: Path) -> None:
    content = content_of(data)
    content["images"].append({**content["images"][0], "id": 999})
    expect_refused(data, tmp_path, content, r"has the picture a/000000\.jpg 2 times")


def test_an_unknown_class_is_refused_only_if_it_has_annotations(data: Path, tmp_path: Path) -> None:
    content = content_of(data)
    content["categories"].append({"id": 999, "name": "boxx"})
    assert correct(data, save(tmp_path / "export.json", content)) == Correction(pictures=6)
    content["annotations"][3]["category_id"] = 999
    expect_refused(data, tmp_path, content, r"class 'boxx' \(is 'box' meant\?\), expected one of .*floor, wall, box")


BAD: dict[str, tuple[Content, str]] = {
    "box": (
        {"segmentation": [], "bbox": [1, 2, 3, 4]},
        r"annotations\[0\] \(of a/000000\.jpg\) has no outline .*: draw its outline",
    ),
    "nothing": ({"segmentation": None, "bbox": None}, "has no outline"),
    "no box": ({"segmentation": [], "bbox": ["a", 2, 3, 4]}, "has no outline"),
    "other size": ({"segmentation": {"size": [5, 7], "counts": [35]}}, r"has run lengths of the size \[5, 7\]"),
    "short": ({"segmentation": {"size": [24, 32], "counts": [35]}}, "has run lengths of 35 pixels"),
    "far": ({"segmentation": [[0, 0, 1e12, 5, 7, 7]]}, "has an outline of"),
    "picture": ({"image_id": 12345}, r"annotations\[0\]\.image_id is 12345, which no entry of images has"),
    "class": ({"category_id": 12345}, r"annotations\[0\]\.category_id is 12345, which no entry of categories has"),
    "type": ({"category_id": "box"}, r'annotations\[0\]\.category_id is "box", expected int'),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_annotation_is_named_and_nothing_is_changed(data: Path, tmp_path: Path, case: str) -> None:
    change, said = BAD[case]
    content = content_of(data)
    content["annotations"][0].update(change)
    expect_refused(data, tmp_path, content, said)


def test_a_box_alone_is_the_segment_that_it_is_the_box_of(data: Path, tmp_path: Path) -> None:
    content = content_of(data)
    for annotation in content["annotations"]:
        if annotation["category_id"] == BALL + 1:
            annotation["segmentation"] = []
    assert correct(data, save(tmp_path / "export.json", content)) == Correction(pictures=6)
    for annotation in content["annotations"]:
        if annotation["category_id"] == BALL + 1:
            annotation["bbox"][2] += 2
    expect_refused(data, tmp_path, content, "has no outline")


def test_pictures_of_another_size_are_refused(data: Path, tmp_path: Path) -> None:
    content = content_of(data)
    content["images"][0].update(width=64, height=48)
    expect_refused(data, tmp_path, content, r"a/000000\.jpg' is 64x48, and 32x24 in the data set")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": 5}'])
def test_a_file_that_is_no_coco_is_refused(data: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "export.json").write_text(text)
    with pytest.raises(DatasetError, match=r"export\.json (cannot be read|has no COCO instances)"):
        correct(data, tmp_path / "export.json")


# Files.


def test_the_data_sets_own_file_can_be_edited_in_its_place(data: Path) -> None:
    file = instances_file(data, "train")
    change_json(file, lambda content: content["annotations"].pop(0))
    assert correct(data, file) == Correction(pictures=6, deleted=1)
    expect_instances_are_the_png(data)


@pytest.mark.parametrize("text", ["{}", "damaged", None])
def test_instances_that_are_lost_are_made_anew(data: Path, tmp_path: Path, text: str | None) -> None:
    content = content_of(data)
    content["images"] = content["images"][:1]
    content["annotations"] = [each for each in content["annotations"] if each["image_id"] == content["images"][0]["id"]]
    instances_file(data, "train").unlink() if text is None else instances_file(data, "train").write_text(text)
    assert correct(data, save(tmp_path / "export.json", content)) == Correction(pictures=1)
    expect_instances_are_the_png(data)


def test_pictures_that_had_no_annotation_get_theirs(data: Path, tmp_path: Path) -> None:
    before = [meanings(frame) for frame in frames_of(data)]
    file = save(tmp_path / "export.json", content_of(data))
    for split in ("train", "val"):
        change_json(panoptic_file(data, split), lambda content: content["annotations"].clear())
    shutil.rmtree(data / "panoptic" / "a")
    assert correct(data, file) == Correction(pictures=6, added=30)
    found = frames_of(data)
    assert [frame.video for frame in found] == ["a"] * 3 + ["b"] * 3
    for frame, meant in zip(found, before, strict=False):
        classes = [[meaning and meaning[0] for meaning in each.flat] for each in (meanings(frame), meant)]
        assert classes[0] == classes[1]


def test_what_was_decided_and_interrupted_is_ended_before_the_data_set_can_be_used(data: Path, tmp_path: Path) -> None:
    # As a process leaves it that was killed between two of its last renames.
    before = state_of(data)
    content = content_of(data)
    content["annotations"] = content["annotations"][:3]
    file = save(tmp_path / "export.json", content)
    correct(data, file)
    after = state_of(data)
    changed = [name for name in before if after[name] != before[name]]
    assert len(changed) > 4
    for name in changed[::2]:
        (data / ".corrections" / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).rename(data / ".corrections" / name)
        (data / name).write_bytes(before[name])
    with pytest.raises(
        DatasetError, match=r"is corrected half-way: `eomt-ros dataset .* --corrections FILE` ends that"
    ):
        Dataset.open(data)
    assert correct(data, file) == Correction(pictures=6)
    panoptic = {name: content for name, content in state_of(data).items() if name.startswith("panoptic")}
    assert panoptic == {name: content for name, content in after.items() if name.startswith("panoptic")}
    expect_instances_are_the_png(data)


@pytest.mark.slow
def test_what_a_killed_process_left_goes_with_the_next(data: Path, tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (data / f".corrections.{ended.pid}" / "panoptic").mkdir(parents=True)
    correct(data, save(tmp_path / "export.json", content_of(data)))
    assert sorted(path.name for path in data.iterdir()) == ["annotations", "images", "panoptic"]


@pytest.mark.parametrize("name", ["panoptic", ".corrections"])
def test_nothing_is_written_through_a_link_out_of_the_folder(data: Path, tmp_path: Path, name: str) -> None:
    file = save(tmp_path / "export.json", {**content_of(data), "annotations": []})
    outside = tmp_path / "outside"
    if (data / name).exists():
        (data / name).rename(outside)
    outside.mkdir(exist_ok=True)
    (data / name).symlink_to(outside)
    before = state_of(outside)
    with pytest.raises(DatasetError, match="leads out of the data set"):
        correct(data, file)
    assert state_of(outside) == before


def test_nothing_that_was_interrupted_is_moved_through_a_link_out_of_the_folder(data: Path, tmp_path: Path) -> None:
    file = save(tmp_path / "export.json", content_of(data))
    (data / ".corrections" / "panoptic" / "a").mkdir(parents=True)
    (data / ".corrections" / "panoptic" / "a" / "000000.png").write_bytes(b"anything")
    (data / "panoptic" / "a").rename(tmp_path / "outside")
    (data / "panoptic" / "a").symlink_to(tmp_path / "outside")
    before = state_of(tmp_path / "outside")
    with pytest.raises(DatasetError, match="leads out of the data set"):
        correct(data, file)
    assert state_of(tmp_path / "outside") == before


def test_a_thing_for_which_no_segment_id_is_left_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_frames(data, frame_of(0))
    file = data / "panoptic" / "a" / "000000.png"
    colours = cv2.imread(str(file))
    colours[(colours == (0, 0, 1)).all(-1)] = 255
    assert cv2.imwrite(str(file), colours)
    change_json(
        panoptic_file(data, "train"), lambda c: c["annotations"][0]["segments_info"][0].update(id=(1 << 24) - 1)
    )
    content = content_of(data)
    content["annotations"].append({**content["annotations"][0], "category_id": BOX + 1})
    expect_refused(data, tmp_path, content, "expected 1 to 16777215")


def test_a_full_disk_changes_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(tmp_path / "export.json", {**content_of(data), "annotations": []})
    before = state_of(data)
    write = Path.write_bytes
    written = []

    def full(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) > 2:
            raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device"):
        correct(data, file)
    assert len(written) == 3
    assert state_of(data) == before


def test_runs_of_either_kind_are_told_by_what_they_are(data: Path, tmp_path: Path) -> None:
    content = content_of(data)
    for place, annotation in enumerate(content["annotations"]):
        annotation["segmentation"] = (listed_runs if place % 2 else text_runs)(mask_of(annotation))
    assert correct(data, save(tmp_path / "export.json", content)) == Correction(pictures=6)


def test_names_in_the_tests_are_those_of_the_classes() -> None:
    assert [CLASSES[each].name for each in (FLOOR, WALL, BOX, BALL)] == ["floor", "wall", "box", "ball"]
    assert (HEIGHT, WIDTH) == (24, 32)
