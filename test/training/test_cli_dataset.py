"""`eomt-ros dataset` as a user runs it, on real recordings."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from eomt_ros.cli.main import main
from eomt_ros.engine import Segmenter
from eomt_ros.evaluation.sources import open_sequences
from eomt_ros.evaluation.sources.sequence import SourceFrame
from eomt_ros.training import picking
from eomt_ros.training.dataset import Dataset, LabelledFrame, LabelledVideo
from test import ROOT
from test.engine.checkpoints import SMALL, write_checkpoint
from test.evaluation import bags
from test.patience import PATIENCE

FRAMES = 40
CLASSES = ("floor", "wall", "shelf", "box")
LABELS = "name: few\ntask: panoptic\nclasses:\n" + "".join(
    f"  - {{name: {name}, thing: {str(name == 'box').lower()}}}\n" for name in CLASSES
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.yaml"
    path.write_text(LABELS)
    return path


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bags.write_scene(tmp_path_factory.mktemp("bags") / "night", FRAMES)


@pytest.fixture(scope="module")
def without_truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "pictures"
    folder.mkdir()
    for number in range(FRAMES):
        assert cv2.imwrite(str(folder / f"{number:03}.png"), bags.scene(number)[0][..., ::-1])
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "small")


Made = Callable[..., Dataset]
Refused = Callable[..., str]


@pytest.fixture
def made(data: Path, labels: Path, capsys: pytest.CaptureFixture[str]) -> Made:
    """Runs the command with the labels, expects success, and opens what it wrote."""

    def run(*arguments: object, labels: Path | None = labels) -> Dataset:
        given = [] if labels is None else ["--labels", str(labels)]
        code = main(["dataset", *map(str, arguments), "--out", str(data), *given])
        assert code == 0, capsys.readouterr().err
        return Dataset.open(data)

    return run


@pytest.fixture
def refused(data: Path, labels: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs the command, expects a refusal in one line that leaves nothing, and returns that."""

    def run(*arguments: object, labels: Path | None = labels) -> str:
        given = [] if labels is None else ["--labels", str(labels)]
        assert main(["dataset", *map(str, arguments), "--out", str(data), *given]) == 1
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("eomt-ros: ")]
        assert len(lines) == 1
        assert not data.exists()
        assert not list(data.parent.glob(f".{data.name}*"))
        return lines[0]

    return run


def numbers(frames: Iterable[LabelledFrame]) -> list[int]:
    """The places in the bag of frames of it."""
    return [(frame.stamp - bags.START) // bags.PERIOD for frame in frames]


def classes_of(frame: LabelledFrame) -> npt.NDArray[np.int64]:
    """(H, W) class ids, -1 unlabelled."""
    _, segments = frame.read()
    classes = np.full(segments.shape, -1)
    for segment in frame.segments:
        classes[segments == segment.id] = segment.class_id
    return classes


def picked_in(data: Path) -> list[dict[str, str]]:
    with (data / picking.PICKED).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_bag_becomes_pictures_with_its_ground_truth(bag: Path, made: Made) -> None:
    made_of = made(bag, "--val", 0)
    (video,) = made_of.train
    assert (video.name, len(video.frames), made_of.val) == ("night", FRAMES, ())
    assert [each.name for each in made_of.classes] == list(CLASSES)
    for number in (0, FRAMES - 1):
        frame = video.frames[number]
        picture, classes, _ = bags.scene(number)
        assert frame.stamp == bags.stamp(number)
        assert np.abs(frame.read()[0].astype(int) - picture).mean() < 3
        assert np.array_equal(classes_of(frame), classes)
    tracks = {segment.track for frame in video.frames for segment in frame.segments if segment.class_id == 3}
    assert len(tracks) == 1
    assert tracks != {None}


def test_what_was_written_passes_its_check(
    tmp_path: Path, made: Made, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(bags.write_scene(tmp_path / "short", 20))
    capsys.readouterr()
    assert main(["dataset", "--check", str(data)]) == 0
    assert "0 errors" in capsys.readouterr().out


def test_a_data_set_that_is_damaged_fails_its_check(
    bag: Path, made: Made, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(bag).train[0].frames[0].image.unlink()
    assert main(["dataset", "--check", str(data)]) == 1
    assert "error: " in capsys.readouterr().out


def test_corrections_are_read_again(bag: Path, made: Made, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(bag)
    before = (data / "annotations" / "panoptic_train.json").read_bytes()
    file = data.parent / "corrected.json"
    file.write_bytes((data / "annotations" / "instances_train.json").read_bytes())
    assert main(["dataset", str(data), "--corrections", str(file)]) == 0
    assert "0 changed, 0 added, 0 deleted" in capsys.readouterr().out
    assert (data / "annotations" / "panoptic_train.json").read_bytes() == before


def test_the_end_of_the_only_recording_validates(bag: Path, made: Made) -> None:
    found = made(bag)
    assert numbers(found.train[0].frames) == list(range(32))
    assert numbers(found.val[0].frames) == list(range(34, 40))


def test_of_several_recordings_whole_ones_validate(bag: Path, tmp_path: Path, made: Made) -> None:
    others = [bags.write_scene(tmp_path / name, 3) for name in ("day", "dusk")]
    found = made(bag, *others, "--val", "dusk")
    assert [(video.name, len(video.frames)) for video in found.train] == [("night", FRAMES), ("day", 3)]
    assert [(video.name, len(video.frames)) for video in found.val] == [("dusk", 3)]


def test_one_frame_every_second_is_written_with_its_reason(bag: Path, made: Made, data: Path) -> None:
    found = made(bag, "--every", 1, "--val", 0)
    assert numbers(found.train[0].frames) == [0, 10, 20, 30]
    rows = picked_in(data)
    assert [(row["video"], row["frame"], row["reason"]) for row in rows] == [
        ("night", str(number), "every") for number in range(4)
    ]
    assert [int(row["stamp"]) for row in rows] == [bags.stamp(number) for number in (0, 10, 20, 30)]


def test_frames_around_come_with_those_that_are_picked(bag: Path, made: Made, data: Path) -> None:
    found = made(bag, "--every", 1, "--around", 2, "--val", 0)
    near = [0, 1, 2, 8, 9, 10, 11, 12, 18, 19, 20, 21, 22, 28, 29, 30, 31, 32]
    assert numbers(found.train[0].frames) == near
    assert [row["reason"] for row in picked_in(data)].count("neighbour") == len(near) - 4


def test_frames_around_do_not_reach_into_the_validation(bag: Path, made: Made) -> None:
    found = made(bag, "--every", 3.1, "--around", 5)
    assert max(numbers(found.train[0].frames)) == 31


def test_of_sparse_ground_truth_only_labelled_frames_are_picked(bag: Path, tmp_path: Path, made: Made) -> None:
    truth = tmp_path / "truth"
    truth.mkdir()
    for number in range(3, FRAMES, 10):
        assert cv2.imwrite(str(truth / f"{number}.png"), bags.scene(number)[1])
    found = made(bag, "--truth", truth, "--every", 0.5, "--val", 0)
    assert numbers(found.train[0].frames) == [3, 13, 23, 33]


def test_a_taxonomy_gives_the_ground_truth_the_robots_classes(bag: Path, tmp_path: Path, made: Made) -> None:
    taxonomy = tmp_path / "robot.yaml"
    taxonomy.write_text(
        "classes:\n  - {name: goods, from: [box], role: obstacle}\n  - {name: ground, from: [floor], role: ground}\n"
    )
    found = made(bag, "--taxonomy", taxonomy)
    assert [(each.name, each.is_thing) for each in found.classes] == [("goods", True), ("ground", False)]
    expected = np.array([1, -1, -1, 0])[bags.scene(0)[1]]
    assert np.array_equal(classes_of(found.train[0].frames[0]), expected)


def test_a_time_that_jumps_begins_another_video(tmp_path: Path, made: Made) -> None:
    def messages() -> Iterable[tuple[str, int, Any]]:
        for number in [*range(5), *range(100, 104)]:
            picture, classes, _ = bags.scene(number)
            yield bags.IMAGES, bags.stamp(number), bags.compressed(bags.stamp(number), picture)
            yield bags.SEMANTIC, bags.stamp(number), bags.image(bags.stamp(number), classes, "mono8")

    found = made(bags.write_bag(tmp_path / "gap", messages()), "--val", 0)
    assert [(video.name, len(video.frames)) for video in found.train] == [("gap", 5), ("gap_2", 4)]


def test_labels_of_a_model_are_what_the_engine_finds(
    without_truth: Path, model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--device", "cpu", "--backend", "torch", "--score-threshold", "0"]
    words = ["dataset", str(without_truth), "--prelabel", str(model), "--every", "0.5", "--val", "0"]
    assert main([*words, "--out", str(data), *options]) == 0, capsys.readouterr().err
    (video,) = Dataset.open(data).train
    assert [frame.stamp for frame in video.frames] == [number * 5 * bags.PERIOD for number in range(8)]
    things, expected = engine_result(without_truth, model)
    of_id: dict[int, set[int]] = {}
    for frame, (classes, ids) in zip(video.frames, expected[::5], strict=True):
        assert np.array_equal(classes_of(frame), classes)
        segments = frame.read()[1]
        for number in np.unique(ids[np.isin(classes, things)]).tolist():
            (segment,) = np.unique(segments[ids == number]).tolist()
            of_id.setdefault(number, set()).add(segment)
    assert of_id
    assert all(len(each) == 1 for each in of_id.values())
    assert len({segment for each in of_id.values() for segment in each}) == len(of_id)


def engine_result(recording: Path, model: Path) -> tuple[list[int], list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]]:
    """The ids of classes of things; classes (-1 unlabelled) and ids of every frame, segmented in one stream."""
    found = []
    (sequence,) = open_sequences([recording])
    with Segmenter.load(str(model), device="cpu", backend="torch", score_threshold=0.0) as segmenter:
        stream = segmenter.open_stream()
        for frame in sequence.frames():
            result = stream.segment(frame.image, stamp=Fraction(frame.stamp, 10**9))
            classes = np.where(result.semantic == 255, -1, result.semantic.astype(int))
            found.append((classes, result.panoptic))
        return [number for number, thing in enumerate(segmenter.labels.is_thing) if thing], found


def test_of_the_models_classes_those_of_the_data_are_taken_by_name(
    without_truth: Path, model: Path, tmp_path: Path, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = SMALL["id2label"].values()
    table = tmp_path / "table.yaml"
    table.write_text(
        f"name: t\ntask: panoptic\nclasses:\n  - {{name: pallet, thing: true}}\n  - {{name: {second!r}, thing: true}}\n"
    )
    found = made(without_truth, "--prelabel", model, "--device", "cpu", "--score-threshold", 0, labels=table)
    printed = capsys.readouterr().out
    assert [each.name for each in found.classes] == ["pallet", second]
    assert {segment.class_id for frame in found.train[0].frames for segment in frame.segments} == {1}
    assert "note: the model does not know pallet: nothing is labelled so yet" in printed
    assert f"note: the data has no class {first}" in printed


@pytest.mark.slow
def test_hard_frames_of_the_demo_are_those_that_were_spoilt(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "spoilt"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for number, frame in enumerate(demo_frames(90)):
        image = frame.image
        if number in (30, 31, 60):
            image = np.clip(cv2.GaussianBlur(image, (0, 0), 6) / 3 + noise.normal(0, 20, image.shape), 0, 255)
        assert cv2.imwrite(str(folder / f"{number:03}.png"), np.asarray(image)[..., ::-1])
    words = ["dataset", str(folder), "--prelabel", "demo", "--hard", "4", "--val", "0", "--out", str(data)]
    assert main([*words, "--device", "cpu"]) == 0
    rows = sorted(picked_in(data), key=lambda row: float(row["hardness"]), reverse=True)
    assert len(rows) == 4
    hardest = [round(int(row["stamp"]) / bags.PERIOD) for row in rows[:2]]
    assert sorted(hardest) in ([30, 60], [31, 60])
    assert all(row["reason"] for row in rows)


def demo_frames(count: int) -> list[SourceFrame]:
    (sequence,) = open_sequences([ROOT / "demo" / "bag"])
    return [frame for _, frame in zip(range(count), sequence.frames(), strict=False)]


def test_hard_frames_leave_the_share_of_the_validation_to_even_spread(
    bag: Path, model: Path, made: Made, data: Path
) -> None:
    found = made(bag, "--hard", 10, "--model", model, "--device", "cpu")
    assert (len(found.train[0].frames), len(found.val[0].frames)) == (8, 2)
    assert [row["reason"] for row in picked_in(data) if row["split"] == "val"] == ["validation"] * 2


def test_more_hard_frames_than_there_are_is_said(
    bag: Path, model: Path, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    found = made(bag, "--hard", 100, "--model", model, "--device", "cpu", "--val", 0)
    assert len(found.train[0].frames) == FRAMES
    assert f"note: --hard 100: there are {FRAMES} frames in all" in capsys.readouterr().out


def test_pictures_can_be_taken_to_be_labelled_by_hand(without_truth: Path, data: Path, labels: Path) -> None:
    words = ["dataset", str(without_truth), "--unlabelled", "--every", "1", "--labels", str(labels)]
    assert main([*words, "--out", str(data)]) == 0
    entries = [json.loads((data / "annotations" / f"instances_{split}.json").read_text()) for split in ("train", "val")]
    assert [len(each["images"]) for each in entries] == [4, 1]
    assert [each["annotations"] for each in entries] == [[], []]
    assert len(list((data / "images").rglob("*.jpg"))) == 5


def test_frames_without_ground_truth_are_left_out_and_counted(
    bag: Path, tmp_path: Path, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = tmp_path / "truth"
    truth.mkdir()
    for number in range(30):
        assert cv2.imwrite(str(truth / f"{number}.png"), bags.scene(number)[1])
    found = made(bag, "--truth", truth, "--val", 0)
    assert numbers(found.train[0].frames) == list(range(30))
    assert "note: 10 frames have no labels and were left out" in capsys.readouterr().out


@pytest.mark.parametrize("how", [[], ["--every", "1"]])
def test_recordings_without_ground_truth_are_refused(without_truth: Path, refused: Refused, how: list[str]) -> None:
    assert "pictures: there is no ground truth; say where it is (--truth" in refused(without_truth, *how)


def test_ground_truth_without_names_of_its_classes_is_refused(bag: Path, refused: Refused) -> None:
    assert "--labels YAML is missing" in refused(bag, labels=None)


def test_ground_truth_with_an_unknown_class_is_refused(bag: Path, tmp_path: Path, refused: Refused) -> None:
    table = tmp_path / "small.yaml"
    table.write_text("name: few\ntask: panoptic\nclasses:\n  - {name: floor, thing: false}\n")
    line = refused(bag, labels=table)
    assert "no frame has labels, so nothing is written; 40 frames' ground truth is not used: it has an unknown" in line
    assert "class 3, expected 0 to 0" in line


def test_ground_truth_of_another_size_is_refused(bag: Path, tmp_path: Path, refused: Refused) -> None:
    truth = tmp_path / "truth"
    truth.mkdir()
    for number in range(FRAMES):
        assert cv2.imwrite(str(truth / f"{number}.png"), np.zeros((5, 5), np.uint8))
    assert "it has another size; first: at" in refused(bag, "--truth", truth)


def test_a_bag_that_breaks_off_gives_what_is_there_and_says_so(
    tmp_path: Path, labels: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bags.write_scene(tmp_path / "broken", 400)
    bags.damage(path)
    assert main(["dataset", str(path), "--out", str(data), "--labels", str(labels)]) == 1
    assert "note: " in capsys.readouterr().out
    assert 0 < sum(len(video.frames) for video in Dataset.open(data).train) < 400


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--every", "0"], "--every is 0, expected seconds above 0"),
        (["--hard", "0", "--model", "demo"], "--hard is 0, expected a number of frames from 1 on"),
        (["--hard", "5"], "--hard needs --model MODEL"),
        (["--model", "demo"], "--model demo says which frames are hard: give --hard COUNT, too"),
        (["--around", "2"], "--around goes with --every or --hard"),
        (["--around", "-1", "--every", "1"], "--around is -1"),
        (["--val", "dusk"], "--val has 'dusk', which is none of the recordings; they are night"),
        (["--prelabel", "demo", "--truth-map", "offset=-1"], "--truth-map and --prelabel exclude each other"),
        (["--prelabel", "nowhere/"], "model 'nowhere/'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(bag: Path, refused: Refused, words: list[str], said: str) -> None:
    assert said in refused(bag, *words)


@pytest.mark.parametrize("value", ["1.5", "-0.1", "nan"])
def test_a_share_outside_of_the_range_is_refused(bag: Path, data: Path, value: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["dataset", str(bag), "--out", str(data), f"--val={value}"])


def test_a_model_without_the_datas_classes_is_refused(without_truth: Path, refused: Refused) -> None:
    assert "has none of the data's classes, pallet" in refused(
        without_truth, "--prelabel", "demo", labels=write_table(without_truth.parent / "other.yaml", "pallet")
    )


def write_table(path: Path, name: str) -> Path:
    path.write_text(f"name: t\ntask: panoptic\nclasses:\n  - {{name: {name}, thing: true}}\n")
    return path


def test_a_folder_with_something_in_it_is_left_alone(
    bag: Path, data: Path, labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.mkdir()
    (data / "mine.txt").write_text("mine")
    assert main(["dataset", str(bag), "--out", str(data), "--labels", str(labels)]) == 1
    assert f"--out {data} exists: give another folder" in capsys.readouterr().err
    assert [path.name for path in data.iterdir()] == ["mine.txt"]


def test_no_out_no_writing(bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", str(bag)]) == 1
    assert "--out DATA is missing" in capsys.readouterr().err


@pytest.mark.slow
def test_a_full_disk_leaves_nothing(bag: Path, data: Path, labels: Path) -> None:
    # No file can be larger: what a write beyond that raises is an OSError as that of a full disk.
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000)); "
        "from eomt_ros.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", program, "dataset", bag, "--out", data, "--labels", labels]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.startswith("eomt-ros: ")
    assert not list(data.parent.iterdir())


def test_ctrl_c_leaves_nothing(bag: Path, data: Path, labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    label, seen = picking.TrueLabels.label, []

    def interrupted(self: picking.TrueLabels, frame: SourceFrame) -> Any:
        seen.append(frame)
        if len(seen) == FRAMES + 10:
            raise KeyboardInterrupt
        return label(self, frame)

    monkeypatch.setattr(picking.TrueLabels, "label", interrupted)
    assert main(["dataset", str(bag), "--out", str(data), "--labels", str(labels)]) == 130
    assert not list(data.parent.iterdir())


def test_vspw_brings_its_own_classes(tmp_path: Path, made: Made) -> None:
    root = tmp_path / "VSPW_480p"
    for video in ("1_a", "2_b"):
        for kind, pixels in (("origin", np.full((6, 8, 3), 90, np.uint8)), ("mask", np.full((6, 8), 3, np.uint8))):
            path = root / "data" / video / kind / ("0.jpg" if kind == "origin" else "0.png")
            path.parent.mkdir(parents=True)
            assert cv2.imwrite(str(path), pixels)
    (root / "train.txt").write_text("1_a\n2_b\n")
    found = made(root, labels=None)
    assert len(found.classes) == 124
    videos: tuple[LabelledVideo, ...] = (*found.train, *found.val)
    assert [video.name for video in videos] == ["1_a", "2_b"]
