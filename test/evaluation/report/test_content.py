"""The report: everything that an evaluation found is in it, readable, escaped, and in one file."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from eomt_ros.evaluation import results
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.ids import IdSpan, ObjectTimeline, ThingReturn
from eomt_ros.evaluation.latency import Percentiles
from eomt_ros.evaluation.report import content, write_report
from eomt_ros.evaluation.report.comparison import ComparedRun, compare, comparison_page
from eomt_ros.evaluation.report.page import TEMPLATES
from eomt_ros.evaluation.results import ReplayFigures, Results
from test.evaluation.examples import (
    long_run,
    recording,
    rig_run,
    run_in_metres,
    run_with_returns,
    run_without_truth,
    short_run,
    write_pictures,
)
from test.evaluation.report.parsed_page import Page


def page_of(run: Results, folder: Path) -> Page:
    return Page(content.render(run, folder))


def test_the_page_is_made_from_the_results_in_the_folder_and_lies_beside_them(tmp_path: Path) -> None:
    write_pictures(short_run(), tmp_path)
    results.write_results(short_run(), tmp_path)
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == content.render(results.read_results(tmp_path), tmp_path)


def test_a_folder_without_results_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(results.ResultsError, match=re.escape(str(tmp_path))):
        write_report(tmp_path)


def test_figures_of_other_peoples_programs_appear_where_they_were_asked_for(tmp_path: Path) -> None:
    run = replace(short_run(), other_metrics={"HOTA": 0.6124, "AP50": math.nan})
    assert "AP and AR are means over classes. Higher is better. HOTA 0.612 AP50 —" in page_of(run, tmp_path).text
    assert "TrackEval" not in page_of(short_run(), tmp_path).text


def test_every_figure_appears_with_what_it_means(tmp_path: Path) -> None:
    page = page_of(short_run(), tmp_path)
    figures = (
        "0.711 0.602 0.502 0.702 0.682 0.712 0.652 0.932 0.892 0.651 0.631 0.601 0.571 0.551 0.922 0.833 0.644 0.456 "
        "1.25 23.4 41.1 55.2 61.3 902.4 35.5 48.6 800.8 7.4"
    )
    for figure in [*figures.split(), "66.7 %", "58.3 %", "24.00 s", "0.35 s"]:
        assert figure in page.text, figure
    for name in ("fragmentations 7", "wrong ids after re-entry 2", "id switches 1", "objects 3"):
        assert name in page.text, name
    assert page.text.count("↑ higher is better") + page.text.count("↓ lower is better") > 20


def test_the_page_says_what_was_run_and_how_to_run_it_again(tmp_path: Path) -> None:
    page = page_of(short_run(), tmp_path)
    assert "Evaluation of demo" in page.text
    assert (
        "input recordings/bag task panoptic device cpu date 2026-02-03 04:05 UTC length 100 frames, 0:10.0" in page.text
    )
    assert "eomt-ros evaluate 'my bag' --out out" in page.text
    for setting in ("score_threshold 0.8125", "fuse_stuff true", "labels —", "versions.torch 2.13.0"):
        assert setting in page.text, setting


@pytest.mark.parametrize("convention", Convention)
def test_the_page_says_whose_convention_the_figures_follow(tmp_path: Path, convention: Convention) -> None:
    run = short_run(settings={**short_run().settings, "convention": convention.value})
    assert f"convention {convention.value}: {convention.meaning}" in page_of(run, tmp_path).text


def test_a_date_of_another_form_is_shown_as_it_is(tmp_path: Path) -> None:
    assert "date last Tuesday" in page_of(short_run(settings={"date": "last Tuesday"}), tmp_path).text


def test_names_that_look_like_markup_are_text(tmp_path: Path) -> None:
    evil = '</style><script>alert("&amp;")</script>\'<b>'
    run = short_run(
        class_iou={evil: 0.5},
        class_names=(evil,),
        sequences=(evil,),
        problems=(evil,),
        settings={"model": evil, "input": [evil], evil: evil, "command": evil},
        timelines=tuple(replace(timeline, sequence=evil, class_name=evil) for timeline in short_run().timelines),
        worst_frames=tuple(replace(frame, sequence=evil, input=evil) for frame in short_run().worst_frames),
        files={"overlay": evil, "bag": evil},
        intervals=tuple(replace(part, sequence=evil) for part in short_run().intervals),
    )
    page = page_of(run, tmp_path)
    assert not page.all("script")
    assert len(page.all("b")) == 1  # the count of id switches of the one object that has any
    assert page.text.count(evil) >= 6
    assert "<script" not in content.render(run, tmp_path)


def test_without_ground_truth_the_page_says_what_can_be_said_and_nothing_else(tmp_path: Path) -> None:
    page = page_of(run_without_truth(), tmp_path)
    assert page.text.count("ground truth") == 1
    assert "Nothing was compared with a ground truth" in page.text
    known = ("things per frame 2.63", "ids 17", "time an id lasts 3.25 s", "flicker 3.1 %", "unlabelled 9.4 %")
    for figure in (*known, "frames per second 23.4"):
        assert page.text.count(figure) == 2, figure  # at the top, and among all figures
    for unknown in ("mIoU", "VPQ", "STQ", "IDF1", "objects found", "NaN", "nan ", "None"):
        assert unknown not in page.text, unknown


def test_the_area_of_every_class_that_was_found_is_shown(tmp_path: Path) -> None:
    for run in (short_run(), run_without_truth()):
        page = page_of(run, tmp_path)
        assert "floor 43.2 % wall 30.0 % box 12.3 % person 5.0 %" in page.text
        assert "ball 0.0 %" not in page.text


def test_the_page_says_which_objects_count(tmp_path: Path) -> None:
    settings = {**short_run().settings, "min_object_area": 0.0052, "min_object_frames": 3}
    page = page_of(short_run(settings=settings), tmp_path)
    assert "from 0.52 % of the image on, which is 40x40 of 640x480 pixels" in page.text
    assert "in view for fewer than 3 frames are left out" in page.text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vpq": None, "settings": {"task": "semantic"}}, "the semantic task has no objects"),
        ({"vpq": None, "objects": None}, "no object ids in the ground truth"),
        ({"vpq": math.nan, "objects": 0}, "no object was in view"),
    ],
)
def test_the_reason_is_that_of_the_run(changes: dict[str, object], reason: str, tmp_path: Path) -> None:
    assert f"VPQ — {reason}" in page_of(short_run(**changes), tmp_path).text


def test_a_run_of_nothing_at_all_still_has_a_page(tmp_path: Path) -> None:
    nothing = Percentiles(math.nan, math.nan, math.nan, math.nan)
    run = replace(
        run_without_truth(),
        frames=0,
        seconds=0.0,
        fps=math.nan,
        latency_ms=nothing,
        stages_ms={},
        latency_histogram=(),
        intervals=(),
        sequences=(),
        files={},
        settings={},
        problems=("recordings/bag has no images",),
    )
    page = page_of(run, tmp_path)
    assert "recordings/bag has no images" in page.text
    assert "frames per second — no frame was segmented" in page.text
    assert "nan" not in page.text.lower()


def degenerate(value: Any, random: Random) -> Any:
    """The same with some of its numbers nothing, and some of its lists shorter or empty."""
    if isinstance(value, Percentiles):
        return random.choice(
            [value, Percentiles(0.0, 0.0, 0.0, 0.0), Percentiles(math.nan, math.nan, math.nan, math.nan)]
        )
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        return replace(value, **{name: degenerate(part, random) for name, part in parts.items()})
    if isinstance(value, tuple):
        kept = value[: random.randint(0, len(value))] if value and is_dataclass(value[0]) else value
        return tuple(degenerate(each, random) for each in kept) if kept and is_dataclass(kept[0]) else kept
    return random.choice([value, 0.0]) if isinstance(value, float) else value


@pytest.mark.parametrize(
    "run",
    [short_run(), long_run(), run_without_truth(), run_in_metres(), run_with_returns()],
    ids=["short", "long", "without_truth", "in_metres", "with_returns"],
)
@pytest.mark.parametrize("seed", range(8))
def test_no_figure_however_odd_keeps_the_page_from_being_made(run: Results, seed: int) -> None:
    odd = degenerate(run, Random(seed))
    assert page_of(odd, Path("no pictures")).text.startswith("Evaluation of demo")
    assert comparison_page(compare([ComparedRun("a", run), ComparedRun("b", odd)]))


def test_several_recordings_have_a_line_each_and_one_together(tmp_path: Path) -> None:
    text = page_of(rig_run(), tmp_path).text
    assert (
        "mIoU VPQ STQ objects found IDF1 id switches frames length "
        "front 0.711 0.602 0.682 66.7 % 0.612 0 60 0:06.0 "
        "rear 0.432 0.602 0.682 66.7 % 0.612 1 40 0:04.0 "
        "all together 0.711 0.602 0.682 66.7 % 0.612 1 100 0:10.0"
    ) in text
    assert "length 100 frames, 0:10.0 in 2 recordings" in text
    assert "Recordings" not in page_of(short_run(), tmp_path).text


def test_a_recording_of_which_not_all_is_scored_says_how_much(tmp_path: Path) -> None:
    text = page_of(replace(rig_run(), frames_scored=95), tmp_path).text
    assert "id switches frames with ground truth length front" in text
    assert "66.7 % 0.612 1 40 35 0:04.0 all together" in text


def test_without_ground_truth_the_lines_of_recordings_say_what_was_found(tmp_path: Path) -> None:
    text = page_of(rig_run(run_without_truth()), tmp_path).text
    assert (
        "things per frame ids time an id lasts flicker unlabelled frames length "
        "front 2.63 17 3.25 s 3.1 % 9.4 % 60 0:06.0 rear 2.63 17 3.25 s 3.1 % 9.4 % 40 0:04.0"
    ) in text


def test_of_a_whole_data_set_not_every_recording_has_a_line(tmp_path: Path) -> None:
    recordings = tuple(recording(f"video {number}", short_run()) for number in range(343))
    text = page_of(short_run(recordings=recordings), tmp_path).text
    assert "video 59 0.711" in text
    assert "video 60 0.711" not in text
    assert "283 more recordings are in metrics.json" in text


def test_pictures_and_video_are_in_the_page(tmp_path: Path) -> None:
    run = short_run()
    write_pictures(run, tmp_path)
    page = page_of(run, tmp_path)
    sources = [image["src"] or "" for image in page.all("img")]
    paths = [path for frame in run.worst_frames for path in (frame.input, frame.prediction, frame.truth)]
    assert [base64.b64decode(source.removeprefix("data:image/jpeg;base64,")) for source in sources] == [
        (tmp_path / path).read_bytes() for path in paths
    ]
    assert all(image["alt"] for image in page.all("img"))
    (video,) = page.all("video")
    content = (video["src"] or "").removeprefix("data:video/mp4;base64,")
    assert base64.b64decode(content) == (tmp_path / "overlay.mp4").read_bytes()
    assert "mIoU 0.400" in page.text


def test_a_large_video_lies_beside_the_page(tmp_path: Path) -> None:
    with (tmp_path / "overlay.mp4").open("wb") as file:
        file.truncate(content.LARGEST_VIDEO + 1)
    page = page_of(short_run(), tmp_path)
    assert not page.all("video")
    assert "overlay.mp4" in [link["href"] for link in page.all("a")]
    assert "The video has 32 MB, too much for this page" in page.text


def test_pictures_and_video_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    page = page_of(short_run(), tmp_path)
    assert not page.all("img")
    assert "worst/01_input.jpg is not in the output folder any more" in page.text
    assert "The video overlay.mp4 is not in the output folder any more" in page.text


@pytest.mark.parametrize("run", [short_run(), long_run(), run_without_truth(), run_in_metres()])
def test_nothing_is_loaded_from_elsewhere(run: Results, tmp_path: Path) -> None:
    write_pictures(run, tmp_path)
    page = page_of(run, tmp_path)
    assert not page.all("script")
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "data", "action", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    css = (TEMPLATES / "page.css").read_text()
    assert "url(" not in css
    assert "@import" not in css
    (policy,) = (meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_problems_come_before_the_figures(tmp_path: Path) -> None:
    text = page_of(short_run(problems=("stamps do not match", "the bag is truncated")), tmp_path).text
    assert text.index("2 problems stamps do not match the bag is truncated") < text.index("mIoU 0.711")
    assert "problem" not in page_of(short_run(), tmp_path).text


def test_drift_and_replay_are_shown_where_there_are_any(tmp_path: Path) -> None:
    text = page_of(long_run(), tmp_path).text
    assert "mIoU 0.751 0.702 -0.049 VPQ 0.653 — —" in text
    assert "policy latest published 36,512 processed 36,000 dropped by the node 500" in text
    assert "newer frame came 480 too old 20 lost on the way to it 12" in text
    assert "age of a result 51.0 72.0 93.0 994.0" in text
    short = page_of(short_run(), tmp_path).text
    assert "two minutes or more" in short
    assert "Replay" not in short


def test_each_camera_of_a_replay_has_its_column_and_its_ages(tmp_path: Path) -> None:
    def replay(published: int, dropped: dict[str, int], p50: float) -> ReplayFigures:
        processed = published - sum(dropped.values())
        ages = Percentiles(p50, p50 + 1, p50 + 2, p50 + 3)
        return ReplayFigures("latest", published, processed, sum(dropped.values()), dropped, 0, ages)

    several = {"front": replay(60, {"newer frame came": 5}, 20), "rear": replay(1040, {}, 30)}
    run = replace(rig_run(), replay=replay(1100, {"newer frame came": 5, "too old": 0}, 25), replays=several)
    text = page_of(run, tmp_path).text
    assert (
        "front rear all together policy latest latest latest published 60 1,040 1,100 processed 55 1,040 1,095 "
        "dropped by the node 5 0 5 newer frame came 5 0 5 lost on the way to it 0 0 0"
    ) in text
    assert (
        "age of a result, front 20.0 21.0 22.0 23.0 age of a result, rear 30.0 31.0 32.0 33.0 "
        "age of a result, all together 25.0 26.0 27.0 28.0"
    ) in text
    assert "The cameras are side by side." not in text
    write_pictures(run, tmp_path)
    assert "The cameras are side by side." in page_of(run, tmp_path).text
    assert "One recording follows the other." in page_of(rig_run(), tmp_path).text


def test_classes_are_shown_best_first_and_those_without_truth_are_named(tmp_path: Path) -> None:
    text = page_of(short_run(), tmp_path).text
    assert "floor 0.922 wall 0.833 box 0.644 person 0.456 Not in the ground truth: ball." in text


def test_errors_in_metres_are_shown_by_distance_and_by_class(tmp_path: Path) -> None:
    page = page_of(run_in_metres(), tmp_path)
    for row in (
        "0 to 2 m 120 91.2 % 73.5 % 0.031 0.078 0.047 0.117 0.125 0.313 0.008 0.027",
        "2 to 5 m 60 91.2 % 73.5 % 0.072 0.179 0.108 0.269 — — — —",
        "all within 5 m 180 91.2 %",
        "person 100 91.2 %",
        "position error, median 0.042 m From the true centre to the located one.",
        "speed of still things, p95 0.037 m/s",
    ):
        assert row in page.text, row
    # Where nothing was in view there is no line.
    assert "5 to 10 m" not in page.text
    assert "Things and the camera's way from above" in [each.get("aria-label") for each in page.all("svg")]


def test_without_depth_or_true_boxes_nothing_in_metres_is_on_the_page(tmp_path: Path) -> None:
    page = page_of(short_run(), tmp_path)
    for text in ("In metres", "position error", "From above", "m/s"):
        assert text not in page.text, text


def test_recordings_have_their_errors_in_metres_where_there_are_some(tmp_path: Path) -> None:
    run = run_in_metres()
    parts = tuple(recording(name, run) for name in ("monday", "tuesday"))
    page = page_of(replace(run, recordings=parts, sequences=("monday", "tuesday")), tmp_path)
    assert "tuesday 0.711 0.602 0.682 66.7 % 0.612 1 0.042 m 91.2 % 100 0:10.0" in page.text
    assert "position error" not in page_of(rig_run(), tmp_path).text


def test_every_object_has_its_row_of_ids(tmp_path: Path) -> None:
    page = page_of(short_run(), tmp_path)
    titles = [cell["title"] for cell in page.all("i")]
    assert titles == [
        "box 11, 0:00.0 to 0:04.0: id 1",
        "box 11, 0:06.0 to 0:10.0: id 1",
        "person 12, 0:00.0 to 0:00.5: not found",
        "person 12, 0:00.5 to 0:04.5: id 2",
        "person 12, 0:04.5 to 0:10.0: id 3, before: id 2",
        "box 13, 0:01.0 to 0:07.0: not found",
    ]


def test_what_comes_back_is_marked_and_counted_by_time_away(tmp_path: Path) -> None:
    run = run_with_returns()
    page = page_of(run, tmp_path)
    titles = [cell["title"] for cell in page.all("i")]
    assert titles == [
        "box 11, 0:00.0 to 0:09.0: id 1",
        "box 11, 0:20.0 to 0:40.0: id 1, back after 11.0 s with its old id",
        "box 11, 0:43.0 to 1:10.0: id 3, before: id 1, back after 3.0 s with an id that another object had",
        "person 12, 0:00.0 to 0:20.0: id 3",
        "person 12, 0:20.0 to 0:30.0: not found",
        "person 12, 0:30.0 to 1:30.0: id 17, before: id 3, back after 10.0 s with a new id",
    ]
    marks = [mark["class"] for mark in page.all("b") if mark.get("style")]
    assert marks == ["right", "wrong", "new"]
    assert (
        "2 to 5 s 1 0 0.0 % 1 100.0 % 0 0.0 % "
        "10 to 30 s 10 7 70.0 % 1 10.0 % 2 20.0 % "
        "over 60 s 2 0 0.0 % 0 0.0 % 2 100.0 % "
        "all 13 7 53.8 % 2 15.4 % 4 30.8 %"
    ) in page.text
    assert "returns with the old id 63.6 %" in page.text
    assert "Returns" not in page_of(short_run(), tmp_path).text


def test_a_short_absence_in_a_long_run_is_told_but_has_no_room_for_a_sign(tmp_path: Path) -> None:
    spans = (IdSpan(0.0, 900.0, "1"), IdSpan(903.0, 3600.0, "1", ThingReturn("right", 3.0)))
    page = page_of(short_run(timelines=(ObjectTimeline("bag", 1, "box", spans),)), tmp_path)
    assert page.all("i")[1]["title"] == "box 1, 15:03.0 to 1:00:00.0: id 1, back after 3.0 s with its old id"
    assert not [mark for mark in page.all("b") if mark.get("style")]


def test_an_hour_with_many_objects_and_classes_is_a_small_page_that_says_what_it_leaves_out(tmp_path: Path) -> None:
    run = long_run()
    html = content.render(run, tmp_path)
    assert len(html) < 300_000
    page = Page(html)
    assert "31 more objects" in page.text
    assert all(f"{name} " in page.text for name in run.class_names)


def test_colors_can_be_read_on_light_and_on_dark() -> None:
    light, dark, paper = re.findall(r":root \{(.*?)\}", (TEMPLATES / "page.css").read_text(), re.DOTALL)
    assert dict(_colors(light)) == dict(_colors(light)) | dict(_colors(paper)) | {
        name: value for name, value in _colors(light) if name in ("text", "quiet", "rule")
    }
    for colors in (dict(_colors(light)), dict(_colors(dark))):
        for ground in ("ground", "panel"):
            for name in ("text", "quiet", "first", "second", "bad", "good"):
                assert _contrast(colors[name], colors[ground]) >= 4.5, (name, ground)
        assert _contrast(colors["text"], colors["problem"]) >= 4.5
        for number in range(10):
            assert _contrast(colors["on-id"], colors[f"id-{number}"]) >= 4.5, number
            assert _contrast(colors[f"id-{number}"], colors["panel"]) >= 3, number


def _colors(css: str) -> list[tuple[str, str]]:
    return re.findall(r"--([\w-]+): (#[0-9a-f]{6});", css)


def _contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
