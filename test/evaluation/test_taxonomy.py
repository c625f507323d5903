"""Scores in the robot's classes: the ground truth has the model's, and is mapped as the results are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eomt_ros.engine import Segmenter
from eomt_ros.evaluation.errors import SourceError
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.metrics import Scores
from eomt_ros.evaluation.predictions import EnginePredictions
from eomt_ros.evaluation.recorded import RecordedPredictions
from eomt_ros.evaluation.results import Results
from eomt_ros.evaluation.run import EvaluationOptions, evaluate
from eomt_ros.evaluation.sources import TruthSource, open_sequences
from eomt_ros.evaluation.true_masks import TrueMasks
from test.engine.checkpoints import TABLE
from test.evaluation import bags
from test.evaluation.bags import FRAMES

NAMES = ("floor", "wall", "ball", "box", "person")

REVERSED = "classes:\n" + "".join(f"  - {{name: my {name}, from: [{name}], role: none}}\n" for name in reversed(NAMES))
MERGED = """
classes:
  - {name: human, from: [person], role: obstacle}
  - {name: object, from: [box, ball], role: obstacle}
  - {name: ground, from: [floor], role: ground}
"""
MERGED_IDS = np.array([2, 255, 1, 1, 0])
"""Of floor, wall, ball, box and person, by hand."""


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.yaml"
    path.write_text(TABLE)
    return path


@pytest.fixture
def robot(tmp_path: Path) -> Path:
    path = tmp_path / "robot.yaml"
    path.write_text(MERGED)
    return path


def loaded(model: Path, labels: Path, **options: Any) -> Segmenter:
    return Segmenter.load(
        model, **{"device": "cpu", "precision": "float32", "score_threshold": 0.2, "labels": labels, **options}
    )


def evaluated(bag: Path, segmenter: Segmenter, out: Path, **options: Any) -> Results:
    out.mkdir()
    return evaluate(
        open_sequences([bag], truth=TruthSource()),
        EnginePredictions(segmenter),
        out,
        EvaluationOptions(video=False, **options),
    )


def test_other_names_and_ids_are_the_same_scores(bag: Path, model: Path, labels: Path, tmp_path: Path) -> None:
    taxonomy = tmp_path / "reversed.yaml"
    taxonomy.write_text(REVERSED)
    plain = evaluated(bag, loaded(model, labels), tmp_path / "plain")
    found = evaluated(bag, loaded(model, labels, taxonomy=taxonomy), tmp_path / "robot")
    for name in ("miou", "vpq", "stq", "id_switches", "objects_found", "object_seconds"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name)), name
    assert plain.miou is not None
    assert 0 < plain.miou < 1
    assert found.class_iou == {f"my {name}": plain.class_iou[name] for name in reversed(NAMES)}
    assert (found.settings["taxonomy"], found.settings["labels"]) == (str(taxonomy), "reversed")
    assert found.frames_scored == FRAMES


def test_scores_are_those_of_mapped_results_and_mapped_truth_by_hand(
    bag: Path, model: Path, labels: Path, robot: Path, tmp_path: Path
) -> None:
    segmenter = loaded(model, labels, taxonomy=robot)
    scores = Scores(("human", "object", "ground"), (True, True, False))
    scores.start_sequence("bag")
    stream = segmenter.open_stream()
    for number in range(FRAMES):
        picture, classes, instances = bags.scene(number)
        result = segmenter.segment(picture, stream, stamp=Fraction(bags.stamp(number), 10**9))
        prediction = Prediction(result.semantic, result.panoptic, result.epoch)
        scores.update(
            Truth(MERGED_IDS[classes].astype(np.uint8), instances), prediction, begin=number * 0.1, seconds=0.1
        )
    expected = scores.figures()
    found = evaluated(bag, segmenter, tmp_path / "out")
    assert found.class_iou == expected.class_iou
    assert (found.miou, found.vpq, found.stq) == pytest.approx((expected.miou, expected.vpq, expected.stq))


def test_recorded_results_are_scored_with_the_nodes_taxonomy(
    bag: Path, model: Path, labels: Path, robot: Path, tmp_path: Path
) -> None:
    expected = evaluated(bag, loaded(model, labels, taxonomy=robot), tmp_path / "engine", save_bag=True)
    recorded, sequences = tmp_path / "engine" / "bag", open_sequences([bag], truth=TruthSource())
    (tmp_path / "again").mkdir()
    with RecordedPredictions(recorded, sequences, labels, taxonomy=str(robot)) as predictions:
        found = evaluate(sequences, predictions, tmp_path / "again", EvaluationOptions(video=False))
    assert found.class_iou == expected.class_iou
    assert found.vpq == pytest.approx(expected.vpq)
    with pytest.raises(SourceError, match="give the table that the node used with --labels, and its --taxonomy"):
        RecordedPredictions(recorded, sequences, labels)


@pytest.mark.parametrize("options", [{"taxonomy": MERGED}, {"classes": ["box"]}], ids=["taxonomy", "classes"])
def test_the_truth_as_predictions_is_right_in_the_robots_classes_too(
    bag: Path, labels: Path, robot: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    options = {name: str(robot) if name == "taxonomy" else value for name, value in options.items()}
    found = evaluate(
        open_sequences([bag], truth=TruthSource()),
        TrueMasks("", labels, **options),
        tmp_path,
        EvaluationOptions(video=False),
    )
    assert (found.miou, found.stq, found.id_switches) == (1.0, 1.0, 0)
    assert found.objects_found == 1
