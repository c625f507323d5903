"""What tests with small random models share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eomt_ros.engine import Segmenter
from test.engine.checkpoints import FOUND, TABLE, WRITERS
from test.engine.devices import Device, LoadOnDevice, on_device


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The label table of the small models' classes."""
    path = tmp_path_factory.mktemp("labels") / "table.yaml"
    path.write_text(TABLE)
    return path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small model of every family."""
    folder = tmp_path_factory.mktemp("models")
    return {name: write(folder / name, seed=3) for name, write in WRITERS.items()}


@pytest.fixture
def load_on_device(models: dict[str, Path], table: Path) -> LoadOnDevice:
    """Loads a family's model, and gives the device that it runs on, which can fail."""

    def load(family: str = "videomt", task: str = "panoptic", **options: Any) -> tuple[Segmenter, Device]:
        usual = {"device": "cpu", "precision": "float32", "labels": str(table), "score_threshold": FOUND[task]}
        return on_device(models[family], task=task, **{**usual, **options})

    return load
