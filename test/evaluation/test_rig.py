"""A bag of two cameras is evaluated camera by camera, and their counts are merged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eomt_ros.engine import Segmenter
from eomt_ros.evaluation.bag import Bag
from eomt_ros.evaluation.output_bag import OutputBag
from eomt_ros.evaluation.predictions import EnginePredictions
from eomt_ros.evaluation.recorded import RecordedPredictions
from eomt_ros.evaluation.results import Figures, Recording, Results
from eomt_ros.evaluation.run import EvaluationOptions, evaluate
from eomt_ros.evaluation.sources import TruthSource, open_sequences
from test.engine.checkpoints import write_checkpoint
from test.evaluation import bags

FRAMES = {"front": 12, "rear": 9}
TOPICS = [bags.rig_topic(camera) for camera in FRAMES]


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    model = write_checkpoint(tmp_path_factory.mktemp("model") / "small")
    return Segmenter.load(model, device="cpu", precision="float32", score_threshold=0.2)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bags.write_rig(tmp_path_factory.mktemp("rig") / "rig", FRAMES)


def run(rig: Path, topics: Sequence[str], segmenter: Segmenter, out: Path, **options: Any) -> Results:
    out.mkdir()
    sequences = open_sequences([rig], topics=topics, truth=TruthSource())
    return evaluate(sequences, EnginePredictions(segmenter), out, EvaluationOptions(video=False, **options))


@pytest.fixture(scope="module")
def found(rig: Path, segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    """The results of both cameras, with the folder in which they and the bags are."""
    out = tmp_path_factory.mktemp("found") / "out"
    return run(rig, TOPICS, segmenter, out, save_bag=True), out


def figures(results: Figures) -> dict[str, Any]:
    return {name: getattr(results, name) for name in Figures.__dataclass_fields__}


def labels(bag: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The classes and the ids in a bag of predictions."""
    with Bag(bag) as opened:
        semantic, panoptic = (
            [each.content for each in bags.labels(opened, f"/segment/{what}")] for what in ("semantic", "panoptic")
        )
    return semantic, panoptic


def miou_of(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """mIoU by its definition, over all pixels of (truth, prediction) together."""
    truth, prediction = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    classes = np.unique(truth)
    return float(
        np.mean(
            [
                np.sum((truth == each) & (prediction == each)) / np.sum((truth == each) | (prediction == each))
                for each in classes
            ]
        )
    )


def test_each_camera_has_the_figures_that_it_has_alone(
    found: tuple[Results, Path], rig: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    merged, _ = found
    assert [each.name for each in merged.recordings] == list(merged.sequences) == ["front", "rear"]
    for recording, topic in zip(merged.recordings, TOPICS, strict=True):
        alone = run(rig, [topic], segmenter, tmp_path / recording.name)
        assert alone.frames_scored == FRAMES[recording.name]
        assert figures(recording) == figures(alone)
        assert (recording.frames, recording.frames_scored) == (alone.frames, alone.frames_scored)
        assert (recording.seconds, recording.predicted) == (alone.seconds, alone.predicted)
        # Of one recording, it is the whole.
        (only,) = alone.recordings
        assert (only.name, figures(only), only.frames) == ("rig", figures(alone), alone.frames)


def test_merged_figures_are_counted_over_all_pixels_and_objects(found: tuple[Results, Path]) -> None:
    merged, out = found
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for camera, count in FRAMES.items():
        semantic, _ = labels(out / "bag" / camera)
        pairs[camera] = [(bags.rig_scene(camera, number)[1], semantic[number]) for number in range(count)]
    for recording in merged.recordings:
        assert recording.miou == pytest.approx(miou_of(pairs[recording.name]))
    assert merged.miou == pytest.approx(miou_of([pair for each in pairs.values() for pair in each]))
    assert merged.miou != pytest.approx(np.mean([each.miou for each in merged.recordings]))
    counts = ("frames", "frames_scored", "seconds", "objects", "object_seconds", "id_switches", "fragmentations")
    for name in counts:
        assert getattr(merged, name) == pytest.approx(sum(getattr(each, name) for each in merged.recordings)), name
    assert merged.objects == 2
    assert {timeline.sequence for timeline in merged.timelines} == {"front", "rear"}
    assert merged.predicted.ids == sum(each.predicted.ids or 0 for each in merged.recordings)


def table(segmenter: Segmenter, path: Path) -> Path:
    """The labels of the model as a file."""
    entries = zip(segmenter.labels.class_names, segmenter.labels.is_thing, strict=True)
    rows = "\n".join(f"  - {{name: {name}, thing: {str(thing).lower()}}}" for name, thing in entries)
    path.write_text(f"name: {segmenter.labels.name}\ntask: panoptic\nclasses:\n{rows}\n")
    return path


def as_a_node_records(out: Path, path: Path) -> Path:
    """Both cameras' results in one bag, each in its namespace."""
    messages = []
    for camera in FRAMES:
        with Bag(out / "bag" / camera) as bag:
            for recorded in bag.recorded(bag.topics):
                topic = recorded.topic.replace("/segment", f"/segment/{camera}")
                messages.append((recorded.time, topic, bag.topics[recorded.topic], recorded.data))
    with OutputBag(path) as written:
        for time, topic, kind, data in sorted(messages, key=lambda message: message[0]):
            written.write(topic, kind, time, data)
    return path


@pytest.mark.parametrize("one_bag", [True, False])
def test_what_was_recorded_scores_as_the_engine_did(
    one_bag: bool, found: tuple[Results, Path], rig: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    expected, out = found
    recorded = as_a_node_records(out, tmp_path / "recorded") if one_bag else out / "bag"
    sequences = open_sequences([rig], topics=TOPICS, truth=TruthSource())
    (tmp_path / "out").mkdir()
    with RecordedPredictions(recorded, sequences, table(segmenter, tmp_path / "labels.yaml")) as predictions:
        again = evaluate(sequences, predictions, tmp_path / "out", EvaluationOptions(video=False))
    assert figures(again) == figures(expected)
    assert again.problems == ()
    assert [plain(each) for each in again.recordings] == [plain(each) for each in expected.recordings]


def plain(recording: Recording) -> dict[str, Any]:
    return {**vars(recording), "predicted": vars(recording.predicted)}


def test_what_is_wrong_with_one_camera_is_said_of_it(rig: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    def messages() -> Any:
        for number in range(5):
            for camera in FRAMES:
                picture, classes, _ = bags.rig_scene(camera, number)
                stamp = bags.stamp(number)
                yield bags.rig_topic(camera), stamp, bags.compressed(stamp, picture)
                wide = np.zeros((8, 8), np.uint8)
                truth = wide if camera == "rear" else classes
                yield f"/{camera}/ground_truth/semantic", stamp, bags.image(stamp, truth, "mono8")

    path = bags.write_bag(tmp_path / "bag", messages())
    found = run(path, TOPICS, segmenter, tmp_path / "out")
    assert [each.frames_scored for each in found.recordings] == [5, 0]
    front, rear = found.recordings
    assert front.miou == found.miou is not None
    assert (rear.miou, rear.frames, rear.predicted.flicker is None) == (None, 5, False)
    (problem,) = found.problems
    assert problem.startswith("rear: 5 frames' ground truth is not used: it has another size")


def test_a_camera_that_was_not_begun_has_no_figures(rig: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    options = EvaluationOptions(video=False)

    class StopsInFront(EnginePredictions):
        def begin(self, frame: Any) -> Any:
            options.stop.set()
            return super().begin(frame)

    sequences = open_sequences([rig], topics=TOPICS, truth=TruthSource())
    found = evaluate(sequences, StopsInFront(segmenter), tmp_path, options)
    assert (found.sequences, [each.name for each in found.recordings]) == (("front", "rear"), ["front"])
    assert found.recordings[0].frames == found.frames == 1
