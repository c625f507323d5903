"""The report over many recordings: what failed, which are worst, how figures are spread, and where to read on."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from eomt_ros.evaluation import results
from eomt_ros.evaluation.report import write_report
from eomt_ros.evaluation.report.fleet import MOST_FRAMES, render_fleet
from eomt_ros.evaluation.results import FailedRecording, Results
from test.evaluation.examples import fleet_run, recording, rig_run, run_with_returns, short_run, write_pictures
from test.evaluation.report.parsed_page import Page


def page_of(run: Results, folder: Path) -> Page:
    return Page(render_fleet(run, folder))


def test_an_evaluation_of_many_recordings_has_this_report(tmp_path: Path) -> None:
    results.write_results(fleet_run(), tmp_path)
    html = write_report(tmp_path).read_text()
    assert html == render_fleet(results.read_results(tmp_path), tmp_path)
    assert write_report(tmp_path, fleet_run()).read_text() == html
    # Cameras of one recording have no folders of their own.
    assert "<script" not in write_report(tmp_path, rig_run()).read_text()


def test_failed_recordings_stand_on_top_with_their_reason(tmp_path: Path) -> None:
    text = page_of(fleet_run(), tmp_path).text
    assert "2 recordings failed , 40 are in the figures." in text
    assert text.index("gate 07 failed no images: record again, or leave it out") < text.index("hall 00")


def test_each_recording_has_a_line_that_links_to_its_report(tmp_path: Path) -> None:
    page = page_of(fleet_run(), tmp_path)
    assert "hall 00 0.500 0.400" in page.text
    links = [unquote(each["href"] or "") for each in page.all("a")]
    assert {f"hall {number:02}/report.html" for number in range(40)} <= set(links)
    assert "all together 0.711 0.602" in page.text


def test_slices_have_their_figures_and_number_of_recordings(tmp_path: Path) -> None:
    text = page_of(fleet_run(), tmp_path).text
    assert "night 10 0.505 0.602" in text or "night 10 0.506 0.602" in text
    assert "site=hall 40 0.654 0.602" in text
    assert "Slices" not in page_of(replace(fleet_run(), slices={}), tmp_path).text


def test_figures_of_other_peoples_programs_are_those_of_all_recordings(tmp_path: Path) -> None:
    run = replace(fleet_run(), other_metrics={"HOTA": 0.6124})
    assert "Higher is better. HOTA 0.612" in page_of(run, tmp_path).text


def test_the_worst_recordings_of_each_figure_are_named(tmp_path: Path) -> None:
    run = fleet_run()
    text = page_of(run, tmp_path).text
    worst = [f"hall {number:02} {0.5 + 0.01 * number / 40:.3f}" for number in (0, 4, 8, 12, 16)]
    assert f"mIoU higher is better {' '.join(worst)}" in text
    most = max(each.id_switches or 0 for each in run.recordings)
    assert re.search(rf"id switches lower is better hall \d\d {most}\b", text)
    # A figure in which all are equal has no worst.
    assert "IDF1 higher is better hall" not in text


def test_returns_of_all_recordings_are_counted_by_time_away(tmp_path: Path) -> None:
    run = replace(fleet_run(), returns=run_with_returns().returns)
    assert "10 to 30 s 10 7 70.0 % 1 10.0 % 2 20.0 %" in page_of(run, tmp_path).text


def test_the_distribution_of_a_figure_has_its_percentiles_and_bars(tmp_path: Path) -> None:
    page = page_of(fleet_run(21), tmp_path)
    # 6 of the night from 0.500 to 0.510, 15 others from 0.700 to 0.710.
    assert "mIoU 0.711 0.500 0.504 0.703 0.708 0.709" in page.text
    assert re.search(
        r"0\.500 to 0\.510: 6 recordings: hall 00, hall 04, hall 08, hall 12, hall 16 and 1 more", page.text
    )
    widths = [each for each in page.all("svg") if each.get("class") == "spread"]
    assert [each["aria-label"] for each in widths][:2] == ["Distribution of mIoU", "Distribution of VPQ"]


def test_worst_frames_link_to_the_report_of_their_recording(tmp_path: Path) -> None:
    run = fleet_run()
    write_pictures(run, tmp_path)
    page = page_of(run, tmp_path)
    assert len(page.all("img")) == 3 * len(run.worst_frames)
    assert "hall%2000/report.html#worst" in [each["href"] for each in page.all("a")]
    assert 'id="worst"' in write_report_of_one(tmp_path)
    many = replace(run, worst_frames=run.worst_frames * MOST_FRAMES)
    assert len(page_of(many, tmp_path).all("img")) == 3 * MOST_FRAMES


def write_report_of_one(folder: Path) -> str:
    run = short_run()
    write_pictures(run, folder)
    return write_report(folder, run).read_text()


def test_a_picture_that_leads_out_of_the_folder_is_not_shown(tmp_path: Path) -> None:
    run = fleet_run()
    out = tmp_path / "out"
    out.mkdir()
    write_pictures(run, out)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    picture = out / run.worst_frames[0].input
    picture.unlink()
    picture.symlink_to(tmp_path / "secret.jpg")
    page = page_of(run, out)
    assert len(page.all("img")) == 3 * len(run.worst_frames) - 1
    assert "is not in the output folder any more" in page.text


def test_the_page_runs_its_own_script_and_no_other(tmp_path: Path) -> None:
    stranger = recording("<script>alert(1)</script>", short_run(), folder="<script>alert(1)</script>", tags=("<b>",))
    html = render_fleet(replace(fleet_run(), recordings=(stranger,)), tmp_path)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (each["content"] or "" for each in Page(html).all("meta") if each.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert policy.endswith(f"script-src 'sha256-{digest}'")


def test_only_failures_have_a_page_that_says_so(tmp_path: Path) -> None:
    failed = (FailedRecording("gate", "/bags/gate", "no images"),)
    text = page_of(replace(short_run(frames=0), recordings=(), sequences=(), failed=failed), tmp_path).text
    assert "1 recording failed , 0 are in the figures." in text
    assert "gate failed no images" in text


@pytest.mark.parametrize("name", ["javascript:alert(1)", "a b#c?d", "50% of it"])
def test_a_recording_of_any_name_has_its_link(name: str, tmp_path: Path) -> None:
    page = page_of(replace(fleet_run(), recordings=(recording(name, short_run(), folder=name),)), tmp_path)
    links = [each["href"] or "" for each in page.all("a")]
    assert [unquote(link) for link in links] == [f"{name}/report.html"]
    assert not re.search(r"[:#?]", links[0])
