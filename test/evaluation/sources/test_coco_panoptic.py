"""COCO panoptic as it is published, in small: pictures that stand alone, classes and things of the JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eomt_ros.continuity import MAX_GAP
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.metrics import Scores
from eomt_ros.evaluation.sources import SourceError, open_sequences
from eomt_ros.evaluation.sources.sequence import FrameSequence, SourceFrame

HEIGHT, WIDTH = 8, 10
CATEGORIES = [(1, "person", 1), (2, "banner", 0), (3, "car", 1), (184, "tree-merged", 0)]
CLASSES = ("person", "car", "banner", "tree-merged")
# Colours are no order.
PERSON, OTHER, CAR, TREE, CROWD, BANNER = 3_226_956, 70_000, 12, 8_000_001, 444, 9
CATEGORY = {PERSON: 1, OTHER: 1, CAR: 3, TREE: 184, CROWD: 1, BANNER: 2}
PICTURES = {139: [PERSON, OTHER, CAR, TREE], 285: [TREE, CROWD, PERSON]}
UNKNOWN = 65_535
"""A colour that no segment has."""


def strips(colours: list[int]) -> np.ndarray:
    """(HEIGHT, WIDTH) ids: a column each from the left, then void."""
    ids = np.zeros((HEIGHT, WIDTH), np.int64)
    for column, colour in enumerate(colours):
        ids[:, column] = colour
    return ids


def write(path: Path, png: str = "annotations/panoptic_val2017") -> Path:
    for folder in ("val2017", png):
        (path / folder).mkdir(parents=True)
    annotations, images = [], []
    for number, colours in PICTURES.items():
        ids = strips([*colours, UNKNOWN])
        rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)
        assert cv2.imwrite(str(path / png / f"{number:012}.png"), rgb[..., ::-1])
        assert cv2.imwrite(str(path / "val2017" / f"{number:012}.jpg"), np.full_like(rgb, number % 256))
        segments = [{"id": each, "category_id": CATEGORY[each], "iscrowd": int(each == CROWD)} for each in colours]
        annotations.append({"image_id": number, "file_name": f"{number:012}.png", "segments_info": segments})
        images.append({"id": number, "file_name": f"{number:012}.jpg"})
    categories = [{"id": number, "name": name, "isthing": thing} for number, name, thing in CATEGORIES]
    content = {"images": images[::-1], "annotations": annotations, "categories": categories}
    (path / "annotations").mkdir(exist_ok=True)
    (path / "annotations" / "panoptic_val2017.json").write_text(json.dumps(content))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "coco")


def read(path: Path, split: str = "val") -> tuple[FrameSequence, list[SourceFrame]]:
    (sequence,) = open_sequences([path], split=split)
    return sequence, list(sequence.frames(sequence.class_names))


def truth_of(frame: SourceFrame) -> Truth:
    assert frame.truth is not None
    return frame.truth


def change(path: Path, change_it: Callable[[Any], object]) -> None:
    file = path / "annotations" / "panoptic_val2017.json"
    content = json.loads(file.read_text())
    change_it(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("png", ["annotations/panoptic_val2017", "panoptic_val2017"])
def test_classes_are_things_first_and_void_is_unlabelled(tmp_path: Path, png: str) -> None:
    sequence, frames = read(write(tmp_path, png))
    assert (sequence.count, sequence.class_names, sequence.problems) == (2, CLASSES, [])
    first, second = (truth_of(frame).classes[0].tolist() for frame in frames)
    assert first == [0, 0, 1, 3, *[65535] * 6]
    assert second == [3, 0, 0, *[65535] * 7]
    assert [frame.image[0, 0, 0] for frame in frames] == [139, 285 % 256]


def test_every_thing_of_every_picture_has_an_id_of_its_own_but_a_crowd(data: Path) -> None:
    ids = [truth_of(frame).instances for frame in read(data)[1]]
    first, second = (each[0].tolist() for each in ids if each is not None)
    things = [*first[:3], second[2]]
    assert len(set(things)) == 4
    assert all(things)
    assert not any([*first[3:], *second[:2], *second[3:]])


def test_numbers_of_the_data_set_come_along(data: Path) -> None:
    numbering = read(data)[0].numbering
    assert numbering is not None
    assert numbering.categories == (1, 3, 2, 184)
    assert numbering.pictures == (139, 285)
    assert numbering.frames == ("000000000139", "000000000285")


def test_no_picture_goes_on_where_the_one_before_ended(data: Path) -> None:
    _, frames = read(data)
    assert frames[1].stamp - frames[0].stamp > MAX_GAP * 1e9
    scores = Scores(CLASSES, (True, True, False, False))
    scores.start_sequence("coco")
    for number, frame in enumerate(frames * 8):
        truth = truth_of(frame)
        assert truth.instances is not None
        scores.update(truth, Prediction(truth.classes, truth.instances), begin=number * 4.0, seconds=0.1)
    found = scores.figures()
    # PQ, which panopticapi counts picture by picture.
    assert found.vpq == 1.0
    assert found.vpq_by_window == {"1": 1.0, "2": None, "4": None, "6": None, "8": None}
    assert found.mvc8 is None


def test_frame_without_png_is_a_problem_and_still_there(data: Path) -> None:
    (data / "annotations/panoptic_val2017/000000000285.png").unlink()
    sequence, frames = read(data)
    assert [frame.truth is None for frame in frames] == [False, True]
    assert "000000000285.png" in sequence.problems[0]


def test_png_files_that_were_not_unzipped_are_told(data: Path) -> None:
    (data / "annotations/panoptic_val2017").rename(data / "elsewhere")
    with pytest.raises(SourceError, match=r"the PNG files panoptic_val2017/, which have to be unzipped"):
        read(data)


def test_split_that_is_missing_is_told_with_what_is_there(data: Path) -> None:
    with pytest.raises(SourceError, match=r"0 files panoptic_train\*\.json.*there are: panoptic_val2017\.json"):
        read(data, "train")


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/secret.png"])
@pytest.mark.parametrize("where", ["images", "annotations"])
def test_picture_outside_of_the_data_set_is_refused(data: Path, name: str, where: str) -> None:
    change(data, lambda content: content[where][0].update(file_name=name))
    with pytest.raises(SourceError, match=r"names the picture .*, expected one in the data set's folder"):
        read(data)


def test_link_out_of_the_data_set_is_not_followed(data: Path, tmp_path: Path) -> None:
    png = data / "annotations/panoptic_val2017/000000000139.png"
    png.rename(tmp_path / "secret.png")
    png.symlink_to(tmp_path / "secret.png")
    sequence, frames = read(data)
    assert frames[0].truth is None
    assert "is a link that leads out of" in sequence.problems[0]


@pytest.mark.parametrize(
    "change_it",
    [
        lambda content: content.pop("images"),
        lambda content: content["annotations"][0].update(image_id=4),
        lambda content: content["annotations"][0]["segments_info"][0].update(category_id=4),
        lambda content: content["annotations"][0]["segments_info"][0].update(id=-1),
        lambda content: content["annotations"][0]["segments_info"][0].update(id=1e400),
        lambda content: content["annotations"].append(None),
        lambda content: content["categories"][0].pop("isthing"),
    ],
)
def test_json_of_another_shape_is_refused(data: Path, change_it: Callable[[Any], object]) -> None:
    change(data, change_it)
    with pytest.raises(SourceError, match=r"panoptic_val2017\.json is not in COCO's panoptic format: "):
        read(data)
