"""The options of a model: one list, that Python, node and command line read."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from eomt_ros.cli.model_arguments import add_model_arguments
from eomt_ros.model_options import ModelOptions

NAMES = [field.name for field in fields(ModelOptions)]


def test_none_stands_for_the_default():
    assert ModelOptions(**dict.fromkeys(NAMES)) == ModelOptions()


def test_a_path_is_taken_as_the_folder_that_it_names(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert ModelOptions(Path("demo")).model == str(tmp_path / "demo")
    assert ModelOptions("demo").model == "demo"


@pytest.mark.parametrize("value", [1, np.float32(1), np.int64(1)])
def test_any_number_is_taken_for_a_number(value):
    assert type(ModelOptions(mask_threshold=value).mask_threshold) is float


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mask_threshold": "high"}, r"mask_threshold: got 'high' \(str\), expected a number"),
        ({"mask_threshold": True}, r"mask_threshold: got True \(bool\), expected a number"),
        ({"top_k": 1.5}, r"top_k: got 1.5 \(float\), expected a whole number"),
        ({"fuse_stuff": 1}, r"fuse_stuff: got 1 \(int\), expected a boolean"),
        ({"device": "cuda:N"}, "device: got 'cuda:N', expected one of 'auto', 'cpu', 'cuda', 'cuda:N'"),
        ({"device": "cuda:1\n"}, "device: got .*, expected one of"),
        ({"score_threshold": float("nan")}, "score_threshold: got nan, expected -1.0 to 1.0"),
    ],
)
def test_a_value_of_no_use_is_refused_by_name(given, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        ModelOptions(**given)


def test_the_command_line_has_every_option_with_its_default():
    parser = argparse.ArgumentParser()
    add_model_arguments(parser)
    assert ModelOptions(**vars(parser.parse_args([]))) == ModelOptions()
    help_ = parser.format_help()
    assert all(f"--{name.replace('_', '-')}" in help_ for name in NAMES)


def test_the_command_line_reads_each_option_as_its_type():
    parser = argparse.ArgumentParser()
    add_model_arguments(parser)
    words = ["--model", "2024", "--no-fuse-stuff", "--mask-threshold", "0.25", "--top-k", "7", "--device", "cuda:1"]
    found = ModelOptions(**vars(parser.parse_args(words)))
    assert found == ModelOptions("2024", fuse_stuff=False, mask_threshold=0.25, top_k=7, device="cuda:1")


def test_an_option_of_former_versions_is_refused_with_what_to_do(capsys):
    parser = argparse.ArgumentParser()
    add_model_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--compile"])
    assert "--compile is gone: frames run as CUDA graphs without it; leave it out" in capsys.readouterr().err
