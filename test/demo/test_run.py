"""`make demo` from the outside: the command on a small bag, and everything it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

pytest.importorskip("rclpy", reason="the demo runs the node")

from demo import CLASS_NAMES
from demo.run import node_command
from eomt_ros.evaluation.bag import Bag
from eomt_ros.replay.evaluate_bag import ReplayOptions
from eomt_ros.video import read_video
from test import ROOT
from test.engine.checkpoints import write_checkpoint
from test.evaluation import bags
from test.node.shared_memory import family, fast_dds, left, segments_of
from test.patience import PATIENCE

pytestmark = pytest.mark.slow

FRAMES = 15
TOPICS = {"/segment/semantic", "/segment/panoptic", "/segment/instances"}
RIG_FRAMES = {"front": 15, "rear": 12}
COUNTS = ("published", "processed", "dropped")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-u", "-m", "demo.run", *map(str, arguments)]


def run_demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


@dataclass(frozen=True)
class Run:
    out: Path
    printed: str
    segments: set[Path]
    """All that its processes had of shared memory."""

    def number(self, row: str) -> float:
        """The first number in a row of the summary."""
        match = re.search(rf"^ *{row} +([\d.]+)", self.printed, re.MULTILINE)
        assert match, f"the summary has no row '{row}':\n{self.printed}"
        return float(match.group(1))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = dict(enumerate(CLASS_NAMES))
    return write_checkpoint(tmp_path_factory.mktemp("model") / "small", id2label=names)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bags.write_scene(tmp_path_factory.mktemp("played") / "bag", FRAMES)


@pytest.fixture(scope="module")
def run(model: Path, played: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("run") / "demo_out"
    segments: set[Path] = set()
    log = out.parent / "log"
    with log.open("w") as output:
        demo = subprocess.Popen(
            command("--bag", played, "--model", model, "--out", out), cwd=ROOT, stdout=output, stderr=output
        )
        while demo.poll() is None:
            segments |= segments_of(*family(demo.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                demo.wait(0.05)
    printed = log.read_text()
    assert demo.returncode == 0, printed
    return Run(out, printed, segments)


@pytest.fixture(scope="module")
def processed(run: Run) -> list[int]:
    """The stamps of the frames that have a result."""
    with Bag(run.out / "bag") as bag:
        return [message.stamp for message in bag.messages("/segment/instances")]


def test_node_runs_the_demos_model_at_the_size_that_the_page_says(played: Path) -> None:
    page = (ROOT / "demo" / "README.md").read_text(encoding="utf-8")
    said = re.search(r"With one camera the demo's model\s+runs at `size: (\d+)`", page)
    assert said
    node = node_command(ReplayOptions(bag=played, out=Path("out")), "demo", cameras=())
    assert f"size:={said[1]}" in node


def test_every_frame_is_processed_or_counted_as_dropped(run: Run, processed: list[int]) -> None:
    assert run.number("published") == FRAMES
    assert run.number("processed") == len(processed)
    assert run.number("processed") + run.number("dropped") == FRAMES


def test_last_frame_is_never_dropped(processed: list[int]) -> None:
    assert processed[-1] == bags.stamp(FRAMES - 1)


def test_bag_has_all_outputs_of_every_result_at_the_stamp_of_its_image(run: Run, processed: list[int]) -> None:
    with Bag(run.out / "bag") as bag:
        assert set(bag.topics) == TOPICS
        for topic in TOPICS:
            messages = list(bag.messages(topic))
            assert [message.stamp for message in messages] == processed
            assert {message.content.header.frame_id for message in messages} == {"camera"}
    assert set(processed) <= {bags.stamp(number) for number in range(FRAMES)}


def test_recorded_images_and_instances_agree(run: Run) -> None:
    instances: Any
    with Bag(run.out / "bag") as bag:
        frames = zip(
            bags.labels(bag, "/segment/semantic"),
            bags.labels(bag, "/segment/panoptic"),
            bag.messages("/segment/instances"),
            strict=True,
        )
        for classes, ids, message in frames:
            instances = message.content
            assert classes.content.shape == ids.content.shape == (instances.height, instances.width) == (48, 64)
            areas = {instance.id: instance.area for instance in instances.instances}
            assert areas == {number: (ids.content == number).sum() for number in np.unique(ids.content) if number}
            for instance in instances.instances:
                assert instance.class_name == CLASS_NAMES[instance.class_id]
                assert set(classes.content[ids.content == instance.id]) == {instance.class_id}


def test_video_shows_every_result_at_its_time(run: Run, processed: list[int]) -> None:
    frames = list(read_video(run.out / "overlay.mp4"))
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    assert [frame.stamp * 1e-9 for frame in frames] == pytest.approx(
        [(stamp - processed[0]) * 1e-9 for stamp in processed], abs=1e-3
    )


def test_contact_sheet_shows_up_to_twelve_frames(run: Run, processed: list[int]) -> None:
    page = cv2.imread(str(run.out / "overlay.png"))
    assert page is not None
    rows = -(-min(12, len(processed)) // 3)
    assert page.shape[0] > rows * 48
    assert page.shape[1] > 3 * 64


def test_it_ends_with_the_figures_and_the_path_of_the_report(run: Run) -> None:
    found = json.loads((run.out / "metrics.json").read_text())
    for row, name in {"mIoU": "miou", "VPQ": "vpq", "STQ": "stq"}.items():
        assert run.number(row) == pytest.approx(found[name], abs=6e-4)
    assert run.number("age of a result") == pytest.approx(found["replay"]["age_ms"]["p50"], abs=0.06)
    assert found["frames"] == run.number("processed")
    assert "report.html" in run.printed
    assert "<html" in (run.out / "report.html").read_text()


@pytest.fixture(scope="module")
def rig_run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("rig_run")
    bag = bags.write_rig(folder / "rig", RIG_FRAMES)
    done = run_demo("--cameras", 2, "--bag", bag, "--model", model, "--out", folder / "demo_out")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return Run(folder / "demo_out", done.stdout, set())


def test_with_two_cameras_every_frame_of_each_is_processed_or_counted_as_dropped(rig_run: Run) -> None:
    replays = json.loads((rig_run.out / "metrics.json").read_text())["replays"]
    with Bag(rig_run.out / "bag") as bag:
        assert set(bag.topics) == {topic.replace("t/", f"t/{camera}/") for topic in TOPICS for camera in RIG_FRAMES}
        for camera, frames in RIG_FRAMES.items():
            stamps = [message.stamp for message in bag.messages(f"/segment/{camera}/instances")]
            assert set(stamps) <= {bags.stamp(number) for number in range(frames)}
            replay = replays[camera]
            assert (replay["published"], replay["processed"]) == (frames, len(stamps))
            assert replay["processed"] + replay["dropped"] == frames
            row = re.search(rf"^ *{camera} +(\d+) +(\d+) +(\d+)", rig_run.printed.split("through the node")[1], re.M)
            assert row is not None
            assert [int(cell) for cell in row.groups()] == [replay[name] for name in COUNTS]


def test_with_two_cameras_the_video_has_a_picture_for_every_moment_of_either_side_by_side(rig_run: Run) -> None:
    with Bag(rig_run.out / "bag") as bag:
        stamps = {message.stamp for camera in RIG_FRAMES for message in bag.messages(f"/segment/{camera}/instances")}
    frames = list(read_video(rig_run.out / "overlay.mp4"))
    expected = [(stamp - min(stamps)) * 1e-9 for stamp in sorted(stamps)]
    assert [frame.stamp * 1e-9 for frame in frames] == pytest.approx(expected, abs=1e-3)
    height, width, _ = frames[0].image.shape
    assert height > 48
    assert width > 2 * 64
    assert {path.name for path in rig_run.out.iterdir()} >= {"overlay.png", "report.html"}
    assert "data:video/mp4" in (rig_run.out / "report.html").read_text()


def test_a_bag_that_lacks_one_of_two_cameras_is_refused_before_the_node_starts(tmp_path: Path) -> None:
    bag = bags.write_rig(tmp_path / "half", {"front": 1})
    done = run_demo("--cameras", 2, "--bag", bag, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith(f"demo: --topic /rear/image/compressed: {bag} has no such topic; it has /front/")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cameras", ["0", "3", "two", ""])
def test_any_other_number_of_cameras_is_refused_in_one_line(cameras: str, tmp_path: Path) -> None:
    done = run_demo("--cameras", cameras, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr == f"demo: CAMERAS is '{cameras}', expected 1 or 2: the demo has two worlds\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("given", "passed"), [((), "1"), (("CAMERAS=2",), "2")])
def test_make_passes_the_number_of_cameras_on(given: tuple[str, ...], passed: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CAMERAS"}
    done = subprocess.run(
        ["make", "--dry-run", "demo", *given], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert f'-m demo.run --cameras "{passed}"' in done.stdout


def test_where_the_bag_has_depth_things_and_video_are_in_metres(model: Path, tmp_path: Path) -> None:
    bag = bags.write_beginning(tmp_path / "bag", ROOT / "demo" / "bag", FRAMES)
    done = run_demo("--bag", bag, "--model", model, "--out", tmp_path / "out")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    with Bag(tmp_path / "out" / "bag") as recorded:
        assert set(recorded.topics) == {*TOPICS, "/segment/objects", "/segment/obstacles"}
        instances, objects = (list(recorded.messages(topic)) for topic in ("/segment/instances", "/segment/objects"))
    assert [message.stamp for message in objects] == [message.stamp for message in instances]
    assert {message.content.header.frame_id for message in objects} == {"odom"}
    frames = list(read_video(tmp_path / "out" / "overlay.mp4"))
    assert len(frames) == len(instances)
    assert {frame.image.shape for frame in frames} == {(480, 848 + 480, 3)}


def test_with_two_cameras_things_are_in_the_frame_of_each(model: Path, tmp_path: Path) -> None:
    bag = bags.write_beginning(tmp_path / "rig", ROOT / "demo" / "rig", FRAMES)
    done = run_demo("--cameras", 2, "--bag", bag, "--model", model, "--out", tmp_path / "out")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    with Bag(tmp_path / "out" / "bag") as recorded:
        for camera in RIG_FRAMES:
            frames = {message.content.header.frame_id for message in recorded.messages(f"/segment/{camera}/objects")}
            assert frames == {f"{camera}_optical"}
    assert next(read_video(tmp_path / "out" / "overlay.mp4")).image.shape[1] > 2 * (848 + 480)


@fast_dds
def test_none_of_its_processes_leaves_anything_in_shared_memory(run: Run) -> None:
    assert len(run.segments) >= 3 * 2, "the demo, the node and the player have segments, each with its lock"
    assert not left(run.segments)


def test_an_earlier_demo_is_replaced(run: Run, model: Path, played: Path) -> None:
    again = run_demo("--bag", played, "--model", model, "--out", run.out)
    assert again.returncode == 0, again.stderr


def test_a_folder_of_the_users_own_is_left_alone(model: Path, played: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    done = run_demo("--bag", played, "--model", model, "--out", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"demo: --out {tmp_path} is not empty")
    assert (tmp_path / "notes.txt").read_text() == "precious"


def test_failing_node_ends_the_demo_with_its_own_words(played: Path, tmp_path: Path) -> None:
    done = run_demo("--bag", played, "--model", tmp_path / "no model", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "demo: the node ended with code 1" in done.stderr
    assert f"there is no folder {tmp_path / 'no model'}" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_bag_is_named(tmp_path: Path) -> None:
    done = run_demo("--bag", tmp_path / "gone", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith(f"demo: {tmp_path / 'gone'}")


@pytest.fixture
def running(model: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo on a bag that is far from its end."""
    bag = bags.write_scene(tmp_path / "played", 100)
    process = subprocess.Popen(
        command("--bag", bag, "--model", model, "--out", tmp_path / "out"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("number", "step", "said"),
    [
        pytest.param(signal.SIGTERM, "[1/3]", "demo: stopped", id="while the model loads"),
        pytest.param(signal.SIGINT, "[2/3]", "stopped", id="midway, with a report of what came"),
    ],
)
def test_stopping_the_demo_ends_all_its_processes(
    running: subprocess.Popen[str], number: signal.Signals, step: str, said: str
) -> None:
    assert running.stdout is not None
    next(line for line in running.stdout if line.startswith(step))
    demo = psutil.Process(running.pid)
    children = demo.children(recursive=True)
    assert children, "the node runs by then"
    segments = segments_of(*family(demo.pid))
    running.send_signal(number)
    output, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130, output
    assert said in output
    _, alive = psutil.wait_procs(children, timeout=PATIENCE)
    assert not alive
    assert not left(segments)
