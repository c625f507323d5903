"""Figures in CSV, as spreadsheets and data frames read them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from eomt_ros.evaluation.csv_files import write_figure_tables, write_table
from eomt_ros.evaluation.figure_names import flat_figures
from eomt_ros.evaluation.results import FailedRecording
from test.evaluation.examples import recording, rig_run, run_in_metres, run_without_truth, short_run


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_one_recording_leaves_all_its_figures_to_the_last_digit(tmp_path: Path) -> None:
    run = run_in_metres()
    write_figure_tables(run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["figures.csv"]
    rows = read(tmp_path / "figures.csv")
    found = {row["figure"]: None if row["all"] == "" else float(row["all"]) for row in rows}
    assert found == flat_figures(run)
    assert {row["figure"]: row["all"] for row in rows}["id_switches"] == "1"


def test_what_is_not_known_is_empty(tmp_path: Path) -> None:
    write_figure_tables(run_without_truth(), tmp_path)
    (miou,) = (row for row in read(tmp_path / "figures.csv") if row["figure"] == "miou")
    assert miou["all"] == ""


def test_slices_are_columns_whatever_they_are_called(tmp_path: Path) -> None:
    run = short_run()
    night = recording("site=night", run, miou=0.25, predicted=replace(run.predicted, ids=9))
    write_figure_tables(replace(run, slices=dict.fromkeys(("site=night", "all", "figure"), night)), tmp_path)
    rows = {row.pop("figure"): row for row in read(tmp_path / "figures.csv")}
    in_slices = ("in site=night", "in all", "in figure")
    assert rows["miou"] == {"all": "0.7111", **dict.fromkeys(in_slices, "0.25")}
    assert rows["predicted.ids"] == {"all": "17", **dict.fromkeys(in_slices, "9")}
    assert rows["latency_ms.p95"] == {"all": "55.2", **dict.fromkeys(in_slices, "")}


def test_several_recordings_are_rows_and_failed_ones_too(tmp_path: Path) -> None:
    run = rig_run()
    front, rear = run.recordings
    metres = run_in_metres().objects_in_metres
    rear = replace(rear, folder="rear", tags=("night", "rain"), fingerprint="12ab", objects_in_metres=metres)
    failed = FailedRecording("monday", "/bags/monday", "no\nframes")
    write_figure_tables(replace(run, recordings=(front, rear), failed=(failed,)), tmp_path)
    rows = read(tmp_path / "recordings.csv")
    assert [row["name"] for row in rows] == ["monday", "front", "rear"]
    assert (rows[0]["error"], rows[0]["miou"]) == ("no frames", "")
    for row, each in zip(rows[1:], (front, rear), strict=True):
        assert {name: float(row[name]) for name in ("miou", "class_iou.box", "predicted.ids", "frames")} == {
            "miou": each.miou,
            "class_iou.box": each.class_iou["box"],
            "predicted.ids": each.predicted.ids,
            "frames": each.frames,
        }
    assert (rows[2]["folder"], rows[2]["tags"], rows[2]["fingerprint"]) == ("rear", "night; rain", "12ab")
    assert rows[1]["objects_in_metres.things"] == ""
    assert rows[2]["objects_in_metres.things"] == "180"


def test_a_name_by_a_stranger_is_no_formula_and_no_second_row(tmp_path: Path) -> None:
    write_table(
        [{"name": '=cmd|"/c calc"!A1', "value": -1.5}, {"name": "a\r\n,\ud800b", "value": None}],
        ("name", "value"),
        tmp_path / "a.csv",
    )
    assert read(tmp_path / "a.csv") == [
        {"name": '\'=cmd|"/c calc"!A1', "value": "-1.5"},
        {"name": "a ,?b", "value": ""},
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
