"""Many recordings: several at a time beside one after the other, those that are done already, and memory of merging."""

from __future__ import annotations

import gc
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.timing import Row, seconds
from eomt_ros.evaluation.fleet.evaluation import Fleet
from eomt_ros.evaluation.fleet.local import cores, run_units
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
        yield jobs(recordings, folder)
        yield kept(recordings, folder / "out")
        yield merging(folder / "out", folder / "merged")


def jobs(recordings: list[Path | str], folder: Path) -> Row:
    """As many processes as cores, of one thread each, beside one process with all threads."""
    times: dict[int, list[float]] = {1: [], cores(): []}
    for pair in range(PAIRS):
        for count, measured in times.items():
            out = folder / "out" if (pair, count) == (0, 1) else folder / f"out_{count}_{pair}"
            out.mkdir()
            measured.append(seconds(lambda count=count, out=out: evaluate(recordings, out, count)))  # type: ignore[misc]
    name = f"{RECORDINGS} recordings, --jobs {cores()}, beside one after the other"
    return Row.of(name, times[cores()], times[1], note="the start of the processes included")


def evaluate(recordings: list[Path | str], out: Path, count: int) -> Fleet:
    """Evaluates recordings with so many processes, or keeps them where they are done."""
    units, _ = units_of(recordings, REQUEST)
    fleet = Fleet(FleetJob(request=REQUEST, out=out), units)
    stop = threading.Event()
    fleet.evaluate(
        lambda todo, job, ended: run_units(todo, job, jobs=count, on_outcome=ended, stop=stop),
        out / "log.txt",
        resume=True,
    )
    assert not stop.is_set()
    assert all(not outcome.error for outcome in fleet.outcomes), fleet.outcomes
    return fleet


def kept(recordings: list[Path | str], out: Path) -> Row:
    """The cost of a recording that is done already: its fingerprint, its key, its figures added to the others."""
    times = [seconds(lambda: evaluate(recordings, out, 1)) / len(recordings) for _ in range(5)]
    return Row.of("a recording that is done already", times, note="weights of the model read once for all")


def merging(out: Path, merged: Path) -> Row:
    """Growth of the process that adds up the counts of very many recordings, made of a few that are there."""
    merged.mkdir()
    sources = sorted(path.parent for path in out.glob("*/metrics.json"))
    for number in range(MERGED):
        (merged / f"recording_{number:05}").symlink_to(sources[number % len(sources)])
    gc.collect()
    before = psutil.Process().memory_info().rss
    merger = Merger(merged)
    for number in range(MERGED):
        merger.add(f"recording_{number:05}")
    write_results(merger.results(), merged)
    grown = (psutil.Process().memory_info().rss - before) / 2**20
    return Row(f"memory of merging {MERGED} recordings", growth_mib=grown, note=f"{grown:+.0f} MiB of resident memory")
