"""VIPSeg and VSPW as they are published, in small: frames in order, classes in the order of our label tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eomt_ros.engine.model.labels import load_labels
from eomt_ros.evaluation.sources import SourceError, open_sequences
from eomt_ros.evaluation.sources.sequence import FrameSequence, SourceFrame
from eomt_ros.evaluation.sources.truth import TruthSource
from test import ROOT

NAMES = {name: load_labels(ROOT / "config" / "labels" / f"{name}.yaml").class_names for name in ("vipseg", "vspw")}

# Some of the data sets' own list (label_num_dic_final.json): number from 1, and whether it is a thing.
LISTED = {
    "wall": (1, False),
    "ceiling": (2, False),
    "door": (3, True),
    "road": (19, False),
    "sky": (29, False),
    "person": (61, True),
    "dog": (63, True),
    "instrument": (123, True),
    "train": (124, True),
}
PERSON, ROAD, SKY, TRAIN, DOG = (LISTED[name][0] for name in ("person", "road", "sky", "train", "dog"))


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)


def picture(level: int) -> np.ndarray:
    return np.full((6, 8, 3), (level, 20, 60), np.uint8)


def read(path: Path, split: str = "val") -> tuple[list[FrameSequence], list[list[SourceFrame]]]:
    sequences = open_sequences([path], truth=TruthSource(), split=split)
    return sequences, [list(sequence.frames(sequence.class_names)) for sequence in sequences]


def names_of(classes: np.ndarray, labels: str) -> list[str]:
    return [NAMES[labels][value] if value != 255 else "-" for value in classes.ravel()]


@pytest.fixture
def vspw(tmp_path: Path) -> Path:
    root = tmp_path / "VSPW_480p"
    for video, frames in {"12_b": 3, "7_a": 2, "99_unlisted": 1}.items():
        for number in range(frames):
            write(root / "data" / video / "origin" / f"{number:08}.jpg", picture(50 * number))
            mask = np.full((6, 8), ROAD, np.uint8)
            mask[0, :4] = 0, 255, PERSON, TRAIN
            write(root / "data" / video / "mask" / f"{number:08}.png", mask)
    (root / "val.txt").write_text("7_a\n12_b\n")
    return root


def test_vspw_has_the_videos_of_the_split_in_its_order(vspw: Path) -> None:
    sequences, frames = read(vspw)
    assert [sequence.name for sequence in sequences] == ["7_a", "12_b"]
    assert [sequence.count for sequence in sequences] == [2, 3] == [len(each) for each in frames]
    assert all(sequence.problems == [] for sequence in sequences)
    assert sequences[0].class_names == NAMES["vspw"]
    assert [round(frame.stamp / 1e9, 3) for frame in frames[1]] == [0.0, 0.067, 0.133]
    for number, frame in enumerate(frames[1]):
        np.testing.assert_allclose(frame.image, picture(50 * number), atol=4)


def test_vspw_classes_are_those_of_our_table_and_void_is_unlabelled(vspw: Path) -> None:
    truth = read(vspw)[1][0][0].truth
    assert truth is not None
    assert truth.instances is None
    assert names_of(truth.classes, "vspw")[:5] == ["-", "-", "person", "train", "road"]


@pytest.mark.parametrize("name", LISTED)
def test_every_number_of_the_list_becomes_the_class_of_its_name(vspw: Path, name: str) -> None:
    write(vspw / "data" / "7_a" / "mask" / "00000000.png", np.full((6, 8), LISTED[name][0], np.uint8))
    truth = read(vspw)[1][0][0].truth
    assert truth is not None
    assert set(names_of(truth.classes, "vspw")) == {name}


def test_vspw_frame_without_mask_is_a_problem_and_still_there(vspw: Path) -> None:
    (vspw / "data" / "7_a" / "mask" / "00000001.png").unlink()
    sequences, frames = read(vspw)
    assert [frame.truth is None for frame in frames[0]] == [False, True]
    (problem,) = sequences[0].problems
    assert problem.startswith("1 frame has no ground truth; first: ")
    assert "00000001.png" in problem


def test_missing_split_is_named_with_those_that_are_there(vspw: Path) -> None:
    with pytest.raises(SourceError, match=r"test\.txt is missing.*: val$"):
        read(vspw, "test")


def test_video_outside_of_the_data_set_is_not_read(vspw: Path) -> None:
    (vspw / "val.txt").write_text("7_a\n../../elsewhere\n")
    with pytest.raises(SourceError, match=r"val\.txt names the video '\.\./\.\./elsewhere', expected a folder's name"):
        read(vspw)


def test_list_that_is_no_regular_file_is_not_read(vspw: Path) -> None:
    (vspw / "val.txt").unlink()
    (vspw / "val.txt").symlink_to("/dev/null")
    with pytest.raises(SourceError, match=r"val\.txt cannot be read: .*it is a device, expected a regular file"):
        read(vspw)


def test_video_of_the_list_that_is_missing_is_named(vspw: Path) -> None:
    (vspw / "val.txt").write_text("7_a\ngone\n")
    with pytest.raises(SourceError, match=r"data/gone/origin is missing"):
        read(vspw)


@pytest.fixture
def vipseg(tmp_path: Path) -> Path:
    """As it is downloaded."""
    root = tmp_path / "VIPSeg"
    for number in range(2):
        write(root / "imgs" / "127_x" / f"{3 * number:08}.jpg", picture(50 * number))
        mask = np.full((6, 8), SKY, np.uint16)
        mask[0, :5] = 0, 100 * PERSON, 100 * PERSON + 1, 100 * DOG, ROAD
        write(root / "panomasks" / "127_x" / f"{3 * number:08}.png", mask)
    (root / "val.txt").write_text("127_x\n")
    return root


def test_vipseg_parts_class_and_instance(vipseg: Path) -> None:
    sequences, ((first, second),) = read(vipseg)
    assert sequences[0].class_names == NAMES["vipseg"]
    assert second.stamp - first.stamp == 200_000_000
    assert first.truth is not None
    assert first.truth.instances is not None
    assert names_of(first.truth.classes, "vipseg")[:6] == ["-", "person", "person", "dog", "road", "sky"]
    ids = first.truth.instances.ravel()
    assert len({*ids[1:4].tolist()}) == 3
    assert ids[1:4].all()
    assert not ids[[0, 4, 5]].any()
    assert second.truth is not None
    np.testing.assert_array_equal(first.truth.instances, second.truth.instances)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "first"),
    [
        ([100 * DOG, ROAD, SKY], ("road", 0)),
        ([100 * DOG, 100 * PERSON + 1], ("person", 100 * PERSON + 1)),
        ([DOG, TRAIN], ("dog", DOG)),
        ([0, 0], None),
    ],
)
def test_vipseg_is_listed_by_value(vipseg: Path, values: list[int], first: tuple[str, int] | None) -> None:
    mask = np.zeros((6, 8), np.uint16)
    mask[0, : len(values)] = values
    write(vipseg / "panomasks" / "127_x" / "00000000.png", mask)
    truth = read(vipseg)[1][0][0].truth
    assert truth is not None
    named = truth.listed_first and (NAMES["vipseg"][truth.listed_first[0]], truth.listed_first[1])
    assert named == first


def test_vipseg_thing_without_an_instance_is_a_thing_as_in_the_published_conversion(vipseg: Path) -> None:
    write(vipseg / "panomasks" / "127_x" / "00000000.png", np.full((6, 8), PERSON, np.uint16))
    truth = read(vipseg)[1][0][0].truth
    assert truth is not None
    assert truth.instances is not None
    assert set(names_of(truth.classes, "vipseg")) == {"person"}
    assert truth.instances.all()


# Segments by their 24-bit id, with the number of their class from 0, as in COCO's panoptic format.
SEGMENTS = {1_000_000: PERSON - 1, 70_000: PERSON - 1, 300: DOG - 1, 5: ROAD - 1}


def categories() -> list[dict[str, Any]]:
    table = load_labels(ROOT / "config" / "labels" / "vipseg.yaml")
    # The published list is in the order of numbers, which is not that of the table.
    from eomt_ros.evaluation.sources.dataset_truth import THINGS

    assert sum(table.is_thing) == len(THINGS)
    return [{"id": number, "isthing": int(number in THINGS), "name": str(number)} for number in range(124)]


@pytest.fixture
def vipseg_720p(tmp_path: Path) -> Path:
    root = tmp_path / "VIPSeg_720P"
    annotations = []
    for number, shown in enumerate([[1_000_000, 300, 5], [70_000, 1_000_000, 5]]):
        ids = np.zeros((6, 8), np.uint32)
        ids[0, :4] = [0, *shown]
        ids[1, 0] = 12345
        write(root / "images" / "127_x" / f"{number:08}.jpg", picture(50 * number))
        colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)
        write(root / "panomasksRGB" / "127_x" / f"{number:08}.png", colours)
        segments = [{"id": each, "category_id": SEGMENTS[each], "iscrowd": 0, "area": 1} for each in shown]
        annotations.append({"image_id": f"{number:08}", "file_name": f"{number:08}.png", "segments_info": segments})
    content = {"videos": [], "annotations": [{"video_id": "127_x", "annotations": annotations}]}
    (root / "panoptic_gt_VIPSeg_val.json").write_text(json.dumps(content | {"categories": categories()}))
    return root


def test_vipseg_in_coco_format_takes_classes_from_the_json(vipseg_720p: Path) -> None:
    sequences, ((first, second),) = read(vipseg_720p)
    assert (sequences[0].name, sequences[0].count) == ("127_x", 2)
    assert first.truth is not None
    assert second.truth is not None
    assert names_of(first.truth.classes, "vipseg")[:5] == ["-", "person", "dog", "road", "-"]
    assert names_of(second.truth.classes, "vipseg")[:5] == ["-", "person", "person", "road", "-"]
    # What the JSON does not know is void.
    assert names_of(first.truth.classes, "vipseg")[8] == "-"


def test_vipseg_ids_are_small_and_last_the_video(vipseg_720p: Path) -> None:
    _, ((first, second),) = read(vipseg_720p)
    assert first.truth is not None
    assert second.truth is not None
    one, other = first.truth.instances.ravel(), second.truth.instances.ravel()  # type: ignore[union-attr]
    assert one[1] == other[2] != 0
    assert len({one[1], one[2], other[1]}) == 3
    assert not one[[0, 3, 4, 8]].any()
    assert max(one.max(), other.max()) <= 3


def test_vipseg_is_listed_as_in_the_json(vipseg_720p: Path) -> None:
    _, (frames,) = read(vipseg_720p)
    person = NAMES["vipseg"].index("person")
    for frame in frames:
        assert frame.truth is not None
        # Of the first frame's 1,000,000, 300 and 5; by number it would be the road.
        assert frame.truth.listed_first == (person, frames[0].truth.instances[0, 1])  # type: ignore[union-attr,index]


def test_json_of_another_data_set_is_refused(vipseg_720p: Path) -> None:
    file = vipseg_720p / "panoptic_gt_VIPSeg_val.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"categories": categories()[:80]}))
    with pytest.raises(SourceError, match="has other categories than VIPSeg's 124, of which 58 are things"):
        read(vipseg_720p)
    file.write_text("{}")
    with pytest.raises(SourceError, match="is not in COCO's panoptic video format"):
        read(vipseg_720p)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"video_id": "127_x"', '"video_id": "../127_x"', "names the video '../127_x', expected a folder's name"),
        ('"video_id": "127_x"', '"video_id": ".."', "names the video '..', expected a folder's name"),
        ('"category_id": ', '"category_id": 99', "has segments of unknown categories, or whose"),
        ('"segments_info": [{"id": ', '"segments_info": [{"id": -', "has segments of unknown categories, or whose"),
        (
            '"segments_info": [{"id": ',
            '"segments_info": [{"id": 1e999, "x": ',
            "is not in COCO's panoptic video format",
        ),
        ('{"', "[" * 100_000, "is not in COCO's panoptic video format"),
    ],
    ids=["above", "beside", "class", "colour", "infinite", "deep"],
)
def test_json_that_leads_elsewhere_or_makes_no_sense_is_refused(
    vipseg_720p: Path, old: str, new: str, said: str
) -> None:
    file = vipseg_720p / "panoptic_gt_VIPSeg_val.json"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(SourceError, match=said):
        read(vipseg_720p)


def test_missing_json_is_named_with_those_that_are_there(vipseg_720p: Path) -> None:
    with pytest.raises(SourceError, match=r"_test\.json is missing; there are: panoptic_gt_VIPSeg_val\.json"):
        read(vipseg_720p, "test")


def test_ground_truth_of_a_data_set_cannot_be_replaced(vspw: Path, tmp_path: Path) -> None:
    truth = TruthSource(folder=tmp_path)
    with pytest.raises(SourceError, match="is a data set, which has its own"):
        open_sequences([vspw], truth=truth)
