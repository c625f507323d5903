"""What a run over many recordings tells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eomt_ros.evaluation.fleet.outcome import DONE, FAILED, Outcome
from eomt_ros.evaluation.fleet.progress import FleetProgress

GOOD = Outcome("monday", "/data/monday", "k", DONE, seconds=4.0, frames=200, miou=0.8124)
BAD = Outcome("tue\nsday", "/data/tuesday", "k", FAILED, "it is empty\nreally", seconds=0.1, attempts=3)
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d  "


def test_the_log_has_a_line_for_each_recording_and_keeps_those_of_before(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("before\n")
    with FleetProgress(3, 0, log) as progress:
        progress.ended(GOOD)
        progress.ended(BAD)
    lines = log.read_text().splitlines()
    assert lines[0] == "before"
    assert re.fullmatch(TIME + r"monday  done  200 frames  50\.0 frames/s  mIoU 0\.812", lines[1])
    assert re.fullmatch(TIME + r"tue sday  failed  attempt 3: it is empty really", lines[2])


def test_without_a_terminal_each_line_says_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FleetProgress(4, 1, tmp_path / "log.txt") as progress:
        progress.ended(GOOD)
        progress.ended(BAD)
    first, second = capsys.readouterr().err.splitlines()
    assert re.search(r"  \(2 of 4 recordings, \d+:\d\d left, [\d.]+ frames/s, 0 failed\)$", first)
    assert re.search(r"  \(3 of 4 recordings, \d+:\d\d left, [\d.]+ frames/s, 1 failed\)$", second)


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with (
        FleetProgress(1, 0, tmp_path / "gone" / "log.txt") as progress,
        pytest.raises(OSError, match=r"log\.txt cannot be written: No such file"),
    ):
        progress.ended(GOOD)
