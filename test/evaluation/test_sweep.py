"""Many thresholds from one pass of the network: the figures are those of separate runs."""

from __future__ import annotations

import itertools
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from eomt_ros.engine import Segmenter
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.counts import RunCounts, counts_of
from eomt_ros.evaluation.predictions import EnginePredictions
from eomt_ros.evaluation.results import Results, ResultsError, read_results
from eomt_ros.evaluation.run import EvaluationOptions, evaluate
from eomt_ros.evaluation.sources import TruthSource, open_sequences
from eomt_ros.evaluation.sweep import MOST_POINTS, Sweep, SweepError, SweptPredictions, points_of
from eomt_ros.evaluation.wrong import SweepPoint, SweptFigures
from test.evaluation import bags

FIGURES = [each.name for each in fields(SweptFigures) if each.name not in ("option", "value", "latency_ms")]
SWEEPS = ("score_threshold=0.1:0.3:0.2", "mask_threshold=0.3,0.7", "overlap_threshold=0.2")


def load(model: Path, **options: Any) -> Segmenter:
    return Segmenter.load(model, device="cpu", precision="float32", **{"score_threshold": 0.2, **options})


def run(paths: list[Path], predictions: EnginePredictions, out: Path) -> Results:
    out.mkdir()
    evaluate(open_sequences(paths, truth=TruthSource()), predictions, out, EvaluationOptions(video=False))
    return read_results(out)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bags")
    return [bags.write_scene(folder / name, frames) for name, frames in (("a", 12), ("b", 5))]


@pytest.mark.parametrize("options", [{}, {"score_memory": 0.5}, {"task": "instance"}])
def test_figures_equal_those_of_separate_runs_with_that_threshold(
    options: dict[str, Any], model: Path, paths: list[Path], tmp_path: Path
) -> None:
    sweeps = [Sweep.parse(text) for text in SWEEPS[: 2 if options.get("task") == "instance" else 3]]
    swept = run(paths, SweptPredictions(load(model, **options), sweeps), tmp_path / "swept")
    plain = run(paths, EnginePredictions(load(model, **options)), tmp_path / "plain")
    assert (swept.miou, swept.vpq, swept.id_switches) == (plain.miou, plain.vpq, plain.id_switches)
    assert [SweepPoint(each.option, each.value) for each in swept.sweep] == sorted(points_of(sweeps))
    different = set()
    for number, point in enumerate(swept.sweep):
        alone = EnginePredictions(load(model, **{**options, point.option: point.value}))
        expected = run(paths, alone, tmp_path / f"alone{number}")
        for name in FIGURES:
            assert getattr(point, name) == getattr(expected, name), (point.option, point.value, name)
        different.add((point.miou, point.vpq, point.idf1))
    assert len(different) > 2


@pytest.mark.parametrize("thresholds", [[], ["score_threshold=0.1,0.3"]], ids=str)
def test_figures_at_other_sizes_equal_those_of_separate_runs(
    thresholds: list[str], model: Path, paths: list[Path], tmp_path: Path
) -> None:
    sweeps = [*map(Sweep.parse, thresholds), Sweep.of_sizes([64, 32, 48])]
    sizes = [load(model, size=size) for size in (64, 32, 48)]
    swept = run(paths, SweptPredictions(sizes[0], sweeps, sizes[1:]), tmp_path / "swept")
    assert [SweepPoint(each.option, each.value) for each in swept.sweep] == points_of(sweeps)
    assert (swept.settings["size"], swept.settings["sweep"][-1]) == (64, "size=32,48,64")
    of_size = [point for point in swept.sweep if point.option == "size"]
    for point in of_size:
        expected = run(paths, EnginePredictions(load(model, size=int(point.value))), tmp_path / f"{point.value:g}")
        for name in FIGURES:
            assert getattr(point, name) == getattr(expected, name), (point.value, name)
        assert point.latency_ms is not None
        assert point.latency_ms.p50 > 0
    assert of_size[-1].latency_ms == swept.latency_ms
    assert len({(point.miou, point.vpq) for point in of_size}) > 1
    total = counts_of(swept)
    total.add(counts_of(swept))
    name = "size=48.0"
    assert total.sweep_latency[name].count == 2 * swept.frames


def test_times_of_sizes_in_several_runtimes_are_told_not_to_compare(model: Path) -> None:
    sizes = load(model), load(model, size=32), Segmenter.load(model, device="cpu", precision="bfloat16", size=48)
    predictions = SweptPredictions(sizes[0], [Sweep.of_sizes([32, 48, 64])], sizes[1:])
    predictions.start_sequence("a")
    assert predictions.problems() == [
        "the times of the sizes do not compare: 32 in torch and float32, 48 in torch and bfloat16"
    ]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([0, 224], "--size 0,224: 0 stands for the model's own"), (range(32, 32 * 13, 32), "expected at most 10, each")],
)
def test_sizes_that_have_no_place_beside_each_other_are_refused(sizes: list[int], expected: str) -> None:
    with pytest.raises(SweepError, match=expected):
        Sweep.of_sizes(sizes)


def test_points_of_recordings_add_up_to_those_of_one_run(model: Path, paths: list[Path], tmp_path: Path) -> None:
    sweeps = [Sweep.parse(SWEEPS[0])]
    predictions = SweptPredictions(load(model), sweeps)
    whole = run(paths, predictions, tmp_path / "whole")
    alone = [run([path], predictions, tmp_path / path.name) for path in paths]
    for order in itertools.permutations(alone):
        total = RunCounts.empty(len(whole.class_names))
        for each in order:
            total.add(counts_of(each))
        figures = total.figures(whole.class_names, whole.is_thing, Convention.STANDARD)
        assert figures["sweep"] == whole.sweep
    assert whole.settings["sweep"] == ["score_threshold=0.1,0.3"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("score_threshold=0.3:0.9:0.1", (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)),
        ("mask_threshold=0.5", (0.5,)),
        ("overlap_threshold=0.9,0.1,0.9", (0.9, 0.1)),
        ("score_threshold=0:1:0.4", (0.0, 0.4, 0.8)),
    ],
)
def test_a_sweep_has_both_ends_and_exact_values(text: str, values: tuple[float, ...]) -> None:
    assert Sweep.parse(text) == Sweep(text.partition("=")[0], values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("score_treshold=0.3:0.9:0.1", r"'score_treshold' is no threshold.*did you mean 'score_threshold'\?"),
        ("top_k=3", "'top_k' is no threshold"),
        ("", "'' is no threshold"),
        ("score_threshold", "expected FIRST:LAST:STEP or values with commas between, such as score_threshold=0.3"),
        ("score_threshold=0.3:0.9", "expected FIRST:LAST:STEP"),
        ("score_threshold=0.3:0.9:0", "expected FIRST:LAST:STEP"),
        ("score_threshold=0.9:0.3:0.1", "expected FIRST:LAST:STEP"),
        ("score_threshold=0.5,nan", "a threshold lies in 0 to 1"),
        ("score_threshold=nan:0.5:0.1", "expected FIRST:LAST:STEP"),
        ("score_threshold=0:inf:0.1", "expected FIRST:LAST:STEP"),
        ("score_threshold=high", "expected FIRST:LAST:STEP"),
        ("score_threshold=0.5:1.5:0.5", "a threshold lies in 0 to 1"),
        ("score_threshold=-1", "a threshold lies in 0 to 1"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(text: str, expected: str) -> None:
    with pytest.raises(SweepError, match=expected):
        Sweep.parse(text)


def test_too_many_values_are_refused_however_short_the_step() -> None:
    with pytest.raises(SweepError, match=f"more than {MOST_POINTS} values in all"):
        points_of([Sweep.parse("score_threshold=0:1:1e-30")])


@pytest.mark.parametrize(
    ("task", "option", "expected"),
    [
        ("semantic", "score_threshold", "makes no difference to the semantic task, which has no threshold"),
        ("instance", "overlap_threshold", "the instance task, which has score_threshold and mask_threshold"),
    ],
)
def test_a_threshold_that_makes_no_difference_is_refused(task: str, option: str, expected: str, model: Path) -> None:
    with pytest.raises(SweepError, match=expected):
        SweptPredictions(load(model, task=task), [Sweep(option, (0.5,))])


def test_names_of_points_that_are_none_are_refused(model: Path, paths: list[Path], tmp_path: Path) -> None:
    found = run(paths[1:], SweptPredictions(load(model), [Sweep("score_threshold", (0.5,))]), tmp_path / "out")
    counts = json.loads(json.dumps(found.counts))
    counts["sweep"]["high"] = counts["sweep"].pop("score_threshold=0.5")
    with pytest.raises(ResultsError, match=r"'high', expected one such as score_threshold=0\.3"):
        counts_of(replace(found, counts=counts))
