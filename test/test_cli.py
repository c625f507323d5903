"""`eomt-ros` as a user runs it, on real files."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from eomt_ros.cli.main import main
from eomt_ros.engine import Segmenter
from eomt_ros.evaluation.video import VideoWriter
from eomt_ros.overlay import draw
from eomt_ros.video import read_video
from test import ROOT
from test.engine.checkpoints import write_checkpoint
from test.evaluation import bags
from test.patience import PATIENCE

FRAMES = 4


def eomt_ros(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    # The function that setup.py makes `eomt-ros` of, because the tests also run where that is not installed.
    program = "import sys; from eomt_ros.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


@dataclass(frozen=True)
class Shell:
    """Runs `eomt-ros overlay` in this process, because starting one takes seconds, and keeps what it prints."""

    capture: pytest.CaptureFixture[str]

    def overlay(self, *arguments: object) -> None:
        """Expect success."""
        assert main(["overlay", *map(str, arguments)]) == 0, self.capture.readouterr().err

    def refused(self, *arguments: object) -> str:
        """Expect a refusal in one line, and return it."""
        assert main(["overlay", *map(str, arguments)]) == 1
        lines = [line for line in self.capture.readouterr().err.splitlines() if line.startswith("eomt-ros: ")]
        assert len(lines) == 1
        return lines[0]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bags.write_scene(tmp_path_factory.mktemp("bags") / "bag", FRAMES)


def pictures() -> list[np.ndarray]:
    return [bags.scene(number)[0] for number in range(FRAMES)]


def drawn(model: Path) -> list[np.ndarray]:
    """What the video should show: the pictures with what the engine finds in them, as one stream."""
    segmenter = Segmenter.load(model, device="cpu")
    stream = segmenter.open_stream()
    results = [
        segmenter.segment(picture, stream, stamp=number * bags.PERIOD * 1e-9)
        for number, picture in enumerate(pictures())
    ]
    return [draw(picture, result, segmenter.labels) for picture, result in zip(pictures(), results, strict=True)]


def expect_video(path: Path, expected: list[np.ndarray]) -> None:
    frames = list(read_video(path))
    assert [frame.stamp for frame in frames] == pytest.approx([n * bags.PERIOD for n in range(FRAMES)], abs=10**6)
    for frame, picture in zip(frames, expected, strict=True):
        assert frame.image.shape == picture.shape
        # Halving the resolution of the colours changes single pixels much, and the mean little.
        assert np.abs(frame.image.astype(float) - picture).mean() < 16


@pytest.mark.slow
def test_overlay_of_a_bag_shows_every_frame_with_its_segments(bag: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    done = eomt_ros("overlay", bag, "--topic", bags.IMAGES, "--model", model, "--out", out)
    assert done.returncode == 0, done.stderr
    assert f"{out}: {FRAMES} frames" in done.stdout
    expect_video(out, drawn(model))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_overlay_that_is_stopped_is_a_video_of_what_was_done(number: int, model: Path, tmp_path: Path) -> None:
    long = bags.write_scene(tmp_path / "long", 1000)
    words = ["overlay", long, "--topic", bags.IMAGES, "--model", model, "--out", tmp_path / "out.mp4"]
    program = "import sys; from eomt_ros.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, *map(str, words)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not (tmp_path / "out.mp4").exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(number)
            printed, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    frames = len(list(read_video(tmp_path / "out.mp4")))
    assert 0 < frames < 1000
    assert re.search(rf"out\.mp4: {frames} frames?, .* stopped before its end", printed)


def test_overlay_takes_one_recording_at_a_time(shell: Shell, bag: Path, tmp_path: Path) -> None:
    other = bags.write_scene(tmp_path / "other", 1)
    printed = shell.refused(bag, other, "--topic", bags.IMAGES, "--out", tmp_path / "out.mp4")
    assert "expected one recording at a time, got 2: " in printed


def test_overlay_on_a_full_disk_is_one_line_and_leaves_nothing(
    shell: Shell, bag: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    out.symlink_to("/dev/full")
    assert f"{out} cannot be written: No space left" in shell.refused(bag, "--model", model, "--out", out)
    assert not out.is_symlink()


def test_overlay_of_pictures_in_a_folder_goes_by_name(shell: Shell, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, picture in reversed(list(enumerate(pictures()))):
        cv2.imwrite(str(folder / f"{number}.png"), picture[..., ::-1])
    (folder / "notes.txt").write_text("not a picture")
    shell.overlay(folder, "--model", model, "--out", tmp_path / "out.mp4")
    expect_video(tmp_path / "out.mp4", drawn(model))


def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_drawn(
    shell: Shell, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), pictures()[0])
    (folder / "1.png").write_bytes(b"broken")
    shell.overlay(folder, "--model", model, "--out", tmp_path / "out.mp4")
    assert "1 picture was left out; first: " in shell.capture.readouterr().err
    assert len(list(read_video(tmp_path / "out.mp4"))) == 1


def test_overlay_of_a_video_has_its_frames_and_times(shell: Shell, model: Path, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "in.mp4") as video:
        for number, picture in enumerate(pictures()):
            video.write(picture, number * bags.PERIOD)
    shell.overlay(tmp_path / "in.mp4", "--model", model, "--out", tmp_path / "out.mp4")
    frames = list(read_video(tmp_path / "out.mp4"))
    assert [frame.stamp for frame in frames] == pytest.approx([n * bags.PERIOD for n in range(FRAMES)], abs=10**6)


def test_thresholds_and_task_reach_the_engine(shell: Shell, bag: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    # At a score that nothing reaches, nothing is drawn.
    options = ("--task", "instance", "--score-threshold", "1", "--mask-threshold", "0.5", "--overlap-threshold", "0.5")
    shell.overlay(bag, "--topic", bags.IMAGES, "--model", model, "--out", out, *options)
    expect_video(out, pictures())


def test_bag_with_several_cameras_asks_which(shell: Shell, model: Path, tmp_path: Path) -> None:
    picture = bags.scene(0)[0]
    messages = [(topic, 1, bags.image(1, picture, "rgb8")) for topic in ("/left", "/right")]
    path = bags.write_bag(tmp_path / "bag", messages)
    message = shell.refused(path, "--model", model, "--out", tmp_path / "out.mp4")
    assert "several image topics; choose with --topic, which an evaluation takes several times:" in message
    assert not (tmp_path / "out.mp4").exists()


def test_unknown_topic_is_answered_with_those_that_are_there(
    shell: Shell, bag: Path, model: Path, tmp_path: Path
) -> None:
    message = shell.refused(bag, "--topic", "/nothing", "--model", model, "--out", tmp_path / "out.mp4")
    assert f"--topic /nothing: {bag} has no such topic; it has {bags.IMAGES}" in message


def test_missing_model_is_one_line(shell: Shell, bag: Path, tmp_path: Path) -> None:
    message = shell.refused(
        bag, "--topic", bags.IMAGES, "--model", tmp_path / "no model", "--out", tmp_path / "out.mp4"
    )
    assert f"there is no folder {tmp_path / 'no model'}" in message


def test_threshold_out_of_range_is_one_line(shell: Shell, bag: Path, model: Path, tmp_path: Path) -> None:
    options = ("--topic", bags.IMAGES, "--model", model, "--out", tmp_path / "out.mp4", "--score-threshold", "2")
    assert "score_threshold: got 2.0, expected -1.0 to 1.0" in shell.refused(bag, *options)


def test_backend_that_is_none_is_one_line(shell: Shell, bag: Path, model: Path, tmp_path: Path) -> None:
    options = ("--topic", bags.IMAGES, "--model", model, "--out", tmp_path / "out.mp4", "--backend", "tensorrt")
    assert "backend: got 'tensorrt', expected one of 'auto', 'torch', 'openvino'" in shell.refused(bag, *options)


def test_malformed_label_table_is_one_line(shell: Shell, bag: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.yaml").write_text("name: mine")
    options = ("--topic", bags.IMAGES, "--model", model, "--out", tmp_path / "out.mp4")
    assert "labels.yaml" in shell.refused(bag, *options, "--labels", tmp_path / "labels.yaml")


def test_missing_input_is_one_line(shell: Shell, model: Path, tmp_path: Path) -> None:
    for name in ("gone.mp4", "gone.mcap", "gone.png", "gone"):
        assert name in shell.refused(tmp_path / name, "--model", model, "--out", tmp_path / "out.mp4")


def test_empty_folder_is_one_line(shell: Shell, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = shell.refused(tmp_path / "empty", "--model", model, "--out", tmp_path / "out.mp4")
    assert "neither a bag nor a folder of pictures" in message


def test_output_that_cannot_be_written_is_one_line(shell: Shell, bag: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "gone" / "out.mp4"
    assert str(out) in shell.refused(bag, "--topic", bags.IMAGES, "--model", model, "--out", out)


def test_input_is_never_overwritten(shell: Shell, model: Path, tmp_path: Path) -> None:
    video = tmp_path / "in.mp4"
    video.write_bytes(b"precious")
    assert "is the input itself" in shell.refused(video, "--model", model, "--out", tmp_path / "." / "in.mp4")
    assert video.read_bytes() == b"precious"


@pytest.mark.slow
def test_models_lists_what_is_known_with_task_classes_size_and_licence() -> None:
    done = eomt_ros("models")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: re.split(r" {2,}", line)[1:] for line in done.stdout.splitlines() if line}
    assert rows["tue-mps/videomt-dinov2-large-vspw"] == [
        *("VidEoMT", "semantic", "vspw", "124", "ViT-L", "1280", "desktop GPU", "MIT")
    ]
    assert rows["tue-mps/eomt-dinov3-coco-panoptic-small-640"] == [
        *("EoMT-DINOv3", "panoptic", "coco_panoptic", "133", "ViT-S", "640", "robot computer", "MIT, DINOv3 License")
    ]
    assert rows["facebook/mask2former-swin-tiny-cityscapes-instance"] == [
        *("Mask2Former", "instance", "cityscapes_instance", "8", "Swin-T", "384", "robot computer", "CC BY-NC 4.0")
    ]
    assert done.stdout.splitlines()[-1].startswith("model demo comes with the package: ")


@pytest.mark.slow
def test_refusal_ends_the_process_with_code_1_and_no_traceback(bag: Path, tmp_path: Path) -> None:
    done = eomt_ros("overlay", bag, "--model", tmp_path / "no model", "--out", tmp_path / "out.mp4")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("eomt-ros: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["overlay", "in.mp4"], ["overlay", "--out", "out.mp4"]])
def test_misunderstood_command_line_shows_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: eomt-ros")


def test_an_option_of_former_versions_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["overlay", "in.mp4", "--out", "out.mp4", "--compile"])
    assert ended.value.code == 2
    assert "--compile is gone: frames run as CUDA graphs without it; leave it out" in capsys.readouterr().err


@pytest.mark.slow
def test_convert_refuses_what_is_no_model_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    done = eomt_ros("convert", tmp_path / "page.pth", tmp_path / "model")
    assert done.returncode == 1
    assert done.stderr.startswith(f"eomt-ros: {tmp_path / 'page.pth'} is no file of torch's")
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["page.pth"]
