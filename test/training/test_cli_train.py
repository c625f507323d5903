"""`eomt-ros train` as a process: killed, resumed, stopped, and several of them."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from eomt_ros.cli.main import main
from test import ROOT
from test.patience import PATIENCE
from test.training.moving_shapes import write_moving_shapes
from test.training.test_run import TINY

pytestmark = pytest.mark.slow


def command(data: Path, out: Path, settings: dict[str, Any], *more: str) -> list[str]:
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({**TINY, **settings}))
    words = ["train", str(data), "--start", "nothing", "--out", str(out), "--settings", str(path), "--device", "cpu"]
    return [sys.executable, "-m", "eomt_ros.cli.main", *words, *more]


def run(words: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        words,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def expect_end(process: subprocess.Popen[str], code: int) -> str:
    told, _ = process.communicate(timeout=4 * PATIENCE)
    assert process.returncode == code, told
    return told


def wait_until(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.001)


def losses_of(out: Path) -> list[float]:
    if not (out / "training.csv").exists():
        return []
    with (out / "training.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]


def test_a_run_killed_twice_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    data = write_moving_shapes(tmp_path / "data", train=3, val=1)
    settings = {"steps": 20, "save_every": 0.0, "average_decay": 0.9, "loaders": 1}
    expect_end(run(command(data, tmp_path / "whole", settings)), 0)
    out = tmp_path / "killed"
    words = command(data, out, settings, "--resume")
    # Once between two steps of images, once while the state is being written, among streams.
    moments: list[Callable[[], bool]] = [
        lambda: len(losses_of(out)) >= 4,
        lambda: len(losses_of(out)) >= 12 and (out / "run" / "state.new").exists(),
    ]
    for moment in moments:
        process = run(words)
        wait_until(process, moment)
        process.send_signal(signal.SIGKILL)
        expect_end(process, -signal.SIGKILL)
    assert len(losses_of(out)) < 20
    expect_end(run(words), 0)
    assert losses_of(out) == losses_of(tmp_path / "whole")
    whole, found = (load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", out))
    assert whole.keys() == found.keys()
    for name, weight in whole.items():
        assert torch.equal(weight, found[name]), name


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    data = write_moving_shapes(tmp_path / "data", train=3, val=1)
    settings = {"steps": 20, "batch": 4, "streams": 4}
    expect_end(run(command(data, tmp_path / "one", settings)), 0)
    told = expect_end(run(command(data, tmp_path / "two", settings, "--processes", "2")), 0)
    assert "Warning" not in told
    one, two = losses_of(tmp_path / "one"), losses_of(tmp_path / "two")
    assert len(one) == 20
    assert two == pytest.approx(one, rel=1e-3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_model_and_a_report_so_far(number: signal.Signals, tmp_path: Path) -> None:
    data = write_moving_shapes(tmp_path / "data", train=2, val=1)
    out = tmp_path / "out"
    process = run(command(data, out, {"steps": 10_000}))
    wait_until(process, lambda: len(losses_of(out)) >= 2)
    process.send_signal(number)
    told = expect_end(process, 130)
    assert f"{out}/report.html" in told
    assert "The run is not over" in (out / "report.html").read_text()
    assert (out / "model.safetensors").exists()
    assert (out / "run" / "state.pt").exists()


def test_ctrl_c_ends_several_processes_with_a_model_and_a_report_so_far(tmp_path: Path) -> None:
    data = write_moving_shapes(tmp_path / "data", train=2, val=1)
    out = tmp_path / "out"
    process = run(command(data, out, {"steps": 10_000}, "--processes", "2"))
    wait_until(process, lambda: len(losses_of(out)) >= 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the launcher and to those that it launched
    told, _ = process.communicate(timeout=4 * PATIENCE)
    assert process.returncode != 0
    assert f"{out}/report.html" in told
    assert (out / "model.safetensors").exists()
    assert (out / "run" / "state.pt").exists()


def test_wrong_words_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_moving_shapes(tmp_path / "data", train=1, val=1, frames=2)
    words = ["train", str(data), "--start", "nothing", "--out", str(tmp_path / "out")]
    for more, said in (
        (["--set", "learning_rte=1"], "--set learning_rte=1 has 'learning_rte', which is no setting; the nearest"),
        (["--steps", "0"], "--steps: the length of the run: got steps 0"),
        (["--minutes", "nan"], "--minutes: minutes: got nan"),
        (["--processes", "0"], "--processes is 0, expected 1 or more"),
        (["--processes", "2", "--steps", "0"], "--steps: the length of the run: got steps 0"),
        (["--processes", "2", "--start", str(tmp_path / "none")], "none"),
        (["--settings", str(tmp_path / "none.yaml")], "none.yaml cannot be read: No such file"),
        (["--replay", str(tmp_path / "none")], "none"),
    ):
        assert main([*words, *more]) == 1
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()
