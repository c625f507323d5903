"""Saved checkpoints beside Hugging Face's own classes, and what a process that fails or is ended leaves of them."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from torch import nn
from transformers import (
    AutoImageProcessor,
    AutoVideoProcessor,
    EomtDinov3ForUniversalSegmentation,
    EomtForUniversalSegmentation,
    PreTrainedModel,
    VideomtForUniversalSegmentation,
)

from eomt_ros.engine import CheckpointError, Segmenter
from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.engine.networks import QueryVit
from eomt_ros.training.checkpoint import restore_checkpoint, save_checkpoint
from test.engine.pictures import picture
from test.training.networks import CLASSES, NETWORKS, answers, frames, network_of

pytestmark = pytest.mark.slow

THEIRS: dict[str, type[PreTrainedModel]] = {
    "videomt": VideomtForUniversalSegmentation,
    "videomt_gated": VideomtForUniversalSegmentation,
    "eomt": EomtForUniversalSegmentation,
    "eomt_dinov3": EomtDinov3ForUniversalSegmentation,
    "eomt_dinov3_gated": EomtDinov3ForUniversalSegmentation,
}


@pytest.fixture
def their_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What transformers logs."""
    transformers.logging.enable_propagation()
    yield caplog
    transformers.logging.disable_propagation()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("kind", THEIRS)
def test_hugging_face_loads_a_saved_network_without_a_word_and_computes_the_same(
    kind: str, dtype: torch.dtype, tmp_path: Path, their_log: pytest.LogCaptureFixture
) -> None:
    save_checkpoint(network_of(kind), tmp_path / "mine", CLASSES, "panoptic", dtype=dtype)
    ours = load_checkpoint(tmp_path / "mine").network
    assert isinstance(ours, QueryVit)
    theirs, info = THEIRS[kind].from_pretrained(tmp_path / "mine", dtype=torch.float32, output_loading_info=True)
    assert not any(info.values()), info
    assert [record.getMessage() for record in their_log.records if record.levelname != "INFO"] == []
    assert theirs.config.id2label == dict(enumerate(each.name for each in CLASSES))
    pixels = frames(3)
    given = {"pixel_values_videos": pixels[None]} if kind.startswith("videomt") else {"pixel_values": pixels}
    output = theirs.eval()(**given)
    for index, (masks, classes) in enumerate(answers(ours, pixels)):
        torch.testing.assert_close(masks, output.masks_queries_logits[index], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(classes, output.class_queries_logits[index], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_engine_loads_the_network_that_was_saved(kind: str, tmp_path: Path) -> None:
    network = network_of(kind)
    save_checkpoint(network, tmp_path / "mine", CLASSES, "panoptic", dtype=torch.float32)
    loaded = load_checkpoint(tmp_path / "mine")
    assert isinstance(loaded.network, QueryVit)
    assert type(loaded.network) is type(network)
    assert loaded.settings == network.settings
    for before, after in zip(answers(network, frames(2)), answers(loaded.network, frames(2)), strict=True):
        assert torch.equal(before[0], after[0])
        assert torch.equal(before[1], after[1])


def test_things_colours_and_task_come_back_with_the_network(tmp_path: Path) -> None:
    save_checkpoint(network_of("videomt"), tmp_path / "mine", CLASSES, "instance")
    with Segmenter.load(tmp_path / "mine", device="cpu") as segmenter:
        result = segmenter.segment(picture(50, 70, 0), segmenter.open_stream())
        assert segmenter.task == "instance"
    assert result.labels.name == "mine"
    assert result.labels.class_names == tuple(each.name for each in CLASSES)
    assert result.labels.is_thing == tuple(each.is_thing for each in CLASSES)
    assert result.labels.colors == tuple(each.color for each in CLASSES)


@pytest.mark.parametrize(("task", "windows"), [("panoptic", 1), ("semantic", 2)])
def test_hugging_faces_processors_give_the_square_that_the_network_takes(
    task: str, windows: int, tmp_path: Path
) -> None:
    save_checkpoint(network_of("eomt"), tmp_path / "eomt", CLASSES, task)
    pixels = AutoImageProcessor.from_pretrained(tmp_path / "eomt")(picture(90, 160, 0), return_tensors="pt")
    assert pixels["pixel_values"].shape == (windows, 3, 64, 64)
    save_checkpoint(network_of("videomt"), tmp_path / "videomt", CLASSES, task)
    size = AutoVideoProcessor.from_pretrained(tmp_path / "videomt").size
    assert (size["height"], size["width"]) == (64, 64)


def test_a_checkpoint_takes_the_place_of_the_one_before_with_all_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    save_checkpoint(network_of("eomt"), folder, CLASSES, "panoptic")
    (folder / "exported").mkdir()
    save_checkpoint(network_of("videomt"), folder, CLASSES, "panoptic")
    assert sorted(os.listdir(folder)) == [
        "config.json",
        "labels.yaml",
        "model.safetensors",
        "video_preprocessor_config.json",
    ]
    assert os.listdir(tmp_path) == ["mine"]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(CheckpointError, match=r"has files that are not a checkpoint's \(thesis\.tex\)"):
        save_checkpoint(network_of("eomt"), tmp_path, CLASSES, "panoptic")
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    save_checkpoint(network_of("eomt"), tmp_path / "mine", CLASSES, "panoptic")
    broken = network_of("eomt")
    nn.init.constant_(broken.layernorm.bias, float("nan"))
    said = r"no checkpoint is written: 1 weights have NaN or infinite numbers \(layernorm\.bias\)"
    with pytest.raises(CheckpointError, match=said):
        save_checkpoint(broken, tmp_path / "mine", CLASSES, "panoptic")
    load_checkpoint(tmp_path / "mine")


@pytest.mark.parametrize(("number", "dtype"), [(65504.0, "float16"), (1e5, "float32")])
def test_weights_are_halved_unless_one_is_too_large_for_it(number: float, dtype: str, tmp_path: Path) -> None:
    network = network_of("eomt")
    nn.init.constant_(network.layernorm.bias, number)
    save_checkpoint(network, tmp_path / "mine", CLASSES, "panoptic")
    assert json.loads((tmp_path / "mine" / "config.json").read_text())["dtype"] == dtype
    loaded = load_checkpoint(tmp_path / "mine").network
    assert isinstance(loaded, QueryVit)
    assert torch.equal(loaded.layernorm.bias, network.layernorm.bias)


def test_a_full_disk_leaves_the_checkpoint_before_and_says_so(tmp_path: Path) -> None:
    """A limit on the size of files is what a full disk looks like to a process."""
    folder = tmp_path / "mine"
    save_checkpoint(network_of("eomt", seed=1), folder, CLASSES, "panoptic", dtype=torch.float32)
    before = (folder / "model.safetensors").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=rf"the checkpoint {folder} cannot be written: .") as refusal:
            save_checkpoint(network_of("eomt", seed=2), folder, CLASSES, "panoptic", dtype=torch.float32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(refusal.value)
    assert (folder / "model.safetensors").read_bytes() == before
    assert os.listdir(tmp_path) == ["mine"]


SAVING = """
import sys
from pathlib import Path
from eomt_ros.training.checkpoint import save_checkpoint
from test.training.networks import CLASSES, network_of
networks = [network_of("eomt", seed) for seed in (1, 2)]
while True:
    for network in networks:
        save_checkpoint(network, Path(sys.argv[1]), CLASSES, "panoptic")
        print("saved", flush=True)
"""


def test_a_process_that_is_killed_while_it_saves_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    whole = []
    for seed in (1, 2):
        save_checkpoint(network_of("eomt", seed), tmp_path / str(seed), CLASSES, "panoptic")
        whole.append((tmp_path / str(seed) / "model.safetensors").read_bytes())
    for saves in (1, 2, 5):
        with subprocess.Popen([sys.executable, "-c", SAVING, str(folder)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(saves):
                assert process.stdout.readline() == b"saved\n"
            process.kill()
        restore_checkpoint(folder)
        load_checkpoint(folder)
        assert (folder / "model.safetensors").read_bytes() in whole
    save_checkpoint(network_of("eomt"), folder, CLASSES, "panoptic")
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "mine"]


def test_a_checkpoint_that_was_moved_away_as_the_process_ended_is_put_back(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    save_checkpoint(network_of("eomt"), folder, CLASSES, "panoptic")
    folder.rename(tmp_path / ".mine.before")
    restore_checkpoint(folder)
    load_checkpoint(folder)
    restore_checkpoint(folder)
    assert os.listdir(tmp_path) == ["mine"]


def test_the_format_is_the_one_that_the_config_names(tmp_path: Path) -> None:
    save_checkpoint(network_of("videomt_dinov3"), tmp_path / "mine", CLASSES, "panoptic", name="yard")
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    assert (config["model_type"], config["dtype"], config["norm_queries"]) == ("videomt_dinov3", "float16", True)
    assert config["rope_parameters"] == {"rope_type": "default", "rope_theta": 100.0}
    assert load_checkpoint(tmp_path / "mine").labels.name == "yard"
