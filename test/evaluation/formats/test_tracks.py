"""YouTube-VIS' and KITTI MOTS' formats, read back by TrackEval's own loaders; metrics beside TrackEval's own run."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trackeval
from pycocotools import mask as coco

from eomt_ros.errors import UserError
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.counts import RunCounts
from eomt_ros.evaluation.exact import ONE
from eomt_ros.evaluation.formats.track_counts import ClassTracks, TrackCounts
from eomt_ros.evaluation.formats.track_metrics import TrackMetrics
from eomt_ros.evaluation.json_file import JsonFileError, from_json, plain
from eomt_ros.evaluation.sources.sequence import Numbering
from test.evaluation.formats.exporting import CLASSES, FRAMES, TABLE, THINGS, export, model, result, sequences
from test.evaluation.metrics.scenes import BALL, BOX, IS_THING, UNLABELLED, Pair

SEEDS = (3, 14, 15, 92)
KITTI = {"car": BOX, "pedestrian": BALL}
NUMBERS = (11, 12, 25, 13)
"""Of classes in a data set."""


def encoded(mask: np.ndarray) -> dict[str, Any]:
    found = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": found["size"], "counts": found["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    """As YouTube-VIS has them."""
    flat = mask.ravel(order="F").astype(int)
    runs = np.diff([0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]).tolist()
    return {"size": list(mask.shape), "counts": [0, *runs] if flat[0] else runs}


def true_masks(pair: Pair, class_id: int) -> dict[int, np.ndarray]:
    """By id."""
    truth, _ = pair
    assert truth.instances is not None
    is_class = truth.classes == class_id
    return {each: (truth.instances == each) & is_class for each in np.unique(truth.instances[is_class]).tolist()}


def evaluated(dataset: Any, metrics: list[Any], tracker: str) -> dict[str, dict[str, Any]]:
    """What TrackEval's program finds over all sequences, by class and metric."""
    quiet = dict.fromkeys(
        ["PRINT_RESULTS", "PRINT_CONFIG", "TIME_PROGRESS", "OUTPUT_SUMMARY", "OUTPUT_DETAILED", "PLOT_CURVES"], False
    )
    with contextlib.redirect_stdout(io.StringIO()):
        found, _ = trackeval.Evaluator({**quiet, "LOG_ON_ERROR": None}).evaluate([dataset], metrics)
    return found[dataset.get_name()][tracker]["COMBINED_SEQ"]  # type: ignore[no-any-return]


def counted(folder: Path, videos: dict[str, list[Pair]], *, is_exhaustive: bool = False) -> dict[str, float]:
    """What an evaluation finds."""
    return counts_of(folder, videos, is_exhaustive=is_exhaustive).figures()


def counts_of(folder: Path, videos: dict[str, list[Pair]], *, is_exhaustive: bool = False) -> TrackCounts:
    metrics = TrackMetrics(np.array(IS_THING))
    found = model(folder)
    for name, pairs in videos.items():
        metrics.start_sequence(name)
        for truth, prediction in pairs:
            metrics.add(replace(truth, is_exhaustive=is_exhaustive), result(prediction, found))
        metrics.end_sequence()
    assert metrics.problems() == []
    return metrics.counts()


def write_kitti_truth(folder: Path, videos: dict[str, list[Pair]]) -> None:
    """With regions that are not judged, as KITTI MOTS has them."""
    (folder / "label_02").mkdir(parents=True)
    for name, pairs in videos.items():
        lines = []
        for frame, pair in enumerate(pairs):
            masks = {
                (1000 * number + each, number): mask
                for number, class_id in enumerate(KITTI.values(), 1)
                for each, mask in true_masks(pair, class_id).items()
            }
            masks[10_000, 10] = pair[0].classes == UNLABELLED
            for (each, number), mask in masks.items():
                height, width = mask.shape
                lines.append(f"{frame} {each} {number} {height} {width} {encoded(mask)['counts']}\n")
        (folder / "label_02" / f"{name}.txt").write_text("".join(lines))


def test_kitti_mots_read_by_trackeval_gives_the_hota_and_idf1_of_the_evaluation(tmp_path: Path) -> None:
    videos = sequences(*SEEDS)
    exports = export(["kitti-mots"], tmp_path, model(tmp_path), videos)
    write_kitti_truth(tmp_path / "truth", videos)
    dataset = trackeval.datasets.KittiMOTS(
        {
            "GT_FOLDER": str(tmp_path / "truth"),
            "TRACKERS_FOLDER": str(exports),
            "TRACKERS_TO_EVAL": ["kitti-mots"],
            "SEQ_INFO": {name: len(pairs) for name, pairs in videos.items()},
            "PRINT_CONFIG": False,
        }
    )
    hota, identity = trackeval.metrics.HOTA(), trackeval.metrics.Identity({"PRINT_CONFIG": False})
    by_class = evaluated(dataset, [hota, identity], "kitti-mots")
    theirs = hota.combine_classes_det_averaged({name: each["HOTA"] for name, each in by_class.items()})
    ids = identity.combine_classes_det_averaged({name: each["Identity"] for name, each in by_class.items()})
    found = counted(tmp_path, videos)
    assert 0.2 < found["HOTA"] < 0.9
    for name in ("HOTA", "DetA", "AssA", "LocA"):
        assert found[name] == pytest.approx(float(np.mean(theirs[name])))
    assert found["IDF1"] == pytest.approx(float(ids["IDF1"]))


def test_kitti_mots_has_the_masks_of_the_predictions_frame_by_frame(tmp_path: Path) -> None:
    videos = sequences(3)
    exports = export(["kitti-mots"], tmp_path, model(tmp_path), videos, numbered(videos), left_out=[4])
    rows = [line.split(" ") for line in (exports / "kitti-mots/data/0003.txt").read_text().splitlines()]
    assert {int(row[0]) for row in rows} == set(range(FRAMES)) - {4}
    for frame, (_, prediction) in enumerate(videos["0003"]):
        shown = np.zeros(prediction.classes.shape, int)
        for _, _, class_id, height, width, counts in (row for row in rows if int(row[0]) == frame):
            mask = coco.decode({"size": [int(height), int(width)], "counts": counts.encode()})
            assert not shown[mask > 0].any()
            shown += mask * int(class_id)
        if frame != 4:
            assert prediction.segments is not None
            is_thing = np.isin(prediction.classes, THINGS) & (prediction.segments > 0)
            np.testing.assert_array_equal(shown, np.where(is_thing, prediction.classes.astype(int) - 1, 0))


def numbered(videos: dict[str, list[Pair]]) -> dict[str, Numbering]:
    names = tuple(f"{5 * place:05}" for place in range(FRAMES))
    return {name: Numbering(70 + place, names, NUMBERS) for place, name in enumerate(videos)}


def youtube_vis_truth(videos: dict[str, list[Pair]], content: dict[str, Any]) -> dict[str, Any]:
    """Ground truth of the exported list of videos, in YouTube-VIS' own format."""
    annotations = []
    for video in content["videos"]:
        for class_id in THINGS:
            masks = [true_masks(pair, class_id) for pair in videos[video["name"]]]
            for each in sorted({number for frame in masks for number in frame}):
                shown = [frame.get(each) for frame in masks]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "video_id": video["id"],
                        "category_id": NUMBERS[class_id],
                        "iscrowd": 0,
                        "height": video["height"],
                        "width": video["width"],
                        "areas": [None if mask is None else int(mask.sum()) for mask in shown],
                        "segmentations": [None if mask is None else uncompressed(mask) for mask in shown],
                    }
                )
    categories = [each for each in content["categories"] if each["isthing"]]
    return {"videos": content["videos"], "categories": categories, "annotations": annotations}


def youtube_vis_results(root: Path, exports: Path, videos: dict[str, list[Pair]]) -> dict[str, Any]:
    """What TrackEval's program finds."""
    content = json.loads((exports / "youtube-vis/videos.json").read_text())
    for video in content["videos"]:
        # TrackEval calls a video by the folder of its first frame.
        video["file_names"][0] = f"{video['name']}/00000"
    truth, tracker = root / "gt" / "youtube_vis_val", root / "trackers" / "youtube_vis_val" / "ours" / "data"
    truth.mkdir(parents=True)
    tracker.mkdir(parents=True)
    (truth / "val.json").write_text(json.dumps(youtube_vis_truth(videos, content)))
    (tracker / "results.json").write_text((exports / "youtube-vis/results.json").read_text())
    dataset = trackeval.datasets.YouTubeVIS(
        {
            "GT_FOLDER": f"{root / 'gt'}/",
            "TRACKERS_FOLDER": f"{root / 'trackers'}/",
            "TRACKERS_TO_EVAL": ["ours"],
            "SPLIT_TO_EVAL": "val",
            "PRINT_CONFIG": False,
        }
    )
    # TrackEval numbers tracks from 0, and takes a true track that 0 matched for a free one.
    dataset.global_tid_counter = 1
    metric = trackeval.metrics.TrackMAP(
        {"PRINT_CONFIG": False, "USE_AREA_RANGES": False, "USE_TIME_RANGES": False, "MAX_DETECTIONS": 100}
    )
    return evaluated(dataset, [metric], "ours")["cls_comb_cls_av"]["TrackMAP"]  # type: ignore[no-any-return]


def test_youtube_vis_read_by_trackeval_gives_the_ap_of_the_evaluation(tmp_path: Path) -> None:
    videos = sequences(*SEEDS)
    exports = export(["youtube-vis"], tmp_path, model(tmp_path), videos, numbered(videos))
    theirs = youtube_vis_results(tmp_path, exports, videos)
    found = counted(tmp_path, videos, is_exhaustive=True)
    assert 0.02 < found["AP"] < 0.9
    assert found["AP"] == pytest.approx(float(np.mean(theirs["AP_all"])))
    assert found["AP50"] == pytest.approx(float(theirs["AP_all"][0]))
    assert found["AP75"] == pytest.approx(float(theirs["AP_all"][5]))
    assert found["AR"] == pytest.approx(float(np.mean(theirs["AR_all"])))


def test_youtube_vis_results_have_the_masks_of_tracks_and_a_place_for_every_frame(tmp_path: Path) -> None:
    videos = sequences(3)
    exports = export(["youtube-vis"], tmp_path, model(tmp_path), videos, numbered(videos), left_out=[0, FRAMES - 1])
    tracks = json.loads((exports / "youtube-vis/results.json").read_text())
    assert all(track["video_id"] == 70 for track in tracks)
    assert all(len(track["segmentations"]) == FRAMES for track in tracks)
    assert {track["category_id"] for track in tracks} <= {25, 13}
    for place, (_, prediction) in enumerate(videos["0003"]):
        masks = [track["segmentations"][place] for track in tracks if track["segmentations"][place]]
        if place in (0, FRAMES - 1):
            assert masks == []
            continue
        assert prediction.segments is not None
        ids = np.where(np.isin(prediction.classes, THINGS), prediction.segments, 0)
        expected = sorted(int((ids == each).sum()) for each in np.unique(ids) if each)
        assert sorted(int(coco.area({**mask, "counts": mask["counts"].encode()})) for mask in masks) == expected
    (video,) = json.loads((exports / "youtube-vis/videos.json").read_text())["videos"]
    assert (video["id"], video["length"], video["height"], video["width"]) == (70, FRAMES, 24, 36)


def test_nothing_found_is_an_empty_list_and_an_empty_file(tmp_path: Path) -> None:
    videos = sequences(3)
    exports = export(["youtube-vis", "kitti-mots"], tmp_path, model(tmp_path), videos, left_out=range(FRAMES))
    assert json.loads((exports / "youtube-vis/results.json").read_text()) == []
    assert (exports / "kitti-mots/data/0003.txt").read_text() == ""


def test_perfect_predictions_have_perfect_figures(tmp_path: Path) -> None:
    videos = {
        name: [
            (truth, replace(prediction, classes=truth.classes, segments=truth.instances, epoch=0))
            for truth, prediction in pairs
        ]
        for name, pairs in sequences(*SEEDS).items()
    }
    found = counted(tmp_path, videos)
    assert found.keys() == {"HOTA", "DetA", "AssA", "LocA", "IDF1", "AP", "AR", "AP50", "AP75"}
    assert found == pytest.approx(dict.fromkeys(found, 1.0))


def test_recordings_counted_alone_add_up_in_any_order_through_files(tmp_path: Path) -> None:
    videos = sequences(*SEEDS)
    expected = counted(tmp_path, videos)
    alone = [json.dumps(plain(counts_of(tmp_path, {name: pairs}))) for name, pairs in videos.items()]
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        total = TrackCounts()
        for number in order:
            total.add(from_json(TrackCounts, json.loads(alone[number])))
        assert total.figures() == expected


def test_counts_of_runs_add_up_with_their_tracks(tmp_path: Path) -> None:
    videos = sequences(*SEEDS)
    total = RunCounts.empty(len(CLASSES))
    for name, pairs in videos.items():
        alone = RunCounts.empty(len(CLASSES))
        alone.tracks = counts_of(tmp_path, {name: pairs})
        total.add(alone)
    found = total.figures(CLASSES, IS_THING, Convention.STANDARD)
    assert found["other_metrics"] == counted(tmp_path, videos)
    assert RunCounts.empty(4).figures(CLASSES, IS_THING, Convention.STANDARD)["other_metrics"] == {}


def test_tracks_of_one_score_count_alike_whichever_recording_comes_first() -> None:
    right, wrong = ((ONE // 2, 0b1111111111),), ((ONE // 2, 0),)
    found = []
    for order in ((right, wrong), (wrong, right)):
        total = TrackCounts()
        for tracks in order:
            total.add(TrackCounts({BOX: ClassTracks(true_tracks=1, tracks=tracks)}))
        found.append(total.figures()["AP"])
    assert found[0] == found[1] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    "change", [{"matched": [1]}, {"iou": [[1]]}, {"tracks": [[-1, 0]]}, {"tracks": [[1, 1024]]}, {"ids": [1]}], ids=str
)
def test_counts_by_a_stranger_that_are_none_are_told(tmp_path: Path, change: dict[str, Any]) -> None:
    content = plain(counts_of(tmp_path, sequences(3)))
    content["classes"][str(BOX)].update(change)
    with pytest.raises(JsonFileError, match=r"^classes\.2"):
        from_json(TrackCounts, content)


def test_what_is_found_where_nobody_labelled_is_wrong_only_where_the_truth_is_exhaustive(tmp_path: Path) -> None:
    truth, prediction = sequences(3)["0003"][0]
    classes, ids = np.full((20, 20), UNLABELLED, np.uint8), np.zeros((20, 20), np.uint16)
    classes[:5], ids[:5] = BOX, 1
    seen, names = classes.copy(), ids.copy()
    seen[10:], names[10:] = BOX, 2
    true, found = replace(truth, classes=classes, instances=ids), replace(prediction, classes=seen, segments=names)
    videos = {"a": [(true, found)]}
    assert counted(tmp_path, videos)["DetA"] == 1.0
    assert counted(tmp_path, videos, is_exhaustive=True)["DetA"] == pytest.approx(0.5)


def test_sequences_without_ids_of_things_have_no_figures(tmp_path: Path) -> None:
    videos = {"a": [(replace(truth, instances=None), each) for truth, each in sequences(3)["0003"]]}
    assert counted(tmp_path, videos) == {}


@pytest.mark.parametrize("name", ["coco-panoptic", "vipseg", "youtube-vis", "kitti-mots"])
def test_the_semantic_task_has_nothing_to_export(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"--export {name} is of segments with ids"):
        export([name], tmp_path, model(tmp_path, "semantic"), sequences(3))


def test_kitti_mots_needs_one_of_its_classes(tmp_path: Path) -> None:
    table = TABLE.replace("car", "box").replace("person", "ball")
    with pytest.raises(UserError, match="--export kitti-mots: the model has none of the classes car, pedestrian, pers"):
        export(["kitti-mots"], tmp_path, model(tmp_path, table=table), sequences(3))
