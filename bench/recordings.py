"""Many recordings: several at a time beside one after the other, those that are done already, and memory of merging."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from bench import machine
from bench.timing import Row, seconds
from eomt_ros.evaluation.fleet.cluster import run_units as cluster_units
from eomt_ros.evaluation.fleet.evaluation import Fleet, Run
from eomt_ros.evaluation.fleet.local import cores
from eomt_ros.evaluation.fleet.local import run_units as local_units
from eomt_ros.evaluation.fleet.merge import Merger
from eomt_ros.evaluation.fleet.unit import units_of
from eomt_ros.evaluation.fleet.work import FleetJob
from eomt_ros.evaluation.request import EvaluationRequest
from eomt_ros.evaluation.results import write_results
from test.evaluation.bags import write_beginning

BAG = Path(__file__).parent.parent / "demo" / "bag"
RECORDINGS, FRAMES = 12, 60
"""Recordings, and frames of the shortest; each has one more than the one before, so that their content differs."""
PAIRS = 2
MERGED = 10_000
REQUEST = EvaluationRequest()
"""The demo model, with all that an evaluation leaves."""


def rows() -> Iterator[Row]:
    """All measurements of this file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recordings: list[Path | str] = [
            write_beginning(folder / "bags" / f"bag_{number:02}", BAG, FRAMES + number) for number in range(RECORDINGS)
        ]
        yield from several(recordings, folder)
        yield kept(recordings, folder / "out")
        yield merging(folder / "out", folder / "merged")


def several(recordings: list[Path | str], folder: Path) -> Iterator[Row]:
    """As many processes as cores, of one thread each, ours and those of Dask, beside one process with all threads."""
    ways = {"one": lambda out: evaluate(recordings, out, local(1))}
    ways["jobs"] = lambda out: evaluate(recordings, out, local(cores()))
    ways["dask"] = lambda out: on_dask(recordings, out)
    times: dict[str, list[float]] = {way: [] for way in ways}
    for pair in range(PAIRS):
        for way, run in ways.items():
            out = folder / "out" if (pair, way) == (0, "one") else folder / f"out_{way}_{pair}"
            out.mkdir()
            times[way].append(seconds(lambda run=run, out=out: run(out)))  # type: ignore[misc]
    for way, name in (("jobs", f"--jobs {cores()}"), ("dask", f"Dask on {cores()} local workers")):
        title = f"{RECORDINGS} recordings, {name}, beside one after the other"
        yield Row.of(title, times[way], times["one"], note="the start of the processes included")


def local(count: int) -> Run:
    """So many processes of our own."""
    return lambda todo, job, ended: local_units(todo, job, jobs=count, on_outcome=ended, stop=threading.Event())


def on_dask(recordings: list[Path | str], out: Path) -> Fleet:
    """Evaluates recordings on a cluster that is started for it, a worker for each core."""
    from distributed import LocalCluster

    options = {"processes": True, "threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
    with LocalCluster(n_workers=cores(), **options) as cluster:  # type: ignore[no-untyped-call]
        address, stop = cluster.scheduler_address, threading.Event()
        return evaluate(
            recordings,
            out,
            lambda todo, job, ended: cluster_units(todo, job, scheduler=address, on_outcome=ended, stop=stop),
        )


def evaluate(recordings: list[Path | str], out: Path, run: Run) -> Fleet:
    """Evaluates recordings, or keeps them where they are done."""
    units, _ = units_of(recordings, REQUEST)
    fleet = Fleet(FleetJob(request=REQUEST, out=out), units)
    fleet.evaluate(run, out / "log.txt", resume=True)
    assert len(fleet.outcomes) == len(units)
    assert all(not outcome.error for outcome in fleet.outcomes), fleet.outcomes
    return fleet


def kept(recordings: list[Path | str], out: Path) -> Row:
    """The cost of a recording that is done already: its fingerprint, its key, its figures added to the others."""
    times = [seconds(lambda: evaluate(recordings, out, local(1))) / len(recordings) for _ in range(5)]
    return Row.of("a recording that is done already", times, note="weights of the model read once for all")


def merging(out: Path, merged: Path) -> Row:
    """Growth of the process that adds up the counts of very many recordings, made of a few that are there."""
    merged.mkdir()
    sources = sorted(path.parent for path in out.glob("*/metrics.json"))
    for number in range(MERGED):
        (merged / f"recording_{number:05}").symlink_to(sources[number % len(sources)])
    before = machine.resident()
    merger = Merger(merged)
    for number in range(MERGED):
        merger.add(f"recording_{number:05}")
    write_results(merger.results(), merged)
    grown = machine.resident() - before
    return Row(f"memory of merging {MERGED} recordings", growth_mib=grown, note=f"{grown:+.0f} MiB of resident memory")
