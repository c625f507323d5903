"""Validation scores the network in training as the robot will run it, and leaves the training as it was."""

from __future__ import annotations

import base64
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from eomt_ros.engine import Segmenter
from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.engine.networks import QueryVit
from eomt_ros.evaluation.frame import Prediction
from eomt_ros.evaluation.metrics import Scores
from eomt_ros.training.dataset import Dataset
from eomt_ros.training.dataset_writer import DatasetWriter
from eomt_ros.training.settings import TrainingSettings
from eomt_ros.training.validation import TruthIds, moments, validate
from test.engine.checkpoints import WRITERS
from test.training.data_sets import BALL, CLASSES, FLOOR, PERIOD, WALL, change_json, frame_of

HEIGHT, WIDTH = 48, 64
IS_THING = np.array([each.is_thing for each in CLASSES])
SETTINGS = TrainingSettings()
GAP = 5 * 10**9
"""ns between frames that a stream does not bridge."""


def checkpoint(folder: Path, family: str = "videomt", **config: Any) -> Path:
    return WRITERS[family](folder, id2label={number: each.name for number, each in enumerate(CLASSES)}, **config)


def network_of(folder: Path) -> QueryVit:
    network = load_checkpoint(folder).network
    assert isinstance(network, QueryVit)
    return network


def table(folder: Path, task: str) -> Path:
    """The label table of the data set's classes."""
    classes = [f"- {{name: {each.name}, thing: {str(each.is_thing).lower()}}}" for each in CLASSES]
    path = folder / "labels.yaml"
    path.write_text("\n".join(["name: data set", f"task: {task}", "classes:", *classes]))
    return path


def picture(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1))


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes and instance ids: wall over floor, a ball that moves."""
    classes = np.full((HEIGHT, WIDTH), FLOOR, np.uint8)
    classes[:20] = WALL
    classes[20:40, 4 + 4 * number : 24 + 4 * number] = BALL
    return classes, np.where(classes == BALL, 9, 0).astype(np.uint16)


def write(folder: Path, videos: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]], period: int) -> Dataset:
    """A data set for validation. videos: pictures, classes and instance ids."""
    with DatasetWriter(folder, CLASSES) as writer:
        writer.add(**frame_of(0))
        for name, frames in videos.items():
            for number, (image, classes, instances) in enumerate(frames):
                writer.add(name, "val", (number + 1) * period, image, classes, instances)
    return Dataset.open(folder)


def scenes(folder: Path, frames: int = 4, period: int = PERIOD) -> Dataset:
    """Two videos whose labels have nothing to do with what a random network finds."""
    videos = {
        name: [(picture(10 * first + number), *scene(number)) for number in range(frames)]
        for first, name in enumerate(("v", "w"))
    }
    return write(folder, videos, period)


def found_by(folder: Path, task: str, tmp_path: Path) -> Dataset:
    """A video whose labels are what a network finds in it."""
    pictured = write(tmp_path / "pictured", {"v": [(picture(number), *scene(0)) for number in range(6)]}, PERIOD)
    frames = []
    is_thing = np.append(IS_THING, [False] * (256 - len(IS_THING)))
    with Segmenter.load(folder, labels=table(tmp_path, task), device="cpu", precision="float32") as segmenter:
        stream = segmenter.open_stream()
        for frame in pictured.val[0].frames:
            image = frame.read_image()
            result = stream.segment(image, stamp=Fraction(frame.stamp, 10**9))
            things = is_thing[result.semantic]
            # Where no instance is found there is stuff.
            classes = np.where(things | (task != "instance"), result.semantic, FLOOR).astype(np.uint8)
            frames.append((image, classes, np.where(things, result.panoptic, 0)))
    data = write(tmp_path / "found", {"v": frames}, PERIOD)
    shutil.copytree(tmp_path / "pictured" / "images", tmp_path / "found" / "images", dirs_exist_ok=True)
    return data


@pytest.mark.parametrize("family", ["videomt", "eomt", "eomt_dinov3"])
@pytest.mark.parametrize("task", ["panoptic", "semantic"])
def test_figures_are_those_of_the_checkpoint_that_is_deployed(family: str, task: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "checkpoint", family)
    data = scenes(tmp_path / "data")
    scores = Scores([each.name for each in CLASSES], IS_THING)
    with Segmenter.load(folder, labels=table(tmp_path, task), device="cpu", precision="float32") as segmenter:
        for video in data.val:
            scores.start_sequence(video.name)
            stream, truths = segmenter.open_stream(), TruthIds(IS_THING)
            for frame, moment in zip(video.frames, moments(video.frames), strict=True):
                image, segments = frame.read()
                found = stream.segment(image, stamp=Fraction(frame.stamp, 10**9))
                shown = Prediction(found.semantic, None if task == "semantic" else found.panoptic, found.epoch)
                scores.update(truths.truth(frame, segments), shown, begin=moment.begin, seconds=moment.seconds)
    validation = validate(network_of(folder), replace(SETTINGS, task=task), data, step=7)
    assert validation.figures == scores.figures()
    assert (validation.step, validation.frames, validation.problems) == (7, 8, ())
    assert validation.score == (scores.figures().miou if task == "semantic" else scores.figures().vpq)


@pytest.mark.parametrize("task", ["panoptic", "instance", "semantic"])
def test_what_the_network_finds_scores_1_where_it_is_the_truth(task: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "checkpoint", seed=1)
    data = found_by(folder, task, tmp_path)
    validation = validate(network_of(folder), replace(SETTINGS, task=task), data)
    assert validation.score == pytest.approx(1)
    assert validation.figures.miou == pytest.approx(1)
    if task == "instance":
        assert set(validation.figures.class_iou) == {"box", "ball"}


@pytest.mark.parametrize("task", ["panoptic", "semantic"])
def test_a_training_with_validations_has_the_weights_of_one_without(task: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "checkpoint")
    data = scenes(tmp_path / "data")

    def trained(*, validated: bool) -> tuple[dict[str, torch.Tensor], torch.Tensor, Any]:
        torch.manual_seed(0)
        np.random.seed(0)
        network = network_of(folder).requires_grad_(True).train()
        network.layers[0].requires_grad_(False)
        optimizer = torch.optim.AdamW((each for each in network.parameters() if each.requires_grad), 1e-3)
        queries = network.first_queries()
        for step in range(4):
            result = network(torch.randn(1, 3, 64, 64), queries)
            (result.mask_logits.square().mean() + result.class_logits.square().mean()).backward()
            optimizer.step()
            optimizer.zero_grad()
            queries = result.next_queries.detach()
            if validated:
                validate(network, replace(SETTINGS, task=task), data, step=step)
        assert network.training
        assert not network.layers[0].norm1.weight.requires_grad
        assert network.layers[1].norm1.weight.requires_grad
        return network.state_dict(), torch.get_rng_state(), np.random.get_state()[1]

    threads = torch.get_num_threads()
    (weights, torch_random, numpy_random), (expected, *random) = trained(validated=True), trained(validated=False)
    assert list(weights) == list(expected)
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
    assert torch.equal(torch_random, random[0])
    assert np.array_equal(numpy_random, random[1])
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def test_a_network_in_half_precision_stays_so_and_is_scored_in_float32(tmp_path: Path) -> None:
    network = network_of(checkpoint(tmp_path / "checkpoint")).bfloat16()
    validate(network, SETTINGS, scenes(tmp_path / "data"))
    assert {weight.dtype for weight in network.parameters()} == {torch.bfloat16}


def test_frames_that_were_picked_far_apart_are_scored_each_by_itself(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "checkpoint")
    near, far = scenes(tmp_path / "near"), scenes(tmp_path / "far", period=GAP)
    alone = replace(far, val=tuple(replace(video, frames=(frame,)) for video in far.val for frame in video.frames))
    followed, picked, single = (validate(network_of(folder), SETTINGS, data) for data in (near, far, alone))
    assert picked.figures == single.figures
    assert picked.figures != followed.figures
    assert {window for window, value in picked.figures.vpq_by_window.items() if value is not None} == {"1"}
    assert picked.frames == followed.frames


@pytest.mark.parametrize(("most", "frames"), [(0, 8), (3, 6), (1, 2)])
def test_of_every_video_the_first_frames_are_played(most: int, frames: int, tmp_path: Path) -> None:
    network = network_of(checkpoint(tmp_path / "checkpoint"))
    data = scenes(tmp_path / "data")
    short = replace(data, val=tuple(replace(video, frames=video.frames[: most or None]) for video in data.val))
    validation = validate(network, replace(SETTINGS, validation_frames=most), data)
    assert validation.frames == frames
    assert validation.figures == validate(network, SETTINGS, short).figures


def test_crowds_are_not_scored(tmp_path: Path) -> None:
    network = network_of(checkpoint(tmp_path / "checkpoint"))
    scenes(tmp_path / "data")
    before = validate(network, SETTINGS, Dataset.open(tmp_path / "data")).figures

    def make_crowds(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            for segment in annotation["segments_info"]:
                segment["iscrowd"] = int(segment["category_id"] == BALL + 1)

    change_json(tmp_path / "data" / "annotations" / "panoptic_val.json", make_crowds)
    after = validate(network, SETTINGS, Dataset.open(tmp_path / "data")).figures
    assert before.class_iou["ball"] is not None
    assert after.class_iou["ball"] is None


def test_a_network_that_gives_no_numbers_finds_nothing(tmp_path: Path) -> None:
    network = network_of(checkpoint(tmp_path / "checkpoint"))
    with torch.no_grad():
        network.class_predictor.bias.fill_(torch.nan)
    validation = validate(network, SETTINGS, scenes(tmp_path / "data"))
    assert validation.score == 0
    assert "8 frames" in validation.problems[0]


def test_a_picture_that_is_damaged_is_left_out_and_named(tmp_path: Path) -> None:
    network = network_of(checkpoint(tmp_path / "checkpoint"))
    data = scenes(tmp_path / "data")
    image = data.val[0].frames[1].image
    image.write_bytes(image.read_bytes()[:-50])
    validation = validate(network, SETTINGS, data)
    assert validation.frames == 7
    assert str(image) in validation.problems[0]


def test_without_videos_there_is_no_score(tmp_path: Path) -> None:
    network = network_of(checkpoint(tmp_path / "checkpoint"))
    validation = validate(network, SETTINGS, replace(scenes(tmp_path / "data"), val=()))
    assert (validation.score, validation.frames) == (None, 0)


def test_the_worst_frames_are_kept_as_small_pictures(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "checkpoint", seed=1)
    data = found_by(folder, "panoptic", tmp_path)
    large = np.ascontiguousarray(picture(0).repeat(20, 0).repeat(20, 1))
    wrong = scene(0)[0].repeat(20, 0).repeat(20, 1), scene(0)[1].repeat(20, 0).repeat(20, 1)
    added = write(tmp_path / "added", {"wrong": [(large, *wrong)]}, PERIOD)
    validation = validate(network_of(folder), SETTINGS, replace(data, val=(*data.val, *added.val)))
    worst = validation.worst_frames[0]
    assert worst.picture == "wrong/000000.jpg"
    assert worst.miou < 0.5
    assert [each.miou for each in validation.worst_frames] == sorted(each.miou for each in validation.worst_frames)
    for data_of in (worst.truth, worst.prediction):
        decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data_of), np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape == (360, 480, 3)
