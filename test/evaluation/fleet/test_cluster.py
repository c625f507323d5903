"""Recordings on a real Dask scheduler with workers in processes of their own, which come, go and are killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import eomt_ros
from eomt_ros.cli.main import main
from eomt_ros.evaluation.fleet.cluster import run_units
from eomt_ros.evaluation.fleet.inputs import expand
from eomt_ros.evaluation.fleet.outcome import DONE, FAILED, Outcome, read_outcome
from eomt_ros.evaluation.fleet.unit import Unit, units_of
from eomt_ros.evaluation.fleet.work import FleetError, FleetJob
from eomt_ros.evaluation.request import TRUTH, EvaluationRequest
from eomt_ros.evaluation.results import read_results
from test import ROOT
from test.evaluation.bags import write_scene
from test.evaluation.fleet.made_files import half_of, wait_for
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


@contextmanager
def killing_whoever_works(cluster: Cluster, out: Path, name: str, *, times: int) -> Iterator[None]:
    """Kills so many workers while they are at a recording."""
    ends = threading.Event()

    def kill() -> None:
        left = times
        while left and not ends.wait(0.01):
            halves = [path.name for path in out.glob(f".{name}.*")]
            for process in cluster.workers:
                if process.poll() is None and any(half.endswith(f"{process.pid:010}") for half in halves):
                    process.kill()
                    process.wait(PATIENCE)
                    left -= 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        ends.set()
        killer.join()


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


def test_the_command_evaluates_on_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_worker("--resources", "GPU=1")
    for name in ("a", "b"):
        write_scene(tmp_path / "bags" / name, 3)
    out = tmp_path / "out"
    truth = ["--predictions", "truth", "--no-video", "--out", str(out)]
    wanted = ["--scheduler", cluster.address, "--worker-resource", "GPU=1"]
    assert not main(["evaluate", str(tmp_path / "bags"), *truth, *wanted])
    found = read_results(out)
    assert (found.frames, found.miou, [each.name for each in found.recordings]) == (6, 1.0, ["a", "b"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--worker-resource", "GPU=1"], "--worker-resource chooses workers of a --scheduler, and there is none"),
        (["--worker-resource", "GPU"], "got GPU, expected a name and a number above 0, such as GPU=1"),
        (["--jobs", "2", "--scheduler", "tcp://a:1"], "--jobs 2 is of this machine, --scheduler tcp://a:1 has its own"),
    ],
)
def test_options_that_do_not_go_together_are_said_before_anything_runs(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        write_scene(tmp_path / "bags" / name, 1)
    try:
        code = main(["evaluate", str(tmp_path / "bags"), "--out", str(tmp_path / "out"), *options])
    except SystemExit as error:
        code = int(error.code or 0)
    assert code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_recording_whose_worker_is_killed_is_tried_again_by_another(cluster: Cluster, tmp_path: Path) -> None:
    for _ in range(2):
        cluster.start_worker()
    out = tmp_path / "out"
    recordings = units(tmp_path / "bags", long=LONG, a=2, b=2, c=2)
    with killing_whoever_works(cluster, out, "long", times=1):
        outcomes = {each.name: each for each in run(cluster, recordings, out)}
    assert [process.poll() for process in cluster.workers].count(-9) == 1
    assert {name: each.state for name, each in outcomes.items()} == dict.fromkeys(("long", "a", "b", "c"), DONE)
    assert outcomes["long"].attempts == 2
    assert read_outcome(out / "long") == outcomes["long"]
    assert json.loads((out / "long" / "metrics.json").read_text())["frames"] == LONG


def test_a_recording_that_kills_each_worker_is_given_up_after_three(cluster: Cluster, tmp_path: Path) -> None:
    for _ in range(3):
        cluster.start_worker()
    out = tmp_path / "out"
    with killing_whoever_works(cluster, out, "long", times=3):
        (outcome,) = run(cluster, units(tmp_path / "bags", long=LONG), out)
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


def test_a_run_that_is_stopped_ends_and_so_does_its_worker_with_the_recording_under_way(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.start_worker()
    stop, out = threading.Event(), tmp_path / "out"
    out.mkdir()

    def soon() -> None:
        wait_for(lambda: half_of(out, "long"))
        stop.set()

    threading.Thread(target=soon, daemon=True).start()
    outcomes = list[Outcome]()
    job = FleetJob(request=REQUEST, out=out)
    recordings = units(tmp_path / "bags", long=2000, next=2)
    run_units(recordings, job, scheduler=cluster.address, on_outcome=outcomes.append, stop=stop)
    wait_for(lambda: not half_of(out, "long"))
    assert (outcomes, list(out.iterdir())) == ([], [])


def test_threads_of_a_worker_sleep_while_they_wait(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client

    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    cluster.start_worker()
    run(cluster, units(tmp_path / "bags", a=1), tmp_path / "out")
    with Client(cluster.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        assert set(client.run(os.getenv, "OMP_WAIT_POLICY").values()) == {"PASSIVE"}


def assert_both_there(cluster: Cluster) -> None:
    """Waits until the scheduler knows both workers."""
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        client.wait_for_workers(2, timeout=PATIENCE)
