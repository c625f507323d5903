"""The report of a training: all that a run left in its folder is in it, whatever is missing there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eomt_ros.training.errors import TrainingError
from eomt_ros.training.history import HISTORY_FILE
from eomt_ros.training.report import write_report
from eomt_ros.training.report.log_curves import curve, read_log
from test.evaluation.report.parsed_page import Page
from test.training.report.runs import NOTE, validation, write_log, write_run

THREE = (validation(0, 0.4, 0.2), validation(20, 0.7, 0.55), validation(40, 0.6, 0.5, id_switches=9))


def page_of(run: Path, unfinished: str = "") -> Page:
    return Page(write_report(run, unfinished).read_text(encoding="utf-8"))


def test_it_says_how_good_the_best_is_and_how_good_the_start_was(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, *THREE))
    assert "Training of run" in page.text
    assert "after step 20, on 3 frames" in page.text
    assert re.search(r"mIoU 0\.700 .{0,200}at the start 0\.400", page.text)
    assert re.search(r"mIoU 0\.400 0\.700 \+0\.300 ▲", page.text)
    assert re.search(r"box 0\.300 0\.600 \+0\.300 ▲", page.text)
    assert "start best" in page.text


def test_it_says_what_was_trained_and_how_to_use_and_repeat_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, *THREE)
    page = page_of(run)
    assert f"data {tmp_path}/data start demo task panoptic family videomt size 64 length 40 steps, 0:20" in page.text
    assert f"ros2 launch eomt_ros segment.launch.py model:={run}" in page.text
    assert f"eomt-ros train {tmp_path}/data --settings {run}/settings.yaml --start demo" in page.text
    for setting in ("learning_rate 0.0001", "clip_norm 0.01", "versions.torch 2.13.0"):
        assert setting in page.text, setting


def test_the_curves_are_as_high_as_their_values(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, *THREE))
    for name in ("Scores", "Loss", "Losses of the last answer", "Learning rate"):
        assert f"{name} over the steps" in [each.get("aria-label") for each in page.all("svg")]
    lines = [each["points"] for each in page.all("polyline")]
    assert "0,60 50,30 100,40 " in lines  # mIoU of steps 0, 20 and 40 of 40
    assert "step 20: mIoU 0.700, VPQ 0.550, STQ 0.682, objects found 0.667" in page.text


def test_data_are_counted_by_class_and_part(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, *THREE))
    assert "train 2 6 93.8 %" in page.text
    assert "val 1 3 93.8 %" in page.text
    assert "box 432 10.0 % 4 216 10.0 % 2" in page.text
    assert "floor 1,848 42.8 % — 924 42.8 % —" in page.text


def test_the_worst_frames_are_pictures_by_the_name_of_their_files(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, *THREE))
    sources = [each["src"] or "" for each in page.all("img")]
    assert len(sources) == 4
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "c/000001.jpg, mIoU 0.400" in page.text


def test_what_went_wrong_is_at_the_top(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, *THREE, notes=(NOTE, "<b>two</b>")))
    assert f"What went wrong {NOTE} <b>two</b>" in page.text


def test_a_result_that_is_worse_than_its_start_says_so(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, validation(0, 0.7, 0.6), validation(9, 0.8, 0.5)))
    assert "the best network is worse than the start: its score is 0.500, that of the start was 0.600" in page.text


def test_a_run_that_was_stopped_says_how_it_goes_on(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, THREE[0]), "It was stopped after step 7: --resume goes on with it.")
    assert "The run is not over It was stopped after step 7: --resume goes on with it." in page.text
    assert "There are no figures of a result yet." in page.text


def test_the_semantic_task_has_no_figures_of_objects(tmp_path: Path) -> None:
    names = ("vpq_things", "vpq_stuff", "stq", "sq", "aq", "objects", "objects_found", "frames_found", "idf1")
    nothing = {"vpq_by_window": {}, **dict.fromkeys(names)}
    page = page_of(write_run(tmp_path, validation(0, 0.4, None, **nothing), validation(9, 0.5, None, **nothing)))
    said = [text.strip() for text in page.said]
    assert "mIoU" in said
    assert not {"VPQ", "STQ", "objects found", "IDF1"} & set(said)


@pytest.mark.parametrize("missing", ["training.csv", "settings.yaml"])
def test_without_a_file_the_rest_is_there(missing: str, tmp_path: Path) -> None:
    run = write_run(tmp_path, *THREE)
    (run / missing).unlink()
    page = page_of(run)
    assert "+0.300" in page.text
    assert (missing == "settings.yaml") == ("learning_rate 0.0001" not in page.text)


def test_without_a_validation_there_is_a_report_too(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, steps=1))
    assert "Nothing was validated" in page.text


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=f"{tmp_path} has no {HISTORY_FILE}"):
        write_report(tmp_path)


def test_a_long_log_becomes_means_and_what_is_no_number_a_gap(tmp_path: Path) -> None:
    write_log(tmp_path, steps=1000)
    course = curve(read_log(tmp_path), "loss")
    assert len(course) == 59
    assert course[0] == (9.0, pytest.approx(8 * (1 - 9 / 1000)))
    lines = (tmp_path / "training.csv").read_text().splitlines()
    lines[1:18] = [re.sub(r"^(\d+),[^,]*", r"\1,nan", line) for line in lines[1:18]]
    (tmp_path / "training.csv").write_text("\n".join([*lines, "1001,3"]))
    course = curve(read_log(tmp_path), "loss")
    assert course[0] == (9.0, None)
    assert len(course) == 59
