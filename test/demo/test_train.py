"""`python -m demo.train` on a data set that is there already: without MuJoCo."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo import train
from eomt_ros.engine import Segmenter
from eomt_ros.training.settings import read_settings
from test import ROOT
from test.training.moving_shapes import CLASSES, write_moving_shapes


@pytest.mark.parametrize("name", ["train.yaml", "train_gpu.yaml"])
def test_the_demos_settings_are_settings(name: str) -> None:
    settings = read_settings(ROOT / "demo" / name)
    assert settings.minutes > 0
    assert settings.size == 256


@pytest.mark.slow
def test_a_data_set_that_is_there_is_trained_on_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_moving_shapes(tmp_path / "data", train=1, val=1, frames=4)
    small = ["--set", "size=64", "--set", "streams=1", "--steps", "1", "--device", "cpu", "--processes", "1"]
    words = ["--data", str(data), "--out", str(tmp_path / "model"), *small]
    monkeypatch.setattr("sys.argv", ["train", *words])
    assert train.main() == 0
    with Segmenter.load(str(tmp_path / "model")) as segmenter:
        assert segmenter.labels.class_names == tuple(each.name for each in CLASSES)
