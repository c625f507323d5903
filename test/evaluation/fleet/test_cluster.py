"""Recordings on a real Dask scheduler with workers in processes of their own, which come, go and are killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import eomt_ros
from eomt_ros.evaluation.fleet.cluster import run_units
from eomt_ros.evaluation.fleet.inputs import expand
from eomt_ros.evaluation.fleet.outcome import DONE, FAILED, Outcome
from eomt_ros.evaluation.fleet.unit import Unit, units_of
from eomt_ros.evaluation.fleet.work import FleetError, FleetJob
from eomt_ros.evaluation.request import TRUTH, EvaluationRequest
from test import ROOT
from test.evaluation.bags import write_scene
from test.patience import PATIENCE

pytestmark = pytest.mark.slow

REQUEST = EvaluationRequest(predictions=TRUTH, video=False)
"""The ground truth as the predictions: no model is needed."""
LONG = 400
"""Frames of a recording that is still under way when another one has ended."""


class Cluster:
    """A scheduler of this machine, and its workers; all have ended after the `with` block."""

    def __init__(self) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = int(found.getsockname()[1])
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._programs = ExitStack()
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Cluster:
        self.start_scheduler()
        return self

    def __exit__(self, *_: object) -> None:
        self._programs.close()

    def start_scheduler(self) -> None:
        """Starts the scheduler, perhaps once more."""
        self.scheduler = self._start("dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port))

    def start_worker(self, *options: str, path: Path = ROOT) -> None:
        """Starts a worker that nobody starts again. path: where its Python looks for modules first."""
        once = ("--nthreads", "1", "--no-nanny", *options)
        self.workers.append(self._start("dask_worker", self.address, *once, path=path))

    def _start(self, program: str, *arguments: str, path: Path = ROOT) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}"}
        command = [sys.executable, "-m", f"distributed.cli.{program}", *arguments, "--no-dashboard"]
        return self._programs.enter_context(
            _ended(subprocess.Popen(command, env=environment, cwd=path, stderr=subprocess.DEVNULL))
        )


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A scheduler without workers."""
    with Cluster() as cluster:
        yield cluster


def units(folder: Path, **frames: int) -> list[Unit]:
    """Recordings of so many frames."""
    for name, count in frames.items():
        write_scene(folder / name, count)
    return units_of(expand([folder / name for name in frames]), REQUEST)[0]


def run(
    cluster: Cluster,
    units: list[Unit],
    out: Path,
    ended: Callable[[Outcome], None] = lambda outcome: None,
    **options: float,
) -> list[Outcome]:
    """Evaluates recordings, and returns what became of them in the order in which they ended."""
    outcomes: list[Outcome] = []

    def on_outcome(outcome: Outcome) -> None:
        outcomes.append(outcome)
        ended(outcome)

    out.mkdir(exist_ok=True)
    job = FleetJob(request=REQUEST, out=out, threads=1)
    resources = {name: value for name, value in options.items() if name != "patience"}
    patience = options.get("patience", PATIENCE)
    run_units(
        units,
        job,
        scheduler=cluster.address,
        resources=resources,
        on_outcome=on_outcome,
        stop=threading.Event(),
        patience=patience,
    )
    return outcomes


def under_way(out: Path, name: str) -> bool:
    """Whether a worker is at a recording."""
    return any(out.glob(f".{name}.*"))


def wait_until(happened: Callable[[], bool]) -> None:
    """Waits for something that another process does."""
    ends = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_two_workers_evaluate_all_recordings_each_once(cluster: Cluster, tmp_path: Path) -> None:
    for _ in range(2):
        cluster.start_worker("--resources", "GPU=1")
    recordings = units(tmp_path / "bags", a=3, b=3, c=3, d=3)
    broken = tmp_path / "bags" / "e.mcap"
    broken.write_bytes(b"nothing")
    recordings += units_of([broken], REQUEST)[0]
    outcomes = {each.name: each for each in run(cluster, recordings, tmp_path / "out", GPU=1)}
    assert {name: each.state for name, each in outcomes.items()} == {**dict.fromkeys("abcd", DONE), "e": FAILED}
    assert "e.mcap" in outcomes["e"].error
    for name in "abcd":
        found = json.loads((tmp_path / "out" / name / "metrics.json").read_text())
        assert (found["frames"], found["miou"]) == (3, 1.0)


def test_a_recording_whose_worker_is_killed_is_tried_again_by_another(cluster: Cluster, tmp_path: Path) -> None:
    for _ in range(2):
        cluster.start_worker()
    out = tmp_path / "out"
    recordings = units(tmp_path / "bags", long=LONG, a=2, b=2, c=2)
    killed = list[int]()

    def kill_the_one_at_work(outcome: Outcome) -> None:
        if not killed:
            wait_until(lambda: under_way(out, "long"))
            (half,) = out.glob(".long.*")
            (process,) = [each for each in cluster.workers if half.name.endswith(str(each.pid))]
            process.kill()
            killed.append(process.wait(PATIENCE))

    outcomes = {each.name: each for each in run(cluster, recordings, out, kill_the_one_at_work)}
    assert killed == [-9]
    assert {name: each.state for name, each in outcomes.items()} == dict.fromkeys(("long", "a", "b", "c"), DONE)
    assert outcomes["long"].attempts == 2
    assert json.loads((out / "long" / "metrics.json").read_text())["frames"] == LONG


def test_a_recording_that_kills_each_worker_is_given_up_after_three(cluster: Cluster, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ends = threading.Event()

    def kill_whoever_works() -> None:
        while not ends.wait(0.01):
            for half in out.glob(".long.*"):
                for process in cluster.workers:
                    if half.name.endswith(str(process.pid)) and process.poll() is None:
                        process.kill()
                        process.wait()

    for _ in range(3):
        cluster.start_worker()
    killer = threading.Thread(target=kill_whoever_works)
    killer.start()
    try:
        (outcome,) = run(cluster, units(tmp_path / "bags", long=LONG), out)
    finally:
        ends.set()
        killer.join()
    assert (outcome.state, outcome.attempts) == (FAILED, 3)
    assert "its worker was lost each time" in outcome.error


def test_a_scheduler_that_is_restarted_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cluster.start_worker()
    restarted = list[str]()

    def restart(outcome: Outcome) -> None:
        if not restarted:
            restarted.append(outcome.name)
            cluster.scheduler.kill()
            cluster.scheduler.wait(PATIENCE)
            cluster.start_scheduler()
            cluster.start_worker()

    outcomes = run(cluster, units(tmp_path / "bags", a=2, b=2, c=2), out, restart)
    assert sorted(each.name for each in outcomes) == ["a", "b", "c"]
    assert {each.state for each in outcomes} == {DONE}


def test_a_scheduler_that_stays_away_is_said_in_one_line(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_worker()
    recordings = units(tmp_path / "bags", a=2, b=2)
    message = rf"^--scheduler {cluster.address} does not answer \(.*\): start one .*--resume goes on.*$"

    def kill(outcome: Outcome) -> None:
        cluster.scheduler.kill()
        cluster.scheduler.wait(PATIENCE)

    with pytest.raises(FleetError, match=message):
        run(cluster, recordings, tmp_path / "out", kill, patience=20.0)
    with pytest.raises(FleetError, match=message):
        run(cluster, recordings, tmp_path / "out", patience=0.5)


def test_a_worker_of_another_version_gets_no_work(cluster: Cluster, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "eomt_ros").mkdir(parents=True)
    (other / "eomt_ros" / "__init__.py").write_text("__version__ = '0.0.1'")
    recordings = units(tmp_path / "bags", a=2, b=2)
    cluster.start_worker(path=other)
    refused = rf"on .* has 0\.0\.1 eomt_ros, expected {eomt_ros.__version__}: install that there"
    with pytest.raises(FleetError, match=rf"no worker of {cluster.address} can be used: tcp://.* {refused}$"):
        run(cluster, recordings, tmp_path / "out")
    cluster.start_worker()
    assert_both_there(cluster)
    assert {each.state for each in run(cluster, recordings, tmp_path / "out")} == {DONE}


def test_workers_without_the_folder_or_the_resource_are_refused(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_worker()
    recordings = units(tmp_path / "bags", a=2)
    with pytest.raises(FleetError, match=r"offers no GPU=1, which its option --resources gives it"):
        run(cluster, recordings, tmp_path / "out", GPU=1)
    job = FleetJob(request=REQUEST, out=tmp_path / "elsewhere")
    with pytest.raises(FleetError, match=r"has no folder .*elsewhere: give one that all machines have"):
        run_units(
            recordings,
            job,
            scheduler=cluster.address,
            on_outcome=lambda outcome: None,
            stop=threading.Event(),
        )


def test_a_run_that_is_stopped_ends_without_the_recordings_under_way(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_worker()
    stop = threading.Event()
    outcomes = list[Outcome]()

    def on_outcome(outcome: Outcome) -> None:
        outcomes.append(outcome)
        stop.set()

    out = tmp_path / "out"
    out.mkdir()
    recordings = units(tmp_path / "bags", a=2, b=LONG, c=2)
    job = FleetJob(request=REQUEST, out=out)
    run_units(recordings, job, scheduler=cluster.address, on_outcome=on_outcome, stop=stop)
    assert [each.name for each in outcomes] == ["a"]


def assert_both_there(cluster: Cluster) -> None:
    """Waits until the scheduler knows both workers."""
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        client.wait_for_workers(2, timeout=PATIENCE)
