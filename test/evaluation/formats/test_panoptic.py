"""COCO's panoptic formats, read back as panopticapi and VIPSeg's VPQ script read them."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eomt_ros.evaluation.metrics.vpq import VPQ_WINDOWS
from eomt_ros.evaluation.sources import open_sequences
from eomt_ros.evaluation.sources.sequence import Numbering
from test.evaluation.formats.exporting import CLASSES, export, model, sequences
from test.evaluation.metrics.scenes import IS_THING, UNLABELLED, Pair, score

SEEDS = (3, 14, 15)
OFFSET = 1 << 24


def ids_of(png: Path) -> np.ndarray:
    """panopticapi's rgb2id."""
    rgb = np.array(Image.open(png), np.int64)
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


def truth_of(pair: Pair) -> tuple[np.ndarray, dict[int, int]]:
    """Ids of segments, 0 void, and their classes."""
    truth, _ = pair
    assert truth.instances is not None
    ids = np.where(truth.classes == UNLABELLED, 0, 1 + truth.classes.astype(np.int64) + 8 * truth.instances)
    return ids, {number: (number - 1) % 8 for number in np.unique(ids).tolist() if number}


def sizes_of(ids: np.ndarray) -> dict[int, int]:
    numbers, counts = np.unique(ids, return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def add_counts(
    counts: dict[int, np.ndarray], truth: np.ndarray, classes: dict[int, int], ids: np.ndarray, found: dict[int, int]
) -> None:
    """IoU, TP, FP, FN of each class, by the loop of panopticapi, over frames or tubes alike."""
    common, true_sizes, sizes = sizes_of(truth * OFFSET + ids), sizes_of(truth), sizes_of(ids)
    matched_true, matched = set(), set()
    for pair, pixels in common.items():
        true, predicted = divmod(pair, OFFSET)
        if true not in classes or predicted not in found or classes[true] != found[predicted]:
            continue
        iou = pixels / (true_sizes[true] + sizes[predicted] - pixels - common.get(predicted, 0))
        if iou > 0.5:
            counts[classes[true]] += (iou, 1, 0, 0)
            matched_true.add(true)
            matched.add(predicted)
    for true, class_id in classes.items():
        counts[class_id][3] += true not in matched_true
    for predicted, class_id in found.items():
        counts[class_id][2] += predicted not in matched and common.get(predicted, 0) / sizes[predicted] <= 0.5


def quality(counts: dict[int, np.ndarray]) -> float:
    return float(np.mean([iou / (tp + fp / 2 + fn / 2) for iou, tp, fp, fn in counts.values() if tp + fp + fn]))


def vpq(videos: dict[str, list[Pair]], folder: Path, window: int) -> float:
    """The loop of VIPSeg's eval_vpq.py."""
    content = json.loads((folder / "pred.json").read_text())
    counts: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(4))
    for video in content["annotations"]:
        pairs = videos[video["video_id"]]
        frames = [
            (ids_of(folder / "pan_pred" / video["video_id"] / each["file_name"]), each["segments_info"])
            for each in video["annotations"]
        ]
        assert len(frames) == len(pairs)
        for start in range(len(frames) - window + 1):
            truths = [truth_of(pair) for pair in pairs[start : start + window]]
            shown = frames[start : start + window]
            add_counts(
                counts,
                np.stack([ids for ids, _ in truths]),
                {number: each for _, classes in truths for number, each in classes.items()},
                np.stack([ids for ids, _ in shown]),
                # Categories are numbered from 1.
                {each["id"]: each["category_id"] - 1 for _, segments in shown for each in segments},
            )
    return quality(counts)


def test_vipsegs_script_finds_the_vpq_of_the_evaluation(tmp_path: Path) -> None:
    videos = sequences(*SEEDS)
    folder = export(["vipseg"], tmp_path, model(tmp_path), videos) / "vipseg"
    expected = score(*videos.values()).figures().vpq_by_window
    assert 0.1 < expected["4"] < 0.95  # type: ignore[operator]
    assert {str(window): vpq(videos, folder, window) for window in VPQ_WINDOWS} == pytest.approx(expected)


def test_panopticapi_finds_the_pq_of_the_evaluation(tmp_path: Path) -> None:
    videos = sequences(*SEEDS)
    folder = export(["coco-panoptic"], tmp_path, model(tmp_path), videos) / "coco-panoptic"
    content = json.loads((folder / "panoptic.json").read_text())
    categories = {each["id"]: (each["name"], bool(each["isthing"])) for each in content["categories"]}
    assert categories == {number + 1: pair for number, pair in enumerate(zip(CLASSES, IS_THING, strict=True))}
    images = {each["id"]: each for each in content["images"]}
    counts: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(4))
    for entry in content["annotations"]:
        name, _, frame = entry["image_id"].partition("/")
        ids = ids_of(folder / "panoptic" / entry["file_name"])
        segments = {each["id"]: each for each in entry["segments_info"]}
        # What pq_compute checks of a PNG and its JSON, and that the rest is true.
        assert set(np.unique(ids).tolist()) - {0} == segments.keys()
        for number, each in segments.items():
            rows, columns = np.nonzero(ids == number)
            assert each["area"] == len(rows)
            assert each["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert each["category_id"] in categories
        image = images[entry["image_id"]]
        assert (image["height"], image["width"], image["frame_id"]) == (*ids.shape, int(frame))
        truth, classes = truth_of(videos[name][int(frame)])
        found = {number: each["category_id"] - 1 for number, each in segments.items()}
        add_counts(counts, truth, classes, ids, found)
    assert len(images) == sum(map(len, videos.values()))
    assert quality(counts) == pytest.approx(score(*videos.values()).figures().vpq_by_window["1"])


def test_numbers_of_a_data_set_are_its_own(tmp_path: Path) -> None:
    videos = sequences(3)
    names = tuple(f"{number:012}" for number in range(len(videos["0003"])))
    numbering = {"0003": Numbering("val2017", names, (21, 7, 184, 3), tuple(range(500, 500 + len(names))))}
    folder = export(["coco-panoptic"], tmp_path, model(tmp_path), videos, numbering) / "coco-panoptic"
    content = json.loads((folder / "panoptic.json").read_text())
    assert [each["image_id"] for each in content["annotations"]] == list(range(500, 500 + len(names)))
    assert [each["id"] for each in content["categories"]] == [21, 7, 184, 3]
    assert Path(content["annotations"][0]["file_name"]).name == f"{names[0]}.png"
    used = {each["category_id"] for entry in content["annotations"] for each in entry["segments_info"]}
    assert used == {21, 7, 184, 3}


def test_an_evaluation_reads_an_export_as_ground_truth(tmp_path: Path) -> None:
    videos = sequences(3)
    folder = export(["coco-panoptic"], tmp_path, model(tmp_path), videos) / "coco-panoptic"
    content: dict[str, Any] = json.loads((folder / "panoptic.json").read_text())
    data = tmp_path / "data"
    numbers = {each["id"]: number for number, each in enumerate(content["images"])}
    for entry in (*content["images"], *content["annotations"]):
        key = "image_id" if "image_id" in entry else "id"
        entry[key] = numbers[entry[key]]
    (data / "annotations").mkdir(parents=True)
    (data / "annotations/panoptic_val.json").write_text(json.dumps(content))
    (folder / "panoptic").rename(data / "panoptic_val")
    for image in content["images"]:
        picture = data / "val" / image["file_name"]
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (image["width"], image["height"])).save(picture)
    (sequence,) = open_sequences([data])
    assert sequence.class_names == ("car", "person", "floor", "wall")
    of_class = np.array([2, 3, 0, 1, 65535])
    for frame, (_, prediction) in zip(sequence.frames(sequence.class_names), videos["0003"], strict=True):
        assert frame.truth is not None
        assert prediction.segments is not None
        is_none = np.isin(prediction.classes, (2, 3)) & (prediction.segments == 0)
        classes = np.where(is_none | (prediction.classes == UNLABELLED), 4, prediction.classes)
        np.testing.assert_array_equal(frame.truth.classes, of_class[classes])


def test_video_without_any_prediction_is_there_without_frames(tmp_path: Path) -> None:
    videos = sequences(3, 14)
    folder = export(["vipseg"], tmp_path, model(tmp_path), videos, left_out=range(len(videos["0003"]))) / "vipseg"
    content = json.loads((folder / "pred.json").read_text())
    assert content["annotations"] == [{"video_id": name, "annotations": []} for name in videos]
