"""`eomt-ros compare`: which of two runs is better in what, and whether they can be compared at all."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from eomt_ros.cli.main import main
from eomt_ros.evaluation import results
from eomt_ros.evaluation.ids import ReturnNumbers
from eomt_ros.evaluation.report.comparison import (
    ComparedRun,
    Comparison,
    ComparisonCell,
    Verdict,
    compare,
    comparison_page,
    comparison_text,
)
from eomt_ros.evaluation.results import Results
from test.evaluation.examples import long_run, recording, rig_run, run_with_returns, run_without_truth, short_run


def compared(*runs: Results) -> Comparison:
    return compare([ComparedRun(name, run) for name, run in zip("ABC", runs, strict=False)])


def second(comparison: Comparison, name: str) -> ComparisonCell:
    """The second run's cell in the row of that name."""
    (cells,) = (rows[name] for rows in comparison.groups.values() if name in rows)
    return cells[1]


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("mIoU", {"miou": 0.7311}, ComparisonCell("0.731", "+0.020", Verdict.BETTER)),
        ("mIoU", {"miou": 0.6911}, ComparisonCell("0.691", "-0.020", Verdict.WORSE)),
        ("mIoU", {"miou": 0.7112}, ComparisonCell("0.711", "", Verdict.SAME)),
        ("id switches", {"id_switches": 0}, ComparisonCell("0", "-1", Verdict.BETTER)),
        ("id switches", {"id_switches": 4}, ComparisonCell("4", "+3", Verdict.WORSE)),
        ("id switches per 30 s", {"switches_per_30_seconds": 2.0}, ComparisonCell("2.00", "+0.75", Verdict.WORSE)),
        ("objects found", {"objects_found": 1.0}, ComparisonCell("100.0 %", "+33.3 %", Verdict.BETTER)),
        (
            "time to first detection",
            {"seconds_to_first_detection": 0.1},
            ComparisonCell("0.10 s", "-0.25 s", Verdict.BETTER),
        ),
        ("frames per second", {"fps": 20.0}, ComparisonCell("20.0", "-3.4", Verdict.WORSE)),
        ("frames per second", {"fps": 23.0}, ComparisonCell("23.0", "", Verdict.SAME)),
        ("objects", {"objects": 5}, ComparisonCell("5", "+2", Verdict.OTHER)),
        ("VPQ", {"vpq": None}, ComparisonCell("—", "", Verdict.UNKNOWN)),
        ("VPQ", {"vpq": math.nan}, ComparisonCell("—", "", Verdict.UNKNOWN)),
    ],
)
def test_a_figure_is_better_worse_or_the_same(
    name: str, changes: dict[str, float | None], expected: ComparisonCell
) -> None:
    assert second(compared(short_run(), short_run(**changes)), name) == expected


def test_latency_is_better_when_it_is_lower() -> None:
    faster = replace(short_run().latency_ms, p95=44.2)
    assert second(compared(short_run(), short_run(latency_ms=faster)), "latency, p95") == ComparisonCell(
        "44.2 ms", "-11.0 ms", Verdict.BETTER
    )


def test_classes_and_windows_are_compared_one_by_one() -> None:
    other = short_run(
        class_iou={**short_run().class_iou, "box": 0.7444, "wall": 0.8233},
        vpq_by_window={**short_run().vpq_by_window, "8": 0.5},
    )
    comparison = compared(short_run(), other)
    assert second(comparison, "box") == ComparisonCell("0.744", "+0.100", Verdict.BETTER)
    assert second(comparison, "wall") == ComparisonCell("0.823", "-0.010", Verdict.WORSE)
    assert second(comparison, "floor").verdict is Verdict.SAME
    assert second(comparison, "8").verdict is Verdict.WORSE
    # Neither run has balls.
    assert "ball" not in comparison.groups["IoU by class"]


def test_returns_are_compared_by_time_away() -> None:
    run = run_with_returns()
    assert run.returns is not None
    before = {name: ReturnNumbers(2, 1, 1, 0) for name in run.returns.by_time_away}
    groups = compared(replace(run, returns=replace(run.returns, by_time_away=before)), run).groups
    right, wrong = (groups[f"Returns with {whose} id, by time away"] for whose in ("the old", "another's"))
    assert right["10 to 30 s"][1] == ComparisonCell("70.0 %", "+20.0 %", Verdict.BETTER)
    assert wrong["10 to 30 s"][1] == ComparisonCell("10.0 %", "-40.0 %", Verdict.BETTER)
    assert wrong["2 to 5 s"][1] == ComparisonCell("100.0 %", "+50.0 %", Verdict.WORSE)
    assert right["5 to 10 s"][1] == ComparisonCell("—", "", Verdict.UNKNOWN)
    assert not any("Returns" in name for name in compared(short_run(), short_run()).groups)


def test_all_others_are_measured_by_the_first() -> None:
    rows = compared(short_run(miou=0.5), short_run(miou=0.6), short_run(miou=0.4)).groups["Classes"]
    assert [(cell.text, cell.difference) for cell in rows["mIoU"]] == [
        ("0.500", ""),
        ("0.600", "+0.100"),
        ("0.400", "-0.100"),
    ]


def test_runs_through_the_node_are_compared_in_what_was_lost() -> None:
    run = long_run()
    assert run.replay is not None
    comparison = compared(run, replace(run, replay=replace(run.replay, dropped=20)))
    assert second(comparison, "dropped") == ComparisonCell("20", "-480", Verdict.BETTER)
    assert second(comparison, "lost on the way").verdict is Verdict.SAME
    assert "Replay through the node" not in compared(short_run(), short_run()).groups


def test_equal_runs_are_compared_without_a_warning() -> None:
    assert compared(short_run(), short_run(settings={**short_run().settings, "model": "other"})).warnings == ()


def test_settings_that_differ_are_listed_with_the_value_of_each_run() -> None:
    settings = {**short_run().settings, "score_threshold": 0.5, "versions": {"torch": "2.14.0"}, "date": "later"}
    comparison = compared(short_run(), short_run(settings=settings))
    assert comparison.settings == {"score_threshold": ("0.8125", "0.5"), "versions.torch": ("2.13.0", "2.14.0")}
    assert "settings that differ\n  score_threshold: 0.8125 | 0.5\n" in comparison_text(comparison)
    assert "Settings that differ" in comparison_page(comparison)
    assert "ettings that differ" not in comparison_text(compared(short_run(), short_run()))


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"frames": 90}, "B has frames 90, A has 100: they cannot be compared as they are"),
        ({"frames_scored": 90}, "B has frames with ground truth 90, A has 100"),
        ({"class_names": ("floor", "box")}, "B has classes floor, box, A has floor, wall, box, person, ball"),
        ({"class_names": tuple("abcdefghijk")}, "B has classes a, b, c, d, e, f, g, h and 3 more, A has floor"),
        ({"problems": ("the bag is truncated", "more")}, "B had 2 problems, the first: the bag is truncated"),
        ({"replay": long_run().replay}, "only B went through the node"),
    ],
)
def test_what_keeps_runs_from_being_compared_is_said(changes: dict[str, object], warning: str) -> None:
    (said,) = compared(short_run(), short_run(**changes)).warnings
    assert warning in said


@pytest.mark.parametrize(
    ("setting", "value", "warning"),
    [
        ("input", ["other"], "B has input other, A has recordings/bag: they cannot be compared as they are"),
        ("topics", ["/rear"], "B has topics /rear, A has /camera/image"),
        ("convention", "stq", "B has convention stq, A has standard"),
        ("task", "semantic", "B has task semantic, A has panoptic"),
        ("device", "cuda:0", "B ran with device cuda:0, A with cpu: their speeds cannot be compared"),
    ],
)
def test_settings_that_keep_runs_from_being_compared_are_said(setting: str, value: object, warning: str) -> None:
    (said,) = compared(short_run(), short_run(settings={**short_run().settings, setting: value})).warnings
    assert warning in said


def test_recordings_of_one_name_are_compared_with_each_other() -> None:
    better = recording("rear", rig_run(), miou=0.5321)
    comparison = compared(rig_run(), replace(rig_run(), recordings=(better, rig_run().recordings[0])))
    assert comparison.warnings == ()
    groups = [name for name in comparison.groups if name.startswith("Recording ")]
    assert groups == ["Recording front", "Recording rear"]
    for group, expected in (("front", ComparisonCell("0.711", "", Verdict.SAME)), ("rear", None)):
        cell = comparison.groups[f"Recording {group}"]["mIoU"][1]
        assert cell == (expected or ComparisonCell("0.532", "+0.100", Verdict.BETTER))


def test_recordings_that_one_run_alone_has_are_not_compared() -> None:
    one = replace(rig_run(), recordings=rig_run().recordings[:1])
    assert [name for name in compared(rig_run(), one).groups if "Recording" in name] == ["Recording front"]
    older = short_run()
    alone = short_run(recordings=(recording("bag", short_run()),))
    for runs in ((rig_run(), older), (older, rig_run()), (rig_run(), alone), (alone, alone)):
        assert not [name for name in compared(*runs).groups if "Recording" in name]


def test_recordings_of_a_whole_data_set_are_not_listed() -> None:
    many = short_run(recordings=tuple(recording(f"video {number}", short_run()) for number in range(343)))
    assert not [name for name in compared(many, many).groups if "Recording" in name]


def test_the_table_lines_up_and_says_each_verdict_in_words() -> None:
    text = comparison_text(compared(short_run(), short_run(miou=0.8, vpq=0.5), run_without_truth()))
    lines = text.splitlines()
    (miou,) = (line for line in lines if line.startswith("  mIoU"))
    assert re.fullmatch(r"  mIoU +0\.711 +0\.800 +\+0\.089 ▲ better +—", miou)
    (vpq,) = (line for line in lines if line.startswith("  VPQ   "))
    assert re.fullmatch(r"  VPQ +0\.602 +0\.500 +-0\.102 ▼ worse +—", vpq)
    assert miou.index("0.711") == vpq.index("0.602")
    assert miou.index("▲") == vpq.index("▼")
    assert miou.index("—") == vpq.index("—")
    assert "\033" not in text


def test_colors_change_nothing_but_colors() -> None:
    comparison = compared(short_run(), short_run(miou=0.8, vpq=0.5))
    colored = comparison_text(comparison, colors=True)
    assert "\033[32m" in colored
    assert "\033[31m" in colored
    plain = [line.rstrip() for line in re.sub(r"\033\[\d+m", "", colored).splitlines()]
    assert plain == comparison_text(comparison).splitlines()


def test_the_page_has_the_whole_table_and_escapes_names() -> None:
    comparison = compare([ComparedRun("<i>A", short_run()), ComparedRun("B", short_run(miou=0.8, frames=90))])
    html = comparison_page(comparison)
    assert "<i>" not in html
    assert "&lt;i&gt;A" in html
    for text in ("0.711", "0.800", "+0.089", "▲", "frames 90", "IoU by class", "0.922"):
        assert text in html


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two evaluations."""
    for name, run in (("a", short_run()), ("b", short_run(miou=0.8, frames=90))):
        (tmp_path / name).mkdir()
        results.write_results(run, tmp_path / name)
    return tmp_path / "a", tmp_path / "b"


def test_the_command_prints_the_table_and_warns(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *map(str, folders)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"mIoU +0\.711 +0\.800 +\+0\.089 ▲ better", out)
    assert f"warning: {folders[1]} has frames 90, {folders[0]} has 100" in out


def test_the_command_writes_a_page(folders: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "comparison.html"
    assert main(["compare", *map(str, folders), "--html", str(page)]) == 0
    runs = [ComparedRun(str(folder), results.read_results(folder)) for folder in folders]
    assert page.read_text(encoding="utf-8") == comparison_page(compare(runs))


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "has no metrics.json"), ('{"schema_version": 99}', "schema_version is 99")]
)
def test_a_folder_without_results_is_one_line(
    content: str | None, complaint: str, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[1] / "metrics.json").unlink()
    if content is not None:
        (folders[1] / "metrics.json").write_text(content)
    assert main(["compare", *map(str, folders)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("eomt-ros: ")
    assert str(folders[1]) in line
    assert complaint in line


def test_one_folder_alone_is_not_understood(folders: tuple[Path, Path]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(folders[0])])
    assert ended.value.code == 2


def of_input(path: str, content: str) -> Results:
    return short_run(settings={**short_run().settings, "input": [path], "fingerprint": content})


def test_one_recording_at_two_paths_is_one_recording() -> None:
    assert compared(of_input("/a/bag", "one"), of_input("/b/bag", "one")).warnings == ()
    (warning,) = compared(of_input("/a/bag", ""), of_input("/b/bag", "")).warnings
    assert warning.startswith("B has input /b/bag, A has /a/bag")


def test_a_recording_that_was_changed_is_another_one() -> None:
    (warning,) = compared(of_input("/a/bag", "one"), of_input("/a/bag", "two")).warnings
    assert warning.startswith("B has an input with the content two, A has one: they cannot be compared")
