"""The settings of a training as a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from eomt_ros.training.settings import SettingsError, TrainingSettings, read_settings, settings_text, with_entries


def test_a_written_file_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    settings = TrainingSettings(minutes=0, steps=7, learning_rate=1e-5, jitter=(0.5, 1.5), freeze_encoder=True)
    path = tmp_path / "settings.yaml"
    path.write_text(settings_text(settings, {"data": "somewhere", "fingerprint": "abc"}))
    assert read_settings(path) == settings
    assert yaml.safe_load(path.read_text())["made_with"]["fingerprint"] == "abc"
    for field in dataclasses.fields(settings):
        assert f"\n{field.name}:" in path.read_text()


def test_a_file_needs_to_say_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("steps: 100\nlearning_rate: 1e-3\n")
    settings = read_settings(path)
    assert settings == TrainingSettings(steps=100, minutes=0, learning_rate=1e-3)
    path.write_text("")
    assert read_settings(path) == TrainingSettings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rat: 0.1", "has 'learning_rat', which is no setting; the nearest is 'learning_rate'"),
        ("learning_rate: fast", "learning_rate: got 'fast' (str), expected a number"),
        ("learning_rate: .nan", "learning_rate: got nan, expected 0 to 10"),
        ("batch: 0", "batch: got 0, expected 1 to 65536"),
        ("batch: 2.5", "batch: got 2.5 (float), expected a whole number"),
        ("jitter: [2.0, 0.1]", "jitter: got [2.0, 0.1], expected the smallest and the largest scale"),
        ("jitter: [.nan, 1.0]", "expected the smallest and the largest scale"),
        ("task: panoptik", "task: got 'panoptik', expected one of"),
        ("steps: 5\nminutes: 5", "the length of the run: got steps 5, epochs 0, minutes 5, expected one of"),
        ("- 1", "expected names with values"),
        ("a: [", "is no YAML"),
        ("a: &a 1\nb: *a", "is no YAML"),
    ],
)
def test_a_wrong_entry_is_refused_in_one_line_that_names_file_and_entry(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_settings(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml cannot be read: No such file"):
        read_settings(tmp_path / "none.yaml")


def test_another_length_replaces_the_one_that_is_set() -> None:
    settings = with_entries(TrainingSettings(batch=3), "epochs: 3", "--epochs")
    assert (settings.steps, settings.epochs, settings.minutes, settings.batch) == (0, 3, 0, 3)
