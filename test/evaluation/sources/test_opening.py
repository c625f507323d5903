"""Frames come with the ground truth of their moment, and what is wrong with an input is worked around and said."""

from __future__ import annotations

import os
import re
import resource
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from eomt_ros.evaluation.bag.unpacking import zstd
from eomt_ros.evaluation.sources import SourceError, TruthSource, open_sequences
from eomt_ros.evaluation.video import VideoWriter
from test.evaluation import bags
from test.evaluation.sources.recordings import (
    FRAMES,
    USUAL,
    expect_scene,
    frame,
    read,
    read_one,
    unscored,
    write,
    write_folder,
    write_ros1,
)
from test.evaluation.test_video import encode
from test.patience import PATIENCE


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_bag_gives_its_frames_with_the_ground_truth_of_the_usual_topics(
    tmp_path: Path, storage: StoragePlugin
) -> None:
    sequence, frames = read_one(bags.write_scene(tmp_path / "bag", FRAMES, storage))
    expect_scene(frames, range(FRAMES))
    assert (sequence.name, sequence.count, sequence.topic) == ("bag", FRAMES, bags.IMAGES)
    assert sequence.seconds == pytest.approx((FRAMES - 1) * bags.PERIOD * 1e-9)
    assert sequence.truth == f"{bags.SEMANTIC}, {bags.PANOPTIC}"
    assert sequence.problems == []


def test_topics_of_the_ground_truth_can_be_named(tmp_path: Path) -> None:
    names = {bags.IMAGES: bags.IMAGES, bags.SEMANTIC: "/sim/a", bags.PANOPTIC: "/sim/b"}
    messages = [[(names[topic], time, message) for topic, time, message in frame(number)] for number in range(2)]
    path = write(tmp_path / "bag", messages)
    expect_scene(read_one(path, truth=TruthSource(classes_topic="/sim/a", instances_topic="/sim/b"))[1], range(2))
    classes_only = TruthSource(classes_topic="/sim/a")
    expect_scene(read_one(path, truth=classes_only)[1], range(2), instances=False)
    sequence, frames = read_one(path)
    assert (sequence.truth, sequence.problems, unscored(frames)) == (None, [], [0, 1])


def test_label_images_may_be_compressed_as_png(tmp_path: Path) -> None:
    picture, classes, _ = bags.scene(0)
    _, data = cv2.imencode(".png", classes)
    png = bags.STORE.types["sensor_msgs/msg/CompressedImage"](bags.header(bags.stamp(0)), "mono8; png compressed", data)
    messages = [(bags.IMAGES, 1, bags.compressed(bags.stamp(0), picture)), ("/masks/compressed", 1, png)]
    path = write(tmp_path / "bag", [messages])
    expect_scene(read_one(path, truth=TruthSource(classes_topic="/masks/compressed"))[1], range(1), instances=False)


def test_ground_truth_that_is_not_wanted_is_not_read(tmp_path: Path) -> None:
    sequence, frames = read_one(bags.write_scene(tmp_path / "bag", 2), truth=None)
    assert (sequence.truth, unscored(frames)) == (None, [0, 1])


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (TruthSource(classes_topic="/gone"), "--truth-classes /gone: .*bag has no such topic; it has /camera"),
        (TruthSource(instances_topic="/gone"), "--truth-instances /gone: .*bag has no such topic"),
        (
            TruthSource(classes_topic=bags.IMAGES),
            "--truth-classes .* has a colour image, expected a label image",
        ),
        (TruthSource(folder=Path("/gone")), "--truth /gone cannot be read: No such file"),
        (TruthSource(classes_topic="/a", folder=Path("/gone")), "exclude each other"),
    ],
)
def test_ground_truth_that_the_user_names_must_be_there(tmp_path: Path, truth: TruthSource, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(bags.write_scene(tmp_path / "bag", 1), truth=truth)


def test_a_topic_of_the_ground_truth_cannot_be_the_cameras(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is to be both image and ground truth"):
        read(bags.write_scene(tmp_path / "bag", 1), topics=[bags.SEMANTIC])


def test_instance_ids_without_classes_are_a_problem(tmp_path: Path) -> None:
    sequence, frames = read_one(write(tmp_path / "bag", [[m for m in frame(0) if m[0] != bags.SEMANTIC]]))
    assert unscored(frames) == [0]
    assert sequence.problems == [
        f"{bags.PANOPTIC} is not used: instance ids need classes beside them (--truth-classes)"
    ]


def test_a_picture_that_does_not_decode_is_left_out_and_its_ground_truth_with_it(tmp_path: Path) -> None:
    messages = [frame(number) for number in range(3)]
    messages[1][0][2].data = messages[1][0][2].data[:40]
    sequence, frames = read_one(write(tmp_path / "bag", messages))
    expect_scene(frames, [0, 2])
    (problem,) = sequence.problems
    assert problem.startswith(f"1 picture of {bags.IMAGES} does not decode and was left out; first: at {bags.stamp(1)}")


def test_an_encoding_that_is_not_read_ends_it_at_once(tmp_path: Path) -> None:
    path = bags.write_bag(tmp_path / "bag", [("/depth", 1, bags.image(1, np.zeros((4, 4), np.float32), "32FC1"))])
    with pytest.raises(SourceError, match="/depth: encoding '32FC1' is not supported"):
        read(path, topics=["/depth"])


@pytest.mark.parametrize(("what", "place"), [("classes", 1), ("instance ids", 2)])
def test_ground_truth_of_another_size_names_both_sizes(tmp_path: Path, what: str, place: int) -> None:
    labels: list[np.ndarray | None] = [None, None]
    labels[place - 1] = np.zeros((24, 32), np.uint8 if place == 1 else np.uint16)
    sequence, frames = read_one(write(tmp_path / "bag", [frame(0), frame(1, *labels), frame(2)]))
    assert unscored(frames) == [1]
    assert sequence.problems == [
        "1 frame's ground truth is not used: it has another size; "
        f"first: at {bags.stamp(1)} ns the {what} are 32x24, the image 64x48"
    ]


def test_classes_that_the_model_does_not_have_are_named_and_unlabelled_pixels_are_none(tmp_path: Path) -> None:
    classes = np.zeros((48, 64), np.uint8)
    classes[0], classes[1] = 255, 7
    path = write(tmp_path / "bag", [frame(0), frame(1, classes), frame(2, classes)])
    sequence, frames = read_one(path, classes=7)
    assert unscored(frames) == [1, 2]
    assert sequence.problems == [
        "2 frames' ground truth is not used: it has an unknown class; "
        f"first: at {bags.stamp(1)} ns class 7, expected 0 to 6, or 255 for unlabelled; "
        "--truth-map says what it means (offset=-1 if classes are numbered from 1)"
    ]
    assert unscored(read_one(path, classes=8)[1]) == []


def test_of_a_ground_truth_image_that_is_damaged_only_the_frame_is_lost(tmp_path: Path) -> None:
    messages = [frame(number) for number in range(3)]
    messages[1][1][2].height = 400
    sequence, frames = read_one(write(tmp_path / "bag", messages))
    assert unscored(frames) == [1]
    (problem,) = sequence.problems
    assert problem.startswith("1 frame's ground truth is not used: it cannot be read; first: at ")
    assert "a 64x400 mono8 image: data holds 3072 bytes, expected 25600 for 400 rows of 64 bytes" in problem


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("keep", [0.3, 0.7, 0.999])
def test_of_a_bag_that_was_cut_off_what_is_there_comes_and_the_rest_is_said(
    tmp_path: Path, storage: StoragePlugin, keep: float
) -> None:
    path = bags.write_scene(tmp_path / "bag", 100, storage)
    (file,) = (each for each in path.iterdir() if each.suffix != ".yaml")
    file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])
    sequence, frames = read_one(path)
    assert 100 * keep * 0.85 < len(frames) <= 100
    scored = [each for each in frames if each.truth]
    assert len(frames) - len(scored) <= 1
    expect_scene(scored, range(len(scored)))
    assert any("messages could be read" in each or "reading ended after" in each for each in sequence.problems)


def test_what_was_wrong_is_said_even_if_the_user_stops_early(tmp_path: Path) -> None:
    messages = [frame(number) for number in range(4)]
    messages[0][0][2].data = messages[0][0][2].data[:40]
    (sequence,) = open_sequences([write(tmp_path / "bag", messages)], truth=USUAL)
    frames = sequence.frames()
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert len(sequence.problems) == 1


def test_an_empty_bag_is_refused(tmp_path: Path) -> None:
    with Writer(tmp_path / "bag", version=8) as writer:
        writer.add_connection(bags.IMAGES, "sensor_msgs/msg/CompressedImage", typestore=bags.STORE)
    with pytest.raises(SourceError, match="bag is empty: it has no messages"):
        read(tmp_path / "bag")


def test_topic_without_images_is_refused_with_those_that_have_some(tmp_path: Path) -> None:
    path = bags.write_bag(tmp_path / "bag", [("/header", 1, bags.header(1)), *frame(0)])
    with pytest.raises(SourceError, match=rf"/header is std_msgs/msg/Header, expected .* it has {bags.IMAGES} \(1"):
        read(path, topics=["/header"])


def test_files_named_as_the_pictures_belong_to_them(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    # As indices, these would be frames 10 and 20.
    for number in (10, 20):
        cv2.imwrite(str(folder / f"{number:05}.png"), bags.scene(number)[0][..., ::-1])
    truth = write_folder(tmp_path / "truth", [10, 20], "{index:05}")
    sequence, frames = read_one(folder, truth=TruthSource(folder=truth))
    assert [each.stamp for each in frames] == [0, 100_000_000]
    for found, number in zip(frames, (10, 20), strict=True):
        assert found.truth is not None
        np.testing.assert_array_equal(found.image, bags.scene(number)[0])
        np.testing.assert_array_equal(found.truth.classes, bags.scene(number)[1])
    assert (sequence.name, sequence.count, sequence.seconds) == ("pictures", 2, 0.2)


def test_a_picture_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), bags.scene(0)[0])
    (tmp_path / "1.png").write_bytes(b"broken")
    sequence, frames = read_one(tmp_path)
    assert len(frames) == 1
    assert sequence.problems == [f"1 picture was left out; first: {tmp_path}/1.png is not a picture that can be read"]


def test_a_picture_that_is_no_file_is_left_out(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), bags.scene(0)[0])
    (tmp_path / "1.png").symlink_to("/dev/zero")
    sequence, frames = read_one(tmp_path)
    assert len(frames) == 1
    (problem,) = sequence.problems
    assert "1.png cannot be read: it is a device, expected a regular file" in problem


@pytest.mark.slow
def test_a_picture_that_unpacks_to_hundreds_of_megabytes_is_left_out(tmp_path: Path) -> None:
    side = 12_000
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(bytes((side // 8 + 1) * side)), b"IEND"]
    parts = [struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in chunks]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    code = (
        "import pathlib, sys; from eomt_ros.evaluation.sources.image_files import read_picture;"
        "read_picture(pathlib.Path(sys.argv[1]))"
    )
    # In a process of its own, because OpenCV asks for the limit when it is loaded.
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.png")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "a.png is not a picture that can be read" in answer.stderr


def test_of_a_video_that_was_cut_short_what_is_there_comes_and_the_rest_is_said(tmp_path: Path) -> None:
    path = encode(tmp_path / "in.avi", 24, "mjpeg")
    read_one(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sequence, frames = read_one(path)
    assert 0 < len(frames) < 24
    came = f"{len(frames)} of 24 frames that the video announces came"
    assert sequence.problems == [f"{came}: it may have been cut short"]


def test_of_a_whole_video_nothing_is_said(tmp_path: Path) -> None:
    sequence, frames = read_one(encode(tmp_path / "in.avi", 24))
    assert (len(frames), sequence.problems) == (24, [])


def test_a_video_goes_with_a_folder_by_index(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "in.mp4") as video:
        for number in range(FRAMES):
            video.write(bags.scene(number)[0], number * bags.PERIOD)
    truth = write_folder(tmp_path / "truth", range(FRAMES), "{index}")
    sequence, frames = read_one(tmp_path / "in.mp4", truth=TruthSource(folder=truth))
    assert (sequence.name, sequence.count, len(frames)) == ("in", FRAMES, FRAMES)
    assert unscored(frames) == []


def test_several_recordings_have_names_and_folders_of_their_own(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, [frame(number)[:1]]) for number, name in enumerate("ab")]
    for number, name in enumerate("ab"):
        folder = write_folder(tmp_path / "truth" / name, [number], "{stamp}")
    found = read(*paths, truth=TruthSource(folder=folder.parent))
    assert [sequence.name for sequence, _ in found] == ["a", "b"]
    for number, (_, frames) in enumerate(found):
        expect_scene(frames, [number])


def test_names_of_recordings_differ(tmp_path: Path) -> None:
    for folder in "xy":
        bags.write_scene(tmp_path / folder / "bag", 1)
    paths = [tmp_path / "x" / "bag", tmp_path / "y" / "bag"]
    assert [sequence.name for sequence, _ in read(*paths)] == [str(path) for path in paths]
    assert [sequence.name for sequence, _ in read(paths[0], paths[0])] == [f"{paths[0]} (1)", f"{paths[0]} (2)"]


def test_a_topic_is_for_bags(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), bags.scene(0)[0])
    with pytest.raises(SourceError, match=r"a topic \(--topic /camera\) is for bags"):
        read(tmp_path, topics=["/camera"])
    with pytest.raises(SourceError, match=r"topics of ground truth .* are for bags"):
        read(tmp_path, truth=TruthSource(classes_topic="/a"))


def test_what_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="gone does not exist"):
        read(tmp_path / "gone")


def write_packed(path: Path) -> Path:
    (file,) = bags.write_scene(path.with_name("whole"), 1).glob("*.mcap")
    path.write_bytes(zstd.compress(file.read_bytes()))
    return path


@pytest.mark.parametrize(("name", "write_one"), [("a.bag", write_ros1), ("a.mcap.zstd", write_packed)])
def test_however_many_recordings_there_are_one_is_open_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write_one: Callable[[Path], Path]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = write_one(tmp_path / name)
    before = list(tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files + 10, limits[1]))
    try:
        sequences = open_sequences([path] * 20)
        assert list(tmp_path.iterdir()) == before
        for sequence in sequences:
            assert len(list(sequence.frames())) == 1
            assert list(tmp_path.iterdir()) == before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_wrong_one_of_many_is_found_before_the_first_is_gone_through(tmp_path: Path) -> None:
    good, wrong = bags.write_scene(tmp_path / "good", 1), tmp_path / "wrong.mcap"
    wrong.write_bytes(b"no bag")
    with pytest.raises(SourceError, match=r"wrong\.mcap is not a bag that can be read"):
        open_sequences([good, wrong])


def test_a_bag_that_is_damaged_in_its_middle_is_incomplete(tmp_path: Path) -> None:
    path = bags.write_scene(tmp_path / "bag", 100)
    sequence, frames = read_one(path)
    assert (sequence.problems.incomplete, len(frames)) == (False, 100)
    bags.damage(path)
    sequence, frames = read_one(path)
    assert sequence.problems.incomplete
    assert 0 < len(frames) < 100
    assert any("of 300 messages could be read: bag.mcap has a damaged record" in each for each in sequence.problems)


@pytest.mark.parametrize("name", ["a.png", "a.mp4", "a.mcap", "a.bag", "bag/bag_0.db3", "pictures/a.jpg"])
def test_what_git_lfs_has_not_got_yet_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    given = path if path.parent == tmp_path else path.parent
    told = "it is a Git LFS pointer, not the file itself: get that with `git lfs pull`"
    if given.name == "pictures":
        (problem,) = read_one(given)[0].problems
        assert problem == f"1 picture was left out; first: {path} cannot be read: {told}"
    else:
        with pytest.raises(SourceError, match=f"{re.escape(str(given))} .*{told}"):
            read(given)


@pytest.mark.parametrize("name", ["a.png", "a.mp4", "pictures/a.jpg"])
def test_pipes_are_not_waited_for(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    if path.parent == tmp_path:
        with pytest.raises(SourceError, match="cannot be read: it is a pipe, expected a regular file"):
            read(path)
    else:
        assert "cannot be read: it is a pipe" in read_one(path.parent)[0].problems[0]
