"""Counts of recordings add up to those of one run over all of them, to the last digit, in any order and any shards."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eomt_ros.engine import Segmenter
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.counts import RunCounts, counts_of
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.json_file import from_json, plain
from eomt_ros.evaluation.metrics import Scores
from eomt_ros.evaluation.predictions import EnginePredictions
from eomt_ros.evaluation.results import Results, ResultsError, read_results
from eomt_ros.evaluation.run import EvaluationOptions, evaluate
from eomt_ros.evaluation.sources import TruthSource, open_sequences
from test.engine.checkpoints import write_checkpoint
from test.evaluation import bags
from test.evaluation.examples import short_run

NAMES = ("floor", "wall", "box", "cone")
IS_THING = (False, False, True, True)
TIMED = ("fps", "latency_ms", "stages_ms", "latency_histogram")


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    model = write_checkpoint(tmp_path_factory.mktemp("model") / "small")
    return Segmenter.load(model, device="cpu", precision="float32", score_threshold=0.2)


def random_counts(seed: int, frames: int = 9) -> RunCounts:
    """Those of a sequence of random boxes and predictions that are often right."""
    generator = np.random.default_rng(seed)
    scores = Scores(NAMES, IS_THING)
    scores.start_sequence("a")
    for number in range(frames):
        classes = np.repeat(np.arange(2, dtype=np.uint8), 12)[:, None].repeat(32, 1)
        ids = np.zeros(classes.shape, np.uint16)
        for thing in range(1, 4):
            left, top = generator.integers(0, 20, 2)
            classes[top : top + 9, left : left + 9], ids[top : top + 9, left : left + 9] = 2 + thing % 2, thing
        found = np.roll(classes, int(generator.integers(0, 3)), 1)
        found_ids = np.roll(ids, int(generator.integers(0, 3)), 1) * (found > 1)
        scores.update(Truth(classes, ids), Prediction(found, found_ids, 0), begin=number * 0.1, seconds=0.1)
    counts = RunCounts.empty(len(NAMES))
    counts.scores = scores.counts()
    for seconds in generator.uniform(0.01, 0.09, frames):
        counts.latency.add(float(seconds))
    return counts


def summed(parts: Iterable[RunCounts]) -> RunCounts:
    total = RunCounts.empty(len(NAMES))
    for part in parts:
        total.add(part)
    return total


def figures(counts: RunCounts) -> dict[str, Any]:
    return counts.figures(NAMES, IS_THING, Convention.STANDARD)


def through_json(counts: RunCounts) -> RunCounts:
    return from_json(RunCounts, json.loads(json.dumps(plain(counts))))


def test_any_order_and_any_shards_give_the_same_to_the_last_digit() -> None:
    parts = [random_counts(seed) for seed in range(7)]
    expected = figures(summed(parts))
    assert 0 < expected["vpq"] < 1
    assert 0 < expected["aq"] < 1
    assert expected["mvc8"] is not None
    assert expected["vpq"] != pytest.approx(
        sum(figures(each)["vpq"] for each in parts) / 7, abs=1e-6
    )  # no mean of means
    for order in itertools.islice(itertools.permutations(range(7)), 0, 5040, 97):
        cut = order[0] + 1
        shards = [summed(parts[number] for number in order[:cut]), summed(parts[number] for number in order[cut:])]
        assert figures(summed(map(through_json, shards))) == expected


def evaluated(paths: list[Path], segmenter: Segmenter, out: Path) -> Results:
    out.mkdir()
    sequences = open_sequences(paths, truth=TruthSource())
    evaluate(sequences, EnginePredictions(segmenter), out, EvaluationOptions(video=False))
    return read_results(out)


def test_recordings_evaluated_alone_give_the_figures_of_one_run_over_all(segmenter: Segmenter, tmp_path: Path) -> None:
    paths = [bags.write_scene(tmp_path / name, frames) for name, frames in (("a", 12), ("b", 5), ("c", 20))]
    whole = evaluated(paths, segmenter, tmp_path / "whole")
    alone = [evaluated([path], segmenter, tmp_path / f"{path.name}_out") for path in paths]
    for order in itertools.permutations(alone):
        total = RunCounts.empty(len(whole.class_names))
        for each in order:
            total.add(counts_of(each))
        found = total.figures(whole.class_names, whole.is_thing, Convention.STANDARD)
        for name, value in found.items():
            if name not in TIMED:
                assert value == getattr(whole, name), name
        assert sum(count for _, count in found["latency_histogram"]) == whole.frames
    assert found["vpq"] is not None
    assert found["frames"] == 37


def change(results: Results, path: str, value: Any) -> Results:
    counts = json.loads(json.dumps(results.counts))
    *names, last = path.split(".")
    place = counts
    for name in names:
        place = place[name]
    place[last] = value
    return replace(results, counts=counts)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("scores.partial.confusion.counts", [[1, 2], [3]], "expected lists of whole numbers"),
        ("scores.partial.confusion.counts", [[1, 2], [3, 4]], r"shape \(2, 2\), expected"),
        ("scores.partial.confusion.counts", [[1.5]], "expected lists of whole numbers"),
        ("scores.partial.confusion.counts", [[10**30]], "expected lists of whole numbers"),
        ("scores.breakdown.taken_for", [[1]], r"shape \(1, 1\), expected"),
        ("scores.breakdown.iou", [[0.5]], "expected lists of whole numbers"),
        ("scores.returns.returns", [[1, 2, 3]], r"shape \(1, 3\), expected"),
        ("scores.windows.shares", {"many": 1}, "expected a number"),
        ("latency.milliseconds.bins", {"99999": 1}, "bin 99999, expected"),
        ("frames", "many", "expected int"),
        ("predicted.areas", [1], "shape"),
    ],
)
def test_counts_that_are_none_are_refused(
    segmenter: Segmenter, tmp_path: Path, path: str, value: Any, expected: str
) -> None:
    results = evaluated([bags.write_scene(tmp_path / "a", 3)], segmenter, tmp_path / "out")
    with pytest.raises(ResultsError, match=expected):
        counts_of(change(results, path, value))


def test_results_of_an_older_version_have_no_counts() -> None:
    with pytest.raises(ResultsError, match=r"it has no counts.*evaluate again"):
        counts_of(replace(short_run(), counts={}))
