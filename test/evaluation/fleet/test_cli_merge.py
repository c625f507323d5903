"""`eomt-ros merge`: what it leaves, and what its exit code says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from eomt_ros.cli.main import main
from eomt_ros.evaluation.fleet.folder import put_failure
from eomt_ros.evaluation.fleet.outcome import DONE, FAILED, Outcome, write_outcome
from eomt_ros.evaluation.results import FILE, read_results
from test.evaluation import bags
from test.evaluation.fleet.recordings import evaluated


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "bags").mkdir()
    for name, tags in (("a", ["night"]), ("b", ["day"])):
        evaluated([bags.write_scene(tmp_path / "bags" / name, 9)], tmp_path / "out" / name, {"tags": tags})
    return tmp_path / "out"


def test_it_leaves_figures_report_and_tables(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", str(out)]) == 0
    tables = {"figures.csv", "recordings.csv", "frames.csv", "objects.csv"}
    assert {each.name for each in out.iterdir()} == {"a", "b", FILE, "report.html", *tables}
    assert len((out / "frames.csv").read_text().splitlines()) == 1 + 18
    merged = json.loads((out / FILE).read_text())
    assert merged["frames"] == 18
    assert [each["name"] for each in merged["recordings"]] == ["a", "b"]
    said = capsys.readouterr().out
    assert "18 frames, 18 with ground truth" in said
    assert str(out / "report.html") in said
    # It may be called again, as more recordings come.
    before = read_results(out)
    assert main(["merge", str(out)]) == 0
    assert read_results(out) == before


def test_a_failed_recording_is_told_of_and_the_exit_code_is_1(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_failure(Outcome("c", "/bags/c", "k", FAILED, "no images"), out)
    assert main(["merge", str(out)]) == 1
    assert "failed: c: no images" in capsys.readouterr().out


def test_a_recording_that_was_read_in_part_only_is_as_in_the_run_itself(out: Path, tmp_path: Path) -> None:
    write_outcome(Outcome("b", "/bags/b", "k", DONE, "9 of 60 messages could be read"), out / "b")
    assert main(["merge", str(out), "--junit", str(tmp_path / "junit.xml")]) == 1
    assert "9 of 60 messages could be read" in (tmp_path / "junit.xml").read_text()


def test_a_gate_fails_with_2(out: Path) -> None:
    assert main(["merge", str(out), "--fail-if", "miou < 1.1 in night"]) == 2
    assert main(["merge", str(out), "--fail-if", "miou < 0.0 in night"]) == 0
    assert main(["merge", str(out), "--fail-if", "miou < 0.0 in dusk"]) == 1


def test_a_folder_without_recordings_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", str(tmp_path)]) == 1
    assert "has no recordings" in capsys.readouterr().err


def test_merging_needs_no_torch(out: Path) -> None:
    program = "import sys; from eomt_ros.cli.main import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program, "merge", str(out)], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
