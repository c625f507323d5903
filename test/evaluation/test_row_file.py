"""CSV files row by row, and those of many recordings as one."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import pytest

from eomt_ros.evaluation.row_file import RowFile, join_rows
from eomt_ros.evaluation.rows import FrameRow

ROW = FrameRow(
    sequence="bag",
    stamp=1_700_000_000_123_456_789,
    seconds=0.1,
    latency_ms=math.nan,
    miou=0.25,
    pq=None,
    objects=3,
    missed=1,
    ghosts=0,
    id_switches=2,
)


def write(path: Path, *rows: FrameRow) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with RowFile.open(path, FrameRow) as file:
        for row in rows:
            file.add(row)


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_rows_are_there_as_soon_as_they_are_added_and_what_is_not_known_is_empty(tmp_path: Path) -> None:
    with RowFile.open(tmp_path / "frames.csv", FrameRow) as file:
        file.add(ROW)
        names, row = read(tmp_path / "frames.csv")
    assert names == list(vars(ROW))
    assert row == ["bag", "1700000000123456789", "0.1", "", "0.25", "", "3", "1", "0", "2"]


def test_sums_of_durations_are_written_as_a_reader_expects_them(tmp_path: Path) -> None:
    write(tmp_path / "frames.csv", FrameRow(**{**vars(ROW), "seconds": 0.1 + 0.2, "miou": 1 / 3}))
    assert read(tmp_path / "frames.csv")[1][2:5] == ["0.3", "", "0.333333333333"]


@pytest.mark.parametrize("name", ["=1+1", "@sum", "+1", "-1"])
def test_a_name_is_no_formula_to_a_spreadsheet(name: str, tmp_path: Path) -> None:
    write(tmp_path / "frames.csv", FrameRow(**{**vars(ROW), "sequence": name}))
    assert read(tmp_path / "frames.csv")[1][0] == f"'{name}"


def test_rows_of_several_recordings_are_joined_under_their_names(tmp_path: Path) -> None:
    write(tmp_path / "a" / "frames.csv", ROW, ROW)
    write(tmp_path / "c" / "frames.csv", ROW)
    (tmp_path / "b").mkdir()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "frames.csv").write_text("other,columns\n1,2\n")
    join_rows(tmp_path, ["a", "b", "c", "d"], "frames.csv", FrameRow)
    names, *rows = read(tmp_path / "frames.csv")
    assert names == ["recording", *vars(ROW)]
    assert [row[0] for row in rows] == ["a", "a", "c"]
    assert {tuple(row[1:]) for row in rows} == {tuple(read(tmp_path / "a" / "frames.csv")[1])}


def test_a_pipe_in_place_of_a_table_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "frames.csv")
    join_rows(tmp_path, ["a"], "frames.csv", FrameRow)
    assert read(tmp_path / "frames.csv") == [["recording", *vars(ROW)]]
