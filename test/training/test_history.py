"""The history of a run lasts, forgets what a resumed run does again, and says which network is the best."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eomt_ros.evaluation.results import Figures
from eomt_ros.training.data_summary import summary_of
from eomt_ros.training.dataset import Dataset, DatasetError
from eomt_ros.training.errors import TrainingError
from eomt_ros.training.history import HISTORY_FILE, HistoryFile, read_history
from eomt_ros.training.validation import Validation, WorstValidationFrame
from test.training.data_sets import change_json, write_dataset

WORST = WorstValidationFrame(picture="v/000003.jpg", miou=0.25, truth="QUJD", prediction="REVG")


def validation(step: int, score: float | None) -> Validation:
    figures = Figures(miou=0.5, vpq=score, class_iou={"floor": 0.5, "ball": None})
    if score is None:
        figures = Figures()
    return Validation(step=step, task="panoptic", frames=8, seconds=1.5, figures=figures, worst_frames=(WORST,))


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return Dataset.open(write_dataset(tmp_path / "data"))


def test_what_was_written_is_read_again(data: Dataset, tmp_path: Path) -> None:
    file = HistoryFile(tmp_path, data)
    file.add(validation(0, 0.1))
    file.add(validation(5, 0.4))
    file.note("the loss was not finite")
    assert read_history(tmp_path) == file.history
    assert file.history.notes == ("the loss was not finite",)
    assert HistoryFile(tmp_path, data, resume=True).history == file.history
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [HISTORY_FILE]


def test_the_best_has_the_highest_score_and_is_never_the_start(data: Dataset, tmp_path: Path) -> None:
    file = HistoryFile(tmp_path, data)
    kept = [file.add(validation(step, score)) for step, score in ((0, 0.9), (5, 0.4), (10, 0.3), (15, 0.4), (20, 0.2))]
    assert kept == [False, True, False, True, False]
    assert file.history.start is not None
    assert file.history.best is not None
    assert (file.history.start.step, file.history.best.step) == (0, 15)
    assert [bool(each.worst_frames) for each in file.history.validations] == [False, False, False, True, False]


def test_where_nothing_has_a_score_the_latest_is_the_best(data: Dataset, tmp_path: Path) -> None:
    file = HistoryFile(tmp_path, data)
    assert [file.add(validation(step, None)) for step in (0, 5, 10)] == [False, True, True]
    assert file.add(validation(15, 0.0))
    assert not file.add(validation(20, None))


def test_a_run_that_goes_on_from_an_earlier_step_forgets_what_came_after(data: Dataset, tmp_path: Path) -> None:
    file = HistoryFile(tmp_path, data)
    for step, score in ((0, 0.1), (5, 0.4), (10, 0.6)):
        file.add(validation(step, score))
    file = HistoryFile(tmp_path, data, resume=True)
    file.forget_after(7)
    assert [each.step for each in read_history(tmp_path).validations] == [0, 5]
    file.add(validation(10, 0.5))
    file.add(validation(10, 0.45))
    assert [(each.step, each.score) for each in read_history(tmp_path).validations][1:] == [(5, 0.4), (10, 0.45)]


def test_a_file_that_is_none_is_refused(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=f"{tmp_path} has no {HISTORY_FILE}"):
        HistoryFile(tmp_path, data, resume=True)
    HistoryFile(tmp_path, data).add(validation(0, 0.1))
    path = tmp_path / HISTORY_FILE
    content = json.loads(path.read_text())
    for text, said in (
        ("[1", "it is not JSON"),
        (json.dumps({**content, "version": 9}), "version is 9, expected 1"),
        (json.dumps({**content, "validations": 3}), "validations is 3, expected a list"),
    ):
        path.write_text(text)
        with pytest.raises(TrainingError, match=said):
            read_history(tmp_path)


def test_a_file_that_cannot_be_written_stays_as_it_was(data: Dataset, tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "data", data)
    before = file.history
    path = tmp_path / "data" / HISTORY_FILE
    content = path.read_text()
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(OSError, match="cannot be written"):
        file.note("gone")
    assert file.history == before
    assert (tmp_path / "moved" / HISTORY_FILE).read_text() == content


def test_the_summary_counts_videos_frames_pixels_and_things(data: Dataset) -> None:
    parts = summary_of(data.folder).parts
    train, val = parts["train"], parts["val"]
    assert (train.videos, train.frames, val.videos, val.frames) == (2, 6, 1, 3)
    assert list(train.pixels) == [each.name for each in data.classes]
    for part, videos in ((train, data.train), (val, data.val)):
        frames = [frame for video in videos for frame in video.frames]
        counted = dict.fromkeys(part.pixels, 0)
        for frame in frames:
            image = frame.read_segments()
            for segment in frame.segments:
                counted[data.classes[segment.class_id].name] += int((image == segment.id).sum())
        assert part.pixels == counted
        assert part.things == {"box": 2 * len(videos), "ball": len(videos)}
        assert part.labelled == pytest.approx(30 / 32)


def test_crowds_are_not_counted_and_untracked_things_by_their_segments(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "data")

    def change(content: dict) -> None:
        for annotation in content["annotations"]:
            for segment in annotation["segments_info"]:
                segment.pop("track_id", None)
                segment["iscrowd"] = int(segment["category_id"] == 4)

    change_json(folder / "annotations" / "panoptic_val.json", change)
    part = summary_of(folder).parts["val"]
    assert part.things == {"box": 2, "ball": 0}
    assert part.pixels["ball"] == 0


def test_a_summary_of_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        summary_of(tmp_path / "gone")
