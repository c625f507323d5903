"""What many tests of evaluations need: a small model, and a bag with its ground truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from test.engine.checkpoints import write_checkpoint
from test.evaluation import bags


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights; no test changes it."""
    return write_checkpoint(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="session")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag of `bags.FRAMES` frames with ground truth; no test changes it."""
    return bags.write_scene(tmp_path_factory.mktemp("bags") / "bag", bags.FRAMES)
