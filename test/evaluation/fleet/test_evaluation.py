"""Many recordings that are kept, evaluated and added up, without processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from eomt_ros.evaluation.fleet.evaluation import Fleet
from eomt_ros.evaluation.fleet.outcome import Outcome
from eomt_ros.evaluation.fleet.unit import Unit, units_of
from eomt_ros.evaluation.fleet.work import FleetJob, evaluate_unit
from eomt_ros.evaluation.request import EvaluationRequest
from eomt_ros.evaluation.results import read_results
from eomt_ros.evaluation.slices import SlicePattern
from test.evaluation import bags
from test.evaluation.fleet.made_files import write_noise

TRUTH = EvaluationRequest(predictions="truth", video=False)
"""Needs no network."""


def in_turn(units: Sequence[Unit], job: FleetJob, ended: Callable[[Outcome], None]) -> None:
    for unit in units:
        ended(evaluate_unit(unit, job))


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path | str]:
    found: list[Path | str] = [bags.write_scene(tmp_path / name, frames) for name, frames in (("one", 5), ("two", 7))]
    return [*found, write_noise(tmp_path / "noise.mcap")]


def evaluate(recordings: list[Path | str], out: Path, *, resume: bool = True, tag: str = "") -> Fleet:
    out.mkdir(exist_ok=True)
    units, notes = units_of(recordings, TRUTH, [SlicePattern(tag, "two")] if tag else [])
    fleet = Fleet(FleetJob(request=TRUTH, out=out), units, notes)
    fleet.evaluate(in_turn, out / "log.txt", resume=resume)
    return fleet


def states(fleet: Fleet) -> dict[str, str]:
    return {each.name: each.state for each in fleet.outcomes}


def test_figures_so_far_are_written_while_it_goes_on(recordings: list[Path | str], tmp_path: Path) -> None:
    fleet = evaluate(recordings, tmp_path / "out")
    assert states(fleet) == {"one": "done", "two": "done", "noise": "failed"}
    assert read_results(tmp_path / "out").frames >= 5
    found = fleet.results(stopped=True)
    assert (found.frames, found.miou, [each.name for each in found.failed]) == (12, 1.0, ["noise"])
    assert found.problems[0].startswith("stopped by the user after 3 of 3 recordings: the figures are of these")


def test_other_tags_are_taken_without_another_evaluation(recordings: list[Path | str], tmp_path: Path) -> None:
    evaluate(recordings, tmp_path / "out", tag="night")
    fleet = evaluate(recordings, tmp_path / "out", tag="day")
    assert states(fleet) == {"one": "kept", "two": "kept", "noise": "failed"}
    assert {tag: each.frames for tag, each in fleet.results().slices.items()} == {"day": 7}
    assert list(read_results(tmp_path / "out" / "two").slices) == ["day"]
    assert states(evaluate(recordings, tmp_path / "out", tag="day"))["two"] == "kept"


def test_a_recording_whose_figures_are_broken_is_evaluated_again(recordings: list[Path | str], tmp_path: Path) -> None:
    evaluate(recordings, tmp_path / "out")
    (tmp_path / "out" / "one" / "metrics.json").write_text("{")
    fleet = evaluate(recordings, tmp_path / "out")
    assert states(fleet) == {"one": "done", "two": "kept", "noise": "failed"}
    assert fleet.results().frames == 12


def test_a_recording_that_is_mended_loses_its_failure(recordings: list[Path | str], tmp_path: Path) -> None:
    evaluate(recordings, tmp_path / "out")
    noise = tmp_path / "noise.mcap"
    (source,) = bags.write_scene(tmp_path / "good", 4).glob("*.mcap")
    noise.write_bytes(source.read_bytes())
    fleet = evaluate(recordings, tmp_path / "out")
    assert states(fleet) == {"one": "kept", "two": "kept", "noise": "done"}
    assert fleet.results().failed == ()


def test_a_shard_leaves_the_figures_of_all_alone(recordings: list[Path | str], tmp_path: Path) -> None:
    units, _ = units_of(recordings, TRUTH)
    (tmp_path / "out").mkdir()
    fleet = replace(Fleet(FleetJob(request=TRUTH, out=tmp_path / "out"), units[:1]), write=False)
    fleet.evaluate(in_turn, tmp_path / "log.txt", resume=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["one"]
