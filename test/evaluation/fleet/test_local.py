"""Recordings in processes of this machine, some of which die."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from eomt_ros.evaluation.fleet.local import ATTEMPTS, run_units
from eomt_ros.evaluation.fleet.outcome import Outcome, read_outcome
from eomt_ros.evaluation.fleet.unit import units_of
from eomt_ros.evaluation.fleet.work import FleetError, FleetJob
from eomt_ros.evaluation.request import EvaluationRequest
from eomt_ros.evaluation.results import read_results
from eomt_ros.model_options import ModelOptions
from test.engine.checkpoints import write_checkpoint
from test.evaluation import bags
from test.evaluation.fleet.made_files import half_of, kill_process_of, wait_for, write_noise

# Each process loads torch.
pytestmark = pytest.mark.slow

Killed = Callable[[], bool]


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> EvaluationRequest:
    model = write_checkpoint(tmp_path_factory.mktemp("model") / "small")
    return EvaluationRequest(model=ModelOptions(model=str(model), device="cpu"), video=False)


def run(
    recordings: list[Path], request: EvaluationRequest, out: Path, stop: threading.Event | None = None
) -> dict[str, Outcome]:
    units, _ = units_of(recordings, request)
    outcomes: list[Outcome] = []
    job = FleetJob(request=request, out=out)
    run_units(units, job, jobs=2, on_outcome=outcomes.append, stop=stop or threading.Event())
    assert len({each.name for each in outcomes}) == len(outcomes)
    return {each.name: each for each in outcomes}


def kill_at(out: Path, name: str, times: int) -> Callable[[], None]:
    """Kills so many processes while they are at work on a recording."""

    def kill() -> None:
        killed: set[str] = set()
        while len(killed) < times:
            half = wait_for(lambda: [each for each in half_of(out, name) if each.suffix not in killed])[0]
            killed.add(half.suffix)
            kill_process_of(half)

    return kill


def test_a_process_that_dies_costs_an_attempt_and_one_that_always_dies_its_recording(
    request_: EvaluationRequest, tmp_path: Path
) -> None:
    recordings = [bags.write_scene(tmp_path / name, 300) for name in ("once", "always")]
    recordings += [bags.write_scene(tmp_path / "never", 5), write_noise(tmp_path / "noise.mcap"), tmp_path / "gone"]
    out = tmp_path / "out"
    killers = [
        threading.Thread(target=kill_at(out, name, times), daemon=True)
        for name, times in (("once", 1), ("always", ATTEMPTS))
    ]
    for killer in killers:
        killer.start()
    found = run(recordings, request_, out)
    states = {name: (outcome.state, outcome.attempts) for name, outcome in found.items()}
    assert states == {
        "once": ("done", 2),
        "always": ("failed", ATTEMPTS),
        "never": ("done", 1),
        "noise": ("failed", 1),
        "gone": ("failed", 1),
    }
    assert "its process ended each time, with SIGKILL, perhaps for want of memory" in found["always"].error
    assert "gone does not exist" in found["gone"].error
    assert str(tmp_path / "noise.mcap") in found["noise"].error or "noise.mcap" in found["noise"].error
    assert (found["once"].frames, read_results(out / "once").frames) == (300, 300)
    assert read_outcome(out / "once") == found["once"]
    assert sorted(each.name for each in out.iterdir() if not each.name.startswith(".")) == ["never", "once"]
    assert multiprocessing.active_children() == []


def test_what_is_wrong_with_the_model_ends_the_run(request_: EvaluationRequest, tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "model")
    request = EvaluationRequest(model=ModelOptions(model=str(model), device="cpu", score_memory=0.5, task="semantic"))
    (model / "config.json").write_text((model / "config.json").read_text().replace("videomt", "bert"))
    with pytest.raises(FleetError, match="bert"):
        run([bags.write_scene(tmp_path / "bag", 3)], request, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_stop_ends_the_processes_at_once(request_: EvaluationRequest, tmp_path: Path) -> None:
    stop, out = threading.Event(), tmp_path / "out"

    def soon() -> None:
        wait_for(lambda: half_of(out, "long"))
        stop.set()

    threading.Thread(target=soon, daemon=True).start()
    assert run([bags.write_scene(tmp_path / "long", 2000)], request_, out, stop) == {}
    assert multiprocessing.active_children() == []
