"""`eomt-ros evaluate` as a CI calls it: gates, slices, JUnit XML, CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema

from eomt_ros.cli.main import main
from eomt_ros.evaluation import results
from eomt_ros.evaluation.figure_names import flat_figures
from test.evaluation import bags
from test.evaluation.bags import FRAMES

# Whole evaluations by the command.
pytestmark = pytest.mark.slow

SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))
Run = Callable[..., int]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def run(out: Path, model: Path) -> Run:
    """Runs the command without a video, and returns its exit code."""

    def command(*arguments: object) -> int:
        words = ["evaluate", *map(str, arguments), "--out", str(out), "--device", "cpu", "--no-video"]
        return main([*words, "--model", str(model)])

    return command


def cases(path: Path) -> dict[str, tuple[str, str | None]]:
    """By the name of a case, what came of it and why."""
    SCHEMA.validate(path)
    found: Sequence[ElementTree.Element] = ElementTree.parse(path).findall("testsuite/testcase")
    return {case.attrib["name"]: (case[0].tag, case[0].text) for case in found}


def test_gates_decide_the_exit_code_and_are_cases_of_the_junit_xml(
    bag: Path, run: Run, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junit = tmp_path / "junit.xml"
    assert run(bag, "--fail-if", "frames < 8", "--fail-if", "class_iou.box > 1", "--junit", junit) == 0
    found = results.read_results(out)
    assert cases(junit) == {
        "bag": ("system-out", f"8 frames, mIoU {found.miou:.3f}"),
        "fail if frames < 8": ("system-out", "frames is 8"),
        "fail if class_iou.box > 1": ("system-out", f"class_iou.box is {found.class_iou['box']:.10g}"),
    }
    capsys.readouterr()
    assert run(bag, "--fail-if", "frames < 9", "--fail-if", "fps < 0", "--junit", junit, "--overwrite") == 2
    assert cases(junit)["fail if frames < 9"] == ("failure", "frames is 8")
    printed = capsys.readouterr().out.splitlines()
    assert "FAILED: fail if frames < 9 (frames is 8)" in printed
    assert any(line.startswith("passed: fail if fps < 0 (fps is ") for line in printed)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--fail-if", "mio < 0.8"], "--fail-if 'mio < 0.8': there is no figure 'mio'; did you mean 'miou'?"),
        (["--fail-if", "class_iou.bix < 1"], "no figure 'class_iou.bix'; did you mean 'class_iou.box'?"),
        (["--fail-if", "miou < 0.8 in night"], "no recording is in a slice 'night'; there is none"),
        (["--fail-if", "miou < 0.8 in x", "--slice", "site=night:bag"], "in a slice 'x'; there is site=night"),
        (["--fail-if", "other_metrics.HOTA < 0.5"], "this is counted with --metrics trackeval, which is not given"),
        (["--fail-if", "miou < 0.5", "--shard", "1/2"], "give it to eomt-ros merge afterwards"),
        (["--slice", "night"], "--slice 'night': expected a tag and a pattern of paths"),
        (["--fail-if", "miou"], "--fail-if 'miou': expected a figure"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_runs(
    options: list[str], expected: str, bag: Path, run: Run, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(bag, *options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert not out.exists()


def test_a_gate_is_refused_before_a_recording_is_fetched(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("http://127.0.0.1:9/video.mp4", "--fail-if", "mio < 0.8") == 1  # nobody listens there
    assert "there is no figure 'mio'" in capsys.readouterr().err


def test_slices_by_pattern_and_by_yaml_have_figures_and_gates(run: Run, out: Path, tmp_path: Path) -> None:
    bag = bags.write_scene(tmp_path / "monday", FRAMES)
    (tmp_path / "monday.tags.yaml").write_text("weather: rain")
    gates = ["--fail-if", "miou > 1 in night", "--fail-if", "frames == 8 in weather=rain"]
    assert run(bag, "--slice", "site=night:mon*", "--slice", "site=day:tue*", *gates) == 2
    content = json.loads((out / "metrics.json").read_text())
    assert content["settings"]["tags"] == ["site=night", "weather=rain"]
    assert {tag: each["miou"] for tag, each in content["slices"].items()} == {
        "site=night": content["miou"],
        "weather=rain": content["miou"],
    }
    with (out / "figures.csv").open(newline="") as file:
        rows = {row["figure"]: row for row in csv.DictReader(file)}
    assert rows["miou"] == {
        "figure": "miou",
        **dict.fromkeys(("all", "in site=night", "in weather=rain"), f"{content['miou']}"),
    }


def test_a_recording_that_is_damaged_is_a_failure_and_a_gate_goes_before_it(
    run: Run, out: Path, tmp_path: Path
) -> None:
    bag, junit = bags.write_scene(tmp_path / "bag", 120), tmp_path / "junit.xml"
    bags.damage(bag)
    assert run(bag, "--junit", junit) == 1
    state, reason = cases(junit)["bag"]
    assert state == "failure"
    assert "of 360 messages could be read" in (reason or "")
    assert run(bag, "--fail-if", "frames > 0", "--overwrite") == 2


def test_a_recording_that_cannot_be_evaluated_is_an_error(run: Run, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    assert run(tmp_path / "nothing", "--junit", junit, "--fail-if", "miou < 0.1") == 1
    assert cases(junit) == {str(tmp_path / "nothing"): ("error", f"{tmp_path / 'nothing'} does not exist")}


def test_a_ground_truth_of_which_nothing_is_scored_is_an_error(run: Run, tmp_path: Path) -> None:
    messages = []
    for number in range(3):
        picture, classes, _ = bags.scene(number)
        stamp = bags.stamp(number)
        messages.append((bags.IMAGES, stamp, bags.compressed(stamp, picture)))
        messages.append((bags.SEMANTIC, stamp, bags.image(stamp, classes * 0 + 255, "mono8")))
    junit = tmp_path / "junit.xml"
    assert run(bags.write_bag(tmp_path / "bag", messages), "--junit", junit) == 1
    assert [state for state, _ in cases(junit).values()] == ["error"]


def test_a_recording_given_as_the_junit_file_stays_what_it_is(
    bag: Path, run: Run, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = bag.glob("*.mcap")
    before = file.read_bytes()
    assert run(bag, "--junit", file) == 1
    assert f"--junit {file} is there and holds no XML: give another file" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert not out.exists()


def test_several_recordings_have_cases_rows_and_slices_and_one_that_fails_stops_none(
    run: Run, out: Path, tmp_path: Path
) -> None:
    night, day = (bags.write_scene(tmp_path / name, frames) for name, frames in (("night_1", 8), ("day_1", 12)))
    broken, junit = tmp_path / "broken.mcap", tmp_path / "junit.xml"
    broken.write_bytes(b"no bag")
    gates = ["--fail-if", "frames < 8 in night", "--fail-if", "frames > 19", "--fail-if", "class_iou.box > 1"]
    assert run(night, day, broken, "--slice", "site=night:night_*", *gates, "--junit", junit) == 2
    found = cases(junit)
    assert {name: state for name, (state, _) in found.items()} == {
        "broken": "error",
        "day_1": "system-out",
        "night_1": "system-out",
        "fail if frames < 8 in night": "system-out",
        "fail if frames > 19": "failure",
        "fail if class_iou.box > 1": "system-out",
    }
    assert "broken.mcap" in (found["broken"][1] or "")
    whole, alone = results.read_results(out), results.read_results(out / "night_1")
    assert list(whole.slices) == ["site=night"]
    figures = flat_figures(whole.slices["site=night"])
    assert {path: flat_figures(alone)[path] for path in figures} == figures
    with (out / "recordings.csv").open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert {name: (row["frames"], row["tags"]) for name, row in rows.items()} == {
        "broken": ("", ""),
        "day_1": ("12", ""),
        "night_1": ("8", "site=night"),
    }
    assert rows["night_1"]["miou"] == str(alone.miou)


def test_a_gate_that_names_nothing_stops_several_recordings_before_the_first(
    bag: Path, run: Run, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = bags.write_scene(tmp_path / "other", 3)
    assert run(bag, other, "--slice", "night:other", "--fail-if", "vpq < 0.5 in day") == 1
    assert "no recording is in a slice 'day'; there is night" in capsys.readouterr().err
    assert run(bag, other, "--fail-if", "class_iou.bix < 1") == 1
    assert "did you mean 'class_iou.box'?" in capsys.readouterr().err
    assert not out.exists()


def test_what_is_done_already_belongs_to_the_slices_of_the_new_command(run: Run, out: Path, tmp_path: Path) -> None:
    night, day = (bags.write_scene(tmp_path / name, frames) for name, frames in (("night_1", 8), ("day_1", 12)))
    assert run(night, day, "--slice", "early:night_*") == 0
    before = (out / "night_1" / "report.html").stat().st_mtime_ns
    assert run(night, day, "--resume", "--slice", "late:*_1", "--fail-if", "frames != 20 in late") == 0
    assert (out / "night_1" / "report.html").stat().st_mtime_ns == before  # it was not evaluated again
    assert list(results.read_results(out).slices) == ["late"]
    assert results.read_results(out / "night_1").settings["tags"] == ["late"]
    assert main(["merge", str(out), "--fail-if", "frames == 20 in late"]) == 2
