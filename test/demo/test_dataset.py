"""Worlds rendered into a data set. Needs MuJoCo and a renderer; skipped without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demo import SEEDS, class_names, dataset
from eomt_ros.training.dataset import Dataset

pytestmark = pytest.mark.slow
pytest.importorskip("demo.world", reason="only remaking the demo files needs MuJoCo", exc_type=ImportError)

KIND = ("night", "pallet")


def rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, *words: str) -> Dataset:
    options = ["--site", KIND[0], "--extra", KIND[1], "--seconds", "0.3", "--val-worlds", "1"]
    folders = ["--frames", str(tmp_path / "frames"), "--out", str(tmp_path / out)]
    monkeypatch.setattr("sys.argv", ["dataset", *options, *folders, *words])
    assert dataset.main() == 0
    return Dataset.open(tmp_path / out)


def test_worlds_become_videos_and_are_not_rendered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rendered(tmp_path, monkeypatch, "one", "--worlds", "1")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "frames").iterdir()}
    second = rendered(tmp_path, monkeypatch, "two", "--worlds", "2")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert tuple(each.name for each in second.classes) == class_names("pallet")
    assert [str(SEEDS[KIND].training[number]) in second.train[number].name for number in range(2)] == [True, True]
    assert str(SEEDS[KIND].validation[0]) in second.val[0].name
    for one, two in zip(first.train[0].frames, second.train[0].frames, strict=True):
        for a, b in zip(one.read(), two.read(), strict=True):
            np.testing.assert_array_equal(a, b)
    stamps = np.array([frame.stamp for frame in second.train[0].frames])
    assert np.diff(stamps).tolist() == pytest.approx([100_000_000] * 2, abs=1)


def test_a_data_set_that_is_whole_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered(tmp_path, monkeypatch, "one", "--worlds", "1")
    before = (tmp_path / "one").stat().st_mtime_ns
    rendered(tmp_path, monkeypatch, "one", "--worlds", "1")
    assert (tmp_path / "one").stat().st_mtime_ns == before
    with pytest.raises(SystemExit, match="exists"):
        rendered(tmp_path, monkeypatch, "one", "--worlds", "2")


def test_a_seed_to_score_on_is_not_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        rendered(tmp_path, monkeypatch, "one", "--worlds", "1", "--seeds-from", str(SEEDS[KIND].evaluation[0]))
    assert "seeds to train on at this kind of world are 60000 to 69999" in capsys.readouterr().err
