"""`eomt-ros evaluate` over many recordings as a user runs it: killed, stopped, resumed, divided."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eomt_ros.cli.main import main
from eomt_ros.evaluation.results import Results, read_results
from test import ROOT
from test.evaluation import bags
from test.evaluation.fleet.made_files import half_of, kill_process_of, wait_for, write_noise
from test.patience import PATIENCE

# Each process loads torch.
pytestmark = pytest.mark.slow

PROGRAM = "import sys; from eomt_ros.cli.main import main; sys.exit(main())"
FIGURES = (
    "miou",
    "vpq",
    "stq",
    "mvc8",
    "id_switches",
    "object_seconds",
    "objects_found",
    "idf1",
    "frames",
    "class_iou",
)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four recordings, two of one name, and two that are none."""
    folder = tmp_path_factory.mktemp("fleet")
    for name, frames in (("monday/hall", 6), ("tuesday/hall", 9), ("tuesday/yard", 12), ("kitchen", 7)):
        bags.write_scene(folder / name, frames)
    write_noise(folder / "noise.mcap")
    (folder / "empty.db3").touch()
    return folder


HEALTHY = {"monday-hall", "tuesday-hall", "yard", "kitchen"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def words(*arguments: object, model: Path, out: Path) -> list[str]:
    own = ["--out", out, "--device", "cpu", "--model", model, "--no-video"]
    return ["evaluate", *map(str, (*arguments, *own))]


@contextmanager
def running(arguments: list[str], program: str = PROGRAM) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, killed at the end of the block if it is still there."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def figures(found: Results) -> dict[str, object]:
    return {name: getattr(found, name) for name in FIGURES}


def recordings_in(out: Path) -> set[str]:
    """Those that are done."""
    return {path.parent.name for path in out.glob("*/outcome.json") if (path.parent / "metrics.json").exists()}


def test_many_recordings_leave_a_folder_each_and_figures_of_all(
    fleet: Path, model: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(fleet / "kitchen", tmp_path / "copy")
    (tmp_path / "kitchen.tags.yaml").touch()
    arguments = words(fleet, tmp_path / "copy", "--jobs", 2, "--slice", "day=tue:tuesday/*", model=model, out=out)
    assert main(arguments) == 1
    printed, errors = capsys.readouterr()
    assert recordings_in(out) == HEALTHY
    for name in HEALTHY:
        assert {path.name for path in (out / name).iterdir()} >= {"metrics.json", "report.html", "figures.csv", "worst"}
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    found = read_results(out)
    assert {each.name for each in found.failed} == {"noise", "empty"}
    assert [each.name for each in found.recordings] == sorted(HEALTHY)
    assert (found.frames, found.slices["day=tue"].frames) == (34, 21)
    assert any(f"{tmp_path / 'copy'} has the content of {fleet / 'kitchen'}" in each for each in found.problems)
    lines = (out / "log.txt").read_text().splitlines()
    assert len(lines) == 6
    assert sum("  failed  " in line for line in lines) == 2
    assert "(6 of 6 recordings, " in errors
    assert "2 failed)" in errors
    assert "34 frames, 34 with ground truth" in printed
    assert {"metrics.json", "report.html", "figures.csv", "recordings.csv", "log.txt"} <= {
        path.name for path in out.iterdir()
    }

    # Once more: nothing that is done is done again, and what is damaged is tried again.
    before = {name: (out / name / "metrics.json").stat().st_mtime_ns for name in HEALTHY}
    assert main([*arguments, "--resume"]) == 1
    assert {name: (out / name / "metrics.json").stat().st_mtime_ns for name in HEALTHY} == before
    assert figures(read_results(out)) == figures(found)
    assert len((out / "log.txt").read_text().splitlines()) == 8

    # The same by shards on machines that share nothing but the folder.
    shards = tmp_path / "shards"
    for shard in ("1/2", "2/2"):
        main(words(fleet, "--shard", shard, "--slice", "day=tue:tuesday/*", model=model, out=shards))
    assert not (shards / "metrics.json").exists()
    assert {path.name for path in shards.glob("*.txt")} == {"log-1-of-2.txt", "log-2-of-2.txt"}
    assert main(["merge", str(shards)]) == 1
    assert figures(read_results(shards)) == figures(found)


def test_other_settings_are_evaluated_again_and_other_recordings_refused(
    fleet: Path, model: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [fleet / "kitchen", fleet / "monday" / "hall"]
    assert main(words(*both, model=model, out=out)) == 0
    keys = {name: json.loads((out / name / "outcome.json").read_text())["key"] for name in ("kitchen", "hall")}
    assert main(words(*both, "--mask-threshold", 0.4, "--resume", model=model, out=out)) == 0
    again = {name: json.loads((out / name / "outcome.json").read_text())["key"] for name in keys}
    assert not set(keys.values()) & set(again.values())
    assert read_results(out).settings["mask_threshold"] == 0.4
    capsys.readouterr()
    assert main(words(both[0], fleet / "tuesday" / "yard", "--resume", model=model, out=out)) == 1
    assert "holds hall, which is none of the recordings and would count too" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_is_done_and_the_next_run_goes_on(
    number: int, model: Path, out: Path, tmp_path: Path
) -> None:
    recordings = [bags.write_scene(tmp_path / "short", 5), bags.write_scene(tmp_path / "long", 3000)]
    arguments = words(*recordings, model=model, out=out)
    with running(arguments) as process:
        wait_for(lambda: process.poll() is not None or list(out.glob(".long.*/metrics.json")))
        process.send_signal(number)
        printed, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "stopped by the user after 1 of 2 recordings: the figures are of these; --resume goes on" in printed
    assert read_results(out).frames == 5
    assert "stopped by the user" in (out / "report.html").read_text()
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"short"}


def test_a_full_disk_ends_in_one_line_and_leaves_nothing_half(fleet: Path, model: Path, out: Path) -> None:
    # No file can be larger: what a write beyond that raises is an OSError as that of a full disk.
    small = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000)); "
    with running(words(fleet / "kitchen", fleet / "tuesday", model=model, out=out), small + PROGRAM) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert "cannot be written: File too large" in errors
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert recordings_in(out) == set()


def test_killed_workers_and_killed_runs_lose_and_double_nothing(
    fleet: Path, model: Path, out: Path, tmp_path: Path
) -> None:
    """Workers are killed one after the other, the whole run is killed twice, and what is left at the end is right."""
    arguments = words(fleet, "--jobs", 2, "--resume", model=model, out=out)
    over = threading.Event()

    seen: set[str] = set()

    def kill_workers() -> None:
        while not over.wait(0.01):
            for name in HEALTHY - seen:
                for half in half_of(out, name):
                    seen.add(name)  # each recording loses one
                    kill_process_of(half)

    killer = threading.Thread(target=kill_workers)
    killer.start()
    try:
        for done in (1, 2):
            with running(arguments) as process:
                wait_for(lambda done=done: process.poll() is not None or len(recordings_in(out)) >= done)  # type: ignore[misc]
        with running(arguments) as process:
            _, errors = process.communicate(timeout=PATIENCE)
    finally:
        over.set()
        killer.join()
    assert process.returncode == 1, errors  # for the recordings that are none
    assert "leaked" not in errors
    assert seen
    assert recordings_in(out) == HEALTHY
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert main(words(fleet, model=model, out=tmp_path / "undisturbed")) == 1
    found, expected = read_results(out), read_results(tmp_path / "undisturbed")
    assert figures(found) == figures(expected)
    assert [each.name for each in found.recordings] == sorted(HEALTHY)
    assert {each.name for each in found.failed} == {each.name for each in expected.failed}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{fleet}/nothing*"], "nothing fits the pattern"),
        (["@{fleet}/none.txt"], "the list {fleet}/none.txt cannot be read"),
        (["{fleet}", "--shard", "7/9"], "--shard 7/9 has no recording"),
        (["{fleet}/gone", "{fleet}/lost"], "gone does not exist"),
        (["{fleet}", "--resume", "--overwrite"], "--resume goes on and --overwrite begins again: give one of them"),
        (["{fleet}", "--fail-if", "mious < 1"], "miou"),
        (["{fleet}", "--model", "{fleet}"], "has no model.safetensors"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line_and_leaves_nothing(
    arguments: list[str], message: str, fleet: Path, model: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(fleet=fleet) for word in arguments]
    command = words(model=model, out=out)
    assert main([command[0], *command[1:], *given]) == 1
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("eomt-ros: ")]
    assert re.search(re.escape(message.format(fleet=fleet)), line)
    assert not out.exists()


@pytest.mark.parametrize("option", [["--jobs", "0"], ["--jobs", "two"], ["--shard", "0/3"], ["--shard", "4/3"]])
def test_what_is_no_number_of_processes_or_part_is_refused(
    option: list[str], fleet: Path, model: Path, out: Path
) -> None:
    with pytest.raises(SystemExit):
        main([*words(fleet, model=model, out=out), *option])
