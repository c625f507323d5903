"""The score of a checkpoint on recorded worlds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from demo import EVALUATION_SEEDS, evaluate
from test import ROOT

pytestmark = pytest.mark.slow


def test_worlds_that_are_recorded_already_are_scored_without_mujoco(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "demo" / "bag", tmp_path / "worlds" / f"{EVALUATION_SEEDS[0]}_20s")
    words = ["--worlds", "1", "--bags", str(tmp_path / "worlds"), "--out", str(tmp_path / "scores")]
    monkeypatch.setattr("sys.argv", ["evaluate", *words])
    assert evaluate.main() == 0
    found = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert found["frames_scored"] == found["frames"] == 200
    assert found["settings"]["precision"] == "float32"
