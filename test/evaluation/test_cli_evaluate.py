"""`eomt-ros evaluate` as a user runs it, on real files."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eomt_ros.cli.main import main
from eomt_ros.evaluation import results
from eomt_ros.evaluation.counting import counted
from eomt_ros.evaluation.results import Results
from test import ROOT
from test.evaluation import bags
from test.evaluation.bags import FRAMES
from test.evaluation.test_recorded import record
from test.patience import PATIENCE

# Whole evaluations, with videos and reports, by the command.
pytestmark = pytest.mark.slow

LEFT = {"metrics.json", "report.html", "figures.csv", "frames.csv", "objects.csv", "overlay.mp4", "worst"}
LONG = 3000


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


Evaluate = Callable[..., Results]
Refused = Callable[..., str]


@pytest.fixture
def evaluated(out: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """Runs the command, expects success, and returns what it found."""

    def run(*arguments: object) -> Results:
        words = ["evaluate", *map(str, arguments), "--out", str(out), "--device", "cpu"]
        assert main([*words, "--model", str(model)]) == 0, capsys.readouterr().err
        return results.read_results(out)

    return run


@pytest.fixture
def refused(out: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs the command, expects a refusal in one line, and returns that."""

    def run(*arguments: object) -> str:
        words = ["evaluate", *map(str, arguments), "--out", str(out), "--device", "cpu"]
        assert main([*words, "--model", str(model)]) == 1
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("eomt-ros: ")]
        assert len(lines) == 1
        return lines[0]

    return run


def test_it_leaves_figures_report_video_and_pictures(
    bag: Path, evaluated: Evaluate, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(bag)
    assert {path.name for path in out.iterdir()} == LEFT
    content: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    expected = {"miou", "vpq", "stq", "id_switches", "object_seconds", "objects_found", "latency_ms", "fps"}
    assert expected <= content.keys()
    assert content["latency_ms"].keys() >= {"p50", "p95", "p99"}
    assert content["schema_version"] == results.SCHEMA_VERSION
    printed = capsys.readouterr().out
    assert f"{FRAMES} frames, {FRAMES} with ground truth, 0.8 s" in printed
    assert "network               torch, " in printed
    assert f"{found.miou:.3f}" in printed
    assert printed.rstrip().endswith(str(out / "report.html"))
    assert f"{found.miou:.3f}" in (out / "report.html").read_text()


def test_a_sweep_leaves_the_figures_of_each_value_and_a_table(
    bag: Path, evaluated: Evaluate, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(bag, "--no-video", "--sweep", "score_threshold=0.1:0.3:0.1", "--sweep", "mask_threshold=0.4")
    points = [("mask_threshold", 0.4), *(("score_threshold", value) for value in (0.1, 0.2, 0.3))]
    assert [(each.option, each.value) for each in found.sweep] == points
    assert found.settings["sweep"] == ["score_threshold=0.1,0.2,0.3", "mask_threshold=0.4"]
    printed = capsys.readouterr().out
    assert "sweep of mask_threshold, which is 0.5 in this run; * marks the best" in printed
    assert "Other thresholds" in (out / "report.html").read_text()


def test_sizes_leave_the_figures_and_times_of_each_and_the_largest_is_the_runs(
    bag: Path, evaluated: Evaluate, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(bag, "--no-video", "--size", "32,64,48", "--backend", "torch")
    assert [(each.option, each.value) for each in found.sweep] == [("size", 32.0), ("size", 48.0), ("size", 64.0)]
    assert found.settings["size"] == 64
    assert all(each.latency_ms is not None and each.latency_ms.p95 > 0 for each in found.sweep)
    assert "sweep of size, which is 64 in this run; * marks the best" in capsys.readouterr().out
    assert "milliseconds per frame, median" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--size", "32,64", "--predictions", "truth"], "--predictions truth runs none"),
        (["--size", "0,64"], "--size 0,64: 0 stands for the model's own"),
        (["--sweep", "scores=0.3"], "'scores' is no threshold, expected one of score_threshold"),
        (["--sweep", "score_threshold=0.3", "--predictions", "truth"], "--predictions truth runs none"),
        (["--sweep", "score_threshold=0.3", "--task", "semantic"], "no difference to the semantic task"),
    ],
)
def test_a_sweep_of_nothing_is_refused_before_anything_runs(
    words: list[str], expected: str, bag: Path, refused: Refused, out: Path
) -> None:
    for more in ([], ["--jobs", "2"]):
        assert expected in refused(bag, *words, *more)
        assert not out.exists()


def test_the_command_and_the_options_are_written_down(bag: Path, evaluated: Evaluate, model: Path, out: Path) -> None:
    options = ["--task", "semantic", "--mask-threshold", "0.4", "--paper-compatible"]
    settings = evaluated(bag, *options).settings
    words = ["eomt-ros", "evaluate", str(bag), *options, "--out", str(out), "--device", "cpu", "--model", str(model)]
    assert settings["command"] == words
    assert settings["input"] == [str(bag)]
    assert (settings["task"], settings["mask_threshold"], settings["convention"]) == ("semantic", 0.4, "published")
    assert settings["model"] == str(model)


def test_classes_numbered_from_one_are_told_by_the_predictions_and_mended_by_a_map(
    evaluated: Evaluate, tmp_path: Path
) -> None:
    messages = []
    for number in range(FRAMES):
        picture, classes, _ = bags.scene(number)
        stamp = bags.stamp(number)
        messages.append((bags.IMAGES, stamp, bags.compressed(stamp, picture)))
        messages.append((bags.SEMANTIC, stamp, bags.image(stamp, classes + 1, "mono8")))
    bag = bags.write_bag(tmp_path / "bag", messages)
    # What was recorded are the classes of the scene.
    predictions = record(tmp_path / "predictions", map(bags.stamp, range(FRAMES)))
    found = evaluated(bag, "--predictions", predictions)
    assert found.miou == 0.0
    (hint,) = found.problems
    assert hint.endswith("if they are numbered from 1, give --truth-map offset=-1")
    found = evaluated(bag, "--predictions", predictions, "--truth-map", "offset=-1", "--overwrite")
    assert (found.miou, found.problems) == (1.0, ())
    assert found.settings["truth"] == [f"{bags.SEMANTIC} by offset=-1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--truth-map", "7=rode,8=wall"], "--truth-map: the model has no class 'rode'"),
        (
            ["--truth-map", "offset"],
            "--truth-map offset: cannot be read (No such file or directory); expected offset=-1",
        ),
        (["--truth-tolerance", "-1"], "--truth-tolerance is -1, expected 0 to 60 s"),
        (["--truth-tolerance", "nan"], "--truth-tolerance is nan, expected 0 to 60 s"),
    ],
)
def test_a_truth_that_nobody_can_understand_is_refused(
    bag: Path, refused: Refused, options: list[str], message: str
) -> None:
    assert message in refused(bag, *options)


def test_the_saved_bag_is_scored_alike(bag: Path, evaluated: Evaluate, out: Path, tmp_path: Path, model: Path) -> None:
    first = evaluated(bag, "--save-bag")
    shutil.move(out / "bag", tmp_path / "recorded")
    table = tmp_path / "labels.yaml"
    names = "".join(f"  - {{name: {name}, thing: true}}\n" for name in first.class_names)
    table.write_text(f"name: own\ntask: panoptic\nclasses:\n{names}")
    second = evaluated(bag, "--overwrite", "--predictions", tmp_path / "recorded", "--labels", table)
    assert (second.frames, second.miou, second.stq, second.timelines) == (
        first.frames,
        first.miou,
        first.stq,
        first.timelines,
    )
    assert second.settings["predictions"] == str(tmp_path / "recorded")
    assert second.settings["model"] == model.name


def test_ground_truth_may_be_in_other_topics(evaluated: Evaluate, tmp_path: Path) -> None:
    def messages() -> Any:
        for number in range(3):
            picture, classes, instances = bags.scene(number)
            stamp = bags.stamp(number)
            yield "/left/image", stamp, bags.compressed(stamp, picture)
            yield "/right/image", stamp, bags.compressed(stamp, picture)
            yield "/truth/c", stamp, bags.image(stamp, classes, "mono8")
            yield "/truth/i", stamp, bags.image(stamp, instances, "16UC1")

    path = bags.write_bag(tmp_path / "bag", messages())
    topics = ["--truth-classes", "/truth/c", "--truth-instances", "/truth/i"]
    found = evaluated(path, "--topic", "/left/image", *topics)
    assert (found.frames_scored, found.settings["topics"], found.objects) == (3, ["/left/image"], 0)


def test_the_cameras_of_a_rig_are_told_apart_in_figures_report_and_terminal(
    evaluated: Evaluate, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = {"front": 8, "rear": 6}
    rig = bags.write_rig(tmp_path / "rig", frames)
    topics = [word for camera in frames for word in ("--topic", bags.rig_topic(camera))]
    # What was recorded of both is what the front camera sees.
    recorded = record(tmp_path / "recorded", map(bags.stamp, range(8)), cameras=frames)
    found = evaluated(rig, *topics, "--predictions", recorded)
    content = json.loads((out / "metrics.json").read_text())
    assert content["sequences"] == ["front", "rear"]
    named = ("name", "frames", "frames_scored")
    assert [tuple(each[name] for name in named) for each in content["recordings"]] == [("front", 8, 8), ("rear", 6, 6)]
    front, rear = (each["miou"] for each in content["recordings"])
    assert front == 1.0
    assert rear < content["miou"] < front
    assert found.settings["topics"] == [bags.rig_topic(camera) for camera in frames]
    printed = capsys.readouterr().out.splitlines()
    assert "14 frames, 14 with ground truth, 1.4 s" in printed
    at = printed.index("  recording  frames   mIoU    VPQ    STQ  objects found   IDF1  id switches")
    assert printed[at + 1].split()[:3] == ["front", "8", "1.000"]
    assert printed[at + 2].split()[:3] == ["rear", "6", f"{rear:.3f}"]
    assert "<h2>Recordings</h2>" in (out / "report.html").read_text()


def test_an_evaluation_is_only_overwritten_on_demand(
    bag: Path, evaluated: Evaluate, refused: Refused, out: Path
) -> None:
    evaluated(bag)
    (out / "notes.txt").write_text("mine")
    before = (out / "metrics.json").read_bytes()
    assert f"--out {out} is not empty: give another folder, or --overwrite" in refused(bag)
    assert (out / "metrics.json").read_bytes() == before
    evaluated(bag, "--overwrite", "--save-bag")
    assert (out / "metrics.json").read_bytes() != before
    assert (out / "notes.txt").read_text() == "mine"
    evaluated(bag, "--overwrite")
    assert not (out / "bag").exists()


def test_what_cannot_be_evaluated_leaves_nothing(refused: Refused, out: Path, tmp_path: Path) -> None:
    message = refused(tmp_path / "nothing")
    assert "nothing does not exist" in message
    assert not out.exists()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(77, "8 frames' ground truth is not used: it has an unknown class"), (255, "all of it is unlabelled")],
)
def test_a_ground_truth_of_which_nothing_is_scored_is_no_success(
    value: int, expected: str, bag: Path, refused: Refused, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "truth").mkdir()
    for number in range(FRAMES):
        cv2.imwrite(str(tmp_path / "truth" / f"{number}.png"), np.full((48, 64), value, np.uint8))
    message = refused(bag, "--truth", tmp_path / "truth")
    assert f"nothing was scored, although there is a ground truth ({tmp_path / 'truth'}): " in message
    assert expected in message
    assert results.read_results(out).frames == FRAMES
    assert (out / "report.html").exists()


def test_which_objects_count_is_an_option_and_written_down(
    bag: Path, evaluated: Evaluate, refused: Refused, out: Path
) -> None:
    found = evaluated(bag)  # the square has a twelfth of the image
    assert (found.objects, found.settings["min_object_area"], found.settings["min_object_frames"]) == (1, 0.001, 5)
    assert evaluated(bag, "--overwrite", "--min-object-area", "0.1").objects == 0
    assert evaluated(bag, "--overwrite", "--min-object-frames", FRAMES + 1).objects == 0
    assert "expected a share of the image, 0 to 1" in refused(bag, "--overwrite", "--min-object-area", "100")


def test_a_bag_without_images_is_refused_with_what_it_has(refused: Refused, tmp_path: Path) -> None:
    clock = bags.STORE.types["rosgraph_msgs/msg/Clock"](bags.header(1).stamp)
    path = bags.write_bag(tmp_path / "bag", [("/clock", 1, clock)])
    assert "/clock" in refused(path)


def test_a_bag_that_is_damaged_in_its_middle_leaves_figures_and_is_no_success(
    out: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = bags.write_scene(tmp_path / "bag", 120)
    bags.damage(damaged)
    words = ["evaluate", str(damaged), "--out", str(out), "--device", "cpu", "--model", str(model)]
    assert main(words) == 1
    assert 0 < results.read_results(out).frames < 120
    assert "of 360 messages could be read: bag.mcap has a damaged record" in capsys.readouterr().out


def test_a_model_that_is_not_there_is_refused(bag: Path, refused: Refused, out: Path, tmp_path: Path) -> None:
    message = refused(bag, "--labels", tmp_path / "none.yaml")
    assert "none.yaml" in message
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--score-threshold", "1.5"), "score_threshold: got 1.5, expected -1.0 to 1.0"),
        (("--precision", "int8"), "precision: got 'int8', expected"),
        (("--fit", "crop"), "fit: got 'crop', expected"),
        (("--predictions", "{bag}", "--save-bag"), "--save-bag writes what a model finds"),
        (("--predictions", "{bag}"), "expected one topic of type eomt_ros/msg/InstanceArray, found none"),
        (("--topic", "/nothing"), f"--topic /nothing: {{bag}} has no such topic; it has {bags.IMAGES} ({FRAMES} mess"),
        (("--topic", bags.IMAGES, "--topic", bags.IMAGES), f"--topic {bags.IMAGES} is given twice, expected each "),
        (("--truth", "{bag}/none"), "--truth"),
    ],
)
def test_what_is_not_understood_is_one_line(
    arguments: tuple[str, ...], expected: str, bag: Path, refused: Refused
) -> None:
    assert expected.format(bag=bag) in refused(bag, *(word.format(bag=bag) for word in arguments))


# The function that setup.py makes `eomt-ros` of, because the tests also run where that is not installed.
PROGRAM = "import sys; from eomt_ros.cli.main import main; sys.exit(main())"


@contextmanager
def running(*arguments: object, program: str = PROGRAM) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own."""
    words = [sys.executable, "-c", program, *map(str, arguments), "--device", "cpu"]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bags.write_scene(tmp_path_factory.mktemp("long") / "long", LONG)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_a_report_of_what_was_done(number: int, model: Path, long: Path, out: Path) -> None:
    with running("evaluate", long, "--out", out, "--model", model, "--save-bag") as process:
        wait_until(lambda: results.has_figures(out), process)
        process.send_signal(number)
        printed, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    found = results.read_results(out)
    assert 0 < found.frames < LONG
    assert found.problems[0].startswith(f"stopped by the user after {found.frames:,} of {LONG:,} frames")
    assert found.problems[0] in printed
    assert found.miou is not None
    assert str(out / "report.html") in printed
    assert "stopped by the user" in (out / "report.html").read_text()


def test_a_signal_before_the_first_frame_leaves_nothing(model: Path, long: Path, out: Path) -> None:
    with running("evaluate", long, "--out", out, "--model", model) as process:
        wait_until(lambda: (out / "metrics.json").exists(), process)  # the model is loaded after it
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, errors
    assert errors.endswith("eomt-ros: stopped\n")
    assert list(out.iterdir()) == []


def test_what_a_killed_evaluation_found_is_there_and_can_be_overwritten(
    model: Path, long: Path, bag: Path, out: Path, evaluated: Evaluate
) -> None:
    with running("evaluate", long, "--out", out, "--model", model, "--save-bag") as process:
        wait_until(lambda: results.has_figures(out), process)
    found = results.read_results(out)
    assert found.problems[0] == f"not finished: the figures are of the first {counted(found.frames, 'frame')}"
    assert evaluated(bag, "--overwrite").frames == FRAMES
    assert {path.name for path in out.iterdir()} == LEFT


def test_a_full_disk_takes_video_and_bag_but_not_the_figures(model: Path, out: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)

    def messages() -> Iterator[tuple[str, int, Any]]:
        for number in range(20):
            picture = noise.integers(0, 256, (240, 320, 3), np.uint8)
            yield bags.IMAGES, bags.stamp(number), bags.compressed(bags.stamp(number), picture)

    played = bags.write_bag(tmp_path / "played", messages())
    # No file can be larger: what a write beyond that raises is an OSError as that of a full disk.
    small = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)); "
    words = ("evaluate", played, "--out", out, "--model", model, "--save-bag")
    with running(*words, program=small + PROGRAM) as process:
        printed, errors = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in errors
    found = results.read_results(out)
    assert (found.frames, found.files) == (20, {"frames": "frames.csv"})
    assert [problem.split(":")[0] for problem in found.problems] == ["overlay.mp4 was given up", "bag was given up"]
    assert all(f"note: {problem}" in printed for problem in found.problems)
    assert not (out / "overlay.mp4").exists()
    assert not (out / "bag").exists()
