"""Runs of training on squares and discs that move, with a tiny network."""

from __future__ import annotations

import csv
import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from eomt_ros.engine import Segmenter
from eomt_ros.engine.errors import CheckpointError
from eomt_ros.training.dataset import Dataset, DatasetClass, DatasetError
from eomt_ros.training.dataset_writer import DatasetWriter
from eomt_ros.training.errors import TrainingError
from eomt_ros.training.history import read_history
from eomt_ros.training.loop import RUN_FOLDER, Job, Training
from eomt_ros.training.run import accelerator_of, train
from eomt_ros.training.settings import TrainingSettings, read_settings
from eomt_ros.training.start import start_network
from eomt_ros.training.state import load_state
from test.training.moving_shapes import CLASSES, write_moving_shapes

TINY: dict[str, Any] = {
    "minutes": 0,
    "steps": 4,
    "size": 64,
    "hidden_size": 64,
    "layers": 2,
    "joint_blocks": 1,
    "queries": 8,
    "batch": 4,
    "streams": 2,
    "learning_rate": 1e-3,
    "clip_norm": 1.0,
    "warmup_new": 2,
    "warmup_backbone": 2,
    "validate_every": 1.0,
    "precision": "float32",
    "loaders": 0,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that meet at every operation of a tiny network stand still on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_moving_shapes(tmp_path_factory.mktemp("shapes") / "data", train=3, val=1)


def log_of(out: Path) -> list[dict[str, str]]:
    with (out / "training.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights_of(out: Path) -> dict[str, Tensor]:
    return load_file(out / "model.safetensors")


def with_hook(job: Job, hook: Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor | None]) -> Job:
    """The same, with something done to the class logits of every training step."""
    job.start.network.class_predictor.register_forward_hook(hook)
    return job


def job_of(data: Path, out: Path, **settings: Any) -> Job:
    """A job whose folder is made ready as `train` does."""
    out.mkdir()
    chosen = TrainingSettings(**{**TINY, **settings})
    dataset = Dataset.open(data)
    return Job(dataset, start_network("nothing", chosen, dataset.classes), chosen, out)


@pytest.mark.slow
def test_the_loss_falls_and_the_figures_rise_and_the_result_is_a_model(tmp_path: Path) -> None:
    data = write_moving_shapes(tmp_path / "data")
    settings = TrainingSettings(
        **{**TINY, "steps": 150, "batch": 8, "streams": 4, "validate_every": 0.5, "learning_rate": 2e-3},
        masking=False,
        average_decay=0.9,
        noise=0,
        whole=1.0,
    )  # fmt: skip
    assert train(data, "nothing", settings, tmp_path / "out")
    rows = log_of(tmp_path / "out")
    assert [int(row["step"]) for row in rows] == list(range(1, 151))
    losses = [float(row["loss"]) for row in rows]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    history = read_history(tmp_path / "out")
    assert [each.step for each in history.validations] == [0, 75, 150]
    assert history.start is not None
    assert history.best is not None
    assert (history.best.figures.miou or 0) > (history.start.figures.miou or 0) + 0.3
    with Segmenter.load(tmp_path / "out", device="cpu", precision="float32", backend="torch") as segmenter:
        assert segmenter.task == "panoptic"
        assert segmenter.labels.class_names == tuple(each.name for each in CLASSES)
        assert segmenter.labels.is_thing == (False, True, True)
        stream = segmenter.open_stream()
        frame = Dataset.open(data).val[0].frames[0]
        found = stream.segment(frame.read_image(), stamp=0.0)
    assert found.semantic.shape == (64, 64)
    kept = sum(path.stat().st_size for path in (tmp_path / "out" / RUN_FOLDER).rglob("*"))
    assert kept < 100_000


def test_a_run_leaves_what_it_can_be_repeated_from(data: Path, tmp_path: Path) -> None:
    settings = TrainingSettings(**{**TINY, "steps": 2})
    train(data, "nothing", settings, tmp_path / "first")
    path = tmp_path / "first" / "settings.yaml"
    assert read_settings(path) == settings
    assert Dataset.open(data).fingerprint in path.read_text()
    train(data, "nothing", read_settings(path), tmp_path / "second")
    first, second = weights_of(tmp_path / "first"), weights_of(tmp_path / "second")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_that_is_stopped_leaves_a_model_and_goes_on_to_the_same_result(data: Path, tmp_path: Path) -> None:
    settings = TrainingSettings(**{**TINY, "steps": 6})
    assert train(data, "nothing", settings, tmp_path / "whole")
    stop = threading.Event()
    stop.set()
    out = tmp_path / "stopped"
    for steps in (1, 2):
        assert not train(data, "nothing", settings, out, resume=True, stop=stop)
        assert len(log_of(out)) == steps
        Segmenter.load(out, device="cpu", backend="torch").close()
    assert train(data, "nothing", settings, out, resume=True)
    assert log_of(out)[-1]["loss"] == log_of(tmp_path / "whole")[-1]["loss"]
    whole, found = weights_of(tmp_path / "whole"), weights_of(out)
    assert all(torch.equal(whole[name], found[name]) for name in whole)
    with pytest.raises(TrainingError, match="is finished, after 6 steps"):
        train(data, "nothing", settings, out, resume=True)


def test_a_loss_that_is_not_finite_once_goes_back_with_half_the_rate(data: Path, tmp_path: Path) -> None:
    calls = 0

    def hook(module: nn.Module, _: tuple[Any, ...], output: Tensor) -> Tensor | None:
        nonlocal calls
        calls += module.training
        return output * float("nan") if module.training and calls == 7 else None

    job = with_hook(job_of(data, tmp_path / "out", save_every=0.0, image_share=1.0), hook)
    assert Training(job, accelerator_of(job.settings, cpu=True)).run(resume=False)
    (note,) = read_history(tmp_path / "out").notes
    assert "the loss is not finite at step 4, on video" in note
    assert "back to step 3, with half the learning rate" in note
    rows = log_of(tmp_path / "out")
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]


def test_a_loss_that_is_not_finite_again_ends_the_run(data: Path, tmp_path: Path) -> None:
    def hook(module: nn.Module, _: tuple[Any, ...], output: Tensor) -> Tensor | None:
        return output * float("inf") if module.training else None

    job = with_hook(job_of(data, tmp_path / "out"), hook)
    with pytest.raises(TrainingError, match=r"not finite at step 1, on video\d/\d+\.\w+, .*again") as caught:
        Training(job, accelerator_of(job.settings, cpu=True)).run(resume=False)
    assert "learning_rate" in str(caught.value)
    state = load_state(tmp_path / "out" / RUN_FOLDER)
    assert state is not None
    assert state.step == 0
    assert all(weight.isfinite().all() for weight in state.network.values())


def test_a_step_in_parts_is_the_step_of_the_whole(data: Path, tmp_path: Path) -> None:
    # One class and no validation: the parts have as many masks each.
    for parts in (1, 2):
        train(data, "nothing", TrainingSettings(**{**TINY, "steps": 2, "accumulate": parts}), tmp_path / str(parts))
    whole, parted = (float(log_of(tmp_path / name)[0]["loss"]) for name in ("1", "2"))
    assert parted == pytest.approx(whole, rel=0.05)


def test_a_batch_too_small_for_its_parts_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="streams is 2, expected at least 3"):
        train(data, "nothing", TrainingSettings(**{**TINY, "accumulate": 3}), tmp_path / "out")


def test_a_folder_with_something_else_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(TrainingError, match="is not empty and holds no run: give another folder"):
            train(data, "nothing", TrainingSettings(**TINY), tmp_path, resume=resume)
    with pytest.raises(TrainingError, match="is a file, expected a folder"):
        train(data, "nothing", TrainingSettings(**TINY), tmp_path / "notes.txt")
    with pytest.raises(TrainingError, match="hold one another"):
        train(data, "nothing", TrainingSettings(**TINY), data / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_another_run_in_the_folder_is_neither_overwritten_nor_taken_for_this_one(data: Path, tmp_path: Path) -> None:
    out, settings = tmp_path / "out", TrainingSettings(**TINY)
    stop = threading.Event()
    stop.set()
    train(data, "nothing", settings, out, stop=stop)
    before = weights_of(out)
    with pytest.raises(TrainingError, match="holds a run: --resume goes on with it"):
        train(data, "nothing", settings, out)
    with pytest.raises(TrainingError, match=r"--resume: seed is 1, but the run in .* has 0"):
        train(data, "nothing", dataclasses.replace(settings, seed=1), out, resume=True)
    other = write_moving_shapes(tmp_path / "other", train=1, val=1)
    with pytest.raises(TrainingError, match=r"--resume: the data is not what the run in .* was begun with"):
        train(other, "nothing", settings, out, resume=True)
    with pytest.raises(TrainingError, match="--resume: --replay is not what"):
        train(data, "nothing", settings, out, replay=other, resume=True)
    with pytest.raises(TrainingError, match="--resume: --start is not what"):
        train(data, "demo", settings, out, resume=True)
    assert all(torch.equal(weight, before[name]) for name, weight in weights_of(out).items())


def test_a_start_that_does_not_fit_leaves_no_folder(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        train(data, str(tmp_path / "none"), TrainingSettings(**TINY), tmp_path / "out")
    with pytest.raises(DatasetError):
        train(tmp_path / "none", "nothing", TrainingSettings(**TINY), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_class_or_classes_without_a_pixel_are_no_reason_to_fail(tmp_path: Path) -> None:
    image = np.full((32, 48, 3), 90, np.uint8)
    classes, instances = np.full((32, 48), 255, np.uint8), np.zeros((32, 48), np.uint16)
    classes[8:24, 8:24], instances[8:24, 8:24] = 0, 1
    for names in (["square"], ["square", *(f"unseen {number}" for number in range(50))]):
        data = tmp_path / f"data{len(names)}"
        with DatasetWriter(data, [DatasetClass(name, True, (1, 2, 3)) for name in names]) as writer:
            writer.add("a", "train", 0, image, classes, instances)
            writer.add("b", "train", 0, image[:, :20], np.full((32, 20), 255, np.uint8), None)
        out = tmp_path / f"out{len(names)}"
        assert train(data, "nothing", TrainingSettings(**TINY), out)
        assert all(np.isfinite(float(row["loss"])) for row in log_of(out))
        Segmenter.load(out, device="cpu", backend="torch").close()


def test_pictures_without_labels_are_nothing_to_train_on(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "data", CLASSES) as writer:
        writer.add("a", "train", 0, np.zeros((32, 32, 3), np.uint8), np.full((32, 32), 255, np.uint8), None)
    with pytest.raises(DatasetError, match="nothing to train on"):
        train(tmp_path / "data", "nothing", TrainingSettings(**TINY), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_picture_is_reported_and_the_others_are_trained_on(tmp_path: Path) -> None:
    data = write_moving_shapes(tmp_path / "data", train=2, val=1, frames=3)
    path = sorted((data / "images" / "video0").iterdir())[0]
    path.write_bytes(path.read_bytes()[:50].ljust(path.stat().st_size, b"\0"))
    assert train(data, "nothing", TrainingSettings(**TINY), tmp_path / "out")
    notes = read_history(tmp_path / "out").notes
    assert any(str(path) in note for note in notes), notes


def test_a_second_data_set_is_trained_on_too(data: Path, tmp_path: Path) -> None:
    other = write_moving_shapes(tmp_path / "other", train=1, val=1, frames=2)
    assert train(data, "nothing", TrainingSettings(**TINY), tmp_path / "out", replay=other)
    found = [log_of(tmp_path / "out")[0]["loss"]]
    train(data, "nothing", TrainingSettings(**TINY), tmp_path / "alone")
    assert log_of(tmp_path / "alone")[0]["loss"] not in found


def test_runs_of_different_precision_follow_each_other_in_one_process(tmp_path: Path) -> None:
    data = write_moving_shapes(tmp_path / "data", train=1, val=1, frames=4)
    for precision in ("float32", "bfloat16"):
        settings = TrainingSettings(**{**TINY, "precision": precision})
        assert train(data, "nothing", settings, tmp_path / precision, cpu=True)
