"""`make demo` from the outside: the command on a small bag, and everything it leaves."""

from __future__ import annotations

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
from eomt_ros.evaluation.bag import Bag
from eomt_ros.evaluation.video import read_video
from test.engine.checkpoints import write_checkpoint
from test.evaluation import bags

ROOT = Path(__file__).parents[2]
FRAMES = 15
PATIENCE = 100.0  # s: only a broken demo or a stopped machine needs longer
TOPICS = {"/segment/semantic", "/segment/panoptic", "/segment/instances", "/segment/overlay/compressed"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-u", "-m", "demo.run", *map(str, arguments)]


@dataclass(frozen=True)
class Run:
    out: Path
    printed: str

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
    # What an earlier run left must not show up in this one; what the user put there must survive.
    (out / "bag").mkdir(parents=True)
    for name in ("overlay.mp4", "overlay.png", "bag/bag.mcap", "bag/metadata.yaml", "notes.txt"):
        (out / name).write_text("from before")
    done = subprocess.run(
        command("--bag", played, "--model", model, "--out", out),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return Run(out, done.stdout)


@pytest.fixture(scope="module")
def processed(run: Run) -> list[int]:
    """The stamps of the frames that have a result."""
    with Bag(run.out / "bag") as bag:
        return [message.stamp for message in bag.messages("/segment/instances")]


def test_every_frame_is_processed_or_counted_as_dropped(run: Run, processed: list[int]) -> None:
    assert run.number("frames in") == FRAMES
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
            bag.labels("/segment/semantic"),
            bag.labels("/segment/panoptic"),
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
    assert {frame.content.shape for frame in frames} == {(48, 64, 3)}
    assert [frame.stamp * 1e-9 for frame in frames] == pytest.approx(
        [(stamp - processed[0]) * 1e-9 for stamp in processed], abs=1e-3
    )


def test_contact_sheet_shows_up_to_twelve_frames(run: Run, processed: list[int]) -> None:
    page = cv2.imread(str(run.out / "overlay.png"))
    assert page is not None
    rows = -(-min(12, len(processed)) // 3)
    assert page.shape[0] > rows * 48
    assert page.shape[1] > 3 * 64


def test_summary_has_latencies_ids_and_scores(run: Run) -> None:
    assert 0 < run.number("node: total") <= run.number("image sent to result") + 1
    assert 0 <= run.number("mIoU") <= 1
    assert run.number("objects found") <= 100
    assert run.number("all") >= 0


def test_earlier_results_are_replaced_and_nothing_else(run: Run) -> None:
    assert (run.out / "notes.txt").read_text() == "from before"
    assert (run.out / "overlay.png").read_bytes().startswith(b"\x89PNG")


def test_bag_of_the_users_own_is_left_alone(model: Path, played: Path, tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "mine.mcap").write_text("precious")
    done = subprocess.run(
        command("--bag", played, "--model", model, "--out", tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "remove it, or choose another folder with --out" in done.stderr
    assert (tmp_path / "bag" / "mine.mcap").read_text() == "precious"


def test_failing_node_ends_the_demo_with_its_own_words(played: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command("--bag", played, "--model", tmp_path / "no model", "--out", tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert "demo: the node ended with code 1" in done.stderr
    assert f"there is no folder {tmp_path / 'no model'}" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_bag_is_named(tmp_path: Path) -> None:
    done = subprocess.run(command("--bag", tmp_path / "gone"), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"demo: {tmp_path / 'gone'} is not a bag that can be read" in done.stderr


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
    ("number", "step"),
    [
        pytest.param(signal.SIGTERM, "[1/3]", id="while the model loads"),
        pytest.param(signal.SIGINT, "[2/3]", id="midway"),
    ],
)
def test_stopping_the_demo_ends_all_its_processes(
    running: subprocess.Popen[str], number: signal.Signals, step: str
) -> None:
    assert running.stdout is not None
    next(line for line in running.stdout if line.startswith(step))
    demo = psutil.Process(running.pid)
    # The node is started right after the first step is announced.
    while not (children := demo.children(recursive=True)):
        assert running.poll() is None
    running.send_signal(number)
    output, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130, output
    assert "demo: stopped" in output
    _, alive = psutil.wait_procs(children, timeout=PATIENCE)
    assert not alive
