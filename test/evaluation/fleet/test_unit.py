"""How a recording, and its evaluation, are known again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import eomt_ros
from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.fleet.fingerprint import fingerprint
from eomt_ros.evaluation.fleet.unit import units_of
from eomt_ros.evaluation.request import EvaluationRequest
from eomt_ros.evaluation.slices import SlicePattern
from eomt_ros.evaluation.sources import TruthSource
from eomt_ros.evaluation.sources.truth_map import parse_truth_map
from eomt_ros.model_options import ModelOptions
from test.evaluation.fleet.made_files import touch

DEMO = EvaluationRequest(model=ModelOptions(model="demo"))


def key_of(path: Path, request: EvaluationRequest = DEMO) -> str:
    ((unit,), _) = units_of([path], request)
    return unit.key


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    touch(tmp_path / "bag", "metadata.yaml", "bag_0.mcap", "bag_1.mcap")
    return tmp_path / "bag"


def test_one_recording_at_two_paths_has_one_fingerprint_and_one_key(bag: Path, tmp_path: Path) -> None:
    other = shutil.copytree(bag, tmp_path / "backup" / "monday")
    file = shutil.copy(bag / "bag_0.mcap", tmp_path / "renamed.mcap")
    assert fingerprint(other) == fingerprint(bag)
    assert fingerprint(Path(file)) == fingerprint(bag / "bag_0.mcap")
    assert key_of(other) == key_of(bag)


@pytest.mark.parametrize("place", [0, 1 << 15, (1 << 20) - 1])
def test_another_byte_is_another_fingerprint(place: int, tmp_path: Path) -> None:
    content = bytearray(1 << 20)
    (tmp_path / "a.mcap").write_bytes(content)
    content[place] = 1
    (tmp_path / "b.mcap").write_bytes(content)
    assert fingerprint(tmp_path / "a.mcap") != fingerprint(tmp_path / "b.mcap")


def test_a_large_part_that_changed_in_a_large_file_is_noticed(tmp_path: Path) -> None:
    for name, value in (("a", b"\0"), ("b", b"\1")):
        with (tmp_path / name).open("wb") as file:
            file.truncate(64 << 20)
            file.seek(24 << 20)
            file.write(value * (4 << 20))
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")


def test_another_file_or_name_in_a_folder_is_another_fingerprint(bag: Path) -> None:
    before = fingerprint(bag)
    (bag / "bag_1.mcap").rename(bag / "bag_2.mcap")
    renamed = fingerprint(bag)
    (bag / "bag_2.mcap").unlink()
    assert len({before, renamed, fingerprint(bag)}) == 3


def test_what_cannot_be_read_has_no_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert [fingerprint(tmp_path / "gone"), fingerprint(tmp_path / "empty")] == ["", ""]


def test_the_key_is_another_for_other_settings_truth_or_version(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truths = [tmp_path / "truth_a", tmp_path / "truth_b"]
    for number, folder in enumerate(truths):
        touch(folder / "bag", f"{number}.png")
    requests = [
        DEMO,
        replace(DEMO, model=ModelOptions(model="demo", mask_threshold=0.4)),
        replace(DEMO, model=ModelOptions(model="demo", classes=("floor",))),
        replace(DEMO, topics=("/front/image",)),
        replace(DEMO, convention=Convention.PUBLISHED),
        replace(DEMO, video=False),
        replace(DEMO, predictions="truth"),
        replace(DEMO, truth=TruthSource(map=parse_truth_map("offset=-1"))),
        *(replace(DEMO, truth=TruthSource(folder=folder)) for folder in truths),
    ]
    keys = [key_of(bag, request) for request in requests]
    monkeypatch.setattr(eomt_ros, "__version__", "99.0")
    keys.append(key_of(bag))
    assert len(set(keys)) == len(requests) + 1


def test_the_key_is_another_for_other_weights_and_the_same_at_two_paths(bag: Path, tmp_path: Path) -> None:
    def request(folder: Path) -> EvaluationRequest:
        return EvaluationRequest(model=ModelOptions(model=str(folder)))

    touch(tmp_path / "model", "model.safetensors", "config.json")
    copy = shutil.copytree(tmp_path / "model", tmp_path / "copy")
    before = key_of(bag, request(tmp_path / "model"))
    assert key_of(bag, request(copy)) == before
    (copy / "config.json").write_text("other")
    other_config = key_of(bag, request(copy))
    (copy / "model.safetensors").write_text("other")
    assert len({before, other_config, key_of(bag, request(copy))}) == 3


def test_the_key_is_another_for_another_table_at_the_same_path(bag: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.yaml"
    request = replace(DEMO, model=ModelOptions(model="demo", labels=str(table)))
    table.write_text("first")
    before = key_of(bag, request)
    table.write_text("second")
    assert key_of(bag, request) != before


def test_what_is_given_twice_is_evaluated_once_and_told(bag: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bag, tmp_path / "copy")
    units, notes = units_of([bag, copy, tmp_path / "gone", tmp_path / "lost"], DEMO)
    assert [unit.name for unit in units] == ["bag", "gone", "lost"]
    assert notes == [f"{copy} has the content of {bag}, and is left out"]


def test_a_slice_that_fits_no_recording_is_told(bag: Path) -> None:
    slices = [SlicePattern("night", "b*"), SlicePattern("rain", "rain/*")]
    ((unit,), notes) = units_of([bag], DEMO, slices)
    assert unit.tags == ("night",)
    assert notes == ["--slice rain:rain/* fits no recording"]
