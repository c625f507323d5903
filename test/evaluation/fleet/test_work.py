"""The work on one recording, as a process of a fleet does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from eomt_ros.evaluation.fleet.outcome import DONE, FAILED, KEPT, kept
from eomt_ros.evaluation.fleet.unit import Unit, units_of
from eomt_ros.evaluation.fleet.work import FleetError, FleetJob, evaluate_unit
from eomt_ros.evaluation.request import EvaluationRequest
from eomt_ros.evaluation.results import read_results
from test.evaluation import bags
from test.evaluation.fleet.made_files import touch

TRUTH = EvaluationRequest(predictions="truth", video=False)
"""Needs no network."""


def unit_of(path: Path) -> Unit:
    ((unit,), _) = units_of([path], TRUTH)
    return unit


@pytest.fixture
def job(tmp_path: Path) -> FleetJob:
    (tmp_path / "out").mkdir()
    return FleetJob(request=TRUTH, out=tmp_path / "out")


def test_a_recording_that_is_done_is_known_again_by_its_key(job: FleetJob, tmp_path: Path) -> None:
    unit = unit_of(bags.write_scene(tmp_path / "bag", 6))
    outcome = evaluate_unit(unit, job)
    assert (outcome.state, outcome.error, outcome.frames, outcome.miou) == (DONE, "", 6, 1.0)
    found = kept(unit, job.out / "bag")
    assert found is not None
    assert (found.state, found.frames, found.miou) == (KEPT, 6, 1.0)
    assert kept(Unit("bag", unit.path, unit.fingerprint, "another"), job.out / "bag") is None
    settings = read_results(job.out / "bag").settings
    assert (settings["key"], settings["fingerprint"]) == (unit.key, unit.fingerprint)
    assert settings["input"] == [str(tmp_path / "bag")]


def test_a_recording_that_is_damaged_in_its_middle_has_figures_and_says_so(job: FleetJob, tmp_path: Path) -> None:
    bag = bags.write_scene(tmp_path / "bag", 120)
    bags.damage(bag)
    outcome = evaluate_unit(unit_of(bag), job)
    assert outcome.state == DONE
    assert "of 360 messages could be read: bag.mcap has a damaged record" in outcome.error
    assert 0 < outcome.frames == read_results(job.out / "bag").frames < 120


def test_a_recording_that_is_not_there_any_more_has_failed(job: FleetJob, tmp_path: Path) -> None:
    bag = bags.write_scene(tmp_path / "bag", 3)
    unit = unit_of(bag)
    bag.rename(tmp_path / "moved")
    outcome = evaluate_unit(unit, job)
    assert (outcome.state, outcome.error) == (FAILED, f"{bag} does not exist")
    assert list(job.out.iterdir()) == []


def test_a_folder_that_is_not_ours_is_never_replaced(job: FleetJob, tmp_path: Path) -> None:
    touch(job.out, "bag/holiday.jpg")
    outcome = evaluate_unit(unit_of(bags.write_scene(tmp_path / "bag", 3)), job)
    assert outcome.state == FAILED
    assert "is there and is no evaluation of a recording: move it away" in outcome.error
    assert [path.name for path in job.out.rglob("*")] == ["bag", "holiday.jpg"]


def test_a_process_with_another_version_refuses_the_work(job: FleetJob, tmp_path: Path) -> None:
    other = FleetJob(request=TRUTH, out=job.out, version="0.0.1")
    with pytest.raises(FleetError, match=r"a worker has eomt_ros .*, expected 0\.0\.1: install the same version"):
        evaluate_unit(unit_of(bags.write_scene(tmp_path / "bag", 3)), other)
